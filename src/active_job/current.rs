use super::argument::Argument;
use super::convert::FromArgument;
use super::error::deserialization;
use super::hash::Hash;
use crate::job::{ArgsError, Context};
use crate::payload::Payload;

/// The `ActiveSupport::CurrentAttributes` of the place where a job was pushed.
///
/// ```
/// use ferrokiq::Payload;
/// use ferrokiq::active_job::{CurrentAttributes, GlobalId};
///
/// // As Sidekiq 7 writes them, and as 8 does.
/// for cattr in [
///     r#"{"tenant":7}"#,
///     r#"[[{"_aj_serialized":"ActiveJob::Serializers::SymbolSerializer","value":"tenant"},7]]"#,
/// ] {
///     let payload = Payload::parse(format!(r#"{{"class":"A","args":[],"cattr":{cattr}}}"#))?;
///     let current = CurrentAttributes::of(&payload, 0)?;
///     assert_eq!(current.get::<i64>("tenant")?, Some(7));
///     assert_eq!(current.get::<GlobalId>("user")?, None);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CurrentAttributes(Vec<(String, Argument)>);

impl CurrentAttributes {
    /// Those of a payload. `class` counts the classes that Ruby persists, from 0. None where the payload says nothing about them.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for what is in none of Sidekiq's forms.
    pub fn of(payload: &Payload, class: usize) -> Result<Self, ArgsError> {
        let key = if class == 0 { "cattr".to_owned() } else { format!("cattr_{class}") };
        let Some(raw) = payload.get(&key) else { return Ok(Self::default()) };
        match Argument::parse(raw)? {
            Argument::Nil => Ok(Self::default()),
            Argument::Hash(hash) => Ok(Self(Hash::into_iter(hash).collect())),
            Argument::Array(pairs) => pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Self),
            _ => Err(strange()),
        }
    }

    /// One of them; `None` where it is not there or `nil`.
    ///
    /// # Errors
    ///
    /// `ArgumentError` for one of another type.
    pub fn get<T: FromArgument>(&self, name: &str) -> Result<Option<T>, ArgsError> {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((_, argument)) => Option::from_argument(argument.clone()),
            None => Ok(None),
        }
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Argument)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Context {
    /// The attributes of the first class that Ruby persists; see [`CurrentAttributes::of`] for others (feature `active-job`).
    ///
    /// # Errors
    ///
    /// As [`CurrentAttributes::of`].
    pub fn current(&self) -> Result<CurrentAttributes, ArgsError> {
        CurrentAttributes::of(self.payload(), 0)
    }
}

fn pair(argument: Argument) -> Result<(String, Argument), ArgsError> {
    if let Argument::Array(mut pair) = argument
        && pair.len() == 2
        && let Some(value) = pair.pop()
        && let Some(Argument::Symbol(name)) = pair.pop()
    {
        return Ok((name.to_string(), value));
    }
    Err(strange())
}

fn strange() -> ArgsError {
    deserialization("cattr is in none of Sidekiq's forms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_forms() {
        for cattr in ["1", "\"x\"", "[1]", "[[1,2]]", "[[]]"] {
            let payload = Payload::parse(format!(r#"{{"cattr_2":{cattr}}}"#)).unwrap();
            assert!(CurrentAttributes::of(&payload, 2).is_err(), "{cattr}");
            assert!(CurrentAttributes::of(&payload, 0).unwrap().is_empty());
        }
        let payload = Payload::parse(r#"{"cattr":null,"cattr_1":{"user":{"id":1}}}"#).unwrap();
        assert!(CurrentAttributes::of(&payload, 0).unwrap().is_empty());
        assert_eq!(CurrentAttributes::of(&payload, 1).unwrap().iter().count(), 1);
    }
}
