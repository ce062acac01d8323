use crate::job::ArgsError;

/// What Rails raises for arguments that cannot be deserialized.
pub(super) const DESERIALIZATION_ERROR: &str = "ActiveJob::DeserializationError";

/// That error, with the words of Rails in front.
pub(super) fn deserialization(why: impl AsRef<str>) -> ArgsError {
    let message = format!("Error while trying to deserialize arguments: {}", why.as_ref());
    ArgsError::of_class(DESERIALIZATION_ERROR, message)
}
