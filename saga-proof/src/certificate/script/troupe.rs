use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Client;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use uuid::Uuid;

use super::act::{Act, Ask, filled, shown};
use super::mistake::Play;
use super::{Scene, Shows};
use crate::certificate::certified::Setting;
use crate::certificate::path::Saga;
use crate::certificate::terms::Plays;
use crate::stage::System;
use crate::stage::wait::until;

/// Tables of the form that `saga_runtime::Documents` wants for sagas. Shared rows have no end.
const DOCUMENTS: &str = "\
select quote_ident(table_schema) || '.' || quote_ident(table_name) from information_schema.columns
 where (column_name, data_type) in (('key', 'text'), ('state', 'jsonb'), ('ended_at', 'timestamp with time zone'))
 group by table_schema, table_name having count(*) = 3 order by 1";
const FIRE: &str = "update saga.timer set due_at = now() where saga = $1";
const UNFIRED: &str = "select count(*) from saga.timer where saga = $1 and due_at <= now()";

/// A system that plays a script.
#[derive(Debug)]
pub(super) struct Troupe {
    play: Play,
    system: System,
    http: Client,
    /// Where each service keeps its documents.
    tables: BTreeMap<&'static str, String>,
}

/// What a part knows of a saga.
#[derive(Debug)]
struct Known {
    state: Option<String>,
    /// Only a document says so.
    has_ended: Option<bool>,
}

impl Play {
    /// Everything is at work: looks where things are, and does what comes first.
    pub(super) async fn on(&self, system: System) -> Result<Troupe> {
        let mut tables = BTreeMap::new();
        for part in self
            .script
            .parts
            .names()
            .filter(|part| self.script.parts.has_database(part))
        {
            if !self.script.shows.contains_key(part) {
                tables.insert(part, documents(part, system.database(part)).await?);
            }
        }
        let troupe = Troupe {
            play: self.clone(),
            system,
            http: Client::new(),
            tables,
        };
        for ask in &self.script.first {
            troupe.ask(ask, "").await?;
        }
        Ok(troupe)
    }
}

/// The table of documents of a service.
async fn documents(part: &str, database: &PgPool) -> Result<String> {
    let tables: Vec<String> = sqlx::query_scalar(DOCUMENTS).fetch_all(database).await?;
    match <[String; 1]>::try_from(tables) {
        Ok([table]) => Ok(table),
        Err(tables) => bail!(
            "{part} has {} tables like those of saga_runtime::Documents, so it is not known how it has a saga; \
             say .reads(\"{part}\", \"select status from … where … = $1\")",
            tables.len()
        ),
    }
}

impl Troupe {
    fn scene(&self, path: &str) -> &Scene {
        let mut scenes = self.play.script.scenes.iter();
        scenes
            .find(|scene| scene.name == path)
            .expect("a path of the script")
    }

    /// Asks until there is an answer.
    async fn ask(&self, ask: &Ask, key: &str) -> Result<()> {
        let address = self.system.address(ask.part);
        until(&format!("{} to answer", ask.part), async || {
            match ask.once(&self.http, &address, key).await {
                Ok(Ok(())) => Ok(Ok(())),
                Ok(Err(away)) => Err(away),
                // That will not get better.
                Err(wrong) => Ok(Err(wrong)),
            }
        })
        .await?
    }

    async fn act(&self, act: &Act, key: &str) -> Result<()> {
        let part = match act {
            Act::Ask(ask) => return self.ask(ask, key).await,
            Act::Due(part) => part,
        };
        let database = self.system.database(part);
        let due = sqlx::query(FIRE).bind(key).execute(database).await?;
        ensure!(
            due.rows_affected() > 0,
            "{part} has set no timer for {key} that could be due"
        );
        until(&format!("the timer of {part} to fire"), async || {
            let unfired: i64 = sqlx::query_scalar(UNFIRED).bind(key).fetch_one(database).await?;
            ensure!(unfired == 0, "it has not");
            anyhow::Ok(())
        })
        .await
    }

    /// Who holds the row that a service has of a saga keeps the service from hearing of it. On a connection of his own: for so long
    /// nobody else could have it.
    async fn hold(&self, part: &'static str, key: &str) -> Result<PgConnection> {
        let table = self.tables.get(part).with_context(|| {
            format!(".before(\"{part}\", …) needs its documents, and {part} has a store of its own")
        })?;
        let mut holder = PgConnection::connect(&self.system.admin_url(part)).await?;
        holder.execute("begin").await?;
        let insert = format!("insert into {table} (key) values ($1)");
        let held = sqlx::query(AssertSqlSafe(insert)).bind(key);
        held.execute(&mut holder).await?;
        Ok(holder)
    }

    async fn known(&self, part: &str, key: &str) -> Result<Known> {
        let state = match self.play.script.shows.get(part) {
            Some(Shows::Answer(path, pointer)) => {
                let url = self.system.address(part) + &filled(path, key);
                shown(&self.http, &url, &filled(pointer, key)).await?
            }
            Some(Shows::Row(query)) => {
                let found = sqlx::query_scalar(*query).bind(key);
                let found: Option<Option<String>> = found.fetch_optional(self.system.database(part)).await?;
                found.flatten()
            }
            None => {
                let table = &self.tables[part];
                let query =
                    format!("select state->>'status', ended_at is not null from {table} where key = $1");
                let found = sqlx::query_as(AssertSqlSafe(query)).bind(key);
                let found: Option<(Option<String>, bool)> =
                    found.fetch_optional(self.system.database(part)).await?;
                let (state, has_ended) = found.unwrap_or_default();
                let has_ended = Some(has_ended);
                return Ok(Known { state, has_ended });
            }
        };
        Ok(Known {
            state,
            has_ended: None,
        })
    }

    /// Waits until a part is through with it. Whether it ended as it should is asked later.
    async fn ended(&self, part: &str, key: &str, wanted: &str) -> Result<()> {
        until(&format!("{part} to have it as {wanted}"), async || {
            let known = self.known(part, key).await?;
            let is_there = known.state.as_deref() == Some(wanted);
            ensure!(
                known.has_ended.unwrap_or(is_there),
                "it has it as {:?}",
                known.state
            );
            anyhow::Ok(())
        })
        .await
    }
}

impl Plays for Troupe {
    fn setting(&self) -> Setting<'_> {
        self.system.setting()
    }

    fn key(&self, _: &'static str, token: Uuid) -> String {
        token.to_string()
    }

    async fn walk(&self, Saga { path, key, .. }: &Saga) -> Result<()> {
        let scene = self.scene(path);
        let mut holders = Vec::new();
        let mut held: Vec<&'static str> = scene.acts.iter().filter_map(|(held, _)| *held).collect();
        held.sort_unstable();
        held.dedup();
        for part in held {
            holders.push(self.hold(part, key).await?);
        }
        let begins = self.play.begins.clone().with(&scene.with);
        self.ask(&begins, key).await?;
        for (_, act) in &scene.acts {
            self.act(act, key).await?;
        }
        for holder in holders {
            holder.close().await?;
        }
        for (part, wanted) in &self.play.ends[path] {
            self.ended(part, key, wanted).await?;
        }
        Ok(())
    }

    async fn balance(&self, Saga { path, key, .. }: &Saga) -> Result<Vec<String>> {
        let end = &self.play.ends[path];
        let mut wrong = Vec::new();
        let shown = self.play.script.shows.keys().chain(self.tables.keys());
        for part in shown {
            let known = until(&format!("{part} to answer"), async || self.known(part, key).await).await?;
            let (found, wanted) = (known.state.as_deref(), end.get(part).copied());
            if found != wanted {
                let say = |state: Option<&str>| state.unwrap_or("nothing").to_owned();
                wrong.push(format!(
                    "{part} has it as {} and not as {}",
                    say(found),
                    say(wanted)
                ));
            }
        }
        Ok(wrong)
    }

    async fn audit(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
