-- A parked topic is sent again in windows of so many events: the first of them have to be found among millions.
create index outbox_parked_event_order on saga.outbox_parked_event (topic, win, position);
