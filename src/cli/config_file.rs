use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};

use crate::error::{Error, Result};

/// `config/sidekiq.yml`, read: top-level keys without their colon, those of the environment's section on top.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<(String, Value)>,
}

/// A YAML value, as far as a configuration needs it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl ConfigFile {
    pub(super) fn read(path: &Path, environment: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("the configuration file {} cannot be read", path.display())).because(error)
        })?;
        Self::parse(path, &text, environment)
    }

    pub(super) fn parse(path: &Path, text: &str, environment: &str) -> Result<Self> {
        let shown = path.display();
        if let Some(line) = text.lines().position(|line| !line.trim_start().starts_with('#') && line.contains("<%")) {
            return Err(Error::config(format!(
                "{shown} line {} has an ERB tag, which needs Ruby: write the value itself, give it as a flag, or render the \
                 file first (erb {shown} > plain.yml) and pass it with -C",
                line + 1
            )));
        }
        // The parser goes down as deep as the text does.
        if is_too_deep(text) {
            return Err(Error::config(format!("{shown} is nested too deep")));
        }
        let documents = Yaml::load_from_str(text)
            .map_err(|error| Error::config(format!("{shown} is no YAML")).because(error.to_string()))?;
        let top = match documents.first().map(value) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Map(entries)) => entries,
            Some(_) => return Err(Error::config(format!("{shown} must be a map of settings"))),
        };
        let section = top.iter().find(|(key, _)| key == environment).map(|(_, value)| value.clone());
        let mut entries: Vec<(String, Value)> = top.into_iter().filter(|(key, _)| key != environment).collect();
        if let Some(Value::Map(section)) = section {
            for (key, value) in section {
                put(&mut entries, key, value);
            }
        }
        Ok(Self { path: path.to_owned(), entries })
    }
}

/// Whether lists and maps are nested deeper than anybody means: by brackets, or by what stands before the text of a line.
fn is_too_deep(text: &str) -> bool {
    const BRACKETS: usize = 100;
    const INDENT: usize = 400;
    let mut depth = 0_usize;
    let by_brackets = text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > BRACKETS
    });
    by_brackets
        || text.lines().any(|line| line.len() - line.trim_start_matches([' ', '\t', '-', '?', ':']).len() > INDENT)
}

/// Replaces or appends.
fn put(entries: &mut Vec<(String, Value)>, key: String, value: Value) {
    match entries.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => entries.push((key, value)),
    }
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(yes)) => Value::Bool(*yes),
        Yaml::Value(Scalar::Integer(number)) => Value::Int(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::Float(**number),
        Yaml::Value(Scalar::String(text)) => Value::Text(without_colons(text)),
        Yaml::Sequence(items) => Value::List(items.iter().map(value).collect()),
        Yaml::Mapping(pairs) => Value::Map(map(pairs.iter().map(|(key, item)| (key_text(key), value(item))))),
        Yaml::Tagged(_, tagged) => value(tagged),
        _ => Value::Null,
    }
}

/// Entries, with those merged by `<<` beneath.
fn map(pairs: impl Iterator<Item = (String, Value)>) -> Vec<(String, Value)> {
    let (mut merged, mut own) = (Vec::new(), Vec::new());
    for (key, value) in pairs {
        match value {
            Value::Map(inherited) if key == "<<" => merged.extend(inherited),
            value => own.push((key, value)),
        }
    }
    let mut entries = Vec::new();
    for (key, value) in merged.into_iter().chain(own) {
        put(&mut entries, key, value);
    }
    entries
}

fn key_text(key: &Yaml<'_>) -> String {
    match value(key) {
        Value::Text(text) => text,
        Value::Int(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => String::new(),
    }
}

/// `:name`, as Ruby writes a symbol, and `name:`, as a symbol key ends up, are `name`.
fn without_colons(text: &str) -> String {
    text.strip_prefix(':').unwrap_or(text).trim_end_matches(':').to_owned()
}

impl From<&Value> for String {
    /// For messages.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(yes) => yes.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => format!("\"{text}\""),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(Path::new("config/sidekiq.yml"), text, "production")
    }

    #[test]
    fn reads_symbol_keys_and_the_section_of_the_environment() {
        let file = parse(
            ":concurrency: 5\ntimeout: 25\n:queues:\n  - [critical, 2]\n  - :low\nproduction:\n  :concurrency: 20\n:staging:\n  :concurrency: 1\n",
        )
        .unwrap();
        let get = |key: &str| file.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
        assert_eq!(get("concurrency"), Some(Value::Int(20)));
        assert_eq!(get("timeout"), Some(Value::Int(25)));
        assert_eq!(
            get("queues"),
            Some(Value::List(vec![
                Value::List(vec![Value::Text("critical".into()), Value::Int(2)]),
                Value::Text("low".into())
            ]))
        );
        assert!(matches!(get("staging"), Some(Value::Map(_))));
    }

    #[test]
    fn follows_anchors() {
        let file = parse("base: &base\n  timeout: 7\n  tag: a\nproduction:\n  <<: *base\n  tag: b\n").unwrap();
        assert!(file.entries.contains(&("timeout".into(), Value::Int(7))));
        assert!(file.entries.contains(&("tag".into(), Value::Text("b".into()))));
    }

    #[test]
    fn takes_an_empty_file() {
        assert!(parse("").unwrap().entries.is_empty());
        assert!(parse("# nothing\n").unwrap().entries.is_empty());
    }

    #[test]
    fn says_what_to_do_about_erb() {
        let error = parse(":queues:\n  - a\n:concurrency: <%= ENV['X'] %>\n").unwrap_err().to_string();
        assert!(
            error.contains("config/sidekiq.yml line 3 has an ERB tag") && error.contains("erb config/sidekiq.yml"),
            "{error}"
        );
        assert!(parse("# <%= a comment %>\n").is_ok());
    }

    #[test]
    fn goes_down_no_deeper_than_anybody_means() {
        let indented: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        for text in
            [format!("a: {}", "[".repeat(60_000)), format!("{}a", "- ".repeat(30_000)), "? ".repeat(30_000), indented]
        {
            assert!(parse(&text).unwrap_err().to_string().ends_with("is nested too deep"));
        }
        assert!(parse(&format!("a: {}1{}", "[".repeat(50), "]".repeat(50))).is_ok());
    }

    #[test]
    fn names_a_file_that_is_no_map() {
        for text in ["- a\n", "just text\n", "a: [\n"] {
            assert!(parse(text).unwrap_err().to_string().contains("config/sidekiq.yml"), "{text}");
        }
        let missing = ConfigFile::read(Path::new("no/such.yml"), "production").unwrap_err();
        assert!(missing.to_string().contains("no/such.yml"));
    }
}
