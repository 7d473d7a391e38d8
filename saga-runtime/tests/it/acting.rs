use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use saga_runtime::{CommandError, Idempotency};

use crate::kiosk::{Greeter, In, Made, Pay};
use crate::world::{Running, WAITING, World};

fn id(key: &str, body: &str) -> Idempotency {
    Idempotency {
        owner: "o".into(),
        method: "pay".into(),
        key: key.into(),
        fingerprint: body.as_bytes().to_vec(),
    }
}

pub(crate) async fn pay(
    service: &Running,
    key: &str,
    coins: i64,
) -> Result<(i64, bool), CommandError<&'static str>> {
    let input = In::Pay(Pay {
        id: "v".into(),
        coins,
    });
    let id = id(key, &coins.to_string());
    let answer = service
        .handle
        .commands
        .submit(id, Some("v".to_owned()), input, None)
        .await?;
    Ok((answer.reply, answer.replayed))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_is_the_answer() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    assert_eq!(pay(&service, "k1", 5).await.expect("done"), (5, false));
    assert_eq!(pay(&service, "k2", 7).await.expect("done"), (12, false));
    assert_eq!(pay(&service, "k1", 5).await.expect("done"), (5, true));
    assert!(matches!(
        pay(&service, "k1", 6).await,
        Err(CommandError::KeyReused)
    ));
    // A refusal leaves nothing, so the same key may be used again.
    assert!(matches!(
        pay(&service, "k3", -1).await,
        Err(CommandError::Refused("coins are positive"))
    ));
    assert_eq!(pay(&service, "k3", 1).await.expect("done"), (13, false));
    assert_eq!(world.number("select count(*) from saga.command").await?, 3);
    assert_eq!(world.number("select coins from till").await?, 13);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_handle_is_dropped_goes_on() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    let meanwhile = async {
        world.send(&Made {
            id: "v".into(),
            n: 1,
            what: String::new(),
        })?;
        world.flush()?;
        world
            .until("select count(*) from visit where seen = '{1}'", 1)
            .await
    };
    service.without_handle(meanwhile).await
}

/// A shared row goes after `load_shared` has found it and before it has locked it.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_row_that_is_pruned_while_it_is_being_locked_is_kept() -> Result<()> {
    let world = World::new().await?;
    let service = world.start("a").await?;
    world.run("insert into till values ('till')").await?;
    let mut pruner = world.admin.begin().await?;
    sqlx::query("select from till for update")
        .execute(&mut *pruner)
        .await?;
    let prune = async {
        world.until(WAITING, 1).await?;
        sqlx::query("delete from till").execute(&mut *pruner).await?;
        anyhow::Ok(pruner.commit().await?)
    };
    let (paid, pruned) = tokio::join!(pay(&service, "k", 3), prune);
    pruned?;
    assert_eq!(paid.expect("done"), (3, false));
    service.stop().await?;
    assert_eq!(
        world
            .number("select coalesce(sum(coins), 0)::int8 from till")
            .await?,
        3
    );
    Ok(())
}

/// Many at once, each key twice, from two processes: each is done once, and every caller gets an answer.
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_arrive_together_are_each_done_once() -> Result<()> {
    let world = World::new().await?;
    let (a, b) = (world.start("a").await?, world.start("b").await?);
    let calls = (0..400).map(|n| {
        let service = if n % 2 == 0 { &a } else { &b };
        let key = format!("k{}", n / 2);
        async move { pay(service, &key, 1).await }
    });
    let answers = futures::future::join_all(calls).await;
    let mut firsts: Vec<i64> = Vec::new();
    let mut replays: Vec<i64> = Vec::new();
    for answer in answers {
        let (sum, replayed) = answer.expect("answered");
        if replayed {
            replays.push(sum)
        } else {
            firsts.push(sum)
        }
    }
    firsts.sort_unstable();
    replays.sort_unstable();
    assert_eq!(firsts, (1..=200).collect::<Vec<_>>());
    assert_eq!(replays, firsts);
    a.stop().await?;
    b.stop().await
}

/// Each caller hears what was stored for *its* request, whoever else of its batch asked with the same key.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_same_again_is_answered_beside_one_who_does_not() -> Result<()> {
    let world = World::new().await?;
    let service = world.start_with("a", &[("KIOSK_COMMANDS_WORKERS", "1")]).await?;
    assert_eq!(pay(&service, "k", 5).await.expect("done"), (5, false));
    let mut blocker = world.admin.begin().await?;
    sqlx::query("select from till for update")
        .execute(&mut *blocker)
        .await?;
    // Both wait behind the first, and so share the next batch.
    let together = async {
        world.until(WAITING, 1).await?;
        let (other, same, unblocked) = tokio::join!(biased; pay(&service, "k", 6), pay(&service, "k", 5), async {
            blocker.rollback().await
        });
        unblocked?;
        anyhow::Ok((other, same))
    };
    let (first, together) = tokio::join!(pay(&service, "first", 1), together);
    let (other, same) = together?;
    assert_eq!(first.expect("done"), (6, false));
    assert!(matches!(other, Err(CommandError::KeyReused)), "{other:?}");
    assert_eq!(same.expect("answered"), (5, true));
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_is_tried_again_under_the_same_key_until_it_is_answered() -> Result<()> {
    let world = World::new().await?;
    world.greeter.failures.store(2, Ordering::SeqCst);
    let service = world.start("a").await?;
    world.send(&Made {
        id: "v".into(),
        n: 1,
        what: "greet".into(),
    })?;
    world
        .until("select count(*) from visit where told = '{hello v}'", 1)
        .await?;
    assert_eq!(world.number("select count(*) from saga.effect").await?, 0);
    service.stop().await?;
    let calls = world.greeter.calls.lock().expect("not poisoned").clone();
    assert_eq!(
        calls
            .iter()
            .map(|(_, attempt, ask_first)| (*attempt, *ask_first))
            .collect::<Vec<_>>(),
        [(1, false), (2, false), (3, false)]
    );
    assert!(calls.iter().all(|(id, _, _)| *id == calls[0].0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_effect_is_told_as_unknown_and_can_be_replayed() -> Result<()> {
    let world = World::new().await?;
    world.greeter.failures.store(3, Ordering::SeqCst);
    let service = world.start("a").await?;
    world.send(&Made {
        id: "v".into(),
        n: 1,
        what: "greet".into(),
    })?;
    world
        .until(
            "select count(*) from visit where told = '{\"exhausted after 3\"}'",
            1,
        )
        .await?;
    assert_eq!(
        world
            .number("select count(*) from saga.effect where due_at is null")
            .await?,
        1
    );
    // As 'sagactl effects replay' does.
    world
        .run("update saga.effect set due_at = now(), attempt = 0")
        .await?;
    world
        .until(
            "select count(*) from visit where told = '{\"exhausted after 3\",\"hello v\"}'",
            1,
        )
        .await?;
    service.stop().await?;
    let calls = world.greeter.calls.lock().expect("not poisoned").clone();
    assert_eq!(
        calls
            .last()
            .map(|(id, attempt, ask_first)| (*id, *attempt, *ask_first)),
        Some((calls[0].0, 1, true))
    );
    Ok(())
}

/// Two processes, a lease that ends while the call is under way: both may call, one answer counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_under_the_current_claim_only() -> Result<()> {
    let world = World::new().await?;
    let (a, b) = (world.start("a").await?, world.start("b").await?);
    for n in 0..50 {
        world.send(&Made {
            id: format!("v{n}"),
            n,
            what: "greet".into(),
        })?;
    }
    // Every lease ends at once, again and again, as if each call were slower than its lease. None is exhausted by it.
    for _ in 0..20 {
        world
            .run("update saga.effect set due_at = clock_timestamp(), attempt = 0 where due_at > clock_timestamp()")
            .await?;
    }
    world
        .until("select count(*) from visit where told <> '{}'", 50)
        .await?;
    a.stop().await?;
    b.stop().await?;
    let told: Vec<(String, Vec<String>)> =
        sqlx::query_as("select id, told from visit where cardinality(told) <> 1")
            .fetch_all(&world.admin)
            .await?;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(world.told("v7").await?, ["hello v7"]);
    Ok(())
}

/// The first call's answer comes when its lease is over and a second call is under way: nobody listens to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_an_older_claim_is_dropped() -> Result<()> {
    let mut world = World::new().await?;
    let (open, _) = tokio::sync::watch::channel(0);
    world.greeter = Arc::new(Greeter {
        gate: Some(open.clone()),
        ..Greeter::default()
    });
    let service = world.start("a").await?;
    world.send(&Made {
        id: "v".into(),
        n: 1,
        what: "greet".into(),
    })?;
    world
        .until("select count(*) from saga.effect where attempt = 1", 1)
        .await?;
    world
        .run("update saga.effect set due_at = clock_timestamp()")
        .await?;
    world
        .until("select count(*) from saga.effect where attempt = 2", 1)
        .await?;
    while world.greeter.calls.lock().expect("not poisoned").len() < 2 {
        tokio::task::yield_now().await;
    }
    open.send_replace(1);
    // It is taken, looked at, and dropped: a later command has gone through the same database meanwhile.
    for n in 0..20 {
        pay(&service, &format!("k{n}"), 1).await.expect("done");
        assert_eq!(world.told("v").await?, Vec::<String>::new());
    }
    open.send_replace(2);
    world
        .until(
            "select count(*) from visit where told = '{\"answer of call 2\"}'",
            1,
        )
        .await?;
    assert_eq!(world.number("select count(*) from saga.effect").await?, 0);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_fire_once_and_not_after_they_were_cancelled() -> Result<()> {
    let world = World::new().await?;
    let (a, b) = (world.start("a").await?, world.start("b").await?);
    for n in 0..40 {
        world.send(&Made {
            id: format!("v{n}"),
            n,
            what: "closing".into(),
        })?;
        world.send(&Made {
            id: format!("w{n}"),
            n,
            what: "later".into(),
        })?;
        world.send(&Made {
            id: format!("w{n}"),
            n,
            what: "cancel".into(),
        })?;
    }
    world
        .until("select count(*) from visit where ended_at is not null", 40)
        .await?;
    world
        .until("select count(*) from visit where cardinality(seen) = 2", 40)
        .await?;
    assert_eq!(world.number("select count(*) from saga.timer").await?, 0);
    assert_eq!(
        world
            .number("select count(*) from visit where id like 'w%' and ended_at is not null")
            .await?,
        0
    );
    a.stop().await?;
    b.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_waits_and_goes_on_when_resumed() -> Result<()> {
    let world = World::new().await?;
    world
        .run("insert into saga.pause (participant, what, reason) values ('kiosk', 'greet', 'test')")
        .await?;
    let service = world.start("a").await?;
    // The copy of the table is read before the first effect can be claimed: the consumer needs the group first.
    world.send(&Made {
        id: "v".into(),
        n: 1,
        what: "greet".into(),
    })?;
    world
        .until("select count(*) from saga.effect where attempt = 0", 1)
        .await?;
    // Other things go on meanwhile.
    assert_eq!(pay(&service, "k", 1).await.expect("done"), (1, false));
    assert_eq!(world.greeter.calls.lock().expect("not poisoned").len(), 0);
    world.run("delete from saga.pause").await?;
    world
        .until("select count(*) from visit where told = '{hello v}'", 1)
        .await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_one_that_the_database_takes() -> Result<()> {
    use sqlx::Executor as _;
    let world = World::new().await?;
    for (module, name, sql) in saga_runtime::statements() {
        let prepared = world.admin.prepare(sqlx::SqlStr::from_static(sql)).await;
        assert!(prepared.is_ok(), "{module}::{name}: {prepared:?}");
    }
    Ok(())
}
