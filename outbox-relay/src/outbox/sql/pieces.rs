/// The rows of a piece of a big window, through the position index of each leaf: a sort per piece would be quadratic.
/// `$1`, `$2`: the window's snapshots; `$3`: the position that it comes after; `$4`: how many; `$6`: the position that it ends
/// with at most. Rows of other windows are passed over one by one.
///
/// A snapshot in a filter stands in a select of its own, as in [`READ_SMALL`](super::READ_SMALL).
macro_rules! rows {
    () => {
        concat!(
            "(",
            rows!(0),
            " union all ",
            rows!(1),
            " union all ",
            rows!(2),
            " union all ",
            rows!(3),
            " order by position limit $4) as rows"
        )
    };
    ($slot:literal) => {
        concat!(
            "(select position, id, aggregatetype, aggregateid, type, payload, headers,
                     least(greatest(created_at, '0001-01-01 00:00:00+00'), '9999-12-31 00:00:00+00') as created_at,
                     coalesce(octet_length(payload), 0) + pg_column_size(headers) as bytes
                from saga.outbox
               where slot = ",
            $slot,
            "    and position > $3 and position <= $6
                 and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
                 and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
               order by position limit $4)"
        )
    };
}

/// A piece of events of at most `$5` bytes each. One that is larger comes as nothing but its size, and who reads goes on from
/// there with [`READ_PIECE_OF_LARGE`]: running sums of bytes cost a fifth of the statement.
pub(crate) const READ_PIECE: &str = concat!(
    "select position, id, aggregatetype, aggregateid, type,
            case when bytes <= $5 then payload end as payload,
            case when bytes <= $5 then headers::text end as headers,
            created_at, bytes
       from ",
    rows!(),
    " order by position"
);

/// A piece of about `$5` bytes, whatever each of its events has. The last column runs up to the bytes that came so far.
pub(crate) const READ_PIECE_OF_LARGE: &str = concat!(
    "select position, id, aggregatetype, aggregateid, type, payload, headers::text, created_at, bytes_so_far
       from (select *, sum(bytes) over (order by position rows unbounded preceding) as bytes_so_far
               from ",
    rows!(),
    ") as summed
      where bytes_so_far - bytes < $5
      order by position"
);
