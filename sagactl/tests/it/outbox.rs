use sagactl::migrate::Duty;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::ops::actions;
use crate::place::Place;
use crate::program::sagactl;

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_shows_what_waits_and_who_publishes_it() {
    let place = Place::migrated(&["order"]).await;
    let settings = place.settings(&["order"]);
    let mut service = place.connect("order", Duty::Work).await;
    let append = "select saga.append_event('order-events', 'o-1', 'order.created', '{}')";
    sqlx::query(append).execute(&mut service).await.unwrap();

    let status = || async {
        sagactl(&settings, &["outbox", "status", "--output", "json"])
            .await
            .json()[0]
            .clone()
    };
    let before = status().await;
    assert_eq!(
        (&before["relay"], &before["waiting"], &before["oldest"]["type"]),
        (&Value::Null, &json!(1), &json!("order.created")),
        "{before}"
    );
    // Plays the relay, which has acknowledged everything up to now.
    let mut relay = place.connect("order", Duty::Relay).await;
    let serve = "insert into saga.relay (source, fence, owner, expires_at, system_identifier, timeline, acked_win, acked_snap, acked_at)
                 values ('order', 7, 'relay-1', now() + interval '1 minute', 1, 1, 42, pg_current_snapshot(), now())";
    sqlx::query(serve).execute(&mut relay).await.unwrap();
    let after = status().await;
    assert_eq!(
        (
            &after["relay"]["owner"],
            &after["relay"]["fence"],
            &after["waiting"],
            &after["oldest"]
        ),
        (&json!("relay-1"), &json!(7), &json!(0), &Value::Null),
        "{after}"
    );
    sqlx::query(append).execute(&mut service).await.unwrap();
    assert_eq!(status().await["waiting"], 1);
    // A writer may set any time.
    let without_a_time = "insert into saga.outbox (id, aggregatetype, aggregateid, type, created_at)
                          values (gen_random_uuid(), 'order-events', 'o-2', 'order.created', '-infinity')";
    sqlx::query(without_a_time).execute(&mut service).await.unwrap();
    let ageless = status().await;
    assert_eq!(
        (&ageless["waiting"], &ageless["oldest"]["key"]),
        (&json!(2), &json!("o-2")),
        "{ageless}"
    );
    // A lease that was given up has no end.
    sqlx::query("update saga.relay set expires_at = '-infinity', owner = null")
        .execute(&mut relay)
        .await
        .unwrap();
    let given_up = status().await;
    assert_eq!(given_up["relay"]["held"], false, "{given_up}");
}

/// Sets events aside, as the relay would.
async fn set_aside(relay: &mut PgConnection) {
    sqlx::raw_sql(
        "insert into saga.outbox_parked_key (topic, key, whole, reason, detail, event, type)
         values ('order-events', 'o-1', false, 'too_large', 'it is too large', '00000000-0000-0000-0000-000000000001', 'order.created'),
                ('late-events', '', true, 'no_such_topic', 'there is no such topic', '00000000-0000-0000-0000-000000000003', 'x');
         insert into saga.outbox_parked_event (position, win, topic, key, id, type, payload, headers, created_at)
         values (7, 1, 'order-events', 'o-1', '00000000-0000-0000-0000-000000000001', 'order.created', '{\"token\":\"tok_ok\"}', '{}', now()),
                (9, 1, 'order-events', 'o-1', '00000000-0000-0000-0000-000000000002', 'order.cancelled', '{}', '{}', now()),
                (8, 1, 'late-events', 'k', '00000000-0000-0000-0000-000000000003', 'x', null, '{}', now())",
    )
    .execute(relay)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_listed_shown_discarded_and_sent_again() {
    let place = Place::migrated(&["order"]).await;
    let settings = place.settings(&["order"]);
    let mut relay = place.connect("order", Duty::Relay).await;
    set_aside(&mut relay).await;

    let listed = sagactl(&settings, &["outbox", "parked", "--output", "json"]).await;
    let keys = listed.json();
    let of = |n: usize, field: &str| keys[n][field].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(2), "{keys}");
    let whole = usize::from(of(0, "topic") != "late-events");
    assert_eq!(
        (
            of(whole, "key"),
            of(whole, "events"),
            of(1 - whole, "key"),
            of(1 - whole, "events")
        ),
        (Value::Null, json!(1), json!("o-1"), json!(2)),
        "{keys}"
    );
    let status = sagactl(&settings, &["outbox", "status", "--output", "json"]).await;
    assert_eq!(status.json()[0]["parked"], 3);

    let shown = sagactl(&settings, &["outbox", "show", "order", "order-events", "o-1"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains("order.cancelled") && !shown.out.contains("tok_ok"),
        "{shown:?}"
    );
    let unknown = sagactl(&settings, &["outbox", "show", "order", "order-events"]).await;
    assert!(
        unknown.err.contains("order/order-events is not parked"),
        "{unknown:?}"
    );

    let discard = |more: &'static [&'static str]| {
        let (settings, base) = (
            settings.clone(),
            [
                "outbox",
                "discard",
                "order",
                "order-events",
                "o-1",
                "--reason",
                "a test",
            ],
        );
        async move { sagactl(&settings, &[&base[..], more].concat()).await }
    };
    let unasked = discard(&["--by", "it"]).await;
    assert!(unasked.code == 64 && unasked.err.contains("--yes"), "{unasked:?}");
    let wrong = discard(&[
        "--by",
        "it",
        "--yes",
        "--event",
        "00000000-0000-0000-0000-000000000009",
    ])
    .await;
    assert!(wrong.err.contains("has no event"), "{wrong:?}");
    let gone = discard(&[
        "--by",
        "it",
        "--yes",
        "--event",
        "00000000-0000-0000-0000-000000000001",
    ])
    .await;
    assert_eq!(gone.code, 0, "{gone:?}");
    let mut operator = place.connect("order", Duty::Operate).await;
    let kept: Vec<(i64, String, String, Vec<u8>)> =
        sqlx::query_as("select position, why, by_person, payload from saga.outbox_discarded")
            .fetch_all(&mut operator)
            .await
            .unwrap();
    assert_eq!(
        kept,
        [(
            7,
            "a test".to_owned(),
            "it".to_owned(),
            b"{\"token\":\"tok_ok\"}".to_vec()
        )]
    );
    // What waited behind it is asked for.
    let asked: Vec<String> =
        sqlx::query_scalar("select topic from saga.outbox_parked_key where replay_requested is not null")
            .fetch_all(&mut operator)
            .await
            .unwrap();
    assert_eq!(asked, ["order-events"]);

    // While the relay sends it, nobody throws it away.
    sqlx::raw_sql("update saga.outbox_parked_key set replay_win = 5 where key = 'o-1'")
        .execute(&mut relay)
        .await
        .unwrap();
    let busy = discard(&["--by", "it", "--yes"]).await;
    assert!(busy.code == 1 && busy.err.contains("right now"), "{busy:?}");

    let replay = [
        "outbox",
        "replay",
        "order",
        "late-events",
        "--reason",
        "it is there",
        "--by",
        "it",
    ];
    let waiting = sagactl(&settings, &[&replay[..], &["--wait", "0"]].concat()).await;
    assert!(
        waiting.code == 69 && waiting.err.contains("does the relay run"),
        "{waiting:?}"
    );
    // Plays the relay, which has sent it.
    sqlx::raw_sql("delete from saga.outbox_parked_key where whole")
        .execute(&mut relay)
        .await
        .unwrap();
    let again = sagactl(&settings, &replay).await;
    assert!(again.err.contains("is not parked"), "{again:?}");
    let done: Vec<String> = actions(&place, "order")
        .await
        .into_iter()
        .map(|row| row.0 + " " + &row.1)
        .collect();
    assert_eq!(
        done,
        [
            "outbox.discard order/order-events/o-1",
            "outbox.replay order/late-events"
        ]
    );
}
