/// Installs ring as the process-wide cryptography of rustls.
///
/// reqwest and tonic are built without a provider of their own, and panic on their first TLS connection
/// when none is installed. [`run`](crate::run) does it; a test that opens TLS connections calls it
/// itself. Calling it twice is harmless.
pub fn install_crypto() {
    // An error means that a provider is already there, which is all that we want.
    drop(rustls::crypto::ring::default_provider().install_default());
}
