use tonic_reflection::pb;
use tonic_reflection::server::{Builder, Error, v1, v1alpha};

use crate::FILE_DESCRIPTOR_SET;

/// Builds the reflection services, to be added to a server beside those that they describe.
///
/// `services` are the full names that the server really answers, each a generated `SERVICE_NAME`;
/// only these and reflection itself are listed. The descriptors of every Quadrille
/// service, of the health service and of the google.rpc error details can be looked up in any case, so that a
/// client can print rich errors as text.
///
/// Two versions, because older clients know only `v1alpha`.
///
/// # Errors
///
/// When a descriptor set cannot be decoded, which a test of this crate rules out.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quadrille_proto::order::v1::order_service_server;
///
/// let (v1, v1alpha) = quadrille_proto::reflection(&[
///     order_service_server::SERVICE_NAME,
///     "grpc.health.v1.Health",
/// ])?;
/// let routes = tonic::service::Routes::new(v1).add_service(v1alpha);
/// # drop(routes);
/// # Ok(())
/// # }
/// ```
pub fn reflection(
    services: &[&str],
) -> Result<
    (
        v1::ServerReflectionServer<impl v1::ServerReflection + use<>>,
        v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>>,
    ),
    Error,
> {
    Ok((builder(services).build_v1()?, builder(services).build_v1alpha()?))
}

fn builder(services: &[&str]) -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Without these, a client shows the details of an error as base64.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        // Each version lists the other too, so it has to know it.
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    [
        pb::v1::server_reflection_server::SERVICE_NAME,
        pb::v1alpha::server_reflection_server::SERVICE_NAME,
    ]
    .iter()
    .chain(services)
    .fold(builder, |builder, name| builder.with_service_name(*name))
}
