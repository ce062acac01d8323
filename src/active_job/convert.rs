//! Between arguments and Rust's own types.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use super::argument::Argument;
use super::global_id::GlobalId;
use super::hash::Hash;
use super::moment::{Date, DateTime, Time, TimeWithZone};
use super::number::{BigDecimal, Number};
use super::values::{Custom, Duration, Module, Range, Symbol};
use crate::job::ArgsError;

/// A type an argument can be read into. The table of those that are is in the [module's documentation](super).
pub trait FromArgument: Sized + Send + 'static {
    /// Reads an argument.
    ///
    /// # Errors
    ///
    /// `ArgumentError` for one of another type; never quotes a value.
    fn from_argument(argument: Argument) -> Result<Self, ArgsError>;

    /// What it is where the call has no such argument any more: for a type with a default, `nil` for an [`Option`]. `None` means that it must
    /// be there.
    fn absent() -> Option<Result<Self, ArgsError>> {
        None
    }

    /// What `nil` is inside an [`Option`] of this type: by default nothing, so that the option is `None`. [`Nilable`] is one that holds `nil`.
    fn of_nil() -> Option<Self> {
        None
    }
}

/// A type that can be written as an argument.
pub trait IntoArgument {
    /// As an argument.
    fn into_argument(self) -> Argument;

    /// Whether a [keyword](crate::keywords) of this value is left out of the call: an [`Option`] that is `None`.
    fn is_left_out(&self) -> bool {
        false
    }
}

/// Says that an argument is something else than expected.
pub(super) fn unexpected(argument: &Argument, expected: &str) -> ArgsError {
    match argument {
        // The words of Rails.
        Argument::Custom(custom) => {
            super::error::deserialization(format!("Serializer {} is not known", custom.serializer()))
        }
        other => ArgsError::new(format!("{}, expected {expected}", other.kind())),
    }
}

impl FromArgument for Argument {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        Ok(argument)
    }
}

impl IntoArgument for Argument {
    fn into_argument(self) -> Argument {
        self
    }
}

/// Variants that hold the Rust type as it is.
macro_rules! variants {
    ($($variant:ident $expected:literal)+) => {$(
        impl FromArgument for $variant {
            fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
                match argument {
                    Argument::$variant(value) => Ok(value),
                    other => Err(unexpected(&other, $expected)),
                }
            }
        }

        impl IntoArgument for $variant {
            fn into_argument(self) -> Argument {
                Argument::$variant(self)
            }
        }
    )+};
}

variants! {
    Number "a number"
    String "a String"
    Hash "a Hash"
    GlobalId "a GlobalID"
    Symbol "a Symbol"
    Date "a Date"
    DateTime "a DateTime"
    TimeWithZone "a TimeWithZone"
    Duration "a Duration"
    Module "a Module"
    Custom "of a serializer of its own"
}

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl FromArgument for $integer {
            fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
                if let Argument::Number(number) = &argument {
                    return number
                        .to_integer()
                        .ok_or_else(|| unexpected(&argument, concat!("one that fits ", stringify!($integer))));
                }
                Err(unexpected(&argument, stringify!($integer)))
            }
        }

        impl IntoArgument for $integer {
            fn into_argument(self) -> Argument {
                Argument::Number(self.into())
            }
        }
    )+};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

impl FromArgument for f64 {
    /// An `Integer` too: where Ruby is asked for a number, either will do.
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Number(number) => Ok(number.to_f64()),
            other => Err(unexpected(&other, "f64")),
        }
    }
}

impl IntoArgument for f64 {
    fn into_argument(self) -> Argument {
        Argument::Number(self.into())
    }
}

impl FromArgument for bool {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Bool(value) => Ok(value),
            other => Err(unexpected(&other, "a boolean")),
        }
    }
}

impl IntoArgument for bool {
    fn into_argument(self) -> Argument {
        Argument::Bool(self)
    }
}

impl IntoArgument for &str {
    fn into_argument(self) -> Argument {
        Argument::String(self.to_owned())
    }
}

impl<T: FromArgument> FromArgument for Option<T> {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Nil => Ok(T::of_nil()),
            other => T::from_argument(other).map(Some),
        }
    }

    fn absent() -> Option<Result<Self, ArgsError>> {
        Some(Ok(None))
    }
}

impl<T: IntoArgument> IntoArgument for Option<T> {
    fn into_argument(self) -> Argument {
        self.map_or(Argument::Nil, T::into_argument)
    }

    fn is_left_out(&self) -> bool {
        self.is_none()
    }
}

/// A keyword argument that must be there and may be `nil`: Ruby's `note:`, called with `note: nil`. A plain [`Option`] is for one with a default,
/// and is left out of the call when it is `None`.
///
/// `Option<Nilable<T>>` is for a keyword with a default that is not `nil`, to which `nil` means something else: `None` leaves it out,
/// `Some(Nilable(None))` passes `nil`.
///
/// ```
/// use ferrokiq::active_job::{Arguments, Nilable};
///
/// ferrokiq::keywords! {
///     /// `perform(note:, limit: 100)`
///     #[derive(Debug, PartialEq)]
///     struct Report { note: Nilable<String>, limit: Option<Nilable<u32>> }
/// }
///
/// let raw = r#"[{"note":null,"_aj_ruby2_keywords":["note"]}]"#;
/// let (report,) = <(Report,)>::from_json(raw)?;
/// assert_eq!(report, Report { note: Nilable(None), limit: None });
/// assert_eq!((report,).into_json()?, raw);
///
/// let raw = r#"[{"note":"x","limit":null,"_aj_ruby2_keywords":["note","limit"]}]"#;
/// assert_eq!(<(Report,)>::from_json(raw)?.into_json()?, raw);
///
/// assert_eq!(<(Report,)>::from_json("[]").unwrap_err().to_string(), "missing keyword: :note");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nilable<T>(pub Option<T>);

impl<T> From<Option<T>> for Nilable<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: FromArgument> FromArgument for Nilable<T> {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Nil => Ok(Self(None)),
            other => T::from_argument(other).map(|value| Self(Some(value))),
        }
    }

    fn of_nil() -> Option<Self> {
        Some(Self(None))
    }
}

impl<T: IntoArgument> IntoArgument for Nilable<T> {
    fn into_argument(self) -> Argument {
        self.0.map_or(Argument::Nil, T::into_argument)
    }
}

impl<T: FromArgument> FromArgument for Vec<T> {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Array(items) => items.into_iter().map(T::from_argument).collect(),
            other => Err(unexpected(&other, "an Array")),
        }
    }
}

impl<T: IntoArgument> IntoArgument for Vec<T> {
    fn into_argument(self) -> Argument {
        Argument::Array(self.into_iter().map(T::into_argument).collect())
    }
}

/// A map from a hash of any kind: a key is a string here, whatever it is in Ruby.
fn entries<K: From<String>, V: FromArgument, M: FromIterator<(K, V)>>(argument: Argument) -> Result<M, ArgsError> {
    match argument {
        Argument::Hash(hash) => {
            hash.into_iter().map(|(key, value)| Ok((key.into(), V::from_argument(value)?))).collect()
        }
        other => Err(unexpected(&other, "a Hash")),
    }
}

impl From<String> for Symbol {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

macro_rules! maps {
    ($($map:ident<$key:ident> $build:ident;)+) => {$(
        impl<V: FromArgument> FromArgument for $map<$key, V> {
            fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
                entries(argument)
            }
        }

        impl<V: IntoArgument> IntoArgument for $map<$key, V> {
            fn into_argument(self) -> Argument {
                let entries = self.into_iter().map(|(key, value)| (key.to_string(), value.into_argument()));
                Argument::Hash(Hash::$build(entries))
            }
        }
    )+};
}

maps! {
    BTreeMap<String> of_strings;
    BTreeMap<Symbol> of_symbols;
    HashMap<String> of_strings;
    HashMap<Symbol> of_symbols;
}

impl FromArgument for Time {
    /// Of a `TimeWithZone` or `DateTime` too: they are the same moment.
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Time(time) | Argument::DateTime(DateTime(time)) => Ok(time),
            Argument::TimeWithZone(TimeWithZone { time, .. }) => Ok(time),
            other => Err(unexpected(&other, "a Time")),
        }
    }
}

impl IntoArgument for Time {
    fn into_argument(self) -> Argument {
        Argument::Time(self)
    }
}

impl FromArgument for SystemTime {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        let time = Time::from_argument(argument)?;
        time.to_system_time().ok_or_else(|| ArgsError::new("a Time, expected one the system's clock reaches"))
    }
}

impl IntoArgument for SystemTime {
    fn into_argument(self) -> Argument {
        Argument::Time(self.into())
    }
}

impl FromArgument for std::time::Duration {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        let span = Duration::from_argument(argument)?;
        span.to_std().ok_or_else(|| ArgsError::new("a Duration, expected one that is not negative"))
    }
}

impl IntoArgument for std::time::Duration {
    fn into_argument(self) -> Argument {
        Argument::Duration(self.into())
    }
}

impl FromArgument for BigDecimal {
    /// Of a `String` and an `Integer` too: Rails 6.1 writes a decimal as text.
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::BigDecimal(decimal) => Ok(decimal),
            Argument::String(text) => Self::parse(&text),
            Argument::Number(number) if !number.is_float() => Self::parse(number.as_str()),
            other => Err(unexpected(&other, "a BigDecimal")),
        }
    }
}

impl IntoArgument for BigDecimal {
    fn into_argument(self) -> Argument {
        Argument::BigDecimal(self)
    }
}

impl FromArgument for Range {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Range(range) => Ok(*range),
            other => Err(unexpected(&other, "a Range")),
        }
    }
}

impl IntoArgument for Range {
    fn into_argument(self) -> Argument {
        Argument::Range(Box::new(self))
    }
}
