use failure_tests::certificate::Shop;
use saga_proof::certificate;

/// The whole has more than a thousand cases: `just certificate`.
#[test]
fn a_sample_of_the_failure_certificate() {
    certificate::sample::<Shop>().unwrap_or_else(|error| panic!("{error:#}"));
}
