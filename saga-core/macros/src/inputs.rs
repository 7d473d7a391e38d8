use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::variant;

pub(crate) fn expand(input: DeriveInput) -> Result<TokenStream> {
    let variants = variant::read(&input, &["event", "command", "timer", "result"])?;
    let ident = &input.ident;
    let (mut spec, mut index, mut events, mut timers, mut results) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut exhausted = Vec::new();
    for (i, variant) in variants.iter().enumerate() {
        let name = &variant.ident;
        let text = name.to_string();
        let snake = variant.snake();
        index.push(quote! { Self::#name { .. } => #i });
        let (wire, kind) = match variant.mark {
            "event" => {
                let ty = variant.typed()?;
                events.push(quote! {
                    <#ty as ::saga_core::Event>::NAME =>
                        <#ty as ::saga_core::Event>::decode(version, data).map(|event| ::std::option::Option::Some(Self::#name(event)))
                });
                let kind = quote! { ::saga_core::InputKind::Event {
                    topic: <#ty as ::saga_core::Event>::TOPIC, version: <#ty as ::saga_core::Event>::VERSION,
                    key: <#ty as ::saga_core::Event>::KEY,
                } };
                (quote! { <#ty as ::saga_core::Event>::NAME }, kind)
            }
            "result" => {
                let ty = variant.typed()?;
                exhausted.push(quote! { Self::#name(outcome) => ::saga_core::effect::EffectResult::is_exhausted(outcome) });
                results.push(quote! {
                    <#ty as ::saga_core::effect::EffectResult>::KIND =>
                        <#ty as ::saga_core::effect::EffectResult>::decode(outcome).map(|result| ::std::option::Option::Some(Self::#name(result)))
                });
                (
                    quote! { <#ty as ::saga_core::effect::EffectResult>::KIND },
                    quote! { ::saga_core::InputKind::Result },
                )
            }
            "timer" => {
                if variant.field.is_some() {
                    return Err(Error::new(
                        name.span(),
                        "a timer carries nothing: the state knows what it was for",
                    ));
                }
                timers.push(quote! { #snake => ::std::option::Option::Some(Self::#name) });
                (quote! { #snake }, quote! { ::saga_core::InputKind::Timer })
            }
            _ => {
                variant.typed()?;
                (quote! { #snake }, quote! { ::saga_core::InputKind::Command })
            }
        };
        spec.push(quote! { ::saga_core::InputSpec { variant: #text, name: #wire, kind: #kind } });
    }
    Ok(quote! {
        impl ::saga_core::Inputs for #ident {
            const SPEC: &'static [::saga_core::InputSpec] = &[ #(#spec),* ];

            fn spec(&self) -> &'static ::saga_core::InputSpec {
                &Self::SPEC[match self { #(#index),* }]
            }

            #[allow(unused_variables)]
            fn from_event(r#type: &str, version: u32, data: &[u8])
                -> ::std::result::Result<::std::option::Option<Self>, ::saga_core::DecodeError>
            {
                match r#type {
                    #(#events,)*
                    _ => ::std::result::Result::Ok(::std::option::Option::None),
                }
            }

            fn from_timer(name: &str) -> ::std::option::Option<Self> {
                match name {
                    #(#timers,)*
                    _ => ::std::option::Option::None,
                }
            }

            #[allow(unused_variables)]
            fn from_result(kind: &str, outcome: &::saga_core::RawOutcome)
                -> ::std::result::Result<::std::option::Option<Self>, ::saga_core::DecodeError>
            {
                match kind {
                    #(#results,)*
                    _ => ::std::result::Result::Ok(::std::option::Option::None),
                }
            }

            #[allow(unreachable_patterns)]
            fn is_exhausted(&self) -> bool {
                match self {
                    #(#exhausted,)*
                    _ => false,
                }
            }
        }
    })
}
