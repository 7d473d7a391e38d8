use sqlx::migrate::Migrator;

/// A database of the shop: one service's, and nobody else's.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    /// Its name without a prefix; also the name of the role that works in it.
    pub name: &'static str,
    /// Whether it has an outbox and the engine's tables.
    pub has_engine: bool,
    /// The service's own tables.
    pub(crate) tables: fn() -> Migrator,
}

/// What a role is for. Its name is the database's with an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// `order`: the service's work.
    Work,
    /// `order_migrate`: owns the schemas.
    Migrate,
    /// `order_relay`: outbox, windows and lease.
    Relay,
    /// `order_ops`: looks and mends.
    Operate,
}

/// All databases.
pub const DATABASES: &[Database] = &[
    Database {
        name: "product",
        has_engine: true,
        tables: || sqlx::migrate!("../migrations/product"),
    },
    Database {
        name: "order",
        has_engine: true,
        tables: || sqlx::migrate!("../migrations/order"),
    },
    Database {
        name: "inventory",
        has_engine: true,
        tables: || sqlx::migrate!("../migrations/inventory"),
    },
    Database {
        name: "payment",
        has_engine: true,
        tables: || sqlx::migrate!("../migrations/payment"),
    },
    Database {
        name: "sandbox",
        has_engine: false,
        tables: || sqlx::migrate!("../migrations/sandbox"),
    },
];

impl Database {
    /// The database of this name, without a prefix.
    pub fn named(name: &str) -> Option<&'static Database> {
        DATABASES.iter().find(|database| database.name == name)
    }

    /// What its roles are for.
    pub fn duties(&self) -> &'static [Duty] {
        if self.has_engine {
            &[Duty::Work, Duty::Migrate, Duty::Relay, Duty::Operate]
        } else {
            &[Duty::Work, Duty::Migrate]
        }
    }

    /// The name of one of its roles.
    pub fn role(&self, duty: Duty) -> String {
        format!("{}{}", self.name, duty.ending())
    }

    /// The names of all its roles.
    pub fn roles(&self) -> impl Iterator<Item = String> {
        self.duties().iter().map(|duty| self.role(*duty))
    }
}

impl Duty {
    fn ending(self) -> &'static str {
        match self {
            Duty::Work => "",
            Duty::Migrate => "_migrate",
            Duty::Relay => "_relay",
            Duty::Operate => "_ops",
        }
    }
}
