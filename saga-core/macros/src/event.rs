use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, DeriveInput, Error, Ident, LitInt, LitStr, Path, Result, Token, parenthesized};

struct Spec {
    topic: LitStr,
    name: LitStr,
    version: u32,
    key: Ident,
    /// What the key is called in the saga, where that is not the field's name.
    called: Option<Ident>,
    refuses: bool,
    upcasts: Vec<(u32, Path)>,
}

enum Item {
    Topic(LitStr),
    Name(LitStr),
    Version(u32),
    Key(Ident, Option<Ident>),
    Refusal,
    Upcast(Vec<(u32, Path)>),
}

pub(crate) fn expand(input: DeriveInput) -> Result<TokenStream> {
    let attribute = input
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("event"))
        .ok_or_else(|| {
            Error::new(
                input.span(),
                r#"say #[event(topic = "…", name = "…", key = field)]"#,
            )
        })?;
    let Spec {
        topic,
        name,
        version,
        key,
        called,
        refuses,
        upcasts,
    } = read(attribute)?;
    let ident = &input.ident;
    let called = called.as_ref().unwrap_or(&key).to_string();
    let schema = format!("{}/{version}", name.value());
    let old = upcasts.iter().map(|(from, up)| {
        quote! { #from => ::saga_core::event::decode_json(Self::NAME, #from, data).map(#up) }
    });
    Ok(quote! {
        impl ::saga_core::Event for #ident {
            const TOPIC: &'static str = #topic;
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const SCHEMA: &'static str = #schema;
            const KEY: &'static str = #called;
            const REFUSES: bool = #refuses;

            fn key(&self) -> ::std::string::String {
                ::std::string::ToString::to_string(&self.#key)
            }

            fn decode(version: u32, data: &[u8]) -> ::std::result::Result<Self, ::saga_core::DecodeError> {
                match version {
                    #version => ::saga_core::event::decode_json(Self::NAME, version, data),
                    #(#old,)*
                    found => ::std::result::Result::Err(::saga_core::DecodeError::UnknownVersion {
                        name: Self::NAME, found, known: #version,
                    }),
                }
            }
        }
    })
}

fn read(attribute: &Attribute) -> Result<Spec> {
    let items = attribute.parse_args_with(Punctuated::<Item, Token![,]>::parse_terminated)?;
    let (mut topic, mut name, mut version, mut key, mut upcasts) = (None, None, 1, None, Vec::new());
    let mut refuses = false;
    for item in items {
        match item {
            Item::Topic(value) => topic = Some(value),
            Item::Name(value) => name = Some(value),
            Item::Version(value) => version = value,
            Item::Key(value, called) => key = Some((value, called)),
            Item::Refusal => refuses = true,
            Item::Upcast(value) => upcasts = value,
        }
    }
    let missing = |what: &str| Error::new(attribute.span(), format!("{what} is missing"));
    if let Some((from, up)) = upcasts.iter().find(|(from, _)| *from >= version || *from == 0) {
        return Err(Error::new(
            up.span(),
            format!("an upcast leads from an older version to {version}, not from {from}"),
        ));
    }
    let (key, called) = key.ok_or_else(|| missing("key"))?;
    Ok(Spec {
        topic: topic.ok_or_else(|| missing("topic"))?,
        name: name.ok_or_else(|| missing("name"))?,
        version,
        key,
        called,
        refuses,
        upcasts,
    })
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let word: Ident = input.parse()?;
        if word == "upcast" {
            let inner;
            parenthesized!(inner in input);
            let pairs = Punctuated::<Upcast, Token![,]>::parse_terminated(&inner)?;
            return Ok(Item::Upcast(
                pairs.into_iter().map(|Upcast(from, up)| (from, up)).collect(),
            ));
        }
        if word == "refusal" {
            return Ok(Item::Refusal);
        }
        input.parse::<Token![=]>()?;
        match word.to_string().as_str() {
            "topic" => input.parse().map(Item::Topic),
            "name" => input.parse().map(Item::Name),
            "version" => input.parse::<LitInt>()?.base10_parse().map(Item::Version),
            "key" => {
                let field = input.parse()?;
                let called = match input.parse::<Option<Token![as]>>()? {
                    Some(_) => Some(input.parse()?),
                    None => None,
                };
                Ok(Item::Key(field, called))
            }
            other => Err(Error::new(
                word.span(),
                format!("'{other}' is none of topic, name, version, key, refusal, upcast"),
            )),
        }
    }
}

struct Upcast(u32, Path);

impl Parse for Upcast {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let from = input.parse::<LitInt>()?.base10_parse()?;
        input.parse::<Token![=>]>()?;
        Ok(Upcast(from, input.parse()?))
    }
}
