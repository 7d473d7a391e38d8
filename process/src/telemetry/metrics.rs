use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From half a millisecond (a decision) to an hour (an order that waits for somebody to pay). Dense
/// where the marks of this system are: 10 ms, 40 ms, 60 ms.
const SECONDS: [f64; 24] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];
const SIZES: [f64; 11] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0,
];
const BYTES: [f64; 8] = [
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
];

/// The recorder of the process. There can be only one, so a second call returns the first.
pub(super) fn recorder() -> Arc<PrometheusHandle> {
    static RECORDER: OnceLock<Arc<PrometheusHandle>> = OnceLock::new();
    Arc::clone(RECORDER.get_or_init(|| {
        let buckets = |builder: PrometheusBuilder, suffix: &str, bounds: &[f64]| {
            builder
                .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), bounds)
                .expect("the bounds are not empty")
        };
        let builder = buckets(PrometheusBuilder::new(), "_seconds", &SECONDS);
        let builder = buckets(builder, "_size", &SIZES);
        let builder = buckets(builder, "_bytes", &BYTES);
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics already go elsewhere; the admin port will show none");
        }
        Arc::new(handle)
    }))
}
