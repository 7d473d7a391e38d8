use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::variant;

pub(crate) fn expand(input: DeriveInput) -> Result<TokenStream> {
    let variants = variant::read(&input, &["event", "effect", "timer"])?;
    let ident = &input.ident;
    let (mut spec, mut index, mut emissions) = (Vec::new(), Vec::new(), Vec::new());
    for (i, variant) in variants.iter().enumerate() {
        let name = &variant.ident;
        let ty = variant.typed()?;
        let text = name.to_string();
        let snake = variant.snake();
        index.push(quote! { Self::#name { .. } => #i });
        let (wire, kind, emission) = match variant.mark {
            "event" => (
                quote! { <#ty as ::saga_core::Event>::NAME },
                quote! { ::saga_core::OutputKind::Event {
                    topic: <#ty as ::saga_core::Event>::TOPIC, version: <#ty as ::saga_core::Event>::VERSION,
                    key: <#ty as ::saga_core::Event>::KEY, refuses: <#ty as ::saga_core::Event>::REFUSES,
                } },
                quote! { Self::#name(event) => ::saga_core::Emission::Event {
                    topic: <#ty as ::saga_core::Event>::TOPIC,
                    name: <#ty as ::saga_core::Event>::NAME,
                    schema: <#ty as ::saga_core::Event>::SCHEMA,
                    key: ::saga_core::Event::key(event),
                    data: ::saga_core::__private::serde_json::to_vec(event)?,
                } },
            ),
            "effect" => (
                quote! { <#ty as ::saga_core::Effect>::KIND },
                quote! { ::saga_core::OutputKind::Effect {
                    policy: <#ty as ::saga_core::Effect>::POLICY, role: <#ty as ::saga_core::Effect>::ROLE,
                } },
                quote! { Self::#name(effect) => ::saga_core::Emission::Effect {
                    kind: <#ty as ::saga_core::Effect>::KIND,
                    data: ::saga_core::__private::serde_json::to_vec(effect)?,
                } },
            ),
            _ => (
                quote! { #snake },
                quote! { ::saga_core::OutputKind::Timer },
                quote! { Self::#name(timer) => ::saga_core::Emission::Timer { name: #snake, timer: *timer } },
            ),
        };
        spec.push(quote! { ::saga_core::OutputSpec { variant: #text, name: #wire, kind: #kind } });
        emissions.push(emission);
    }
    Ok(quote! {
        impl ::saga_core::Outputs for #ident {
            const SPEC: &'static [::saga_core::OutputSpec] = &[ #(#spec),* ];

            fn spec(&self) -> &'static ::saga_core::OutputSpec {
                &Self::SPEC[match self { #(#index),* }]
            }

            fn emission(&self) -> ::std::result::Result<::saga_core::Emission, ::saga_core::__private::serde_json::Error> {
                ::std::result::Result::Ok(match self { #(#emissions),* })
            }
        }
    })
}
