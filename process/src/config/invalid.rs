use std::fmt;

/// One wrong or missing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name under which it was looked up, e.g. `ORDER_DATABASE_URL`.
    pub key: String,
    /// What was there; `None` if nothing was. `***` stands for a secret.
    pub found: Option<String>,
    /// What should have been there.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            None => write!(f, "{} is not set; expected {}", self.key, self.expected),
            Some(found) => write!(f, "{} is `{found}`; expected {}", self.key, self.expected),
        }
    }
}

/// A configuration that cannot be used: every problem, one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// What is wrong, in the order in which it was read.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
