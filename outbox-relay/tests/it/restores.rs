use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use local_stack::{Addresses, TestStack};
use saga_core::position::Position;

use super::checker::{Reader, Record};
use super::support::{Outbox, Running, eventually, run, shared};
use super::writers::Writers;

const PARTITIONS: i32 = 3;

const WRITERS: Writers = Writers {
    tasks: 2,
    transactions: 30,
    keys: 10,
    seed: 41,
};

/// Each key's last version.
type Versions = BTreeMap<String, i64>;

/// Nothing of the backup is skipped, what was published after it is not taken back, and every new position is above every
/// old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_goes_on_on_another_server() -> Result<()> {
    let Some(tools) = tools()? else { return Ok(()) };
    let stack = private().await?;
    let old = Outbox::on(stack.addresses()).await?;
    let topic = old.create_topic("events", PARTITIONS, &[]).await?;
    let published = published_and_waiting(&old, &topic).await?;
    let dump = stack.dir().join("dump");
    let from = format!("{}/{}", server(&old.servers.postgres_admin_url), old.name);
    command(
        Command::new(tools.join("pg_dump"))
            .args(["--format=custom", "--file"])
            .arg(&dump)
            .arg(&from),
    )?;
    let lost = lose(&old, &topic).await?;

    let new = Outbox {
        servers: Addresses {
            postgres_admin_url: shared().await.postgres_admin_url,
            ..old.servers.clone()
        },
        name: old.name.clone(),
    };
    // Its roles.
    Outbox::on(new.servers.clone()).await?;
    run(
        &mut new.admin().await?,
        &format!("create database {} owner it_migrate", new.name),
    )
    .await?;
    let to = format!("{}/{}", server(&new.servers.postgres_admin_url), new.name);
    command(
        Command::new(tools.join("pg_restore"))
            .args(["--exit-on-error", "--dbname", &to])
            .arg(&dump),
    )?;
    goes_on(&new, &topic, &published, &lost).await
}

/// The log is replayed up to a moment, and what was committed after it never was.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_to_a_point_in_time_goes_on() -> Result<()> {
    let stack = private().await?;
    let data = stack.dir().join("postgres");
    let archive = stack.dir().join("archive");
    let outbox = Outbox::on(stack.addresses()).await?;
    let mut admin = outbox.admin().await?;
    owned_like(&data, &archive)?;
    run(&mut admin, "alter system set archive_mode = on").await?;
    let keep = format!("cp %p {}/%f", archive.display());
    run(
        &mut admin,
        &format!("alter system set archive_command = '{keep}'"),
    )
    .await?;
    drop(admin);
    tokio::task::block_in_place(|| {
        stack.postgres().stop()?;
        stack.postgres().start()
    })?;

    let topic = outbox.create_topic("events", PARTITIONS, &[]).await?;
    let backup = stack.dir().join("backup");
    let mut admin = outbox.admin().await?;
    run(&mut admin, "select pg_backup_start('before', fast => true)").await?;
    copy(&data, &backup)?;
    let label: String = sqlx::query_scalar("select labelfile from pg_backup_stop(wait_for_archive => false)")
        .fetch_one(&mut admin)
        .await?;
    let published = published_and_waiting(&outbox, &topic).await?;
    run(&mut admin, "select pg_create_restore_point('here')").await?;
    let lost = lose(&outbox, &topic).await?;
    let last: String = sqlx::query_scalar("select pg_walfile_name(pg_switch_wal())")
        .fetch_one(&mut admin)
        .await?;
    eventually("the log is archived", || async { archive.join(&last).exists() }).await;
    drop(admin);

    tokio::task::block_in_place(|| stack.postgres().stop())?;
    replace(&data, &backup)?;
    std::fs::remove_file(data.join("postmaster.pid")).ok();
    write_owned(&data, "backup_label", &label)?;
    write_owned(&data, "recovery.signal", "")?;
    let recovery = format!(
        "\nrestore_command = 'cp {}/%f %p'\nrecovery_target_name = 'here'\nrecovery_target_action = 'promote'\n",
        archive.display()
    );
    let settings = data.join("postgresql.auto.conf");
    let written = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, written + &recovery)?;
    tokio::task::block_in_place(|| stack.postgres().start())?;
    goes_on(&outbox, &topic, &published, &lost).await
}

/// The server has the same identity and the same timeline: only the broker knows that there was more.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_data_directory_goes_on() -> Result<()> {
    copied_and_put_back("select 1").await
}

/// A backup from before two promotions is two epochs behind, and would begin one that consumers have seen the end of.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_above_all_that_were_published() -> Result<()> {
    // As after so many promotions.
    copied_and_put_back("update saga.relay set epoch = epoch + 3").await
}

/// The server's data directory is copied while it is stopped, and comes back after more was published.
async fn copied_and_put_back(meanwhile: &str) -> Result<()> {
    let stack = private().await?;
    let data = stack.dir().join("postgres");
    let backup = stack.dir().join("backup");
    let outbox = Outbox::on(stack.addresses()).await?;
    let topic = outbox.create_topic("events", PARTITIONS, &[]).await?;
    let published = published_and_waiting(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.postgres().stop())?;
    copy(&data, &backup)?;
    tokio::task::block_in_place(|| stack.postgres().start())?;
    run(&mut outbox.superuser().await?, meanwhile).await?;
    let lost = lose(&outbox, &topic).await?;
    tokio::task::block_in_place(|| stack.postgres().stop())?;
    replace(&data, &backup)?;
    tokio::task::block_in_place(|| stack.postgres().start())?;
    goes_on(&outbox, &topic, &published, &lost).await
}

async fn private() -> Result<TestStack> {
    Ok(tokio::task::spawn_blocking(TestStack::private).await??)
}

/// What was published before the backup. There is more in it that was not.
async fn published_and_waiting(outbox: &Outbox, topic: &str) -> Result<Versions> {
    let relay = Running::start(outbox.relay("a"));
    let published = WRITERS.write(outbox, topic).await?;
    eventually("all is acknowledged", || async {
        relay.handle.oldest_unpublished().is_zero()
    })
    .await;
    relay.stop().await;
    let waiting = WRITERS.write_more(outbox, topic).await?;
    ensure!(waiting.values().sum::<i64>() > published.values().sum::<i64>());
    Ok(published)
}

/// Publishes what the backup will know nothing of. Returns the highest position of it.
async fn lose(outbox: &Outbox, topic: &str) -> Result<Position> {
    let relay = Running::start(outbox.relay("a"));
    let written = WRITERS.write_more(outbox, topic).await?;
    let reader = Reader::new(outbox, topic, PARTITIONS)?;
    let total: i64 = written.values().sum();
    let records = reader.take(usize::try_from(total)?).await;
    relay.stop().await;
    records
        .iter()
        .map(Record::position)
        .max()
        .context("nothing was published")
}

/// What the backup holds unpublished goes out, and what is written then, each key's versions in their order, and all of
/// it above what was lost.
async fn goes_on(outbox: &Outbox, topic: &str, published: &Versions, lost: &Position) -> Result<()> {
    let relay = Running::start(outbox.relay("b"));
    relay.until_publishing().await;
    let expected = WRITERS.write_more(outbox, topic).await?;
    let wanted: i64 = expected.values().sum::<i64>() - published.values().sum::<i64>();
    let reader = Reader::new(outbox, topic, PARTITIONS)?;
    let mut again: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut count = 0;
    while count < wanted {
        let record = reader.take(1).await.remove(0);
        if record.position() <= *lost {
            continue;
        }
        let version = std::str::from_utf8(record.payload.as_deref().context("a payload")?)?.parse()?;
        again.entry(record.key).or_default().push(version);
        count += 1;
    }
    ensure!(
        reader.next(Duration::from_millis(500)).await.is_none(),
        "something came twice"
    );
    for (key, last) in &expected {
        let versions: Vec<i64> = (published[key] + 1..=*last).collect();
        let came = again.remove(key).unwrap_or_default();
        ensure!(came == versions, "key {key}: {came:?} came, and not {versions:?}");
    }
    let (epoch, ..) = outbox.acked().await?;
    ensure!(epoch > 1 && epoch >= i64::from(lost.epoch), "epoch {epoch}");
    relay.stop().await;
    Ok(())
}

/// Programs of the server's version; `None` where they cannot be had and need not.
fn tools() -> Result<Option<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cache = std::env::var_os("QUADRILLE_CACHE").map_or_else(|| root.join(".local/cache"), PathBuf::from);
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(root.join("deploy/native/postgres-tools.sh"))
        .arg(cache)
        .output()?;
    if status.success() {
        return Ok(Some(PathBuf::from(String::from_utf8(stdout)?.trim())));
    }
    let why = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    Ok(None)
}

/// A URL without its database.
fn server(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(server, _)| server)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // Files come and go under a running server.
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output()?;
    let said = String::from_utf8_lossy(&copied.stderr);
    let vanished = said.lines().all(|line| line.contains("No such file"));
    ensure!(copied.status.success() || vanished, "{said}");
    Ok(())
}

fn replace(data: &Path, backup: &Path) -> Result<()> {
    std::fs::rename(data, data.with_extension("lost"))?;
    Ok(std::fs::rename(backup, data)?)
}

/// A folder that the server may write to.
fn owned_like(data: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir(folder)?;
    give(data, folder)
}

fn write_owned(data: &Path, name: &str, text: &str) -> Result<()> {
    let file = data.join(name);
    std::fs::write(&file, text)?;
    give(data, &file)
}

fn give(data: &Path, what: &Path) -> Result<()> {
    let reference = format!("--reference={}", data.display());
    command(Command::new("chown").arg(reference).arg(what))
}

fn command(command: &mut Command) -> Result<()> {
    let Output { status, stderr, .. } = command.output().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&stderr));
    }
    Ok(())
}
