use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::payload::{check_args, to_json};

/// The arguments of a job: a JSON array on one side, a tuple on the other.
///
/// Tuples of up to 12 members are `Args`, `()` for none. The number of members is the number of arguments: a job that
/// comes with more or fewer fails with `ArgumentError`, as in Ruby. A member that may be `nil` is an `Option`. For a job
/// that takes any number there is [`Variadic`], for one that wants the JSON itself [`RawArgs`].
///
/// ```
/// use ferrokiq::Args;
///
/// let (id, name) = <(i64, Option<String>)>::from_json(r#"[7,null]"#)?;
/// assert_eq!((id, name), (7, None));
///
/// let error = <(i64, String)>::from_json("[7]").unwrap_err();
/// assert_eq!(error.to_string(), "wrong number of arguments (given 1, expected 2)");
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
pub trait Args: Send + Sized + 'static {
    /// Reads the `args` of a payload.
    ///
    /// # Errors
    ///
    /// If their number or a type does not fit.
    fn from_json(raw: &str) -> std::result::Result<Self, ArgsError>;

    /// Writes them as a JSON array.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for a value JSON cannot hold: NaN, an infinity, a map whose keys are no strings.
    fn to_json(&self) -> Result<String>;
}

/// Arguments that do not fit a job: `ArgumentError` in the retry set. Never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgsError {
    class: &'static str,
    message: String,
}

impl ArgsError {
    /// Arguments that do not fit, said in such words.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of_class("ArgumentError", message)
    }

    /// The same under the name of another Ruby error.
    pub(crate) fn of_class(class: &'static str, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The same, said of the argument at a place, which counts from 1.
    #[cfg(feature = "active-job")]
    pub(crate) fn of_argument(self, place: usize) -> Self {
        self.said_of(format_args!("argument {place}"))
    }

    /// The same, said of a keyword argument.
    #[cfg(feature = "active-job")]
    pub(crate) fn of_keyword(self, name: &str) -> Self {
        self.said_of(format_args!("keyword {name}"))
    }

    /// Only words of its own need to be told of what they are.
    #[cfg(feature = "active-job")]
    fn said_of(self, what: fmt::Arguments<'_>) -> Self {
        if !self.message.contains(", expected ") {
            return self;
        }
        let is =
            if self.message.starts_with("argument ") || self.message.starts_with("keyword ") { ":" } else { " is" };
        Self { message: format!("{what}{is} {}", self.message), ..self }
    }

    /// `error_class` of a job that fails with it.
    pub fn class(&self) -> &'static str {
        self.class
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArgsError {}

/// Any number of arguments of one type: Ruby's `perform(*args)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variadic<T>(pub Vec<T>);

/// The arguments as JSON text, untouched: digits and spellings that Rust types would change stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawArgs(String);

impl RawArgs {
    /// Arguments from a JSON array.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) if it is not one, or one that Ruby cannot read: nested deeper than 98 levels, or with
    /// half of a surrogate pair.
    pub fn new(json: impl Into<String>) -> Result<Self> {
        let json = json.into();
        members(&json, 0).map_err(|error| Error::args(error.message))?;
        check_args("a job", &json)?;
        Ok(Self(json))
    }

    /// The JSON array.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Args for RawArgs {
    fn from_json(raw: &str) -> std::result::Result<Self, ArgsError> {
        members(raw, 0)?;
        Ok(Self(raw.to_owned()))
    }

    fn to_json(&self) -> Result<String> {
        Ok(self.0.clone())
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Args for Variadic<T> {
    fn from_json(raw: &str) -> std::result::Result<Self, ArgsError> {
        let (members, _) = members(raw, usize::MAX)?;
        let members = members.into_iter().enumerate().map(|(at, raw)| element(at, raw));
        members.collect::<std::result::Result<_, _>>().map(Self)
    }

    fn to_json(&self) -> Result<String> {
        encode(&self.0)
    }
}

impl Args for () {
    fn from_json(raw: &str) -> std::result::Result<Self, ArgsError> {
        exactly(raw, 0).map(drop)
    }

    fn to_json(&self) -> Result<String> {
        Ok("[]".to_owned())
    }
}

macro_rules! tuples {
    ($($len:literal: $($member:ident $at:tt),+;)+) => {$(
        impl<$($member: Serialize + DeserializeOwned + Send + 'static),+> Args for ($($member,)+) {
            fn from_json(raw: &str) -> std::result::Result<Self, ArgsError> {
                let elements = exactly(raw, $len)?;
                Ok(($(element::<$member>($at, elements[$at])?,)+))
            }

            fn to_json(&self) -> Result<String> {
                encode(self)
            }
        }
    )+};
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}

/// The first members of the array, up to `most`, and how many it has.
fn members(raw: &str, most: usize) -> std::result::Result<(Vec<&RawValue>, usize), ArgsError> {
    struct Members(usize);
    impl<'de> Visitor<'de> for Members {
        type Value = (Vec<&'de RawValue>, usize);
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
            let Self(most) = self;
            let mut kept = Vec::with_capacity(most.min(4));
            let mut count = 0;
            while let Some(member) = seq.next_element()? {
                if count < most {
                    kept.push(member);
                }
                count += 1;
            }
            Ok((kept, count))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let read = deserializer.deserialize_seq(Members(most)).and_then(|read| deserializer.end().map(|()| read));
    read.map_err(|_| match kind(raw) {
        // Only the beginning shows what it is.
        _ if serde_json::from_str::<&RawValue>(raw).is_err() => ArgsError::new("arguments are no valid JSON"),
        "an array" => ArgsError::new("arguments are no valid JSON"),
        other => ArgsError::new(format!("arguments are {other}, expected an array")),
    })
}

/// The members of an array of this length. One of any other length is counted and not kept.
fn exactly(raw: &str, expected: usize) -> std::result::Result<Vec<&RawValue>, ArgsError> {
    let (members, given) = members(raw, expected)?;
    if given == expected {
        return Ok(members);
    }
    Err(ArgsError::new(format!("wrong number of arguments (given {given}, expected {expected})")))
}

fn element<T: DeserializeOwned>(at: usize, raw: &RawValue) -> std::result::Result<T, ArgsError> {
    serde_json::from_str(raw.get()).map_err(|error| {
        ArgsError::new(format!("argument {} is {}: {}", at + 1, kind(raw.get()), without_values(&error.to_string())))
    })
}

/// A parser's complaint without the value it complains about, which may be a secret, and without a position that means
/// nothing outside.
fn without_values(complaint: &str) -> String {
    let complaint = complaint.split(" at line ").next().unwrap_or(complaint);
    match complaint.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if complaint.starts_with("missing field") => complaint.to_owned(),
        None => "it does not fit".to_owned(),
    }
}

fn kind(raw: &str) -> &'static str {
    match raw.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) => "a number",
        None => "nothing",
    }
}

fn encode(args: &impl Serialize) -> Result<String> {
    to_json(args).map_err(|error| Error::args(format!("arguments cannot be written as JSON: {error}")).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_of_a_wrong_number_as_ruby_does() {
        for (raw, given) in [("[]", 0), ("[1]", 1), ("[1,2,3]", 3)] {
            let error = <(i64, i64)>::from_json(raw).unwrap_err();
            assert_eq!(error.to_string(), format!("wrong number of arguments (given {given}, expected 2)"));
        }
        assert!(<()>::from_json("[1]").is_err());
        assert!(<()>::from_json(r#"{"a":1}"#).unwrap_err().to_string().contains("an object"));
    }

    #[test]
    fn never_quotes_a_value() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Card {
            number: u64,
        }
        for raw in [r#"["s3cr3t, expected x"]"#, r#"[{"number":"s3cr3t"}]"#, r#"[{"s3cr3t":1}]"#] {
            let error = <(Card,)>::from_json(raw).unwrap_err().to_string();
            assert!(!error.contains("s3cr3t"), "{error}");
            assert!(error.starts_with("argument 1 is "), "{error}");
        }
        let error = <(i64,)>::from_json(r#"["bob"]"#).unwrap_err();
        assert_eq!(error.to_string(), "argument 1 is a string: expected i64");
    }

    #[test]
    fn keeps_raw_arguments_as_they_are() {
        let raw = r#"[ 123456789012345678901234, 1.0e+20 ]"#;
        assert_eq!(RawArgs::from_json(raw).unwrap().to_json().unwrap(), raw);
        assert!(RawArgs::new("{}").is_err());
    }

    #[test]
    fn takes_any_number_of_one_type() {
        assert_eq!(Variadic::<i64>::from_json("[1,2]").unwrap().0, [1, 2]);
        assert_eq!(
            Variadic(vec!["a", "b"].into_iter().map(str::to_owned).collect::<Vec<_>>()).to_json().unwrap(),
            r#"["a","b"]"#
        );
    }

    #[test]
    fn refuses_to_write_what_ruby_cannot_read() {
        let words = "arguments cannot be written as JSON: NaN not allowed in JSON";
        assert_eq!((1, Some(f64::NAN)).to_json().unwrap_err().to_string(), words);
        assert_eq!(Variadic(vec![1.5, f64::NAN]).to_json().unwrap_err().to_string(), words);
        assert_eq!((None::<f64>,).to_json().unwrap(), "[null]");
        for raw in [r#"["\ud83d"]"#, r#"[{"\ude00":1}]"#, &format!("{}{}", "[".repeat(100), "]".repeat(100))] {
            assert!(RawArgs::new(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn counts_arguments_without_keeping_them() {
        let raw = format!("[{}1]", "1,".repeat(99_999));
        let error = <(i64,)>::from_json(&raw).unwrap_err();
        assert_eq!(error.to_string(), "wrong number of arguments (given 100000, expected 1)");
        assert_eq!(members(&raw, 2).unwrap().0.capacity(), 2);
        for raw in ["[1,]", "[1", "[1] 2", "[1 2]"] {
            assert_eq!(exactly(raw, 1).unwrap_err().to_string(), "arguments are no valid JSON", "{raw}");
        }
    }
}
