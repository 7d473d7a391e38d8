use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use failure_tests::customer::Pays;
use failure_tests::topics::{Forger, Record, Topics};
use failure_tests::{Customer, System, until};
use quadrille_contracts::OrderId;
use quadrille_proto::order::v1::OrderStatus;
use saga_core::envelope::{CE_PREVIOUSSEQUENCE, CE_SEQUENCE};
use saga_core::position::Position;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::stage::{Busy, audit, damaged};

/// `sagactl audit`: exit code and answer.
pub(crate) async fn asked(shop: &System) -> Result<(i32, Value)> {
    let (code, out, err) = shop
        .sagactl(&["audit", "--wait", "5", "--output", "json"])
        .await?;
    ensure!(code == 0 || code == 1, "{code}: {err}");
    Ok((code, serde_json::from_str(&out).context(out)?))
}

/// Class, name and subject of each discrepancy, with its detail.
pub(crate) type Said = BTreeMap<(String, String, String), String>;

fn said(answer: &Value) -> Said {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = answer["findings"].as_array().cloned().unwrap_or_default();
    findings
        .iter()
        .map(|one| {
            let id = (text(one, "class"), text(one, "name"), text(one, "subject"));
            (id, text(one, "detail"))
        })
        .collect()
}

/// A shop at rest, what its audit says already, and what it is damaged with.
pub(crate) struct Scene<'s> {
    pub(crate) shop: &'s System,
    pub(crate) known: Said,
}

impl Scene<'_> {
    /// The damage shows, under this name and no other.
    pub(crate) async fn shows(&mut self, class: &str, name: &str, subject: &str, detail: &str) -> Result<()> {
        let (code, answer) = asked(self.shop).await?;
        let now = said(&answer);
        let news: Vec<_> = now
            .iter()
            .filter(|(id, _)| !self.known.contains_key(*id))
            .collect();
        let expected = (class.to_owned(), name.to_owned(), subject.to_owned());
        ensure!(
            code == 1 && !news.is_empty() && news.iter().all(|(id, _)| **id == expected),
            "expected {expected:?}, and the audit says {code}: {news:#?}"
        );
        let said = now.get(&expected).map(String::as_str).unwrap_or_default();
        ensure!(said.contains(detail), "'{said}' does not speak of '{detail}'");
        self.known = now;
        Ok(())
    }
}

async fn run(database: &PgPool, sql: String) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(database)
        .await?;
    ensure!(done.rows_affected() > 0, "nothing was changed by: {sql}");
    Ok(())
}

async fn confirmed(customer: &Customer, items: &[(quadrille_contracts::ProductId, i64)]) -> Result<OrderId> {
    let order = customer.place(items, Pays::Card("tok_ok")).await?;
    let ended = customer.watch(order).await?;
    ensure!(ended.status() == OrderStatus::Confirmed, "{ended:?}");
    Ok(order)
}

/// The last record of an order in its own topic.
fn last_of(shop: &System, order: OrderId) -> Result<Record> {
    let mut topics = Topics::open(shop.brokers(), &[shop.topic("order-events")])?;
    topics.catch_up()?;
    let mut records = topics.records.into_iter();
    records
        .rfind(|record| record.key_text() == order.to_string())
        .context("the order is in its topic")
}

pub(crate) fn with(mut record: Record, name: &str, value: &str) -> Record {
    record.headers.retain(|(known, _)| known != name);
    record.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    record
}

pub(crate) fn write(shop: &System, record: &Record) -> Result<String> {
    let forger = Forger::new(shop.brokers())?;
    forger.write(record)?;
    forger.flush()?;
    let mut topics = Topics::open(shop.brokers(), std::slice::from_ref(&record.topic))?;
    topics.catch_up()?;
    let of_partition = topics
        .records
        .iter()
        .rfind(|one| one.partition == record.partition);
    let written = of_partition.context("it was written")?;
    Ok(format!(
        "{}/{}@{}",
        written.topic, written.partition, written.offset
    ))
}

/// Whatever moves is not judged, and what has come to rest adds up.
#[test]
fn a_shop_that_runs_audits_clean() {
    damaged(async |shop| {
        let busy = Busy::new(shop, 120, 6).await?;
        let asking = async {
            let mut moving = 0;
            for _ in 0..3 {
                let (code, answer) = asked(shop).await?;
                ensure!(code == 0, "{answer:#}");
                moving += answer["on_the_way"]["orders"].as_u64().unwrap_or_default();
            }
            anyhow::Ok(moving)
        };
        let (ordered, moving) = tokio::join!(busy.order(), asking);
        ordered?;
        eprintln!("{} orders moved while they were audited", moving?);
        audit(shop, &busy.customer).await?;
        // The last acknowledgement is noted within a second.
        let answer = until("nothing to move any more", async || {
            let (code, answer) = asked(shop).await?;
            ensure!(code == 0 && answer["on_the_way"]["orders"] == 0, "{answer:#}");
            anyhow::Ok(answer)
        })
        .await?;
        let orders = answer["orders"].as_u64().unwrap_or_default();
        assert!(orders >= 120, "{answer:#}");
        assert!(
            answer["events"].as_u64().unwrap_or_default() >= 3 * orders,
            "{answer:#}"
        );

        // The same in slices: each order in exactly one of them.
        let (code, out, err) = shop
            .sagactl(&["audit", "--orders-at-once", "20", "--output", "json"])
            .await?;
        assert_eq!(code, 0, "{out}{err}");
        let sliced: Value = serde_json::from_str(&out)?;
        assert!(sliced["slices"].as_u64().unwrap_or_default() >= 6, "{sliced:#}");
        for same in ["events", "orders", "repeated"] {
            assert_eq!(sliced[same], answer[same], "{same}");
        }
        // And of the last hour, which is all of it.
        let (code, out, err) = shop
            .sagactl(&["audit", "--hours", "1", "--output", "json"])
            .await?;
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(serde_json::from_str::<Value>(&out)?["events"], answer["events"]);

        // Clocks that were hours apart when an order ended have left their times in both databases; the shelves add up all the same.
        let ahead =
            "update orders set updated_at = updated_at + interval '2 hours' where status = 'confirmed'";
        run(&shop.database("order").await?, ahead.to_owned()).await?;
        let behind = "update hold set ended_at = ended_at - interval '2 hours' where state = 'sold'";
        run(&shop.database("inventory").await?, behind.to_owned()).await?;
        let (code, answer) = asked(shop).await?;
        assert_eq!(code, 0, "{answer:#}");

        // What nobody reads, and what nobody publishes, is on its way for as long as that takes.
        let place = async || {
            busy.customer
                .place(&[(busy.shelves[0], 1)], Pays::Card("tok_ok"))
                .await
        };
        shop.program("inventory").stop().await?;
        place().await?;
        until("an order to be published and not read", async || {
            let (code, answer) = asked(shop).await?;
            let way = &answer["on_the_way"];
            let unpublished = &way["unpublished"]["order"]["events"];
            assert_eq!(code, 0, "{answer:#}");
            ensure!(way["orders"] == 1 && *unpublished == 0, "{answer:#}");
            Ok(())
        })
        .await?;
        shop.program("outbox-relay").stop().await?;
        place().await?;
        let (code, answer) = asked(shop).await?;
        let way = &answer["on_the_way"];
        assert_eq!(code, 0, "{answer:#}");
        assert_eq!(way["orders"], 2, "{answer:#}");
        assert_eq!(way["unpublished"]["order"]["events"], 1, "{answer:#}");
        Ok(())
    });
}

/// One damage after another; each is named, and nothing else is.
#[test]
fn each_damage_is_named() {
    damaged(async |shop| {
        let customer = Customer::of(shop)?;
        let product = customer.product(500, 1000).await?;
        let mut orders = Vec::new();
        for _ in 0..6 {
            orders.push(confirmed(&customer, &[(product, 2)]).await?);
        }
        audit(shop, &customer).await?;
        until("the audit to be clean", async || {
            let (code, answer) = asked(shop).await?;
            ensure!(code == 0, "{answer:#}");
            Ok(())
        })
        .await?;
        let order = shop.database("order").await?;
        let inventory = shop.database("inventory").await?;
        let payment = shop.database("payment").await?;
        let mut scene = Scene {
            shop,
            known: Said::new(),
        };

        // An event that is swallowed before it is published.
        shop.program("outbox-relay").stop().await?;
        let swallowed = customer.place(&[(product, 1)], Pays::Card("tok_ok")).await?;
        run(
            &order,
            format!("delete from saga.outbox where aggregateid = '{swallowed}'"),
        )
        .await?;
        shop.program("outbox-relay").start_ready().await?;
        scene
            .shows(
                "lost",
                "never_told",
                &format!("order {swallowed}"),
                "order.created is in no topic",
            )
            .await?;

        // A saga that is held past its deadline.
        shop.program("order").stop().await?;
        run(
            &order,
            format!("update saga.timer set due_at = now() - interval '1 hour' where saga = '{swallowed}'"),
        )
        .await?;
        scene
            .shows(
                "overdue",
                "deadline",
                &format!("order {swallowed}"),
                "deadline was due 1 h 00 min ago",
            )
            .await?;

        // Rows that are altered or removed.
        run(
            &inventory,
            format!("update shelf set on_hand = on_hand - 1, sold = sold + 1 where product_id = '{product}'"),
        )
        .await?;
        scene
            .shows(
                "unbalanced",
                "shelf",
                &format!("product {product}"),
                "sold is 13 instead of 12",
            )
            .await?;
        run(
            &inventory,
            format!("delete from hold where order_id = '{}'", orders[0]),
        )
        .await?;
        scene
            .shows(
                "unapplied",
                "unapplied",
                &format!("order {}", orders[0]),
                "hold is absent",
            )
            .await?;
        run(
            &payment,
            format!(
                "update payment set amount_minor = 1 where order_id = '{}'",
                orders[1]
            ),
        )
        .await?;
        scene
            .shows(
                "unbalanced",
                "money",
                &format!("order {}", orders[1]),
                "another amount",
            )
            .await?;

        // The log: an old position that was not there, an old one with another content, one whose predecessor is gone.
        let record = tokio::task::block_in_place(|| last_of(shop, orders[2]))?;
        let at = record.position().context("it came through the relay")?;
        let again = tokio::task::block_in_place(|| write(shop, &record))?;
        let (_, answer) = asked(shop).await?;
        ensure!(
            said(&answer) == scene.known && answer["repeated"].as_u64() >= Some(1),
            "{again} says the same again: {answer:#}"
        );
        let between = Position::new(at.epoch, at.window, at.position - 1);
        let late = with(record.clone(), CE_SEQUENCE, &between.to_string());
        let place = tokio::task::block_in_place(|| write(shop, &late))?;
        scene
            .shows("reordered", "overtaken", &place, "nobody will take it")
            .await?;
        let mut altered = record.clone();
        altered.payload = Some(b"{}".to_vec());
        let place = tokio::task::block_in_place(|| write(shop, &altered))?;
        scene
            .shows("reordered", "altered", &place, "another event before")
            .await?;
        let lost = Position::new(at.epoch, at.window + 1_000_000_000, at.position + 1_000);
        let next = Position::new(at.epoch, lost.window + 1, lost.position + 1);
        let mut behind = with(record, CE_PREVIOUSSEQUENCE, &lost.to_string());
        behind = with(behind, CE_SEQUENCE, &next.to_string());
        // As an event that its order has not had yet, so that it is the hole alone that is wrong with it.
        behind = with(behind, "ce_type", "order.gift_wrapped");
        let place = tokio::task::block_in_place(|| write(shop, &behind))?;
        scene
            .shows("lost", "hole", &place, "the broker lost records")
            .await?;

        // A person reads the same.
        let (code, out, _) = shop.sagactl(&["audit", "--wait", "5"]).await?;
        assert_eq!(code, 1);
        for line in [
            "2 lost",
            "2 reordered",
            "1 unapplied",
            "2 unbalanced",
            "1 overdue",
            "it does not add up",
        ] {
            assert!(
                out.lines().any(|said| said.trim_start() == line),
                "no '{line}' in:\n{out}"
            );
        }

        // The order's own row; what it says of the goods is gone with it.
        run(&order, format!("delete from orders where id = '{}'", orders[3])).await?;
        let (code, answer) = asked(shop).await?;
        let gone = (
            "unapplied".to_owned(),
            "unapplied".to_owned(),
            format!("order {}", orders[3]),
        );
        let said = said(&answer);
        assert_eq!(code, 1);
        assert!(
            said.get(&gone)
                .is_some_and(|detail| detail.contains("no such order")),
            "{said:#?}"
        );
        Ok(())
    });
}

/// What a person has to look at anyway is counted, and is not a discrepancy.
#[test]
fn what_is_parked_is_accounted_as_parked() {
    damaged(async |shop| {
        let customer = Customer::of(shop)?;
        let product = customer.product(500, 10).await?;
        let order = confirmed(&customer, &[(product, 1)]).await?;
        until("the audit to be clean", async || {
            let (code, answer) = asked(shop).await?;
            ensure!(code == 0 && answer["on_the_way"]["orders"] == 0, "{answer:#}");
            Ok(())
        })
        .await?;
        // A cancel of what was confirmed: inventory cannot decide that, and nor can payment.
        let mut record = tokio::task::block_in_place(|| last_of(shop, order))?;
        record
            .headers
            .retain(|(name, _)| name != CE_SEQUENCE && name != CE_PREVIOUSSEQUENCE);
        record = with(record, "ce_id", &uuid::Uuid::new_v4().to_string());
        record = with(record, "ce_type", "order.cancelled");
        record.payload = Some(format!(r#"{{"order_id": "{order}", "reason": "customer"}}"#).into_bytes());
        tokio::task::block_in_place(|| write(shop, &record))?;
        let answer = until("inventory to park the order", async || {
            let (code, answer) = asked(shop).await?;
            let parked = &answer["parked"];
            ensure!(
                parked["keys"].as_u64() >= Some(1) && parked["orders"] == 1,
                "{code}: {answer:#}"
            );
            anyhow::Ok(answer)
        })
        .await?;
        assert_eq!(answer["foreign"], 1, "{:#}", answer);
        // What it waits for waits with it.
        run(
            &shop.database("inventory").await?,
            format!(
                "insert into saga.timer (participant, saga, name, id, due_at)
                 values ('inventory', '{order}', 'deadline', gen_random_uuid(), now() - interval '1 hour');
                 insert into saga.effect (id, participant, saga, kind, payload, due_at)
                 values (gen_random_uuid(), 'inventory', '{order}', 'call', '', now() - interval '1 hour')"
            ),
        )
        .await?;
        let (_, answer) = asked(shop).await?;
        let overdue: Vec<_> = said(&answer)
            .into_keys()
            .filter(|(class, _, _)| class == "overdue")
            .collect();
        assert_eq!(overdue, Vec::new(), "{answer:#}");
        Ok(())
    });
}
