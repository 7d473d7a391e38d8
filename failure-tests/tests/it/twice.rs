use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};

use anyhow::{Context as _, Result};
use failure_tests::System;
use failure_tests::topics::{Forger, Topics};

use crate::stage::{Busy, alone, audit};

/// A broker that says everything twice, out of turn: the first time, and again a moment later.
fn echo(shop: &System, names: &[String], ready: &Sender<()>, stop: &AtomicBool) -> Result<usize> {
    let mut topics = Topics::open(shop.brokers(), names)?;
    let forger = Forger::new(shop.brokers())?;
    // What was there before is not repeated: other scenarios' orders are of no interest here.
    topics.catch_up()?;
    let mut heard: BTreeSet<(String, String)> = BTreeSet::new();
    topics.records.clear();
    ready.send(())?;
    let mut repeated = 0;
    loop {
        // Once more after the end, so that the last ones come twice, too.
        let last = stop.load(Ordering::Relaxed);
        topics.catch_up()?;
        for record in std::mem::take(&mut topics.records) {
            let position = record
                .position()
                .map(|position| position.to_string())
                .unwrap_or_default();
            if heard.insert((record.topic.clone(), format!("{}{position}", record.partition))) {
                forger.write(&record)?;
                repeated += 1;
            }
        }
        forger.flush()?;
        if last {
            return Ok(repeated);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn every_record_twice() {
    alone(async |shop| {
        let names: Vec<String> = quadrille_contracts::TOPICS
            .iter()
            .map(|topic| format!("{}{}", shop.prefix(), topic.name))
            .collect();
        let stop = AtomicBool::new(false);
        let (ready, is_ready) = mpsc::channel();
        let (repeated, customer) = std::thread::scope(|scope| {
            let echo = scope.spawn(|| echo(shop, &names, &{ ready }, &stop));
            // What is ordered before it listens would come once. Ends as well if it fails.
            let listens = tokio::task::block_in_place(|| is_ready.recv());
            let ordered = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    listens.context("nobody repeats what is said")?;
                    let busy = Busy::new(shop, 150, 2).await?;
                    busy.order().await?;
                    for order in busy.customer.accepted() {
                        busy.customer.watch(order).await?;
                    }
                    anyhow::Ok(busy.customer)
                })
            });
            stop.store(true, Ordering::Relaxed);
            let repeated = echo
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            anyhow::Ok((repeated?, ordered?))
        })?;
        let audit = audit(shop, &customer).await?;
        assert!(repeated >= 150 * 4, "only {repeated} records were repeated");
        assert!(audit.duplicates >= repeated, "{audit:?}");
        Ok(())
    });
}
