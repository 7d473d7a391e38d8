use std::sync::Mutex;
use std::time::Duration;

use local_stack::TestStack;
use sagactl::migrate::{DATABASES, Database, Duty, Passwords, Target, databases};
use sqlx::{Connection as _, PgConnection};

use crate::place::{PASSWORD, Place};

fn only(names: &[&str]) -> Vec<Database> {
    names.iter().map(|name| *Database::named(name).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_everything_once_and_then_nothing() {
    let place = Place::new();
    let lines = Mutex::new(Vec::new());
    let say = |line: &str| lines.lock().unwrap().push(line.to_owned());
    databases(&place.target, DATABASES, &say).await.unwrap();
    let name = place.target.name(Database::named("order").unwrap());
    let first = std::mem::take(&mut *lines.lock().unwrap());
    assert!(
        first
            .iter()
            .any(|line| line.starts_with(&format!("database {name}: made;"))),
        "{first:?}"
    );

    let before = migrations(&place).await;
    databases(&place.target, DATABASES, &say).await.unwrap();
    let second = lines.lock().unwrap().join("\n");
    assert!(
        second.contains(&format!(
            "database {name}: there already; roles there already, passwords set"
        )),
        "{second}"
    );
    assert_eq!(migrations(&place).await, before);
}

async fn migrations(place: &Place) -> Vec<(i64, chrono::DateTime<chrono::Utc>)> {
    let mut order = place.connect("order", Duty::Work).await;
    let sql = "select version, installed_on from saga._outbox_migrations union all
               select version, installed_on from saga._migrations order by 2, 1";
    sqlx::query_as(sql).fetch_all(&mut order).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_do_it_at_the_same_time() {
    let (place, other) = (Place::new(), Place::new());
    let wanted = only(&["order", "sandbox"]);
    let (a, b, c) = tokio::join!(
        databases(&place.target, &wanted, &|_| {}),
        databases(&place.target, &wanted, &|_| {}),
        databases(&other.target, &wanted, &|_| {}),
    );
    a.unwrap();
    b.unwrap();
    c.unwrap();
    for duty in [Duty::Work, Duty::Migrate, Duty::Relay, Duty::Operate] {
        let mut connection = place.connect("order", duty).await;
        let me: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(me, Database::named("order").unwrap().role(duty));
    }
}

/// The replicas of a service that migrates at its start, when nothing is to be done.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_do_not_meet() {
    let place = Place::migrated(&["order"]).await;
    let order = Database::named("order").unwrap();
    let admin = place.admin_url.parse().unwrap();
    let owner = place.target.login(&admin, order, Duty::Migrate);
    for _ in 0..10 {
        let replicas = (0..8).map(|_| sagactl::migrate::tables(&owner, order, &|_| {}));
        futures::future::try_join_all(replicas).await.unwrap();
    }
}

/// A service that migrates at its start gives rights on the same schema that we give to its owner.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_where_nothing_is_to_be_changed() {
    let place = Place::migrated(&["order"]).await;
    let mut owner = place.connect("order", Duty::Migrate).await;
    let mut migration = owner.begin().await.unwrap();
    let worker = Database::named("order").unwrap().role(Duty::Work);
    let grant = sqlx::AssertSqlSafe(format!("grant usage on schema public to \"{worker}\""));
    sqlx::query(grant).execute(&mut *migration).await.unwrap();

    let wanted = only(&["order"]);
    let again = databases(&place.target, &wanted, &|_| {});
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .expect("it waits for a migration that has not ended")
        .unwrap();
    migration.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_migrates_for_ever_is_waited_for_and_named() {
    let mut place = Place::new();
    // Of one's own: other tests migrate on this server, and would wait as well.
    let stack = tokio::task::spawn_blocking(TestStack::private)
        .await
        .unwrap()
        .unwrap();
    place.target.admin_url = stack.addresses().postgres_admin_url.parse().unwrap();
    let mut somebody = PgConnection::connect(&stack.addresses().postgres_admin_url)
        .await
        .unwrap();
    sqlx::query("select pg_advisory_lock(hashtextextended('quadrille.migrate', 0))")
        .execute(&mut somebody)
        .await
        .unwrap();
    sqlx::query("alter role postgres set lock_timeout = '300ms'")
        .execute(&mut somebody)
        .await
        .unwrap();
    let said = Mutex::new(Vec::new());
    let say = |text: &str| said.lock().unwrap().push(text.to_owned());
    let error = databases(&place.target, &only(&["order"]), &say)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot wait any longer for somebody else who migrates"),
        "{error}"
    );
    assert_eq!(
        said.into_inner().unwrap(),
        ["somebody else migrates on this server; waiting at most 300ms (lock_timeout)"]
    );
    somebody.close().await.unwrap();
    databases(&place.target, &only(&["order"]), &|_| {})
        .await
        .unwrap();
}

/// As a database comes from PostgreSQL 14 or older, by an upgrade or from a dump.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_was_open_to_everybody_is_closed() {
    let place = Place::migrated(&["order"]).await;
    let mut owner = place.connect("order", Duty::Migrate).await;
    sqlx::query("grant create on schema public to public")
        .execute(&mut owner)
        .await
        .unwrap();
    databases(&place.target, &only(&["order"]), &|_| {})
        .await
        .unwrap();
    let mut worker = place.connect("order", Duty::Work).await;
    let refused = sqlx::query("create table public.mine (id int)")
        .execute(&mut worker)
        .await
        .unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "42501", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_another_services_database() {
    let place = Place::new();
    let wanted = only(&["order", "inventory", "sandbox"]);
    databases(&place.target, &wanted, &|_| {}).await.unwrap();
    for database in &wanted {
        for role in &wanted {
            for duty in role.duties() {
                let entered = place.connect_as(database.name, role.name, *duty).await;
                let who = format!("{} in {}", role.role(*duty), database.name);
                match entered {
                    Ok(_) => assert_eq!(role.name, database.name, "{who}"),
                    Err(error) => {
                        assert_ne!(role.name, database.name, "{who}: {error}");
                        let code = error
                            .as_database_error()
                            .and_then(|e| e.code().map(|c| c.into_owned()));
                        assert_eq!(code.as_deref(), Some("42501"), "{who}: {error}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_its_duty_and_nothing_else() {
    let place = Place::new();
    databases(&place.target, &only(&["order"]), &|_| {})
        .await
        .unwrap();

    let may = |yes: bool, duty: Duty, sql: &'static str| (yes, duty, sql);
    let cases = [
        // The service works, and owns nothing.
        may(
            true,
            Duty::Work,
            "insert into saga.outbox (id, aggregatetype, aggregateid, type) values (gen_random_uuid(), 't', 'k', 'e')",
        ),
        may(true, Duty::Work, "select * from saga.parked_key"),
        may(true, Duty::Work, "select version from saga._migrations"),
        may(true, Duty::Work, "select version from saga._outbox_migrations"),
        may(true, Duty::Work, "select version from _sqlx_migrations"),
        may(false, Duty::Work, "delete from saga.outbox"),
        may(false, Duty::Work, "truncate saga.outbox_0"),
        may(false, Duty::Work, "create table mine (id int)"),
        may(false, Duty::Work, "create schema mine"),
        may(
            false,
            Duty::Work,
            "insert into saga.pause (participant, what, reason) values ('order', '*', '')",
        ),
        may(false, Duty::Work, "select * from saga.operator_action"),
        may(false, Duty::Work, "update saga.relay set fence = fence + 1"),
        // The relay reads the outbox and empties its leaves.
        may(true, Duty::Relay, "select * from saga.outbox"),
        may(true, Duty::Relay, "truncate saga.outbox_0"),
        may(true, Duty::Relay, "select * from saga.relay"),
        may(
            false,
            Duty::Relay,
            "insert into saga.outbox (id, aggregatetype, aggregateid, type) values (gen_random_uuid(), 't', 'k', 'e')",
        ),
        may(false, Duty::Relay, "delete from saga.outbox"),
        may(false, Duty::Relay, "select * from saga.effect"),
        may(false, Duty::Relay, "select * from saga.parked_message"),
        may(false, Duty::Relay, "create table mine (id int)"),
        // An operator looks and mends.
        may(true, Duty::Operate, "select id, type, headers from saga.outbox"),
        may(
            true,
            Duty::Operate,
            "select id, kind, last_error from saga.effect",
        ),
        // A charge holds the card's token.
        may(false, Duty::Operate, "select payload from saga.outbox"),
        may(false, Duty::Operate, "select payload from saga.effect"),
        may(true, Duty::Operate, "select * from saga.relay"),
        may(true, Duty::Operate, "delete from saga.parked_message"),
        may(
            true,
            Duty::Operate,
            "update saga.effect set due_at = now(), attempt = 0",
        ),
        may(
            true,
            Duty::Operate,
            "insert into saga.pause (participant, what, reason) values ('order', '*', '')",
        ),
        may(
            true,
            Duty::Operate,
            "insert into saga.operator_action (action, subject, by_person) values ('a', 's', 'p')",
        ),
        may(false, Duty::Operate, "update saga.effect set payload = ''"),
        may(
            false,
            Duty::Operate,
            "insert into saga.outbox (id, aggregatetype, aggregateid, type) values (gen_random_uuid(), 't', 'k', 'e')",
        ),
        may(false, Duty::Operate, "delete from saga.operator_action"),
        may(
            false,
            Duty::Operate,
            "update saga.operator_action set by_person = ''",
        ),
        may(
            false,
            Duty::Operate,
            "update saga.consumer_offset set next_offset = 0",
        ),
        may(false, Duty::Operate, "create table mine (id int)"),
        may(true, Duty::Migrate, "create table mine (id int)"),
    ];
    for (yes, duty, sql) in cases {
        let mut connection = place.connect("order", duty).await;
        let result = sqlx::query(sql).execute(&mut connection).await;
        match (yes, result) {
            (true, Ok(_)) => {}
            (true, Err(error)) => panic!("{duty:?} may not {sql}: {error}"),
            (false, Ok(_)) => panic!("{duty:?} may {sql}"),
            (false, Err(error)) => {
                let code = error
                    .as_database_error()
                    .and_then(|e| e.code().map(|c| c.into_owned()));
                assert_eq!(code.as_deref(), Some("42501"), "{duty:?} {sql}: {error}");
            }
        }
    }
    let mut operator = place.connect("order", Duty::Operate).await;
    assert!(
        writable_tables_outside_of_the_engine(&mut operator)
            .await
            .is_empty()
    );
}

/// Tables of the service itself that this role may change.
async fn writable_tables_outside_of_the_engine(connection: &mut PgConnection) -> Vec<String> {
    let sql = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'public' and c.relkind in ('r', 'p')
                  and has_table_privilege(c.oid, 'insert, update, delete, truncate')";
    sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_password_is_said_before_anything_is_made() {
    let mut place = Place::new();
    place.target.passwords = Passwords::same("");
    let error = databases(&place.target, &only(&["sandbox"]), &|_| {})
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no password is given for sandbox, sandbox_migrate"
    );
    let mut passwords = place;
    passwords.target.passwords = Passwords::same(PASSWORD);
    let entered = passwords
        .connect_as("sandbox", "sandbox", Duty::Work)
        .await
        .unwrap_err();
    let code = entered
        .as_database_error()
        .and_then(|e| e.code().map(|c| c.into_owned()));
    assert!(matches!(code.as_deref(), Some("3D000" | "28P01")), "{entered}");
}

/// As with databases that somebody else runs: the administrator may create databases and roles, and that is all.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_need_not_be_a_superuser() {
    // Roles belong to the server, so this one must have made none yet.
    let stack = tokio::task::spawn_blocking(TestStack::private)
        .await
        .unwrap()
        .unwrap();
    let superuser = stack.addresses().postgres_admin_url;
    let mut connection = PgConnection::connect(&superuser).await.unwrap();
    sqlx::query("create role boss login createdb createrole password 'boss'")
        .execute(&mut connection)
        .await
        .unwrap();
    let (_, host) = superuser.rsplit_once('@').unwrap();
    let target = Target {
        admin_url: format!("postgres://boss:boss@{host}").parse().unwrap(),
        prefix: String::new(),
        passwords: Passwords::same(PASSWORD),
    };
    for _ in 0..2 {
        databases(&target, DATABASES, &|_| {}).await.unwrap();
    }
    tokio::task::spawn_blocking(move || drop(stack)).await.unwrap();
}
