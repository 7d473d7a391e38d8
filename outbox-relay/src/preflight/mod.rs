//! Looks whether a relay could work, before it has to, and says in plain words what is wrong and how to mend it.

use std::fmt;

use quadrille_process::Chain;

use crate::options::Options;
use crate::outbox::connection::connect;
use crate::outbox::error::OutboxError;
use crate::outbox::sessions::are_ours;

/// What the outbox's database is like.
mod database;

/// What the broker is like.
mod broker;

/// Whether it makes transactions, if it is to.
mod transactions;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How grave it is.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to do; empty if there is nothing to be done.
    pub remedy: String,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and somebody should know.
    Doubtful,
    /// The relay cannot work like this, or not for all events.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "ok",
            Self::Doubtful => "look",
            Self::Wrong => "wrong",
        })
    }
}

impl Finding {
    fn fine(says: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fine,
            says: says.into(),
            remedy: String::new(),
        }
    }

    fn doubtful(says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            says: says.into(),
            remedy: remedy.into(),
        }
    }

    fn wrong(says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Wrong,
            says: says.into(),
            remedy: remedy.into(),
        }
    }
}

/// A topic that events of the outbox go to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) topic: String,
    /// What keys are spread over, if the relay has met it.
    pub(crate) recorded: Option<i32>,
    /// Bytes of the largest event that waits in the outbox.
    pub(crate) largest: Option<i64>,
}

/// Looks at the outbox's database and at the broker, as the relay would be configured. Changes nothing (where the relay is
/// to make transactions, one is begun under a name beside its own), and does not need the lease. Never fails: what cannot
/// be looked at is a finding.
pub async fn check(options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let targets = match look_at_database(options, &mut findings).await {
        Ok(targets) => targets,
        Err(error) => {
            findings.push(Finding::wrong(Chain(&error).to_string(), remedy(&error)));
            Vec::new()
        }
    };
    broker::look(options, &targets, &mut findings).await;
    findings
}

async fn look_at_database(
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Target>, OutboxError> {
    let server = options.database.primary().await?;
    are_ours(&server).await?;
    let mut connection = connect(&server, database::PATIENCE).await?;
    findings.push(Finding::fine("the database is reached, and sessions are kept"));
    database::look(&mut connection, options, findings).await
}

fn remedy(error: &OutboxError) -> &'static str {
    match error {
        OutboxError::SharedSession | OutboxError::NotMigrated => "",
        OutboxError::Standby | OutboxError::NoPrimary { .. } => {
            "name the server that takes writes; several hosts may be given, and it is found among them"
        }
        _ => {
            "see that the address, the role and its password are right, and that pg_hba.conf lets the relay in"
        }
    }
}
