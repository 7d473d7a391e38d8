use anyhow::{Context, Result};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use quadrille_proto::FILE_DESCRIPTOR_SET;

fn own_files() -> Result<Vec<FileDescriptorProto>> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?;
    Ok(set
        .file
        .into_iter()
        .filter(|file| file.package().starts_with("quadrille."))
        .collect())
}

/// The comment in front of the declaration at `path`, a descriptor path as in `SourceCodeInfo.Location`.
fn comment<'f>(file: &'f FileDescriptorProto, path: &[i32]) -> Result<&'f str> {
    let info = file.source_code_info.as_ref().context("no source info")?;
    let location = info
        .location
        .iter()
        .find(|location| location.path == path)
        .with_context(|| format!("{} has no location {path:?}", file.name()))?;
    Ok(location.leading_comments().trim())
}

#[test]
fn every_service_and_call_is_there_with_its_comment() -> Result<()> {
    let mut calls = Vec::new();
    for file in own_files()? {
        for (s, service) in (0..).zip(&file.service) {
            let name = format!("{}.{}", file.package(), service.name());
            assert_ne!(comment(&file, &[6, s])?, "", "{name} has no comment");
            for (m, method) in (0..).zip(&service.method) {
                let call = format!("{name}/{}", method.name());
                assert_ne!(comment(&file, &[6, s, 2, m])?, "", "{call} has no comment");
                calls.push(call);
            }
        }
    }
    calls.sort();
    assert_eq!(
        calls,
        [
            "quadrille.inventory.v1.InventoryService/GetStock",
            "quadrille.inventory.v1.InventoryService/ReceiveStock",
            "quadrille.order.v1.OrderService/CancelOrder",
            "quadrille.order.v1.OrderService/GetOrder",
            "quadrille.order.v1.OrderService/ListOrders",
            "quadrille.order.v1.OrderService/PlaceOrder",
            "quadrille.order.v1.OrderService/WatchOrder",
            "quadrille.payment.v1.PaymentService/GetPayment",
            "quadrille.product.v1.ProductService/ChangePrice",
            "quadrille.product.v1.ProductService/CreateProduct",
            "quadrille.product.v1.ProductService/GetProduct",
            "quadrille.product.v1.ProductService/ListProducts",
        ]
    );
    Ok(())
}

#[test]
fn every_message_field_and_enum_value_has_a_comment() -> Result<()> {
    let files = own_files()?;
    assert_eq!(files.len(), 9, "each .proto file is in the set");
    for file in &files {
        for (m, message) in (0..).zip(&file.message_type) {
            let name = message.name();
            assert_ne!(comment(file, &[4, m])?, "", "{name} has no comment");
            for (f, field) in (0..).zip(&message.field) {
                let comment = comment(file, &[4, m, 2, f])?;
                assert_ne!(comment, "", "{name}.{} has no comment", field.name());
            }
        }
        for (e, values) in (0..).zip(&file.enum_type) {
            assert_ne!(comment(file, &[5, e])?, "", "{} has no comment", values.name());
            for (v, value) in (0..).zip(&values.value) {
                let comment = comment(file, &[5, e, 2, v])?;
                assert_ne!(comment, "", "{} has no comment", value.name());
            }
        }
    }
    Ok(())
}
