use payment_sandbox::store::ALL;
use sqlx::{Connection, Either, Executor, PgConnection, SqlSafeStr, Statement};

use crate::harness::{Bank, Database};

#[tokio::test]
async fn every_statement_prepares_as_the_role_that_runs_it() {
    let bank = Bank::open().await;
    let mut worker = PgConnection::connect(bank.config.database_url.expose())
        .await
        .unwrap();
    let mut count = 0;
    for (name, statement) in ALL.iter().copied().flatten() {
        let prepared = match (&mut worker).prepare(statement.into_sql_str()).await {
            Ok(prepared) => prepared,
            Err(error) => panic!("{name}: {error}"),
        };
        // Preparing does not look at privileges; beginning to execute does.
        let nulls = match prepared.parameters() {
            Some(Either::Left(types)) => vec!["null"; types.len()],
            Some(Either::Right(count)) => vec!["null"; count],
            None => vec![],
        };
        let nulls = if nulls.is_empty() {
            String::new()
        } else {
            format!("({})", nulls.join(", "))
        };
        let explain =
            format!("prepare checked as {statement}; explain execute checked{nulls}; deallocate checked");
        if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .execute(&mut worker)
            .await
        {
            panic!("{name}: {error}");
        }
        count += 1;
    }
    assert!(count > 25, "statements are missing from the list: {count}");
}

#[tokio::test]
async fn the_worker_cannot_change_what_is_in_the_books() {
    let bank = Bank::open().await;
    let mut worker = PgConnection::connect(bank.config.database_url.expose())
        .await
        .unwrap();
    for forbidden in [
        "delete from charge",
        "update refund set amount_minor = 1",
        "drop table charge",
    ] {
        let error = worker.execute(forbidden).await.unwrap_err();
        let code = error.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
    }
}

#[tokio::test]
async fn several_may_migrate_at_once() {
    let database = Database::create().await;
    let migrate = || async {
        let mut connection = PgConnection::connect(&database.migrate_url).await.unwrap();
        payment_sandbox::store::MIGRATIONS
            .run_direct(None, &mut connection, false)
            .await
    };
    let (one, two, three) = tokio::join!(migrate(), migrate(), migrate());
    one.unwrap();
    two.unwrap();
    three.unwrap();
}
