use std::path::PathBuf;

use saga_core::Topic;

/// What a [`System`](super::System) is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Somewhere in the workspace whose programs are built.
    pub(super) workspace: PathBuf,
    pub(super) program: Option<&'static str>,
    pub(super) programs: Vec<Part>,
    pub(super) topics: Vec<Topic>,
}

/// One program of a system.
#[derive(Clone, Debug)]
pub struct Part {
    pub(super) name: &'static str,
    pub(super) has_database: bool,
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Parts {
    /// Of the workspace that this folder is in: `env!("CARGO_MANIFEST_DIR")`. The relay is always among them; a workspace
    /// need not have it.
    pub fn of_workspace(folder: impl Into<PathBuf>) -> Self {
        Self {
            workspace: folder.into(),
            program: None,
            programs: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// All parts are this one program, which takes the name of a part as its argument: `trip desk`.
    #[must_use]
    pub fn of_program(mut self, program: &'static str) -> Self {
        self.program = Some(program);
        self
    }

    /// These topics.
    #[must_use]
    pub fn topics(mut self, topics: &[Topic]) -> Self {
        self.topics.extend_from_slice(topics);
        self
    }

    /// These services, of which nothing more has to be said: [`Part::service`].
    #[must_use]
    pub fn services(self, names: impl IntoIterator<Item = &'static str>) -> Self {
        names.into_iter().map(Part::service).fold(self, Self::with)
    }

    /// This program. They start in their order, each once the one before it is ready.
    #[must_use]
    pub fn with(mut self, part: Part) -> Self {
        self.programs.push(part);
        self
    }
}

impl Parts {
    /// What they are called, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().map(|part| part.name)
    }

    /// The programs that they are, without the relay.
    pub(super) fn binaries(&self) -> impl Iterator<Item = &'static str> {
        self.names().map(|name| self.program.unwrap_or(name))
    }

    /// Whether it is a service of ours.
    pub(crate) fn has_database(&self, name: &str) -> bool {
        self.programs
            .iter()
            .any(|part| part.name == name && part.has_database)
    }
}

impl Part {
    /// A service of ours: the program of this name, with a database of this name in which it makes its tables itself.
    /// It is called as its participant, and the names of its settings begin with that in capitals.
    pub fn service(name: &'static str) -> Self {
        Self {
            has_database: true,
            ..Self::stranger(name)
        }
    }

    /// Somebody else, who has no database here: a payment provider's stand-in.
    pub fn stranger(name: &'static str) -> Self {
        Self {
            name,
            has_database: false,
            settings: Vec::new(),
        }
    }

    /// It has an API, and this setting says where. Without it a part finds the address in `LISTEN`.
    /// [`System::address`](super::System::address) is the other end.
    #[must_use]
    pub fn listening(self, key: &'static str) -> Self {
        let own = format!("{{{}}}", self.name);
        self.set(key, own)
    }

    /// A setting, without the prefix. `{name}` is the address and port of the part of that name: `http://{airline}/`.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((key, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_one_program_are_built_as_that_program() {
        let parts = || Parts::of_workspace(".").services(["desk", "shelf"]);
        let binaries = |parts: Parts| parts.binaries().collect::<Vec<_>>();
        assert_eq!(binaries(parts()), ["desk", "shelf"]);
        assert_eq!(binaries(parts().of_program("loan")), ["loan", "loan"]);
    }
}
