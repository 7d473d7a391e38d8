//! Money between people, protobuf and us.

use quadrille_proto::r#type::v1::Money as Wire;
use saga_core::{Currency, Money};

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an amount; expected for example '12.50 EUR', with at most as many decimals as the currency has")]
pub(crate) struct NotMoney;

/// Reads `12.50 EUR`, exactly.
pub(crate) fn parse(text: &str) -> Result<Money, NotMoney> {
    let text = text.trim();
    let at = text.len().checked_sub(3).ok_or(NotMoney)?;
    let (number, code) = text.split_at_checked(at).ok_or(NotMoney)?;
    let currency: Currency = code.parse().map_err(|_| NotMoney)?;
    let (whole, decimals) = number
        .trim_end()
        .split_once('.')
        .unwrap_or((number.trim_end(), ""));
    let places = usize::try_from(currency.exponent()).unwrap_or(0);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > places {
        return Err(NotMoney);
    }
    let minor = format!("{whole}{decimals:0<places$}");
    Ok(Money::new(minor.parse().map_err(|_| NotMoney)?, currency))
}

/// For a request.
pub(crate) fn to_wire(money: Money) -> Wire {
    Wire {
        currency_code: money.currency.code().to_owned(),
        minor_units: money.minor,
    }
}

/// From an answer. What is no money there is none here.
pub(crate) fn from_wire(wire: Option<&Wire>) -> Option<Money> {
    let wire = wire?;
    Some(Money::new(wire.minor_units, wire.currency_code.parse().ok()?))
}

/// For a cell of a table.
pub(crate) fn cell(money: Option<Money>) -> String {
    money.map_or_else(|| "-".to_owned(), |money| money.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, minor, currency) in [
            ("12.50 EUR", 1250, Currency::EUR),
            ("12.5 EUR", 1250, Currency::EUR),
            ("12EUR", 1200, Currency::EUR),
            ("0.01 USD", 1, Currency::USD),
            ("1250 JPY", 1250, Currency::JPY),
            ("90071992547409.93 EUR", 9_007_199_254_740_993, Currency::EUR),
        ] {
            assert_eq!(parse(text), Ok(Money::new(minor, currency)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "EUR",
            "12.50",
            "12.505 EUR",
            "1.5 JPY",
            "-1 EUR",
            "1e3 EUR",
            "1,50 EUR",
            ".50 EUR",
            "1.5.0 EUR",
            "12.50 eur",
            "12.50 €UR",
            "99999999999999999999 EUR",
        ] {
            assert_eq!(parse(text), Err(NotMoney), "{text}");
        }
    }
}
