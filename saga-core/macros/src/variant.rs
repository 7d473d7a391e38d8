use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Type};

/// A variant of an input or output enum.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    /// Which of the allowed marks it bears.
    pub(crate) mark: &'static str,
    /// The type of its only field; `None` for a unit variant.
    pub(crate) field: Option<Type>,
}

/// Reads the variants of an enum, each of which bears exactly one of `marks`.
pub(crate) fn read(input: &DeriveInput, marks: &'static [&'static str]) -> Result<Vec<Variant>> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.span(),
            "expected an enum with one variant per input or output",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "an input or output enum has no generic parameters",
        ));
    }
    data.variants
        .iter()
        .map(|variant| read_one(variant, marks))
        .collect()
}

fn read_one(variant: &syn::Variant, marks: &'static [&'static str]) -> Result<Variant> {
    let mut found = marks
        .iter()
        .filter(|mark| variant.attrs.iter().any(|attr| attr.path().is_ident(mark)));
    let (Some(mark), None) = (found.next(), found.next()) else {
        let wanted: Vec<_> = marks.iter().map(|mark| format!("#[{mark}]")).collect();
        return Err(Error::new(
            variant.span(),
            format!("mark the variant with one of {}", wanted.join(", ")),
        ));
    };
    let field = match &variant.fields {
        Fields::Unit => None,
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            fields.unnamed.first().map(|field| field.ty.clone())
        }
        fields => {
            return Err(Error::new(
                fields.span(),
                "a variant has one unnamed field, or none",
            ));
        }
    };
    Ok(Variant {
        ident: variant.ident.clone(),
        mark,
        field,
    })
}

impl Variant {
    /// The field of a variant that must have one.
    pub(crate) fn typed(&self) -> Result<&Type> {
        self.field.as_ref().ok_or_else(|| {
            Error::new(
                self.ident.span(),
                format!("#[{}] needs a field: {}(…)", self.mark, self.ident),
            )
        })
    }

    /// `StockDeadline` is `stock_deadline` on the wire.
    pub(crate) fn snake(&self) -> String {
        let mut out = String::new();
        for (i, c) in self.ident.to_string().chars().enumerate() {
            if c.is_uppercase() && i > 0 {
                out.push('_');
            }
            out.extend(c.to_lowercase());
        }
        out
    }
}
