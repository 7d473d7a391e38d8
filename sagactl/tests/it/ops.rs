use sagactl::migrate::Duty;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::place::Place;
use crate::program::sagactl;

const DATABASES: [&str; 2] = ["order", "payment"];

/// Parks two messages of one key, as the service would.
async fn park(service: &mut PgConnection, participant: &str, key: &str) {
    let sql = "insert into saga.parked_key (participant, key, reason) values ($1, $2, 'no JSON')";
    sqlx::query(sql)
        .bind(participant)
        .bind(key)
        .execute(&mut *service)
        .await
        .unwrap();
    let sql = r#"
        insert into saga.parked_message (participant, key, topic, partition, "offset", record_key, headers, payload, reason)
        values ($1, $2, 'order-events', 3, 17, null, '[["ce_type", "b3JkZXIuY3JlYXRlZA=="]]', 'garbage', 'no JSON'),
               ($1, $2, 'order-events', 3, 18, null, '[]', '{"token": "tok_ok"}', null)"#;
    sqlx::query(sql)
        .bind(participant)
        .bind(key)
        .execute(service)
        .await
        .unwrap();
}

async fn actions(place: &Place, database: &str) -> Vec<(String, String, Value, String, String)> {
    let mut operator = place.connect(database, Duty::Operate).await;
    let sql = "select action, subject, detail, by_person, by_role from saga.operator_action order by id";
    sqlx::query_as(sql).fetch_all(&mut operator).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_can_be_prepared_as_the_operator() {
    let place = Place::migrated(&["order"]).await;
    let mut operator = place.connect("order", Duty::Operate).await;
    for (n, (module, name, sql)) in sagactl::statements().enumerate() {
        let prepare = format!("prepare s{n} as {sql}");
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut operator)
            .await
            .unwrap_or_else(|error| panic!("{module}.{name}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_listed_shown_and_discarded() {
    let place = Place::migrated(&DATABASES).await;
    let mut settings = place.settings(&DATABASES);
    let mut payment = place.connect("payment", Duty::Work).await;
    park(&mut payment, "payment", "o-1").await;
    park(&mut payment, "payment", "o-2").await;

    let listed = sagactl(&settings, &["parked", "list", "--output", "json"]).await;
    // Two of the four services are not configured: what is there is shown, and the exit code says so.
    assert_eq!(listed.code, 69, "{listed:?}");
    assert!(
        listed
            .err
            .contains("not looked at: inventory: SAGACTL_INVENTORY_OPS_URL is not set"),
        "{listed:?}"
    );
    let keys = listed.json();
    assert_eq!(keys["keys"][0]["key"], "o-1");
    assert_eq!(keys["keys"][1]["messages"], 2);

    let shown = sagactl(&settings, &["parked", "show", "payment", "o-1"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains("order.created  order-events/3@17"),
        "{shown:?}"
    );
    assert!(shown.out.contains("refused: no JSON"), "{shown:?}");
    assert!(!shown.out.contains("tok_ok"), "{shown:?}");

    let discard = |more: &'static [&'static str]| {
        let mut arguments = vec!["parked", "discard", "payment", "o-1", "--reason", "a load test"];
        arguments.extend(more);
        arguments
    };
    let asked = sagactl(&settings, &discard(&[])).await;
    assert_eq!(
        (asked.code, asked.err.contains("say --yes")),
        (64, true),
        "{asked:?}"
    );
    let wrong = sagactl(&settings, &discard(&["--yes", "--message", "999"])).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");

    let first = sagactl(
        &settings,
        &["parked", "show", "payment", "o-1", "--output", "json"],
    )
    .await;
    let seq = first.json()["messages"][0]["seq"].to_string();
    let one = [
        "parked",
        "discard",
        "payment",
        "o-1",
        "--reason",
        "garbage",
        "-y",
        "--message",
        &seq,
    ];
    let one = sagactl(&settings, &one).await;
    assert_eq!(
        (one.code, one.out.as_str()),
        (0, "discarded 1 message(s) of payment/o-1"),
        "{one:?}"
    );
    let all = sagactl(&settings, &discard(&["--yes"])).await;
    assert_eq!(
        (all.code, all.out.as_str()),
        (0, "discarded 1 message(s) of payment/o-1"),
        "{all:?}"
    );
    let gone = sagactl(&settings, &["parked", "show", "payment", "o-1"]).await;
    assert_eq!(
        (gone.code, gone.err.as_str()),
        (2, "sagactl: payment/o-1 is not parked"),
        "{gone:?}"
    );

    let actions = actions(&place, "payment").await;
    assert_eq!(actions.len(), 2, "{actions:?}");
    let (action, subject, detail, person, role) = &actions[1];
    assert_eq!(
        (action.as_str(), subject.as_str(), person.as_str(), role.as_str()),
        ("parked.discard", "payment/o-1", "the night shift", "payment_ops")
    );
    assert_eq!(detail["reason"], "a load test");
    assert_eq!(detail["messages"][0]["offset"], 18);

    settings.retain(|(key, _)| *key != "SAGACTL_BY");
    let nobody = sagactl(&settings, &discard(&["--yes"])).await;
    assert_eq!(
        (nobody.code, nobody.err.contains("say who you are")),
        (64, true),
        "{nobody:?}"
    );
}

/// Plays the service: waits until a replay is asked for, and answers it with `sql`.
async fn answer_replay(place: &Place, key: &'static str, sql: &'static str) {
    let mut service = place.connect("payment", Duty::Work).await;
    let asked = "select replay_requested is not null from saga.parked_key where key = $1";
    let begin = std::time::Instant::now();
    while !sqlx::query_scalar::<_, bool>(asked)
        .bind(key)
        .fetch_one(&mut service)
        .await
        .unwrap()
    {
        assert!(
            begin.elapsed().as_secs() < 30,
            "nobody asked for a replay of {key}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sqlx::raw_sql(sql).execute(&mut service).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_the_service_and_tells_what_it_said() {
    let place = Place::migrated(&["payment"]).await;
    let settings = place.settings(&["payment"]);
    let mut service = place.connect("payment", Duty::Work).await;
    for key in ["good", "bad", "nobody"] {
        park(&mut service, "payment", key).await;
    }
    let replay = |key: &'static str, wait: &'static str| {
        let settings = settings.clone();
        async move {
            let arguments = [
                "parked", "replay", "payment", key, "--reason", "fixed", "--wait", wait,
            ];
            sagactl(&settings, &arguments).await
        }
    };
    let (good, ()) = tokio::join!(
        replay("good", "60"),
        answer_replay(
            &place,
            "good",
            "delete from saga.parked_message where key = 'good'; delete from saga.parked_key where key = 'good'"
        )
    );
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(good.out, "payment/good: replayed, nothing is parked any more");

    let (bad, ()) = tokio::join!(
        replay("bad", "60"),
        answer_replay(
            &place,
            "bad",
            "update saga.parked_key set replay_requested = null, reason = 'still no JSON' where key = 'bad'"
        )
    );
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_eq!(
        bad.out,
        "payment/bad: still refused, 2 message(s) left: still no JSON"
    );

    let nobody = replay("nobody", "0").await;
    assert_eq!(nobody.code, 69, "{nobody:?}");
    assert!(nobody.err.contains("does payment run?"), "{nobody:?}");
    let absent = replay("absent", "1").await;
    assert_eq!(absent.code, 2, "{absent:?}");
    let actions = actions(&place, "payment").await;
    let subjects: Vec<&str> = actions.iter().map(|action| action.1.as_str()).collect();
    assert_eq!(subjects, ["payment/good", "payment/bad", "payment/nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_effect_begins_again_and_remembers_its_first_call() {
    let place = Place::migrated(&["payment"]).await;
    let settings = place.settings(&["payment"]);
    let mut service = place.connect("payment", Duty::Work).await;
    let sql = "insert into saga.effect (id, participant, saga, kind, payload, due_at, attempt, first_called_at, last_error)
               values ('00000000-0000-0000-0000-000000000001', 'payment', 'o-1', 'refund', '{}', null, 9, '2020-01-01', '500'),
                      ('00000000-0000-0000-0000-000000000002', 'payment', 'o-2', 'charge', '{}', now(), 1, now(), null)";
    sqlx::query(sql).execute(&mut service).await.unwrap();

    let listed = sagactl(&settings, &["effects", "list", "--output", "json"]).await;
    assert_eq!(listed.json().as_array().unwrap().len(), 1, "{listed:?}");
    let all = sagactl(&settings, &["effects", "list", "--all", "--output", "json"]).await;
    assert_eq!(all.json().as_array().unwrap().len(), 2, "{all:?}");
    let parked = sagactl(&settings, &["parked", "list"]).await;
    assert!(parked.out.contains("exhausted: 500"), "{parked:?}");

    let replay = |id: &'static str| {
        let settings = settings.clone();
        async move {
            sagactl(
                &settings,
                &["effects", "replay", id, "--reason", "the bank is back"],
            )
            .await
        }
    };
    let replayed = replay("00000000-0000-0000-0000-000000000001").await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    let trying = replay("00000000-0000-0000-0000-000000000002").await;
    assert_eq!(trying.code, 1, "{trying:?}");
    let absent = replay("00000000-0000-0000-0000-000000000003").await;
    // It might be in a database that is not configured here.
    assert_eq!(absent.code, 69, "{absent:?}");

    let sql =
        "select due_at <= now(), attempt, first_called_at = '2020-01-01' from saga.effect where saga = 'o-1'";
    let now: (bool, i32, bool) = sqlx::query_as(sql).fetch_one(&mut service).await.unwrap();
    assert_eq!(now, (true, 0, true));
    let actions = actions(&place, "payment").await;
    assert_eq!(actions.len(), 1);
    assert_eq!(
        actions[0].2,
        json!({"reason": "the bank is back", "participant": "payment", "saga": "o-1", "kind": "refund"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_until_it_is_resumed() {
    let place = Place::migrated(&["payment"]).await;
    let settings = place.settings(&["payment"]);
    let refunds = |verb: &'static str| {
        let settings = settings.clone();
        async move {
            let arguments = [verb, "payment", "--effect", "refund", "--reason", "trouble"];
            sagactl(&settings, &arguments).await
        }
    };
    let said = [refunds("pause").await, refunds("pause").await];
    assert_eq!(
        said.each_ref().map(|said| (said.code, said.out.as_str())),
        [
            (0, "effect refund of payment: paused"),
            (0, "effect refund of payment: was paused already")
        ]
    );
    let paused = sagactl(&settings, &["paused", "--output", "json"]).await;
    assert_eq!(paused.json()[0]["what"], "refund", "{paused:?}");
    assert_eq!(refunds("resume").await.code, 0);
    assert_eq!(refunds("resume").await.code, 2);
    let actions = actions(&place, "payment").await;
    let actions: Vec<(&str, &str)> = actions
        .iter()
        .map(|action| (action.0.as_str(), action.1.as_str()))
        .collect();
    assert_eq!(
        actions,
        [("pause", "payment/refund"), ("resume", "payment/refund")]
    );
    let unknown = sagactl(&settings, &["pause", "dragons", "--reason", "-"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
}

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
