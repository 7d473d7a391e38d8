use crate::stage::everyday;

/// `EX_USAGE`.
const USAGE: i32 = 64;

/// A key that is removed or set to something that it cannot be.
type Wrong = (&'static str, Option<&'static str>);

#[test]
fn a_program_with_wrong_settings_names_all_of_them_and_ends_with_64() {
    everyday(async |shop| {
        let cases: &[(&str, &[Wrong])] = &[
            (
                "product",
                &[
                    ("PRODUCT_DATABASE_URL", None),
                    ("PRODUCT_GRPC_LISTEN", Some("everywhere")),
                ],
            ),
            (
                "order",
                &[
                    ("ORDER_DATABASE_URL", Some("mysql://a:hunter2@b/c")),
                    ("ORDER_PAGE_DEADLINE_MS", Some("soon")),
                ],
            ),
            (
                "inventory",
                &[
                    ("QUADRILLE_KAFKA_BROKERS", None),
                    ("INVENTORY_CONSUMER_WORKERS", Some("0")),
                ],
            ),
            (
                "payment",
                &[
                    ("PAYMENT_PROVIDER_URL", None),
                    ("PAYMENT_WEBHOOK_SECRET", Some("hunter2")),
                ],
            ),
            (
                "payment-sandbox",
                &[("SANDBOX_API_KEY", None), ("SANDBOX_LISTEN", Some("here"))],
            ),
            (
                "outbox-relay",
                &[
                    ("RELAY_SOURCES", Some("order=hunter2")),
                    ("RELAY_LEASE_MS", Some("1")),
                ],
            ),
        ];
        for (program, settings) in cases {
            let (code, said) = shop.another(program, "wrong")?.run_with(settings).await?;
            assert_eq!(code, Some(USAGE), "{program}: {said}");
            for (key, _) in *settings {
                let bare = key.split_once('_').map_or(*key, |(_, bare)| bare);
                assert!(said.contains(bare), "{program} does not name {key}: {said}");
            }
            assert!(!said.contains("hunter2"), "{program} shows a secret: {said}");
        }
        Ok(())
    });
}
