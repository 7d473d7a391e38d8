use anyhow::{Context as _, Result, ensure};
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _, Statement as _,
};

/// Prepares each statement (its name and its text) as the role of this URL, and begins to execute it: so it
/// fits the tables, and its role has the rights that it needs.
///
/// # Errors
/// The first one that does not.
pub async fn prepare<'s>(
    url: &str,
    statements: impl IntoIterator<Item = (&'s str, &'static str)>,
) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut count = 0;
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
        sqlx::raw_sql(AssertSqlSafe(explain))
            .execute(&mut connection)
            .await
            .with_context(|| name.to_owned())?;
        count += 1;
    }
    ensure!(count > 0, "there are no statements");
    Ok(())
}
