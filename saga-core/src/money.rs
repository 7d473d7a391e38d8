//! Money: an integer of minor units with its ISO 4217 currency. Never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A currency of ISO 4217: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// An amount in minor units (cents, or whole yen) of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Money {
    /// Minor units of the currency; may be negative in a difference.
    pub minor: i64,
    /// What the units are of.
    pub currency: Currency,
}

/// Why two amounts have no sum, or a text is no currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Amounts of different currencies are never added.
    #[error("{left} and {right} are different currencies")]
    ForeignCurrency {
        /// Currency on the left-hand side.
        left: Currency,
        /// Currency on the right-hand side.
        right: Currency,
    },
    /// The result does not fit into 64 bits of minor units.
    #[error("the amount is larger than money can be")]
    Overflow,
    /// Not three capital letters.
    #[error("a currency is three capital letters, as ISO 4217 lists them")]
    NotACurrency,
}

impl Currency {
    /// Euro.
    pub const EUR: Currency = Currency(*b"EUR");
    /// United States dollar.
    pub const USD: Currency = Currency(*b"USD");
    /// Indonesian rupiah.
    pub const IDR: Currency = Currency(*b"IDR");
    /// Japanese yen, which has no minor unit.
    pub const JPY: Currency = Currency(*b"JPY");

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is made of ASCII letters")
    }

    /// How many decimal places the minor unit stands for. Two unless ISO 4217 says otherwise.
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF"
            | b"UGX" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl Money {
    /// `minor` units of `currency`.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, of a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Error::ForeignCurrency`], [`Error::Overflow`].
    pub fn plus(self, other: Money) -> Result<Money, Error> {
        self.same_currency(other)?;
        Ok(Money::new(
            self.minor.checked_add(other.minor).ok_or(Error::Overflow)?,
            self.currency,
        ))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Error::ForeignCurrency`], [`Error::Overflow`].
    pub fn minus(self, other: Money) -> Result<Money, Error> {
        self.same_currency(other)?;
        Ok(Money::new(
            self.minor.checked_sub(other.minor).ok_or(Error::Overflow)?,
            self.currency,
        ))
    }

    /// So many times the amount.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn times(self, quantity: u32) -> Result<Money, Error> {
        Ok(Money::new(
            self.minor
                .checked_mul(i64::from(quantity))
                .ok_or(Error::Overflow)?,
            self.currency,
        ))
    }

    fn same_currency(self, other: Money) -> Result<(), Error> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(Error::ForeignCurrency {
                left: self.currency,
                right: other.currency,
            })
        }
    }
}

impl FromStr for Currency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Currency([a, b, c])),
            _ => Err(Error::NotACurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// For people: `12.50 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let minor = self.minor.unsigned_abs();
        let places = self.currency.exponent();
        if places == 0 {
            return write!(f, "{sign}{minor} {}", self.currency);
        }
        let unit = 10_u64.pow(places);
        write!(
            f,
            "{sign}{}.{:0width$} {}",
            minor / unit,
            minor % unit,
            self.currency,
            width = places as usize
        )
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_with_the_places_of_its_currency() {
        assert_eq!(Money::new(1250, Currency::EUR).to_string(), "12.50 EUR");
        assert_eq!(Money::new(-5, Currency::USD).to_string(), "-0.05 USD");
        assert_eq!(Money::new(1250, Currency::JPY).to_string(), "1250 JPY");
        assert_eq!(
            Money::new(i64::MIN, Currency::EUR).to_string(),
            "-92233720368547758.08 EUR"
        );
    }

    #[test]
    fn refuses_what_has_no_answer() {
        let most = Money::new(i64::MAX, Currency::EUR);
        assert_eq!(most.plus(Money::new(1, Currency::EUR)), Err(Error::Overflow));
        assert_eq!(most.times(2), Err(Error::Overflow));
        assert!(matches!(
            most.plus(Money::zero(Currency::USD)),
            Err(Error::ForeignCurrency { .. })
        ));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for wrong in ["", "EU", "eur", "EURO", "E1R", "ÄÖ"] {
            assert_eq!(wrong.parse::<Currency>(), Err(Error::NotACurrency), "{wrong}");
        }
        let json = serde_json::to_string(&Money::new(7, Currency::EUR)).expect("serialises");
        assert_eq!(json, r#"{"minor":7,"currency":"EUR"}"#);
        assert_eq!(
            serde_json::from_str::<Money>(&json).expect("reads"),
            Money::new(7, Currency::EUR)
        );
    }
}
