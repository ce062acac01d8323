use serde_json::Value;

use crate::error::{Error, Result};
use crate::server::{AnyJob, Registry};

/// A class as other languages see it.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) class: String,
    /// What its jobs are pushed with, as far as the class says.
    pub(super) options: Vec<(String, Value)>,
    pub(super) params: Params,
    /// The JSON Schema of all arguments.
    pub(super) schema: Value,
}

/// What `perform` takes, each with its JSON Schema.
#[derive(Debug)]
pub(super) enum Params {
    Listed(Vec<(String, Value)>),
    /// Any number of one kind.
    Rest(String, Value),
}

impl Described {
    /// All classes of a registry, by name.
    pub(super) fn all(registry: &Registry) -> Result<Vec<Self>> {
        let mut classes: Vec<Self> =
            registry.iter().map(|(class, job)| Self::new(class, job)).collect::<Result<_>>()?;
        classes.sort_by(|one, other| one.class.cmp(&other.class));
        Ok(classes)
    }

    fn new(class: &str, job: &dyn AnyJob) -> Result<Self> {
        if !is_constant(class) {
            return Err(Error::config(format!("{class} cannot be the name of a Ruby class")));
        }
        let options = job.options();
        let options = options
            .entries()
            .map(|(key, json)| Ok((key.to_owned(), serde_json::from_str(json)?)))
            .collect::<serde_json::Result<_>>()
            .map_err(|error| Error::config(format!("the options of {class} are no JSON")).because(error))?;
        let contract = job.args_schema();
        let schema = contract.as_json().clone();
        let params = Params::new(&schema, contract.given_names())
            .map_err(|wrong| Error::config(format!("the arguments of {class}: {wrong}")))?;
        Ok(Self { class: class.to_owned(), options, params, schema })
    }

    /// The modules around the class, outermost first, each with its whole name.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.class.match_indices("::").map(|(at, _)| &self.class[..at])
    }

    /// What one option says.
    pub(super) fn option(&self, key: &str) -> Option<&Value> {
        self.options.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

impl Params {
    fn new(schema: &Value, names: &[String]) -> Result<Self, String> {
        if let Some(wrong) = names.iter().find(|name| !is_parameter(name)) {
            return Err(format!("{wrong:?} cannot be the name of a Ruby parameter"));
        }
        if let Some((at, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(format!("argument {} is called {twice}, as one before", at + 1));
        }
        let Some(listed) = schema.get("prefixItems").and_then(Value::as_array) else {
            let name = match names {
                [] => "args",
                [name] => name,
                more => return Err(format!("{} names, but any number of arguments has one", more.len())),
            };
            return Ok(Self::Rest(name.to_owned(), schema.get("items").cloned().unwrap_or(Value::Bool(true))));
        };
        if !names.is_empty() && names.len() != listed.len() {
            return Err(format!("{} names for {} arguments", names.len(), listed.len()));
        }
        let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("arg{}", at + 1));
        Ok(Self::Listed(listed.iter().enumerate().map(|(at, schema)| (name(at), schema.clone())).collect()))
    }

    /// Name and schema of each.
    pub(super) fn each(&self) -> Vec<(&str, &Value)> {
        match self {
            Self::Listed(listed) => listed.iter().map(|(name, schema)| (&**name, schema)).collect(),
            Self::Rest(name, schema) => vec![(name, schema)],
        }
    }
}

/// `Foo`, `Foo::Bar`.
fn is_constant(name: &str) -> bool {
    name.split("::").all(|part| part.starts_with(|c: char| c.is_ascii_uppercase()) && is_word(part))
}

fn is_word(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_parameter(name: &str) -> bool {
    const KEYWORDS: [&str; 42] = [
        "alias",
        "and",
        "begin",
        "break",
        "case",
        "class",
        "def",
        "defined",
        "do",
        "else",
        "elsif",
        "end",
        "ensure",
        "false",
        "for",
        "if",
        "in",
        "module",
        "next",
        "nil",
        "not",
        "or",
        "redo",
        "rescue",
        "retry",
        "return",
        "self",
        "super",
        "then",
        "true",
        "undef",
        "unless",
        "until",
        "when",
        "while",
        "yield",
        "__FILE__",
        "__LINE__",
        "__ENCODING__",
        "__method__",
        "BEGIN",
        "END",
    ];
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && is_word(name) && !KEYWORDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_only_names_that_ruby_takes() {
        for (class, is) in
            [("A", true), ("A::B1_c", true), ("a", false), ("A::", false), ("A:B", false), ("A;exit", false)]
        {
            assert_eq!(is_constant(class), is, "{class}");
        }
        for (name, is) in [("id", true), ("_", true), ("Id", false), ("end", false), ("a b", false), ("", false)] {
            assert_eq!(is_parameter(name), is, "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_names() {
        let schema = json!({"type": "array", "prefixItems": [{}, {}]});
        let wrong = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Params::new(&schema, &names).unwrap_err()
        };
        assert_eq!(wrong(&["id"]), "1 names for 2 arguments");
        assert_eq!(wrong(&["id", "id"]), "argument 2 is called id, as one before");
        assert_eq!(wrong(&["id", "class"]), "\"class\" cannot be the name of a Ruby parameter");
        let names: Vec<_> =
            Params::new(&schema, &[]).unwrap().each().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["arg1", "arg2"]);
    }
}
