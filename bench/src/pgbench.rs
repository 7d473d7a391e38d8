use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use local_stack::Checkout;
use tokio::process::Command;

use crate::backlog;
use crate::ground::Ground;
use crate::limits::WRITERS;

/// The program, of the server's version; or why it cannot be had here.
pub(crate) async fn fetch() -> Result<Result<PathBuf, String>> {
    let checkout = Checkout::find()?;
    let script = checkout.root().join("deploy/native/postgres-tools.sh");
    let fetched = Command::new(&script)
        .arg(checkout.cache())
        .output()
        .await
        .with_context(|| format!("cannot call {}", script.display()))?;
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr);
        return Ok(Err(why.trim_end().to_owned()));
    }
    let folder = String::from_utf8(fetched.stdout)?;
    Ok(Ok(Path::new(folder.trim_end()).join("pgbench")))
}

/// Transactions of one outbox row per second that PostgreSQL's own benchmark does, with as many sessions as our writers have.
pub(crate) async fn writers(
    program: &Path,
    ground: &Ground,
    (url, topic): (&str, &str),
    seconds: u64,
) -> Result<f64> {
    let script = ground.stack().dir().join("pgbench.sql");
    std::fs::write(&script, insert(topic)).with_context(|| format!("cannot write {}", script.display()))?;
    let ran = Command::new(program)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={WRITERS}"))
        .arg(format!("--time={seconds}"))
        .arg("--file")
        .arg(&script)
        .arg(url)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success(),
        "pgbench: {}{said}",
        String::from_utf8_lossy(&ran.stderr)
    );
    per_second(&said).with_context(|| format!("pgbench says no rate: {said}"))
}

/// What our writers insert, too. The payload is in hexadecimal: in its text pgbench would take colons for variables.
fn insert(topic: &str) -> String {
    let payload: String = backlog::order()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "insert into saga.outbox (id, aggregatetype, aggregateid, type, payload, headers) \
         values (gen_random_uuid(), '{topic}', 'k' || :client_id, 'bench.happened', decode('{payload}', 'hex'), \
                 '{{\"content-type\":\"application/json\",\"ce_dataschema\":\"bench.happened/1\"}}');\n"
    )
}

/// The rate that pgbench tells at its end.
fn per_second(said: &str) -> Option<f64> {
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rate.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_understood() {
        let said = "number of failed transactions: 0 (0.000%)\n\
                    latency average = 2.893 ms\n\
                    tps = 5530.25 (without initial connection time)\n";
        assert_eq!(per_second(said), Some(5530.25));
        assert_eq!(per_second("pgbench: error: Run was aborted"), None);
    }

    #[test]
    fn nothing_but_the_session_is_a_variable() {
        let sql = insert("latency");
        let is_variable = |after: &str| after.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let variables = sql.split(':').skip(1).filter(|after| is_variable(after));
        assert_eq!(variables.count(), 1, "{sql}");
    }
}
