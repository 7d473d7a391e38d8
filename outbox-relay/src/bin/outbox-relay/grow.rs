use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use outbox_relay::{Options, growth};

use crate::config::Config;

/// What somebody has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    topic: String,
    partitions: i32,
    /// Groups beside those that the broker knows, or instead of them.
    wait_for: Vec<String>,
    ignore: Vec<String>,
    yes: bool,
    within: Duration,
}

pub(crate) const USAGE: &str = "\
usage: outbox-relay grow TOPIC --partitions N [--ignore GROUP]… [--wait-for GROUP]… [--within SECONDS] [--yes]

Spreads the keys of a topic over more partitions, and keeps each key's order: the relay publishes nothing more until
everything before is acknowledged and every consumer group has read it, and goes on with the new number. A relay has
to be running. If the broker has fewer partitions, they are made, which needs the right to alter the topic.

  --partitions N    how many there shall be; never fewer than there are
  --ignore GROUP    a group that reads no more, and is not waited for
  --wait-for GROUP  a group that the broker does not tell of (it has not committed offsets yet)
  --within SECONDS  how long to look on (600); the relay goes on trying after that
  --yes             does not ask

Consumers that commit no offsets to Kafka cannot be waited for: stop them before, or let them read to the end.
";

const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Wish {
    /// From the command line. What is wrong with it, for who typed it.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut topic, mut partitions) = (None, None);
        let mut wish = Self {
            topic: String::new(),
            partitions: 0,
            wait_for: Vec::new(),
            ignore: Vec::new(),
            yes: false,
            within: Duration::from_secs(600),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--partitions" => {
                    let text = value()?;
                    let count = text.parse().ok().filter(|count| (1..=100_000).contains(count));
                    partitions =
                        Some(count.ok_or_else(|| {
                            format!("--partitions {text}: expected a number from 1 to 100000")
                        })?);
                }
                "--within" => {
                    let text = value()?;
                    let seconds = text
                        .parse()
                        .map_err(|_| format!("--within {text}: expected seconds, as in 600"))?;
                    wish.within = Duration::from_secs(seconds);
                }
                "--wait-for" => wish.wait_for.push(value()?),
                "--ignore" => wish.ignore.push(value()?),
                "--yes" | "-y" => wish.yes = true,
                flag if flag.starts_with('-') => return Err(format!("there is no {flag}")),
                name if topic.is_none() => topic = Some(name.to_owned()),
                more => return Err(format!("one topic at a time, and not '{more}' as well")),
            }
        }
        wish.topic = topic.ok_or("which topic?")?;
        wish.partitions = partitions.ok_or("how many partitions? --partitions N")?;
        Ok(wish)
    }
}

/// Asks every outbox of `RELAY_SOURCES` that publishes to the topic, and looks on. Exit code 1 if it is not done in time,
/// or was not wanted after all.
pub(crate) async fn grow(config: Config, wish: Wish) -> anyhow::Result<ExitCode> {
    let outboxes = config.options("grow", Duration::from_secs(10));
    let Some(any) = outboxes.first() else {
        bail!("RELAY_SOURCES names no outbox");
    };
    let topic = wish.topic.as_str();
    let found = growth::look(any, topic).await?;
    if found.partitions == 0 {
        bail!("topic {topic} is not there, or the relay's user may not see it");
    }
    let publishing = publishing(&outboxes, &wish).await?;
    if publishing.is_empty() {
        println!("nothing to do: no outbox of RELAY_SOURCES spreads keys of {topic} over fewer partitions");
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = usize::try_from(wish.partitions).unwrap_or(usize::MAX);
    if wanted < found.partitions {
        bail!(
            "topic {topic} has {} partitions; name that number or a larger one, since partitions cannot be removed",
            found.partitions
        );
    }
    let mut groups = found.readers;
    groups.extend(wish.wait_for.iter().cloned());
    groups.retain(|group| !wish.ignore.contains(group));
    groups.sort();
    groups.dedup();
    let names: Vec<&str> = publishing.iter().map(|one| one.source.as_str()).collect();
    println!("topic {topic}: {} -> {wanted} partitions", found.partitions);
    println!("published from: {}", names.join(", "));
    match groups.is_empty() {
        true => println!("waits for: nobody; no consumer group has committed offsets for it"),
        false => println!("waits for: {}", groups.join(", ")),
    }
    if !wish.yes && !agreed()? {
        println!("nothing was changed");
        return Ok(ExitCode::from(1));
    }
    if wanted > found.partitions {
        growth::add_partitions(any, topic, wanted).await?;
    }
    for options in &publishing {
        growth::ask(options, topic, wish.partitions, &groups)
            .await
            .with_context(|| format!("asking the relay of {}", options.source))?;
    }
    look_on(&publishing, &wish).await
}

/// Those that spread keys of the topic over fewer partitions.
async fn publishing<'o>(outboxes: &'o [Options], wish: &Wish) -> anyhow::Result<Vec<&'o Options>> {
    let mut publishing = Vec::new();
    for options in outboxes {
        let spread = growth::spread(options, &wish.topic)
            .await
            .with_context(|| format!("looking at {}", options.source))?;
        if spread.is_some_and(|spread| spread.partitions < wish.partitions) {
            publishing.push(options);
        }
    }
    Ok(publishing)
}

fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here; say --yes if it is right");
    }
    print!("Events of these outboxes wait until that is read, for 15 s at most each time. Go on? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn look_on(publishing: &[&Options], wish: &Wish) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut open: Vec<(&Options, String)> = publishing
        .iter()
        .map(|options| (*options, String::new()))
        .collect();
    loop {
        let mut left = Vec::new();
        for (options, said) in open {
            let source = &options.source;
            let Some(spread) = growth::spread(options, &wish.topic).await? else {
                bail!("{source} has forgotten the topic");
            };
            if spread.wanted.is_none() && spread.partitions >= wish.partitions {
                println!("{source}: keys are spread over {} partitions", spread.partitions);
                continue;
            }
            let says = match spread {
                growth::Spread { wanted: None, .. } => {
                    bail!("{source}: somebody has taken the wish back")
                }
                growth::Spread { served: false, .. } => "no relay serves it".to_owned(),
                growth::Spread { note: None, .. } => "the relay has not looked yet".to_owned(),
                growth::Spread { note: Some(note), .. } => note,
            };
            if says != said {
                eprintln!("{source}: {says}");
            }
            left.push((options, says));
        }
        open = left;
        if open.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if begun.elapsed() >= wish.within {
            eprintln!(
                "not done within {} s; the relay goes on trying",
                wish.within.as_secs()
            );
            return Ok(ExitCode::from(1));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wish, String> {
        Wish::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_wish_is_read() {
        let wish = parse("orders --partitions 24 --ignore old --wait-for new --within 5 --yes");
        assert_eq!(
            wish,
            Ok(Wish {
                topic: "orders".to_owned(),
                partitions: 24,
                wait_for: vec!["new".to_owned()],
                ignore: vec!["old".to_owned()],
                yes: true,
                within: Duration::from_secs(5),
            })
        );
    }

    #[test]
    fn what_is_wrong_with_one_is_said() {
        for (line, says) in [
            ("", "which topic?"),
            ("orders", "how many partitions? --partitions N"),
            ("orders --partitions", "--partitions needs a value"),
            (
                "orders --partitions 0",
                "--partitions 0: expected a number from 1 to 100000",
            ),
            (
                "orders payments --partitions 3",
                "one topic at a time, and not 'payments' as well",
            ),
            ("orders --fast", "there is no --fast"),
            (
                "orders --partitions 3 --within soon",
                "--within soon: expected seconds, as in 600",
            ),
        ] {
            assert_eq!(parse(line), Err(says.to_owned()), "{line}");
        }
    }
}
