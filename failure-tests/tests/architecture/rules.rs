/// What one crate may depend on within the workspace.
pub(crate) struct Rule {
    pub(crate) from: &'static str,
    pub(crate) may: Who,
    pub(crate) why: &'static str,
}

pub(crate) enum Who {
    Everybody,
    These(&'static [&'static str]),
}

/// Who may use a library from outside.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) may: &'static [&'static str],
    /// Whose tests may, too.
    pub(crate) in_tests: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Crates that only tests depend on.
pub(crate) const FOR_TESTS: &[&str] = &["local-stack", "payment-sandbox", "saga-proof", "service-testing"];

const PURE: &str = "it is pure, so that the same decisions run in production, in a model and in a replay";
const SHELL: &str = "it knows no service and no relay: anybody's participant runs in it";
const SERVICE: &str = "services speak through events, and no service knows another";
const STRANGER: &str = "it plays a stranger on the internet, who knows nothing of us";

pub(crate) const ARROWS: &[Rule] = &[
    rule("saga-core-macros", &[], PURE),
    rule("saga-core", &["saga-core-macros"], PURE),
    rule(
        "quadrille-contracts",
        &["saga-core"],
        "it is what services tell each other, and no more",
    ),
    rule("quadrille-proto", &[], "it is generated, and holds no logic"),
    rule(
        "quadrille-process",
        &[],
        "every process needs it, so it needs nobody",
    ),
    rule(
        "local-stack",
        &[],
        "it is built before everything else, in seconds",
    ),
    rule("saga-runtime", &["saga-core", "quadrille-process"], SHELL),
    rule(
        "outbox-relay",
        &["saga-core", "quadrille-process"],
        "it serves any outbox, of services that know nothing of sagas too",
    ),
    service("product"),
    service("order"),
    service("inventory"),
    service("payment"),
    rule("payment-sandbox", &["quadrille-process"], STRANGER),
    rule(
        "service-testing",
        &["local-stack", "quadrille-process", "saga-core", "saga-runtime"],
        "it tests any service, and knows none",
    ),
    rule(
        "sagactl",
        &[
            "outbox-relay",
            "saga-runtime",
            "saga-core",
            "quadrille-contracts",
            "quadrille-proto",
            "quadrille-process",
        ],
        "operators go through the doors that everybody has, and no service is built into their tool",
    ),
    rule(
        "outbox-only",
        &["outbox-relay"],
        "it shows what the relay is without the rest of the engine",
    ),
    rule(
        "trip",
        &["saga-runtime", "saga-core", "quadrille-process"],
        "it is written against what everybody has: the public API",
    ),
    rule(
        "saga-proof",
        &["local-stack", "quadrille-process", "saga-core", "service-testing"],
        "it proves any choreography, and knows none",
    ),
    Rule {
        from: "failure-tests",
        may: Who::Everybody,
        why: "",
    },
    Rule {
        from: "bench",
        may: Who::Everybody,
        why: "",
    },
];

pub(crate) const LIBRARIES: &[Library] = &[
    Library {
        name: "tokio",
        may: &[
            "quadrille-process",
            "local-stack",
            "saga-runtime",
            "outbox-relay",
            "sagactl",
            "product",
            "order",
            "inventory",
            "payment",
            "payment-sandbox",
            "service-testing",
            "saga-proof",
            "failure-tests",
            "bench",
            "outbox-only",
            "trip",
        ],
        in_tests: &["quadrille-proto"],
        why: PURE,
    },
    Library {
        name: "rdkafka",
        may: &[
            "saga-runtime",
            "outbox-relay",
            "sagactl",
            "service-testing",
            "saga-proof",
            "failure-tests",
            "bench",
        ],
        in_tests: &["outbox-only"],
        why: "services do not speak to Kafka themselves",
    },
    Library {
        name: "sqlx",
        may: &[
            "saga-runtime",
            "outbox-relay",
            "sagactl",
            "product",
            "order",
            "inventory",
            "payment",
            "payment-sandbox",
            "service-testing",
            "saga-proof",
            "failure-tests",
            "bench",
            "outbox-only",
            "trip",
        ],
        in_tests: &[],
        why: "it owns no table",
    },
    Library {
        name: "tonic",
        may: &[
            "quadrille-proto",
            "saga-runtime",
            "sagactl",
            "product",
            "order",
            "inventory",
            "payment",
            "failure-tests",
            "bench",
        ],
        // They play a collector of spans.
        in_tests: &["quadrille-process"],
        why: "it serves no gRPC",
    },
];

const fn rule(from: &'static str, may: &'static [&'static str], why: &'static str) -> Rule {
    Rule {
        from,
        may: Who::These(may),
        why,
    }
}

const fn service(from: &'static str) -> Rule {
    rule(
        from,
        &[
            "quadrille-contracts",
            "quadrille-proto",
            "saga-runtime",
            "saga-core",
            "quadrille-process",
        ],
        SERVICE,
    )
}
