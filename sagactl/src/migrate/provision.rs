use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::catalog::{Database, Duty};
use super::{Error, Say, Target, scram};

/// Databases and roles belong to the server, so one of us at a time touches them: PostgreSQL answers two
/// at once with "tuple concurrently updated".
const LOCK: &str = "select pg_advisory_lock(hashtextextended('quadrille.migrate', 0))";

const TRY_LOCK: &str = "select pg_try_advisory_lock(hashtextextended('quadrille.migrate', 0))";

const HOLDER: &str = "\
wait any longer for somebody else who migrates (select a.* from pg_stat_activity a join pg_locks l using (pid) where \
l.locktype = 'advisory' and l.granted)";

/// Whoever has set it, in the URL or for his role, knows how long he would wait.
const BOUND: &str = "\
select set_config('lock_timeout', coalesce(nullif(current_setting('lock_timeout'), '0'), '10min'), false)";

const ROLE_EXISTS: &str = "select exists (select from pg_roles where rolname = $1)";

const DATABASE_EXISTS: &str = "select exists (select from pg_database where datname = $1)";

/// To hand a schema to a role one has to be a member of it, unless one is a superuser.
const IS_SUPERUSER: &str = "select rolsuper from pg_roles where rolname = current_user";

/// Up to PostgreSQL 14 everybody may make tables there.
const MAY_CREATE_IN_PUBLIC: &str = "select has_schema_privilege($1, 'public', 'create')";

/// Makes what is missing of databases and roles, and sets rights and passwords.
pub(super) async fn run(
    admin: &PgConnectOptions,
    target: &Target,
    wanted: &[Database],
    say: Say<'_>,
) -> Result<(), Error> {
    let mut server = Server::connect(admin).await?;
    server.take_turn(say).await?;
    for database in wanted {
        let made = server.make_roles(database, target).await?;
        let name = target.name(database);
        let is_new = server.make_database(&name).await?;
        server.set_database_rights(database, &name).await?;
        let mut inside = Server::connect(&admin.clone().database(&name)).await?;
        inside.set_schema_rights(database).await?;
        inside.close().await;
        let database = if is_new { "made" } else { "there already" };
        let roles = match made {
            0 => "roles there already, passwords set".to_owned(),
            made => format!("{made} roles made"),
        };
        say(&format!("database {name}: {database}; {roles}"));
    }
    server.close().await;
    Ok(())
}

struct Server {
    connection: PgConnection,
}

impl Server {
    async fn connect(options: &PgConnectOptions) -> Result<Self, Error> {
        let connection = options.connect().await.map_err(|source| Error::ConnectAs {
            database: options.get_database().unwrap_or_default().to_owned(),
            role: options.get_username().to_owned(),
            source,
        })?;
        Ok(Self { connection })
    }

    /// Held until the connection ends, whatever comes.
    async fn take_turn(&mut self, say: Say<'_>) -> Result<(), Error> {
        let is_ours = sqlx::query_scalar(TRY_LOCK).fetch_one(&mut self.connection).await;
        if is_ours.map_err(refused("take turns with others who migrate"))? {
            return Ok(());
        }
        let bound: String = sqlx::query_scalar(BOUND)
            .fetch_one(&mut self.connection)
            .await
            .map_err(refused("bound a wait"))?;
        say(&format!(
            "somebody else migrates on this server; waiting at most {bound} (lock_timeout)"
        ));
        self.run(HOLDER, LOCK).await
    }

    async fn close(self) {
        // The server notices a closed socket as well.
        self.connection.close().await.ok();
    }

    async fn run(&mut self, doing: &str, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(refused(doing))
    }

    /// A statement that names things: those cannot be parameters. Whoever calls this has quoted them.
    async fn define(&mut self, doing: &str, sql: String) -> Result<(), Error> {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(refused(doing))
    }

    async fn ask(&mut self, doing: &str, sql: &'static str, name: &str) -> Result<bool, Error> {
        sqlx::query_scalar(sql)
            .bind(name)
            .fetch_one(&mut self.connection)
            .await
            .map_err(refused(doing))
    }

    /// Says how many are new. The others get the password that is wanted now.
    async fn make_roles(&mut self, database: &Database, target: &Target) -> Result<usize, Error> {
        let mut made = 0;
        for role in database.roles() {
            let exists = self.ask("look for roles", ROLE_EXISTS, &role).await?;
            made += usize::from(!exists);
            let verb = if exists { "alter" } else { "create" };
            let password = scram::verifier(target.passwords.of(&role));
            let sql = format!(
                "{verb} role {} login password {}",
                identifier(&role),
                literal(&password)
            );
            self.define(&format!("{verb} role {role}"), sql).await?;
        }
        Ok(made)
    }

    /// Says whether it is new.
    async fn make_database(&mut self, name: &str) -> Result<bool, Error> {
        if self.ask("look for databases", DATABASE_EXISTS, name).await? {
            return Ok(false);
        }
        self.define(
            &format!("create database {name}"),
            format!("create database {}", identifier(name)),
        )
        .await?;
        Ok(true)
    }

    async fn set_database_rights(&mut self, database: &Database, name: &str) -> Result<(), Error> {
        let doing = format!("set the rights of database {name}");
        let name = identifier(name);
        let roles: Vec<String> = database.roles().map(|role| identifier(&role)).collect();
        let owner = identifier(&database.role(Duty::Migrate));
        self.define(&doing, format!("revoke all on database {name} from public"))
            .await?;
        self.define(
            &doing,
            format!("grant connect on database {name} to {}", roles.join(", ")),
        )
        .await?;
        // It makes the schema `saga`.
        self.define(&doing, format!("grant create on database {name} to {owner}"))
            .await
    }

    async fn set_schema_rights(&mut self, database: &Database) -> Result<(), Error> {
        let doing = format!("set the rights of {}'s schema", database.name);
        let owner = identifier(&database.role(Duty::Migrate));
        let is_superuser: bool = sqlx::query_scalar(IS_SUPERUSER)
            .fetch_one(&mut self.connection)
            .await
            .map_err(refused(&doing))?;
        if !is_superuser {
            self.define(&doing, format!("grant {owner} to current_user"))
                .await?;
        }
        // Does nothing where the owner is the same.
        self.define(&doing, format!("alter schema public owner to {owner}"))
            .await?;
        // Only where there is something to revoke, unlike the line above this would write the schema's row
        // each time: whoever migrates in this database just then gives rights on the schema too, and
        // PostgreSQL answers one of the two with "tuple concurrently updated".
        if self.ask(&doing, MAY_CREATE_IN_PUBLIC, "public").await? {
            self.define(&doing, "revoke create on schema public from public".to_owned())
                .await?;
        }
        Ok(())
    }
}

fn refused(doing: &str) -> impl FnOnce(sqlx::Error) -> Error {
    let doing = doing.to_owned();
    move |source| Error::Refused { doing, source }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// With standard_conforming_strings, which is the default everywhere, a backslash is itself.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_end_their_quotes() {
        assert_eq!(identifier("order"), "\"order\"");
        assert_eq!(identifier("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
