use std::process::ExitCode;

use anyhow::Context as _;
use sqlx::postgres::PgPoolOptions;

use crate::config::Sources;

/// Migrates one outbox after the other.
pub(crate) async fn migrate(sources: Sources) -> anyhow::Result<ExitCode> {
    for source in sources.0 {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(source.database.primary().await?)
            .await
            .with_context(|| format!("connecting to {}", source.name))?;
        outbox_relay::migrate::outbox(&pool)
            .await
            .with_context(|| source.name.to_string())?;
        pool.close().await;
        println!("{} is up to date", source.name);
    }
    Ok(ExitCode::SUCCESS)
}
