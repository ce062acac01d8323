use super::global_id::GlobalId;
use super::hash::Hash;
use super::moment::{Date, DateTime, Time, TimeWithZone};
use super::number::{BigDecimal, Number};
use super::values::{Custom, Duration, Module, Range, Symbol};

/// One argument of an ActiveJob, of any type that Rails can pass.
///
/// What Rails wrote is kept so exactly that writing it again gives the same bytes: the order of keys, the digits of numbers, the precision of
/// times. Most jobs never meet this type, since [`FromArgument`](super::FromArgument) turns it into Rust's own.
///
/// ```
/// use ferrokiq::active_job::Argument;
///
/// let raw = r#"[{"_aj_serialized":"ActiveJob::Serializers::SymbolSerializer","value":"soon"},12345678901234567890123]"#;
/// let arguments = Argument::parse_all(raw)?;
/// assert!(matches!(&arguments[0], Argument::Symbol(symbol) if symbol.as_str() == "soon"));
/// assert_eq!(Argument::write_all(&arguments)?, raw);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Argument {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// An `Integer` or a `Float`, of any size.
    Number(Number),
    /// A `String`.
    String(String),
    /// An `Array`.
    Array(Vec<Argument>),
    /// A `Hash`, one with indifferent access, or the keyword arguments.
    Hash(Hash),
    /// A model, by its global id.
    GlobalId(GlobalId),
    /// A `Symbol`.
    Symbol(Symbol),
    /// A `Date`.
    Date(Date),
    /// A `Time`.
    Time(Time),
    /// A `DateTime`.
    DateTime(DateTime),
    /// An `ActiveSupport::TimeWithZone`.
    TimeWithZone(TimeWithZone),
    /// An `ActiveSupport::Duration`.
    Duration(Duration),
    /// A `BigDecimal`.
    BigDecimal(BigDecimal),
    /// A `Range`.
    Range(Box<Range>),
    /// A `Class` or `Module`, by its name.
    Module(Module),
    /// What a serializer of the app's own wrote.
    Custom(Custom),
}

impl Argument {
    /// What it is, for an error; never its value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Number(number) if number.is_float() => "a Float",
            Self::Number(_) => "an Integer",
            Self::String(_) => "a String",
            Self::Array(_) => "an Array",
            Self::Hash(_) => "a Hash",
            Self::GlobalId(_) => "a GlobalID",
            Self::Symbol(_) => "a Symbol",
            Self::Date(_) => "a Date",
            Self::Time(_) => "a Time",
            Self::DateTime(_) => "a DateTime",
            Self::TimeWithZone(_) => "a TimeWithZone",
            Self::Duration(_) => "a Duration",
            Self::BigDecimal(_) => "a BigDecimal",
            Self::Range(_) => "a Range",
            Self::Module(_) => "a Module",
            Self::Custom(_) => "of a serializer of its own",
        }
    }
}
