//! Arguments as text.

use super::argument::Argument;
use super::decode::decode;
use super::encode::{encode, encode_array};
use super::error::deserialization;
use super::json::Json;
use crate::error::{Error, Result};
use crate::job::ArgsError;
use crate::payload::is_too_deep;

type Decoded<T> = std::result::Result<T, ArgsError>;

impl Argument {
    /// Reads one argument.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for what Rails could not read either. A serializer that is not one of Rails's own is no error here: see
    /// [`Custom`](super::Custom).
    pub fn parse(raw: &str) -> Decoded<Self> {
        decode(Json::parse(raw)?)
    }

    /// Reads the `arguments` of a job, an array.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_all(raw: &str) -> Decoded<Vec<Self>> {
        match Json::parse(raw)? {
            Json::Array(items) => items.into_iter().map(decode).collect(),
            other => Err(deserialization(format!("the arguments are {}, no array", other.kind()))),
        }
    }

    /// Writes it as Rails does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for what Rails refuses: a float that is not finite, a key that begins as Rails's own, nesting
    /// deeper than Ruby reads.
    pub fn write(&self) -> Result<String> {
        let mut out = String::new();
        encode(self, &mut out)?;
        checked(out)
    }

    /// Writes arguments as the array Rails writes.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_all(arguments: &[Self]) -> Result<String> {
        let mut out = String::new();
        encode_array(arguments, &mut out)?;
        checked(out)
    }
}

fn checked(out: String) -> Result<String> {
    // The arguments lie three levels deep in a payload.
    if is_too_deep(&format!("[{{\"\":{out}}}]")) {
        return Err(Error::args("arguments are nested deeper than Ruby reads"));
    }
    Ok(out)
}
