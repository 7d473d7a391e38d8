//! The three derives of `saga-core`: constant tables, encode and decode, nothing else.
//!
//! Each has a form that is written by hand; the traits' documentation in `saga-core` shows it.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

/// `#[derive(Event)]`.
mod event;
/// `#[derive(Inputs)]`.
mod inputs;
/// `#[derive(Outputs)]`.
mod outputs;
/// Variants and what they are marked with.
mod variant;

/// Implements `saga_core::Event` for a struct.
///
/// `#[event(topic = "stock-events", name = "stock.reserved", version = 2, key = order_id, upcast(1 => from_v1))]`:
/// `version` is 1 unless said otherwise; `key` names the field whose text is the Kafka key (`key = id as order_id` where
/// the saga calls it otherwise); `refusal` marks an event that says no; each `upcast` names a function from the older
/// type to this one.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    event::expand(syn::parse_macro_input!(input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Implements `saga_core::Inputs` for an enum whose variants are marked `#[event]`, `#[command]`, `#[timer]`
/// or `#[result]`.
#[proc_macro_derive(Inputs, attributes(event, command, timer, result))]
pub fn derive_inputs(input: TokenStream) -> TokenStream {
    inputs::expand(syn::parse_macro_input!(input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Implements `saga_core::Outputs` for an enum whose variants are marked `#[event]`, `#[effect]` or `#[timer]`.
#[proc_macro_derive(Outputs, attributes(event, effect, timer))]
pub fn derive_outputs(input: TokenStream) -> TokenStream {
    outputs::expand(syn::parse_macro_input!(input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
