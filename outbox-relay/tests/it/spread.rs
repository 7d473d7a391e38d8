use anyhow::{Result, ensure};
use outbox_relay::{Instance, Relay};

use tokio_util::sync::CancellationToken;

use super::checker::{Checker, Reader};
use super::support::{Outbox, Running, eventually};
use super::writers::Writers;

const WRITERS: Writers = Writers {
    tasks: 2,
    transactions: 50,
    keys: 10,
    seed: 11,
};

/// A process of relays for all of the outboxes.
struct Relays {
    instance: Instance,
    running: Vec<Running>,
}

impl Relays {
    fn start(owner: &str, outboxes: &[Outbox]) -> Self {
        let instance = Instance::new();
        let running = outboxes
            .iter()
            .map(|outbox| Running::run(Relay::new(outbox.relay(owner)).of(&instance)))
            .collect();
        Self { instance, running }
    }

    async fn until_held(&self, expected: usize) {
        eventually(&format!("{expected} outboxes are held"), || async {
            self.instance.held() == expected
        })
        .await;
    }

    /// Until all outboxes are held, by none more than one more than by another. Who has that one is open: two that hold
    /// two each may both give one to a third.
    async fn until_even(outboxes: usize, processes: &[&Self]) {
        eventually(&format!("{outboxes} outboxes are spread evenly"), || async {
            let held = processes.iter().map(|relays| relays.instance.held());
            let fair = outboxes / processes.len()..=outboxes.div_ceil(processes.len());
            held.clone().sum::<usize>() == outboxes && held.clone().all(|held| fair.contains(&held))
        })
        .await;
    }

    async fn stop(self) {
        for relay in self.running {
            relay.stop().await;
        }
    }
}

async fn standing_by(outbox: &Outbox) -> Result<i64> {
    let mut connection = outbox.superuser().await?;
    Ok(sqlx::query_scalar("select count(*) from saga.relay_standby")
        .fetch_one(&mut connection)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_are_spread_over_the_processes_that_come_and_go() -> Result<()> {
    let mut outboxes = Vec::new();
    for _ in 0..4 {
        outboxes.push(Outbox::new().await?);
    }
    let topic = outboxes[0].create_topic("events", 3, &[]).await?;
    let first = Relays::start("first", &outboxes);
    first.until_held(4).await;
    WRITERS.prepare(&outboxes[0]).await?;
    let moved = CancellationToken::new();
    let writing = tokio::spawn({
        let (outbox, topic, moved) = (outboxes[0].clone(), topic.clone(), moved.clone());
        async move {
            loop {
                let expected = WRITERS.write_more(&outbox, &topic).await?;
                if moved.is_cancelled() {
                    return anyhow::Ok(expected);
                }
            }
        }
    });

    let second = Relays::start("second", &outboxes);
    Relays::until_even(4, &[&first, &second]).await;
    let third = Relays::start("third", &outboxes);
    Relays::until_even(4, &[&first, &second, &third]).await;
    // One goes: the others take over at once, and evenly.
    second.stop().await;
    Relays::until_even(4, &[&first, &third]).await;
    first.stop().await;
    third.until_held(4).await;

    moved.cancel();
    let expected = writing.await??;
    let reader = Reader::new(&outboxes[0], &topic, 3)?;
    let seen = Checker::default().finish(&reader, &expected).await?;
    ensure!(
        seen.duplicates == 0,
        "{} known duplicates, though everyone handed over",
        seen.duplicates
    );
    third.stop().await;
    for outbox in &outboxes {
        ensure!(standing_by(outbox).await? == 0, "nobody stands by any more");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_by_itself_stays_where_it_is() -> Result<()> {
    let outboxes = [Outbox::new().await?];
    let first = Relays::start("first", &outboxes);
    first.until_held(1).await;
    let second = Relays::start("second", &outboxes);
    eventually("the second one stands by", || async {
        standing_by(&outboxes[0]).await.unwrap() == 1
    })
    .await;
    // Long enough for the keeper to have looked at it.
    let looked = async || {
        let mut connection = outboxes[0].superuser().await.unwrap();
        sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>("select seen_at from saga.relay_standby")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    let begin = looked().await;
    let two_leases = chrono::TimeDelta::seconds(5);
    eventually("two leases have passed", async || {
        looked().await > begin + two_leases
    })
    .await;
    ensure!(first.instance.held() == 1 && second.instance.held() == 0);
    second.stop().await;
    first.stop().await;
    Ok(())
}
