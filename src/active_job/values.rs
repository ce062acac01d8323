use std::fmt;

use super::argument::Argument;
use super::number::{BigDecimal, Number};

/// A Ruby `Symbol`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub(super) Box<str>);

impl Symbol {
    /// The symbol of this name.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// Its name, without colon.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Ruby class or module, by its name. What it means in Rust is up to the job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module(pub(super) Box<str>);

impl Module {
    /// The constant of this name, `"Billing::Invoice"`.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A Ruby `Range`; an end that is `nil` is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// Where it begins.
    pub begin: Argument,
    /// Where it ends.
    pub end: Argument,
    /// Whether the end is not part of it (`1...5`).
    pub exclude_end: bool,
}

/// An `ActiveSupport::Duration`: so many seconds, and the parts it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Duration {
    pub(super) value: Amount,
    pub(super) parts: Vec<(Symbol, Amount)>,
}

/// A number of a [`Duration`]: of its seconds, or of one of its units.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Amount {
    /// An `Integer` or a `Float`.
    Number(Number),
    /// A `BigDecimal`, as of `BigDecimal("1.5").hours`. Rails writes it as text where it is the seconds.
    Decimal(BigDecimal),
}

impl Amount {
    /// The nearest float.
    pub fn to_f64(&self) -> f64 {
        match self {
            Self::Number(number) => number.to_f64(),
            Self::Decimal(decimal) => decimal.to_f64(),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Decimal(decimal) => decimal.fmt(f),
        }
    }
}

impl<T: Into<Number>> From<T> for Amount {
    fn from(number: T) -> Self {
        Self::Number(number.into())
    }
}

impl From<BigDecimal> for Amount {
    fn from(decimal: BigDecimal) -> Self {
        Self::Decimal(decimal)
    }
}

impl Duration {
    /// A duration of whole seconds.
    pub fn from_secs(secs: i64) -> Self {
        Self { value: secs.into(), parts: vec![(Symbol::new("seconds"), secs.into())] }
    }

    /// A duration of so many seconds made of these parts: `years`, `months`, `weeks`, `days`, `hours`, `minutes`, `seconds`.
    pub fn of_parts<'a, A: Into<Amount>>(
        secs: impl Into<Amount>,
        parts: impl IntoIterator<Item = (&'a str, A)>,
    ) -> Self {
        let parts = parts.into_iter().map(|(unit, amount)| (Symbol::new(unit), amount.into())).collect();
        Self { value: secs.into(), parts }
    }

    /// The seconds, as Ruby counts them: a month is 30.436875 days.
    pub fn value(&self) -> &Amount {
        &self.value
    }

    /// The parts in order, `("days", 2)` say.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &Amount)> {
        self.parts.iter().map(|(unit, amount)| (unit.as_str(), amount))
    }

    /// Its length; `None` for a negative one, or one too long to say.
    pub fn to_std(&self) -> Option<std::time::Duration> {
        std::time::Duration::try_from_secs_f64(self.value.to_f64()).ok()
    }
}

impl From<std::time::Duration> for Duration {
    /// Of whole seconds where there are no others, else of seconds with a fraction.
    fn from(span: std::time::Duration) -> Self {
        let value: Amount = if span.subsec_nanos() == 0 { span.as_secs().into() } else { span.as_secs_f64().into() };
        Self { parts: vec![(Symbol::new("seconds"), value.clone())], value }
    }
}

/// What a serializer of the app's own wrote. A type that implements [`FromArgument`](super::FromArgument) for it can read it; for all others it
/// is an error that names the serializer.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    pub(super) serializer: String,
    pub(super) fields: Vec<(String, Argument)>,
    /// Behind how many fields the serializer's name stands; Rails writes it first.
    pub(super) mark: usize,
}

impl Custom {
    /// What a serializer of this name would write, field by field.
    pub fn new<K: Into<String>>(
        serializer: impl Into<String>,
        fields: impl IntoIterator<Item = (K, Argument)>,
    ) -> Self {
        let fields = fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self { serializer: serializer.into(), fields, mark: 0 }
    }

    /// The serializer's class name.
    pub fn serializer(&self) -> &str {
        &self.serializer
    }

    /// A field besides that.
    pub fn get(&self, field: &str) -> Option<&Argument> {
        self.fields.iter().find(|(known, _)| known == field).map(|(_, value)| value)
    }
}
