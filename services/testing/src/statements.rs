use anyhow::{Context as _, Result, ensure};
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, Row as _, SqlSafeStr as _,
    Statement as _,
};

/// Tables that stay small, and may be read as a whole.
const SMALL: [&str; 4] = ["pause", "_outbox_migrations", "_migrations", "_sqlx_migrations"];

/// Prepares each statement (its name and its text) as the role of this URL, and begins to execute it, as a
/// service does: so it fits the tables, its role has the rights that it needs, and even on tables that are
/// empty it goes by an index, joins included.
///
/// # Errors
/// Those that do not.
pub async fn prepare<'s>(
    url: &str,
    statements: impl IntoIterator<Item = (&'s str, &'static str)>,
) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for (setting, value) in saga_runtime::database::PLANNING {
        let set = format!("set {setting} = {value}");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut connection).await?;
    }
    let (mut count, mut slow) = (0, Vec::new());
    for (name, statement) in statements {
        let prepared = (&mut connection)
            .prepare(statement.into_sql_str())
            .await
            .with_context(|| name.to_owned())?;
        let parameters = match prepared.parameters() {
            Some(Either::Left(types)) => types.len(),
            Some(Either::Right(count)) => count,
            None => 0,
        };
        let arguments = match parameters {
            0 => String::new(),
            count => format!("({})", vec!["null"; count].join(", ")),
        };
        // Preparing looks at no rights; planning for an execution does.
        let explain =
            format!("prepare checked as {statement}; explain execute checked{arguments}; deallocate checked");
        let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut connection)
            .await
            .with_context(|| name.to_owned())?
            .iter()
            .map(|line| line.try_get(0))
            .collect::<Result<_, _>>()?;
        let whole = plan
            .iter()
            .filter_map(|line| line.split_once("Seq Scan on ")?.1.split(' ').next())
            .find(|table| !SMALL.contains(table));
        if let Some(table) = whole {
            slow.push(format!("{name} reads the whole of {table}:\n{}", plan.join("\n")));
        }
        // An index may be read as a whole too: then what joins it is compared row by row.
        if plan
            .iter()
            .any(|line| line.trim_start().starts_with("Join Filter:"))
        {
            slow.push(format!(
                "{name} joins without an index for it:\n{}",
                plan.join("\n")
            ));
        }
        count += 1;
    }
    ensure!(count > 0, "there are no statements");
    ensure!(slow.is_empty(), "{}", slow.join("\n"));
    Ok(())
}
