//! The queues of a configuration file, as Sidekiq 7 and 8 read them.

use super::yaml::{Value, leading_integer};

const EXPECTED: &str = "a list of queues: each `name`, `\"name,2\"` or `[name, 2]`; or a map of names and weights";

/// Reads `queues`: a list, a map of names and weights, or one name. Returns each as `"name"` or `"name,weight"`.
pub(super) fn queues(value: &Value) -> Result<Vec<String>, &'static str> {
    match value {
        Value::List(items) if items.is_empty() => Err("a list with at least one queue"),
        Value::List(items) => items.iter().map(item).collect(),
        Value::Map(entries) => entries.iter().map(|(name, weight)| queue(name.name(), to_weight(weight)?)).collect(),
        one => Ok(vec![item(one)?]),
    }
}

/// `name`, `"name,2"`, `[name, 2]`, `[name]`.
fn item(item: &Value) -> Result<String, &'static str> {
    match item {
        Value::List(parts) => {
            let name = parts.first().and_then(Value::to_text).ok_or(EXPECTED)?;
            queue(&name, parts.get(1).map_or(Ok(0), to_weight)?)
        }
        Value::Text(text) => {
            let mut parts = text.split(',');
            queue(parts.next().unwrap_or_default(), parts.next().map_or(0, leading_integer))
        }
        // `- critical: 5`: Ruby serves a queue whose name is the map.
        Value::Map(_) => {
            Err("a list of queues: write `- [critical, 5]` for `- critical: 5`, and no colon behind a name")
        }
        name => queue(&name.to_text().ok_or(EXPECTED)?, 0),
    }
}

/// What Ruby's `to_i` makes of a weight.
fn to_weight(value: &Value) -> Result<i64, &'static str> {
    match value {
        Value::Null => Ok(0),
        Value::Int(weight) => Ok(*weight),
        Value::Float(weight) => Ok(weight.trunc() as i64),
        Value::Text(text) => Ok(leading_integer(text)),
        _ => Err(EXPECTED),
    }
}

fn queue(name: &str, weight: i64) -> Result<String, &'static str> {
    if name.contains(',') {
        return Err("a list of queues whose names have no comma");
    }
    match weight {
        0 => Ok(name.to_owned()),
        1.. => Ok(format!("{name},{weight}")),
        _ => Err("a list of queues whose weights are 0 or more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::load;
    use super::*;

    #[test]
    fn reads_what_sidekiq_reads() {
        for (yaml, expected) in [
            ("[a, \"b,2\", [c, 3], [d]]", &["a", "b,2", "c,3", "d"][..]),
            ("[\"low:\", \":sym\"]", &["low:", ":sym"]),
            ("[[q, \"5\"], [r, 2.5], [s, 2, 9]]", &["q,5", "r,2", "s,2"]),
            ("{critical: 5, low: }", &["critical,5", "low"]),
            ("one", &["one"]),
            ("7", &["7"]),
        ] {
            assert_eq!(queues(&load(yaml).unwrap()).unwrap(), expected, "{yaml}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (yaml, part) in [
            ("[]", "at least one"),
            ("[critical: 5]", "`- [critical, 5]`"),
            ("[[a, yes]]", "a list of queues: each"),
            ("[[\"a,b\", 2]]", "no comma"),
            ("[[a, -1]]", "0 or more"),
        ] {
            assert!(queues(&load(yaml).unwrap()).unwrap_err().contains(part), "{yaml}");
        }
    }
}
