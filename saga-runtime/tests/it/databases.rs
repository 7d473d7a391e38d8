use std::error::Error as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use local_stack::{Authority, PgBouncer, PoolMode, Secure, TestStack, TestStackOptions, free_ports};
use quadrille_process::config::Env;
use saga_runtime::database::{ConnectError, DatabaseConfig};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::acting::pay;
use crate::kiosk::Made;
use crate::world::{MIGRATOR, PATIENCE, World};

/// A PostgreSQL that lets in nobody who does not encrypt.
async fn secure() -> Result<TestStack> {
    let authority = Authority::new("the authority of the tests");
    let options = TestStackOptions {
        secure: Some(Secure {
            identity: authority.identity(),
            authority: authority.certificate(),
            kafka_users: Vec::new(),
        }),
        ..TestStackOptions::default()
    };
    Ok(tokio::task::spawn_blocking(move || TestStack::with_options(&options)).await??)
}

/// As a service connects with this `DATABASE_URL`.
async fn connect(url: &str) -> Result<PgPool, ConnectError> {
    let config = Env::from_pairs("KIOSK", [("KIOSK_DATABASE_URL", url)])
        .build(DatabaseConfig::from_env)
        .expect("a URL");
    config.durable_pool("kiosk").await
}

/// Why a service does not connect.
async fn refusal(url: &str) -> String {
    let error = connect(url).await.expect_err("refused");
    let cause = error.source().expect("what the last host said").to_string();
    format!("{error}: {cause}")
}

/// The port of the server that a service with this `DATABASE_URL` works on, if it may write there.
async fn port(url: &str) -> Result<u16> {
    let pool = connect(url).await?;
    let (port, standby): (i32, bool) = sqlx::query_as("select inet_server_port(), pg_is_in_recovery()")
        .fetch_one(&pool)
        .await?;
    assert!(!standby, "a standby takes no writes");
    Ok(u16::try_from(port)?)
}

fn port_of(address: &str) -> u16 {
    let (_, port) = address.rsplit_once(':').expect("host:port");
    port.parse().expect("a port")
}

/// Processes of the old build start again while those of a new one come up, which has migrated.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_starts_on_a_database_that_is_newer_than_itself() -> Result<()> {
    let world = World::new().await?;
    for table in ["saga._outbox_migrations", "saga._migrations", "_sqlx_migrations"] {
        let newer = format!(
            "insert into {table} (version, description, success, checksum, execution_time)
             values (99999999999999, 'of tomorrow', true, '\\x00', 0)"
        );
        sqlx::query(sqlx::AssertSqlSafe(newer))
            .execute(&world.admin)
            .await?;
    }
    saga_runtime::migrate::apply(&world.admin, &MIGRATOR).await?;
    saga_runtime::migrate::check(&world.admin, &MIGRATOR).await?;
    let running = world.start("old").await?;
    running.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_only_with_the_right_authority_name_and_encryption() -> Result<()> {
    let stack = secure().await?;
    let url = stack.addresses().postgres_admin_url;
    let pool = connect(&url).await?;
    let encrypted: bool = sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .fetch_one(&pool)
        .await?;
    assert!(encrypted);

    let stranger = stack.dir().join("stranger.pem");
    fs::write(&stranger, Authority::new("a stranger").certificate())?;
    let ca_file = stack.ca_file().display().to_string();
    for (url, words) in [
        (
            url.replace(&ca_file, &stranger.display().to_string()),
            "UnknownIssuer",
        ),
        // The server's certificate is for its address.
        (url.replace("@127.0.0.1", "@localhost"), "not valid for name"),
        (url.replace("verify-full", "disable"), "no encryption"),
    ] {
        let said = refusal(&url).await;
        assert!(said.contains(words), "{words}: {said}");
        let port = port_of(&stack.postgres().address()).to_string();
        assert!(said.contains(&port), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_takes_writes_is_used() -> Result<()> {
    let stack = secure().await?;
    let standby = tokio::task::block_in_place(|| stack.standby())?;
    let admin_url = stack.addresses().postgres_admin_url;
    let [nobody] = free_ports()?;
    let (primary, standby, nobody) = (
        stack.postgres().address(),
        standby.address(),
        format!("127.0.0.1:{nobody}"),
    );
    let among = |hosts: &[&str]| admin_url.replace(&primary, &hosts.join(","));

    assert_eq!(port(&among(&[&standby, &primary])).await?, port_of(&primary));
    assert_eq!(port(&among(&[&primary, &standby])).await?, port_of(&primary));
    assert_eq!(port(&among(&[&nobody, &primary])).await?, port_of(&primary));
    let said = refusal(&among(&[&nobody, &standby])).await;
    assert!(
        said.contains("standby") && said.contains(&nobody) && said.contains(&standby),
        "{said}"
    );

    tokio::task::block_in_place(|| stack.postgres().stop_immediately())?;
    promote(&among(&[&standby])).await?;
    assert_eq!(port(&among(&[&primary, &standby])).await?, port_of(&standby));
    Ok(())
}

/// A failover as operators do it: nothing is lost, and the old primary comes back as a standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_its_database_to_another_host() -> Result<()> {
    let stack = tokio::task::spawn_blocking(TestStack::private).await??;
    let standby = tokio::task::block_in_place(|| stack.standby())?;
    let mut world = World::on(&stack.addresses()).await?;
    let (primary, standby) = (stack.postgres().address(), standby.address());
    let before = world.url.clone();
    world.url = before.replace(&primary, &format!("{primary},{standby}"));
    let service = world.start("a").await?;
    assert_eq!(pay(&service, "k1", 5).await.expect("done"), (5, false));

    tokio::task::block_in_place(|| stack.postgres().stop())?;
    let after = before.replace(&primary, &standby);
    promote(&after).await?;
    fs::write(stack.dir().join("postgres/standby.signal"), "")?;
    tokio::task::block_in_place(|| stack.postgres().start())?;

    let begun = Instant::now();
    let paid = loop {
        match pay(&service, "k2", 7).await {
            Ok(paid) => break paid,
            Err(error) => assert!(
                begun.elapsed() < PATIENCE,
                "{error}: {:?}",
                service.health.report()
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(paid, (12, false));
    world.admin = PgPool::connect(&after).await?;
    world.send(&Made {
        id: "v".into(),
        n: 1,
        what: String::new(),
    })?;
    world
        .until("select count(*) from visit where seen = array[1]", 1)
        .await?;
    service.stop().await
}

/// As an operator does it; returns once the server takes writes.
async fn promote(url: &str) -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    let promoted: bool = sqlx::query_scalar("select pg_promote()").fetch_one(&pool).await?;
    assert!(promoted);
    Ok(())
}

/// What a pool sets at each connection is there behind a pooler as well, which takes no settings at login.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_is_no_matter() -> Result<()> {
    if !PgBouncer::is_installed() {
        assert!(
            std::env::var_os("CI").is_none(),
            "deploy/native/prerequisites.sh test"
        );
        eprintln!("skipped: there is no pgbouncer here (deploy/native/prerequisites.sh test)");
        return Ok(());
    }
    let (stack, pooler) = tokio::task::spawn_blocking(|| {
        let stack = TestStack::private()?;
        let admin: sqlx::postgres::PgConnectOptions = stack.addresses().postgres_admin_url.parse()?;
        let url = stack.addresses().postgres_admin_url;
        let password = url.split(['@', ':']).nth(2).unwrap_or_default().to_owned();
        let pooler = stack.pgbouncer(PoolMode::Session, &[(admin.get_username(), &password)])?;
        anyhow::Ok((stack, pooler))
    })
    .await??;
    let url = stack.addresses().postgres_admin_url;
    let (login, _) = url.rsplit_once('@').expect("a login");
    let pool = connect(&format!("{login}@{}/postgres", pooler.address())).await?;
    let set: (String, String, String) = sqlx::query_as(
        "select current_setting('synchronous_commit'), current_setting('plan_cache_mode'),
                current_setting('idle_in_transaction_session_timeout')",
    )
    .fetch_one(&pool)
    .await?;
    assert_eq!(
        set,
        (
            "on".to_owned(),
            "force_generic_plan".to_owned(),
            "1min".to_owned()
        )
    );
    Ok(())
}
