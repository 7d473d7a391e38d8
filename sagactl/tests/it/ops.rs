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

pub(crate) async fn actions(place: &Place, database: &str) -> Vec<(String, String, Value, String, String)> {
    let mut operator = place.connect(database, Duty::Operate).await;
    let sql = "select action, subject, detail, by_person, by_role from saga.operator_action order by id";
    sqlx::query_as(sql).fetch_all(&mut operator).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_can_be_prepared_as_the_operator() {
    let databases = ["order", "inventory", "payment"];
    let place = Place::migrated(&databases).await;
    let mut prepared = 0;
    for database in databases {
        let mut operator = place.connect(database, Duty::Operate).await;
        for [_, module, name, sql] in sagactl::statements().filter(|[of, ..]| *of == database) {
            prepared += 1;
            let prepare = format!("prepare s{prepared} as {sql}");
            sqlx::raw_sql(AssertSqlSafe(prepare))
                .execute(&mut operator)
                .await
                .unwrap_or_else(|error| panic!("{database}: {module}.{name}: {error}"));
        }
    }
    assert_eq!(
        prepared,
        sagactl::statements().count(),
        "one is of a database that is not here"
    );
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
            begin.elapsed().as_secs() < 120,
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

/// More than a list holds: it says so, and a replay of all is of all.
#[tokio::test(flavor = "multi_thread")]
async fn of_more_than_are_listed_all_are_replayed() {
    let place = Place::migrated(&["payment"]).await;
    let settings = place.settings(&["payment"]);
    let mut service = place.connect("payment", Duty::Work).await;
    sqlx::query(
        "insert into saga.parked_key (participant, key, reason)
         select 'payment', 'o-' || n, 'no JSON' from generate_series(1, 1200) n",
    )
    .execute(&mut service)
    .await
    .unwrap();
    let listed = sagactl(&settings, &["parked", "list", "--output", "json"]).await;
    assert_eq!(listed.json()["keys"].as_array().unwrap().len(), 1000);
    assert!(listed.err.contains("… and more"), "{}", listed.err);

    // The service: one key is refused again, and stays the oldest; another was freed by somebody else.
    let answering = tokio::spawn(async move {
        loop {
            for sql in [
                "update saga.parked_key set replay_requested = null where key = 'o-1'",
                "delete from saga.parked_key where replay_requested is not null or key = 'o-2'",
            ] {
                sqlx::query(sql).execute(&mut service).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let arguments = [
        "parked", "replay", "payment", "--all", "--reason", "fixed", "--wait", "120",
    ];
    let replayed = sagactl(&settings, &arguments).await;
    answering.abort();
    assert_eq!(replayed.code, 1, "{}", replayed.err);
    let left = sagactl(&settings, &["parked", "list", "--output", "json"]).await;
    let left = left.json();
    assert_eq!(left["keys"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["keys"][0]["key"], "o-1");
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
