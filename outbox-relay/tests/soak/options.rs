/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub events: u64,
    pub seed: u64,
    pub writers: u64,
    pub keys: u32,
    /// Between two faults, in milliseconds, once each kind has come.
    pub pause_ms: u64,
    /// Whether the relays publish in Kafka transactions.
    pub transactional: bool,
}

pub const USAGE: &str = "\
usage: just soak relay [--events N] [--seed S] [--writers N] [--keys N] [--pause-ms N] [--transactional]

  --events N   how many events are committed, about (5000)
  --seed S     what writers and faults are drawn from (random; 1 where CI is set)
  --writers N  sessions that write at once (12)
  --keys N     keys that they write to (400)
  --pause-ms N the longest time between two faults, once each kind has come (15000, at least 1500)
  --transactional
               the relays publish in Kafka transactions; then there are also relays that wake up after the topic has refused what
               they were about to send

The last line says what came of it. Exit code 1 if anything is lost or out of order.";

/// The longest time between two faults while each kind comes for the first time.
pub const QUICK_MS: u64 = 1500;

impl Options {
    /// `None` if there is nothing to run: what test runners ask before they do.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            events: 5_000,
            // What is looked at by nobody has to come out the same each time.
            seed: if std::env::var_os("CI").is_some() {
                1
            } else {
                u64::from(rand::random::<u32>())
            },
            writers: 12,
            keys: 400,
            pause_ms: 15_000,
            transactional: false,
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64, String> {
                let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
                let number = value.parse::<u64>().ok().filter(|number| *number > 0);
                number.ok_or(format!("{argument} needs a number above 0, not '{value}'"))
            };
            match argument.as_str() {
                "--events" => options.events = number()?,
                "--seed" => options.seed = number()?,
                "--writers" => options.writers = number()?,
                "--keys" => {
                    options.keys = u32::try_from(number()?).map_err(|_| "--keys is too large".to_owned())?;
                }
                "--pause-ms" => options.pause_ms = number()?.max(QUICK_MS),
                "--transactional" => options.transactional = true,
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                "--list" => {
                    // Of the ignored ones there are none.
                    if !arguments.any(|other| other == "--ignored") {
                        println!("soak: test");
                    }
                    return Ok(None);
                }
                "--ignored" => return Ok(None),
                // Said by test runners to every test program; whether it speaks is not up to them here.
                "--nocapture" | "--no-capture" | "--exact" | "--show-output" | "--include-ignored"
                | "--quiet" | "-q" | "soak" => {}
                other if other.starts_with("--test-threads") || other.starts_with("--format") => {
                    if !other.contains('=') {
                        arguments.next();
                    }
                }
                // The name of some other test.
                other if !other.starts_with('-') => return Ok(None),
                other => return Err(format!("'{other}' is not known")),
            }
        }
        Ok(Some(options))
    }
}
