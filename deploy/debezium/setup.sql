-- Lets Debezium read the outbox of this database. Run it as the role that owns the outbox (`order_migrate`), after
--
--     alter system set wal_level = 'logical';                                -- and a restart
--     create role order_debezium login replication password '…';

-- Inserts alone: leaves are emptied with TRUNCATE, and that is no event. The root, since rows move between leaves' names
-- with the minute.
create publication saga_outbox for table saga.outbox
  with (publish = 'insert', publish_via_partition_root = true);

select saga.grant_to('_debezium', 'usage on schema saga');
select saga.grant_to('_debezium', 'select on saga.outbox');
