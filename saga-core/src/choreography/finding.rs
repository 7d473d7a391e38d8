use std::fmt;

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// **Something is said and nobody hears it.** An event that some step puts out, that no participant has an input
    /// for and that is not declared as for observers; an effect whose outcome, or a timer whose firing, its
    /// participant has no input for; an event in a version that its consumer does not read.
    NobodyHears,
    /// **Something is waited for and nobody says it.** An event that a participant has an input for, that no step
    /// puts out on that topic and that is not declared as published elsewhere; a command that no entry names; a timer
    /// or an outcome whose participant never sets or performs it.
    NobodySays,
    /// **A step can fail, and something that was done before has no way back.** See [`Choreography::check`], where
    /// the rule is told.
    ///
    /// [`Choreography::check`]: super::Choreography::check
    NoWayBack,
    /// **A loop has no bound.** Outputs lead around to the step that they came from, and each of them can be put out
    /// again: it was seen on a way of its participant that leads from a state back to the same state. A participant
    /// that counts, or that goes on to a state from which nothing leads back, breaks the loop. An effect with as many
    /// attempts as can be counted is a loop, too.
    LoopWithoutBound,
    /// **A wait has no deadline.** A state that has not ended, in which no timer of its participant is set and no
    /// effect is outstanding, and which no clock of another leads out of: none of the timers and effects that were
    /// begun on the way there, or by somebody who was told something on the way, ends in an input that leads out.
    WaitWithoutDeadline,
    /// **The topics of one saga do not fit together.** Within one participant, the events of a saga that it hears and
    /// says have different keys, or their topics different numbers of partitions, or an event went out under another
    /// key than its saga's. What it hears without a saga, such as a price, does not count.
    KeysDiffer,
    /// **Something is declared and never happens.** An input that was never decided, an output that no step names or
    /// that was never seen on a declared input, an undoing that never came after what it undoes.
    NeverHappens,
    /// **Something happens and is not declared.**
    NotDeclared,
    /// **The choreography says something of what is not there**, or what is no longer needed: an event for observers
    /// that somebody consumes, an entry without its command, a permission that nothing asks for.
    Stale,
}

/// Something that is wrong with a choreography.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What was looked for.
    pub check: Check,
    /// Where: a participant, an event, a step.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// The findings of a choreography that is not sound; at least one. Its `Debug` is its `Display`, so that a test which
/// unwraps it can be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unsound {
    /// Sorted by check and place.
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn new(
        check: Check,
        at: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            at: at.into(),
            what: what.into(),
            advice: advice.into(),
        }
    }
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 9] = [
        Check::NobodyHears,
        Check::NobodySays,
        Check::NoWayBack,
        Check::LoopWithoutBound,
        Check::WaitWithoutDeadline,
        Check::KeysDiffer,
        Check::NeverHappens,
        Check::NotDeclared,
        Check::Stale,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::NobodyHears => "nobody hears it",
            Check::NobodySays => "nobody says it",
            Check::NoWayBack => "no way back",
            Check::LoopWithoutBound => "loop without a bound",
            Check::WaitWithoutDeadline => "wait without a deadline",
            Check::KeysDiffer => "keys differ",
            Check::NeverHappens => "never happens",
            Check::NotDeclared => "not declared",
            Check::Stale => "stale",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.check, self.at, self.what, self.advice)
    }
}

impl fmt::Debug for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the choreography is not sound:")?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}
