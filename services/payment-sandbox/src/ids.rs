use std::fmt;

use serde::{Serialize, Serializer};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $new:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) Uuid);

        impl $name {
            pub(crate) fn new() -> $name {
                $name(Uuid::$new())
            }

            #[allow(dead_code, reason = "not every kind is looked up by its id")]
            pub(crate) fn parse(text: &str) -> Option<$name> {
                let id = text.strip_prefix($prefix)?;
                Uuid::try_parse(id).ok().map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// `ch_…`. Grows with time, so that the index does not scatter.
    ChargeId, "ch_", now_v7
);
id!(
    /// `re_…`
    RefundId, "re_", now_v7
);
id!(
    /// `pg_…`. Random: whoever knows it may pay.
    PageId, "pg_", new_v4
);
id!(
    /// `msg_…`; the same on each attempt.
    WebhookId, "msg_", now_v7
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = ChargeId::new();
        assert_eq!(ChargeId::parse(&id.to_string()), Some(id));
        assert_eq!(RefundId::parse(&id.to_string()), None);
        assert_eq!(ChargeId::parse("order-1"), None);
    }
}
