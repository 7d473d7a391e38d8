use std::fmt::Write as _;
use std::time::Duration;

use crate::chaos::fault::Kind;
use crate::chaos::ground::DEADLINE;
use crate::chaos::run::Outcome;

const HEAD: &str = "\
# Chaos

Written by `just chaos --report`; do not edit.

The whole shop as real processes with a real PostgreSQL and a real Apache Kafka, a second relay that stands by, and a TCP proxy on every line between
two parties. Shoppers order through gRPC: cards that are charged, declined, charged with the answer lost; pages that are paid, declined or left alone; cancels at
once, during the charge and too late; shelves that run out. Meanwhile things break, up to three at a time, and an accountant who believes nobody reads all
databases, all topics and the provider's books: the shelves and the books while it runs, everything once it has come to rest.

Past the proxies go the doorbell's datagrams, which are UDP and only a hint; presses of buttons on the provider's pages; and calls of the staff, who make products and fill
shelves, and of whoever places the sagas that are poisoned. The services that these calls reach break all the same.

What breaks when is a pure function of the seed, and counts orders instead of seconds: load and faults wait for each other, so a seed is the same on a machine of any speed.
";

const RULES: &str = "
## What counts as a violation

* **At any time**: a shelf below zero, or on hand + held + sold that is not what was received, or held that is not what orders hold; an order that is charged
  twice; more given back than taken, or given back twice.
* **Afterwards**: an order that was taken and is not there, or is there and nobody was told; one that has neither ended nor is parked (G5), or is parked though nobody
  poisoned it; a life with two ends, or the same event twice; a deadline that comes early; a call, a timer or stock that is left over; goods or money that do not add up between order, inventory,
  payment and provider; an event in a topic that was not committed, committed and not in its topic, in the wrong order, or another one the second time it is
  sent (G1 to G3); a record that nobody read; and whatever `sagactl audit` finds.

Poisoned sagas are placed for that: half of them are mended by an operator and have to end, the others have to be parked, visibly, and nobody else with them.

That it can fail, and on what: [broken on purpose](failure-model.md#broken-on-purpose).
";

/// The page.
pub(crate) fn write(outcome: &Outcome) -> String {
    let mut page = String::from(HEAD);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = &outcome.options;
    write!(
        page,
        "\n## This run\n\n**{}**, on {cores} cores, PostgreSQL {} and Apache Kafka. The same again: `just chaos --sagas {} --seed {} --faults {} --shoppers {}`.\n\n",
        outcome.sum(),
        outcome.postgres,
        options.sagas,
        options.seed,
        options.faults.unwrap_or_default(),
        options.shoppers,
    )
    .ok();
    page.push_str("| | |\n|---|---|\n");
    for (what, is) in figures(outcome) {
        writeln!(page, "| {what} | {is} |").ok();
    }
    page.push_str("\nHow orders ended:\n\n| end | orders |\n|---|---|\n");
    for (end, orders) in &outcome.found.ends {
        writeln!(page, "| {end} | {orders} |").ok();
    }
    page.push_str(
        "\nWhat was broken. *Recovery* is the time from the end of a fault until every order by card that had been taken by then had ended; other faults come \
         meanwhile, so it is an upper bound.\n\n\
         | fault | how often | what was done | recovery: half, longest |\n|---|---|---|---|\n",
    );
    for (kind, _) in Kind::ALL {
        let often = outcome.seen.injected.get(kind).map_or(0, Vec::len);
        let (half, longest) = half_and_longest(outcome.seen.recovered.get(kind));
        writeln!(
            page,
            "| {} | {often} | {} | {half:.1?}, {longest:.1?} |",
            kind.name(),
            kind.story()
        )
        .ok();
    }
    page.push_str(RULES);
    let wrong = outcome.wrong();
    if !wrong.is_empty() {
        page.push_str("\n## Violations\n\n");
        for one in wrong.iter().take(100) {
            writeln!(page, "* {one}").ok();
        }
    }
    page
}

/// The same for a terminal.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (end, orders) in &outcome.found.ends {
        writeln!(text, "  {orders:>8} {end}").ok();
    }
    for (kind, took) in &outcome.seen.injected {
        let (half, longest) = half_and_longest(outcome.seen.recovered.get(kind));
        writeln!(
            text,
            "  {:>8} {} (recovery: half {half:.1?}, longest {longest:.1?})",
            took.len(),
            kind.name()
        )
        .ok();
    }
    for (what, is) in figures(outcome) {
        writeln!(text, "  {what}: {is}").ok();
    }
    text
}

fn figures(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let found = &outcome.found;
    let (_, longest) = half_and_longest(Some(
        &outcome.seen.recovered.values().flatten().copied().collect(),
    ));
    vec![
        (
            "throughput under faults",
            format!("{} sagas/s", ratio(outcome.sagas, outcome.load)),
        ),
        (
            "load and faults took",
            crate::chaos::watch::time(outcome.load.as_secs()),
        ),
        (
            "availability",
            format!(
                "{} of the orders that were taken ended within {} s, the deadline of a payment",
                share(found.in_time, found.taken),
                DEADLINE.as_secs()
            ),
        ),
        (
            "from taken to ended",
            format!(
                "half within {:.1?}, 99 of 100 within {:.1?}, the longest {:.1?}",
                found.half, found.most, found.longest
            ),
        ),
        ("longest recovery", format!("{longest:.1?}")),
        (
            "events",
            format!(
                "{} committed, {} records in the topics, {} of them the same again",
                found.events, found.records, found.duplicates
            ),
        ),
        ("parked, as they were meant to be", found.parked.to_string()),
        (
            "programs that ended by themselves and were started again",
            outcome.ended_by_themselves.to_string(),
        ),
        ("looks at the books while it ran", outcome.seen.looks.to_string()),
        ("the audit took", format!("{:.0?}", found.took)),
    ]
}

fn half_and_longest(times: Option<&Vec<Duration>>) -> (Duration, Duration) {
    let mut times = times.cloned().unwrap_or_default();
    times.sort_unstable();
    let half = times.get(times.len() / 2).copied().unwrap_or_default();
    (half, times.last().copied().unwrap_or_default())
}

fn ratio(count: usize, time: Duration) -> u128 {
    count as u128 * 1000 / time.as_millis().max(1)
}

/// In hundredths of a percent, rounded down: 99.99 % is not 100 %.
fn share(part: i64, whole: i64) -> String {
    let hundredths = part * 10_000 / whole.max(1);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_all_is_not_all() {
        assert_eq!(share(1_000_000, 1_000_000), "100.00 %");
        assert_eq!(share(999_999, 1_000_000), "99.99 %");
        assert_eq!(share(0, 0), "0.00 %");
    }
}
