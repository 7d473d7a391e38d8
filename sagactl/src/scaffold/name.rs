use std::str::FromStr;

/// What a participant is called: its crate and program, its database and roles, its consumer group, its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

/// Why something is no name for a participant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoName {
    /// Rust, PostgreSQL and Kafka all have to take it.
    #[error(
        "a participant's name is of lower case letters, digits and single underscores, and begins with a letter: seat_map"
    )]
    Form,
    /// PostgreSQL cuts names off, and a test's database has one in front of it.
    #[error("a participant's name has {LENGTH_MAX} letters at the most")]
    Long,
    /// It means something already.
    #[error("{0} is {1}")]
    Taken(String, &'static str),
}

const LENGTH_MAX: usize = 24;

/// Keywords of Rust, reserved ones too.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final fn for \
gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof \
unsafe unsized use virtual where while yield";

/// Crates that the new one sees.
const CRATES: &str = "alloc anyhow chrono core mimalloc proc_macro quadrille_process saga_core saga_core_macros saga_runtime serde \
serde_json service_testing sqlx std test tokio tokio_util uuid";

/// What roles of a service end with.
const ENDINGS: [&str; 3] = ["_migrate", "_relay", "_ops"];

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !text.split('_').all(is_word) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(NoName::Form);
        }
        if text.len() > LENGTH_MAX {
            return Err(NoName::Long);
        }
        let taken = |why| Err(NoName::Taken(text.to_owned(), why));
        if KEYWORDS.split(' ').any(|keyword| keyword == text) {
            return taken("a keyword of Rust");
        }
        if CRATES.split(' ').any(|known| known == text) {
            return taken("a crate that every participant uses");
        }
        if text == "postgres" || text.starts_with("pg_") {
            return taken("a role of PostgreSQL's own");
        }
        if ENDINGS.iter().any(|ending| text.ends_with(ending)) {
            return taken("like the name of another participant's role");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Name {
    /// `seat_map`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A template, with this name in place of the newcomer's.
    pub(super) fn put_into(&self, template: &str) -> String {
        template
            .replace("newcomer", &self.0)
            .replace("Newcomer", &self.camel())
            .replace("NEWCOMER", &self.0.to_ascii_uppercase())
    }

    /// `SeatMap`.
    fn camel(&self) -> String {
        let capital = |word: &str| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        };
        self.0.split('_').map(capital).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_for_rust_and_for_postgresql() {
        for name in ["hotel", "seat_map", "car2go", "a"] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        for name in [
            "",
            "Hotel",
            "seat-map",
            "_seat",
            "seat_",
            "a__b",
            "2go",
            "hôtel",
            "a b",
            "../x",
            "match",
            "tokio",
            "pg_hotel",
            "hotel_ops",
            "a_name_of_twenty_six_letters",
        ] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }

    #[test]
    fn it_takes_the_newcomers_place_in_every_form() {
        let name: Name = "seat_map".parse().expect("a name");
        assert_eq!(
            name.put_into("newcomer-events newcomer::Newcomer NEWCOMER_DATABASE_URL"),
            "seat_map-events seat_map::SeatMap SEAT_MAP_DATABASE_URL"
        );
    }
}
