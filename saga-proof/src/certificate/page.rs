use std::collections::BTreeMap;
use std::fmt::Write as _;

use quadrille_process::fault::{Kind, Point, Scope};

use super::drawer::Step;
use super::path::Path;
use super::plan::{Subject, delay, never};
use super::play::Outcome;
use super::run::Certificate;

const KINDS: [Kind; 4] = [Kind::Crash, Kind::Delay, Kind::Error, Kind::LostAnswer];

/// With `{}` for what differs: see [`legend`].
const LEGEND: &str = "\
Every step of the {saga} against every fault that it can have, with the real programs, a real PostgreSQL and a real Apache Kafka. On each path
one saga after the other is watched first: the programs note which [fault points]({points}) they pass because of it, and with
what. Those are the steps. A case is one step with one fault, and has a saga of its own for which alone the fault is armed.

| fault | what is done to the program |
|---|---|
| crash | it ends at once, as `kill -9` would end it, and is started again |
| delay | it stands still at that point, for longer than a call's claim or a relay's lease where there is one |
| error | what comes next fails and is not done |
| lost answer | what came before was done, and the program is told that it failed |

A case **holds** if

* the fault has happened, at that step and because of that saga;
* the saga has ended as its path does, and nothing of it waits, is held or is parked anywhere;
* its books balance: {books};
* every event that was committed about it is in its topic, in order, and what came twice was the same twice.

In a table a time means that the case holds: so long after the fault everything was at rest. `·2` after it: two records came twice, and were recognised. Many
sagas are under way at the same time and crash each other's programs, so a time is an upper bound.

{more}
";

/// What has no fault point, and why.
const UNPOINTED: &str = "
A record of a type that nobody in a service reads only moves its offset: that is no step. These moments have no fault point, and so no case:

* keys that a service parks, and their replay: the messages of a replay go through the engine's own points; the commit that frees the key in the end deletes one row about a key that has no messages left, and whoever
  looks next makes it again (`two_that_replay_a_key_decide_each_message_once` in `saga-runtime/tests/it/replaying.rs`, and `what_cannot_be_decided_parks_its_key_and_others_flow` in `consuming.rs`);
* after offsets went to Kafka: nobody reads them but people; a consumer begins at its place in the database;
* after a call was postponed: the row says when it is due, and the process remembers nothing (`an_effect_is_tried_again_under_the_same_key_until_it_is_answered` in `saga-runtime/tests/it/acting.rs`);
* what is deleted when its time is over (`saga-runtime/src/prune.rs`): each commit deletes only what is older than its bound, and the next round deletes what this one did not
  (`a_service_prunes_what_would_grow_for_ever` in `saga-runtime/tests/it/stores.rs`, and one for a row that is being locked meanwhile in `consuming.rs` and in `acting.rs`);
* before a window's bounds are committed: it is one statement, and until then nothing is written and nothing sent (`an_acquisition_waits_for_a_window_that_is_being_opened` in `outbox-relay/tests/it/leases.rs`);
* before the relay copies parked events to where they wait, and after it has ended a replay: before the one nothing of them is sent or noted, after the other nothing of them is left to send; the point on the other
  side of each commit is above (`a_crash_while_parking_or_replaying_loses_nothing` in `outbox-relay/tests/it/parked.rs`);
* after the lease is given back: there is nothing left to do but to end (`a_relay_that_is_told_to_stop_hands_over_at_once` in `leases.rs`);
* the relay with transactions, which no program here is: `outbox-relay/tests/it/transactions.rs` crashes it at each point that it passes.
";

/// The page.
pub(crate) fn write(certificate: &Certificate) -> String {
    let mut page = String::new();
    let words = certificate.terms.words;
    write!(
        page,
        "# The failure certificate of the {}\n\nWritten by `{}`, which fails if a case does not hold or if a fault point exists that no case \
         reaches; do not edit.\n",
        words.saga, words.command
    )
    .ok();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    write!(
        page,
        "\nThis run: {} cases on {} paths in {} minutes, on {cores} cores, PostgreSQL {} and Apache Kafka.\n\n",
        certificate.outcomes.len(),
        certificate.terms.paths.len(),
        certificate.took.as_secs().div_ceil(60),
        certificate.postgres,
    )
    .ok();
    let filled = [
        ("{saga}", words.saga),
        ("{points}", words.points),
        ("{books}", words.books),
        ("{more}", words.more),
    ];
    let legend = filled
        .iter()
        .fold(LEGEND.to_owned(), |text, (hole, words)| text.replace(hole, words));
    page.push_str(legend.trim_end());
    page.push('\n');
    for path in &certificate.terms.paths {
        write!(page, "\n## {}\n\n{}\n\n", capital(path.name), path.story).ok();
        if let Some(end) = path.end {
            write!(page, "It ends with: {end}.\n\n").ok();
        }
        table(
            &mut page,
            ["program", "step", "with"],
            &rows(certificate, |subject| *subject == Subject::Saga(path.name)),
        );
        spared(&mut page, path, certificate);
    }
    page.push_str(
        "\n## Processes\n\nWhat no saga passes, but the processes by themselves. Sagas are begun meanwhile, or after it where it comes by the \
         minute; they have to end as on the first path.\n\n",
    );
    table(
        &mut page,
        ["program", "step", "for"],
        &rows(certificate, |subject| matches!(subject, Subject::Process(_))),
    );
    points(&mut page, certificate);
    let wrong = certificate.wrong();
    if !wrong.is_empty() {
        page.push_str("\n## What does not hold\n\n");
        for one in wrong {
            writeln!(page, "* {}", one.replace('\n', " ")).ok();
        }
    }
    write!(page, "\n{}\n", certificate.sum()).ok();
    page
}

type Rows = BTreeMap<(String, usize, String), BTreeMap<Kind, String>>;

fn rows(certificate: &Certificate, wanted: impl Fn(&Subject) -> bool) -> Rows {
    let mut rows = Rows::new();
    for outcome in certificate
        .outcomes
        .iter()
        .filter(|one| wanted(&one.case.subject))
    {
        let Step {
            program,
            point,
            occasion,
        } = &outcome.case.step;
        let third = match &outcome.case.subject {
            Subject::Process(name) => name.clone(),
            Subject::Saga(_) => occasion.clone(),
        };
        let place = Point::ALL.iter().position(|one| one == point).unwrap_or_default();
        rows.entry((program.clone(), place, third))
            .or_default()
            .insert(outcome.case.kind, cell(outcome));
    }
    rows
}

fn cell(outcome: &Outcome) -> String {
    if !outcome.wrong.is_empty() {
        return "**does not hold**".to_owned();
    }
    let millis = outcome.took.as_millis();
    let mut text = format!("{}.{} s", millis / 1000, millis % 1000 / 100);
    if outcome.twice > 0 {
        write!(text, " ·{}", outcome.twice).ok();
    }
    text
}

fn table(page: &mut String, head: [&str; 3], rows: &Rows) {
    if rows.is_empty() {
        page.push_str("Not played.\n");
        return;
    }
    writeln!(
        page,
        "| {} | {} |\n|{}",
        head.join(" | "),
        KINDS.map(Kind::name).join(" | "),
        "---|".repeat(head.len() + KINDS.len())
    )
    .ok();
    for ((program, point, third), cells) in rows {
        let step = Point::ALL[*point].name();
        let cells = KINDS.map(|kind| cells.get(&kind).map_or("", String::as_str));
        writeln!(page, "| {program} | `{step}` | {third} | {} |", cells.join(" | ")).ok();
    }
}

/// Which points are not on a path, and why.
fn spared(page: &mut String, path: &Path, certificate: &Certificate) {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for point in Point::ALL.iter().filter(|point| point.scope() == Scope::Saga) {
        // What is on no path stands at the end of the page.
        if never(&certificate.terms.never, *point).is_some() || certificate.passes(path.name, *point) {
            continue;
        }
        let why = path.why_not(*point).unwrap_or("no saga passed it");
        reasons.entry(why).or_default().push(format!("`{point}`"));
    }
    if reasons.is_empty() {
        return;
    }
    page.push_str("\nNot on this path:\n\n");
    for (why, points) in reasons {
        writeln!(page, "* {}: {why}", points.join(", ")).ok();
    }
}

fn points(page: &mut String, certificate: &Certificate) {
    page.push_str("\n## The points\n\n| point | where | a delay there |\n|---|---|---|\n");
    for point in Point::ALL {
        let length = match never(&certificate.terms.never, *point) {
            None => format!("{} ms", delay(*point, certificate.terms.claim).as_millis()),
            Some(why) => format!("on no path: {why}"),
        };
        writeln!(page, "| `{point}` | {} | {length} |", point.place()).ok();
    }
    page.push_str(UNPOINTED);
}

/// `sold_out` is headed `Sold out`.
fn capital(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{}", first.to_uppercase(), rest.replace('_', " "))
}
