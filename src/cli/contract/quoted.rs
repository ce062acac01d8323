//! Texts in Ruby.

use serde_json::Value;

/// A text between quotes, in which nothing is evaluated.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string().replace('#', "\\#")
}
