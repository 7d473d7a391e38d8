use std::process::ExitCode;

use quadrille_process::config::Env;

use crate::{PREFIX, USAGE, grow};

/// What somebody is told of a verb who asks before it does anything.
pub(crate) struct Verb {
    name: &'static str,
    /// How it is called, and what it does then.
    usage: &'static str,
    codes: &'static [(u8, &'static str)],
}

const MISCONFIGURED: (u8, &str) = (
    64,
    "the arguments or the configuration are wrong; nothing was done",
);

pub(crate) const RUN: Verb = Verb {
    name: "run",
    usage: "\
usage: outbox-relay run [--help|--version]

Publishes the outboxes of RELAY_SOURCES until it is told to stop (SIGTERM, SIGINT). Several processes may have the same
sources: one of them serves an outbox, the others stand by.
",
    codes: &[
        (0, "it was told to stop, and has"),
        MISCONFIGURED,
        (69, "something that it needs is not there"),
        (70, "it failed, or did not end in time"),
    ],
};

pub(crate) const CHECK: Verb = Verb {
    name: "check",
    usage: "\
usage: outbox-relay check [--help]

Looks whether a relay could work: servers, rights, topics, limits, clocks. Says what is wrong and how to mend it, and
changes nothing.
",
    codes: &[
        (0, "it could; what is doubtful is said"),
        (1, "something is wrong"),
        MISCONFIGURED,
    ],
};

pub(crate) const STATUS: Verb = Verb {
    name: "status",
    usage: "\
usage: outbox-relay status [--help]

Shows how each outbox of RELAY_SOURCES is: who serves it, what waits, what is parked.
",
    codes: &[
        (0, "it is shown"),
        MISCONFIGURED,
        (69, "an outbox cannot be reached"),
    ],
};

pub(crate) const DRAIN: Verb = Verb {
    name: "drain",
    usage: "\
usage: outbox-relay drain [--help]

Publishes until the outboxes of RELAY_SOURCES are empty, or RELAY_DRAIN_WITHIN_MS are over, and ends. Other relays may
run meanwhile.
",
    codes: &[
        (0, "they are empty"),
        (1, "they are empty, but for events that are parked"),
        MISCONFIGURED,
        (
            69,
            "they are not empty: it took too long, or it was told to stop before",
        ),
    ],
};

pub(crate) const GROW: Verb = Verb {
    name: "grow",
    usage: grow::USAGE,
    codes: &[
        (0, "it is done, or was before"),
        (
            1,
            "it is not done yet, and goes on; or it was not wanted after all",
        ),
        MISCONFIGURED,
        (
            69,
            "a server does not answer, the topic cannot grow like that, or nobody can be asked",
        ),
    ],
};

pub(crate) const MIGRATE: Verb = Verb {
    name: "migrate",
    usage: "\
usage: outbox-relay migrate [--help]

Brings the outboxes of RELAY_MIGRATE_SOURCES up to date, as the roles that own them. May be repeated.
",
    codes: &[
        (0, "they are up to date"),
        MISCONFIGURED,
        (
            69,
            "a database does not answer, or refuses; those before it are up to date",
        ),
    ],
};

impl Verb {
    /// Answers `--help`. Anything else is a mistake, since everything is configured by environment.
    pub(crate) fn answer<T>(
        &self,
        arguments: impl Iterator<Item = String>,
        read: fn(&mut Env) -> Option<T>,
    ) -> Option<ExitCode> {
        let arguments: Vec<String> = arguments.collect();
        if asks_for_help(&arguments) {
            return Some(self.help(read));
        }
        let unknown = arguments.first()?;
        eprintln!(
            "outbox-relay {0}: there is no argument `{unknown}`; leave it out, `outbox-relay {0} --help` shows what there is",
            self.name
        );
        Some(ExitCode::from(USAGE))
    }

    /// What it does, how it ends, and what it is configured with.
    pub(crate) fn help<T>(&self, read: fn(&mut Env) -> Option<T>) -> ExitCode {
        let keys = Env::describe(PREFIX, read);
        let settings = Env::help(PREFIX, &keys);
        print!("{}\nConfigured by environment:\n\n{settings}", self.head());
        ExitCode::SUCCESS
    }

    /// Its help without the settings.
    pub(crate) fn head(&self) -> String {
        let mut text = format!("{}\nExit codes:\n\n", self.usage);
        for (code, means) in self.codes {
            text += &format!("  {code:>2}  {means}\n");
        }
        text
    }

    /// Says what is wrong with its configuration.
    pub(crate) fn misconfigured(&self, problems: &impl std::fmt::Display) -> ExitCode {
        eprintln!(
            "outbox-relay: the configuration is wrong (`outbox-relay {} --help` lists every key)\n{problems}",
            self.name
        );
        ExitCode::from(USAGE)
    }
}

pub(crate) fn asks_for_help(arguments: &[String]) -> bool {
    arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
}
