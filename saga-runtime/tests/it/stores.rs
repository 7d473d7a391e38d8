use anyhow::Result;
use chrono::{DateTime, Utc};
use saga_runtime::conformance::{self, Samples};
use saga_runtime::store::Rows;
use saga_runtime::{Documents, Saved, Store};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::kiosk::{Kiosk, Pg, Visit};
use crate::world::World;

/// Of keys that no other check has used.
fn samples() -> Samples<Kiosk> {
    let name = || Uuid::new_v4().to_string();
    let visit = |n, over| Visit {
        seen: vec![n, 7],
        told: vec![format!("visit {n}")],
        over,
    };
    Samples {
        sagas: (0..3)
            .map(|_| (name(), vec![visit(1, false), visit(2, true)]))
            .collect(),
        shared: (0..2).map(|_| (name(), vec![1, i64::MAX])).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_these_tests_does_what_every_store_has_to_do() -> Result<()> {
    let world = World::new().await?;
    Ok(conformance::check(&world.admin, &Kiosk, &Pg, &samples()).await?)
}

fn documents() -> Documents<Kiosk> {
    Documents::new("visit_document").shared("till_document")
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_do_what_every_store_has_to_do() -> Result<()> {
    let world = World::new().await?;
    Ok(conformance::check(&world.admin, &Kiosk, &documents(), &samples()).await?)
}

/// What is parked may still be replayed, so its barrier stays; what says nothing goes.
#[tokio::test(flavor = "multi_thread")]
async fn documents_are_found_and_pruned() -> Result<()> {
    let world = World::new().await?;
    world
        .run("insert into saga.parked_key (participant, key, reason) values ('kiosk', 'parked', 'a test')")
        .await?;
    world
        .run("insert into visit_document (key, asked_at) values ('blank', now() - interval '1 day')")
        .await?;
    let long_ago = Utc::now() - chrono::TimeDelta::days(60);
    let mut tx = world.admin.begin().await?;
    let ended = |key: &str| Saved::<Kiosk> {
        key: key.to_owned(),
        state: Visit::default(),
        ended: true,
    };
    let sagas = ["over", "parked"].map(ended);
    let keys: Vec<String> = sagas.iter().map(|saga| saga.key.clone()).collect();
    documents().load(&mut tx, &keys).await?;
    documents().load_shared(&mut tx, &["a".to_owned()]).await?;
    let rows = [("a".to_owned(), 7)];
    documents().save(&mut tx, &sagas, &rows, long_ago).await?;
    tx.commit().await?;
    assert_eq!(
        documents().find_shared(&world.admin, &"a".to_owned()).await?,
        Some(7)
    );
    assert_eq!(
        documents().find_shared(&world.admin, &"b".to_owned()).await?,
        None
    );

    let mut tx = world.admin.begin().await?;
    let yesterday = Utc::now() - chrono::TimeDelta::days(1);
    assert_eq!(documents().prune(&mut tx, yesterday, 10).await?, 1);
    assert_eq!(documents().prune_blank(&mut tx, Utc::now(), 10).await?, 1);
    tx.commit().await?;
    let found = |key: &'static str| {
        let pool = world.admin.clone();
        async move { documents().find(&pool, &key.to_owned()).await }
    };
    assert_eq!(found("over").await?, None);
    assert_eq!(found("parked").await?, Some(Visit::default()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_of_a_store_breaks_its_rule() -> Result<()> {
    const SAVED: &str = "what was saved is loaded, and nothing else has changed";
    use Mistake::{
        AColumnNotSaved, NoLock, NoRowBeforeTheLock, OneNotSaved, OthersSaved, PrunesTooEarly,
        PrunesWhatWasSaved, ReadsNothing,
    };
    let world = World::new().await?;
    for (mistake, rule) in [
        (NoRowBeforeTheLock(Part::Sagas), "a saga without a row is locked"),
        (
            NoRowBeforeTheLock(Part::Shared),
            "a shared row that does not exist is locked",
        ),
        (NoLock(Part::Sagas), "a saga with a row is locked"),
        (NoLock(Part::Shared), "a shared row is locked"),
        (AColumnNotSaved, SAVED),
        (OneNotSaved(Part::Sagas), SAVED),
        (OneNotSaved(Part::Shared), SAVED),
        (OthersSaved, SAVED),
        (ReadsNothing, SAVED),
        (PrunesTooEarly, "a saga is pruned only when its retention is over"),
        (PrunesWhatWasSaved, "what is pruned as blank says nothing"),
    ] {
        let checked = conformance::check(&world.admin, &Kiosk, &Mistaken(mistake), &samples()).await;
        let broken = checked.expect_err(rule).to_string();
        assert!(
            broken.contains(&format!("that {rule}: ")),
            "{mistake:?}, instead of '{rule}': {broken}"
        );
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sagas,
    Shared,
}

/// What ended stays as a barrier, what says nothing does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_prunes_what_would_grow_for_ever() -> Result<()> {
    let world = World::new().await?;
    world
        .run(
            "insert into visit (id, seen, asked_at, ended_at)
             select name, case when blank then '{}' else '{1}'::int4[] end, now() - asked, now() - ended
               from (values ('blank, old', true, interval '11 minutes', null::interval),
                            ('blank, young', true, '9 minutes', null),
                            ('on its way', false, '90 days', null),
                            ('ended long ago', false, '90 days', '46 days'),
                            ('ended', false, '90 days', '44 days')) as v (name, blank, asked, ended)",
        )
        .await?;
    world
        .run(
            "insert into saga.command (owner, method, key, fingerprint, created_at)
             values ('o', 'pay', 'old', '', now() - interval '73 hours'), ('o', 'pay', 'young', '', now() - interval '71 hours')",
        )
        .await?;
    let service = world.start("a").await?;
    world
        .until("select count(*) from visit where id like 'blank%'", 1)
        .await?;
    service.stop().await?;
    let left: Vec<String> =
        sqlx::query_scalar("select id from visit union select key from saga.command order by 1")
            .fetch_all(&world.admin)
            .await?;
    assert_eq!(left, ["blank, young", "ended", "on its way", "young"]);
    Ok(())
}

/// What a store may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    NoRowBeforeTheLock(Part),
    NoLock(Part),
    AColumnNotSaved,
    OneNotSaved(Part),
    OthersSaved,
    ReadsNothing,
    PrunesTooEarly,
    PrunesWhatWasSaved,
}

/// [`Pg`] with a mistake.
struct Mistaken(Mistake);

impl Store<Kiosk> for Mistaken {
    async fn load(&self, tx: &mut PgConnection, keys: &[String]) -> Result<Rows<String, Visit>, sqlx::Error> {
        if self.0 == Mistake::NoRowBeforeTheLock(Part::Sagas) {
            let there: Vec<String> = sqlx::query_scalar("select id from visit where id = any($1)")
                .bind(keys)
                .fetch_all(&mut *tx)
                .await?;
            let absent = keys.iter().filter(|key| !there.contains(key));
            let mut rows: Rows<_, _> = absent.map(|key| (key.clone(), Visit::default())).collect();
            rows.extend(Pg.load(tx, &there).await?);
            return Ok(rows);
        }
        if self.0 == Mistake::NoLock(Part::Sagas) {
            sqlx::query("insert into visit (id) select unnest($1::text[]) on conflict do nothing")
                .bind(keys)
                .execute(&mut *tx)
                .await?;
            // The savepoint takes its row locks with it.
            let mut savepoint = tx.begin().await?;
            let rows = Pg.load(&mut savepoint, keys).await?;
            savepoint.rollback().await?;
            return Ok(rows);
        }
        Pg.load(tx, keys).await
    }

    async fn load_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[String],
    ) -> Result<Rows<String, Option<i64>>, sqlx::Error> {
        if self.0 == Mistake::NoRowBeforeTheLock(Part::Shared) {
            let there: Vec<String> = sqlx::query_scalar("select id from till where id = any($1)")
                .bind(keys)
                .fetch_all(&mut *tx)
                .await?;
            let absent = keys.iter().filter(|key| !there.contains(key));
            let mut rows: Rows<_, _> = absent.map(|key| (key.clone(), None)).collect();
            rows.extend(Pg.load_shared(tx, &there).await?);
            return Ok(rows);
        }
        if self.0 == Mistake::NoLock(Part::Shared) {
            sqlx::query("insert into till (id) select unnest($1::text[]) on conflict do nothing")
                .bind(keys)
                .execute(&mut *tx)
                .await?;
            let mut savepoint = tx.begin().await?;
            let rows = Pg.load_shared(&mut savepoint, keys).await?;
            savepoint.rollback().await?;
            return Ok(rows);
        }
        Pg.load_shared(tx, keys).await
    }

    async fn read_shared(
        &self,
        tx: &mut PgConnection,
        keys: &[String],
    ) -> Result<Rows<String, Option<i64>>, sqlx::Error> {
        if self.0 == Mistake::ReadsNothing {
            return Ok(keys.iter().map(|key| (key.clone(), None)).collect());
        }
        self.load_shared(tx, keys).await
    }

    async fn save(
        &self,
        tx: &mut PgConnection,
        sagas: &[Saved<Kiosk>],
        shared: &[(String, i64)],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        match self.0 {
            Mistake::AColumnNotSaved => {
                let forgetful = |saved: &Saved<Kiosk>| Saved {
                    key: saved.key.clone(),
                    state: Visit {
                        told: vec![],
                        ..saved.state.clone()
                    },
                    ended: saved.ended,
                };
                let sagas: Vec<_> = sagas.iter().map(forgetful).collect();
                Pg.save(tx, &sagas, shared, now).await
            }
            Mistake::OneNotSaved(Part::Sagas) => {
                Pg.save(tx, sagas.get(1..).unwrap_or_default(), shared, now).await
            }
            Mistake::OneNotSaved(Part::Shared) => {
                Pg.save(tx, sagas, shared.get(1..).unwrap_or_default(), now).await
            }
            Mistake::OthersSaved => {
                Pg.save(tx, sagas, shared, now).await?;
                let keys: Vec<&str> = sagas.iter().map(|saved| saved.key.as_str()).collect();
                sqlx::query("update visit set seen = '{9}' where id <> all($1)")
                    .bind(keys)
                    .execute(tx)
                    .await?;
                Ok(())
            }
            _ => Pg.save(tx, sagas, shared, now).await,
        }
    }

    async fn prune(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        match self.0 {
            Mistake::PrunesTooEarly => Pg.prune(tx, Utc::now(), limit).await,
            _ => Pg.prune(tx, before, limit).await,
        }
    }

    async fn prune_blank(
        &self,
        tx: &mut PgConnection,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, sqlx::Error> {
        match self.0 {
            Mistake::PrunesWhatWasSaved => Pg.prune(tx, before, limit).await,
            _ => Pg.prune_blank(tx, before, limit).await,
        }
    }
}
