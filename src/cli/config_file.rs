use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::erb::{self, Failure};
use super::yaml::{self, Key, Value, put};
use crate::error::{Error, Result};

/// `config/sidekiq.yml`, read: top-level keys without their colon, those of the environment's section on top.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<(String, Value)>,
}

/// Bytes of a configuration file.
const LARGEST: usize = 256 * 1024;

impl ConfigFile {
    pub(super) fn read(path: &Path, environment: &str) -> Result<Self> {
        let mut text = String::new();
        // One byte more shows that the file is too large.
        let read = File::open(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_string(&mut text));
        read.map_err(|error| {
            Error::config(format!("the configuration file {} cannot be read", path.display())).because(error)
        })?;
        Self::parse(path, &text, environment, &|name| std::env::var(name).ok())
    }

    /// Reads a text. `variable` returns the variables of the environment that ERB tags name.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        environment: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let shown = path.display();
        if text.len() > LARGEST {
            return Err(Error::config(format!("{shown} has more than {LARGEST} bytes")));
        }
        let text = erb::render(text, variable).map_err(|failure| {
            Error::config(match failure {
                Failure::NeedsRuby { line } => format!(
                    "{shown} line {line} has an ERB tag that needs Ruby; write the value itself, give it as a flag, or render the \
                     file first (erb -T - {shown} > plain.yml) and pass it with -C plain.yml"
                ),
                Failure::Fails { line, why } => format!("{shown} line {line}: the ERB tag fails: {why}"),
            })
        })?;
        let top = yaml::load(&text)
            .map_err(|error| Error::config(format!("{shown} is no YAML that Sidekiq reads")).because(error))?;
        let mut top = match top {
            Value::Null | Value::Bool(false) => Vec::new(),
            Value::Map(entries) => symbolized(entries),
            _ => return Err(Error::config(format!("{shown} must be a map of settings"))),
        };
        let section = Key::Symbol(environment.to_owned());
        if let Some(at) = top.iter().position(|(key, _)| *key == section) {
            match top.remove(at).1 {
                Value::Map(section) => section.into_iter().for_each(|(key, value)| put(&mut top, key, value)),
                Value::Null | Value::Bool(false) => {}
                _ => {
                    return Err(Error::config(format!(
                        "{shown}: {environment}: the section of an environment must be a map"
                    )));
                }
            }
        }
        let entries = top.into_iter().map(|(key, value)| (key.name().to_owned(), value)).collect();
        Ok(Self { path: path.to_owned(), entries })
    }
}

/// Makes the text keys of a map, and of maps in it, symbols, as Sidekiq does: a text key replaces the equal symbol, wherever it stands.
fn symbolized(entries: Vec<(Key, Value)>) -> Vec<(Key, Value)> {
    let mut made: Vec<(Key, Value)> = Vec::new();
    let mut of_text: Vec<Key> = Vec::new();
    for (key, value) in entries {
        let value = match value {
            Value::Map(entries) => Value::Map(symbolized(entries)),
            other => other,
        };
        match key {
            Key::Text(name) => {
                let key = Key::Symbol(name);
                of_text.push(key.clone());
                put(&mut made, key, value);
            }
            key if of_text.contains(&key) => {}
            key => put(&mut made, key, value),
        }
    }
    made
}

impl From<&Value> for String {
    /// For messages.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(yes) => yes.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) | Value::Symbol(text) => format!("\"{text}\""),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(Path::new("config/sidekiq.yml"), text, "production", &|_| None)
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
                Value::Symbol("low".into())
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
        let error = parse(":queues:\n  - a\n:concurrency: <%= Etc.nprocessors %>\n").unwrap_err().to_string();
        assert!(
            error.contains("config/sidekiq.yml line 3 has an ERB tag") && error.contains("erb -T - config/sidekiq.yml"),
            "{error}"
        );
        assert!(parse("# <%= a comment %>\n").is_ok());
        let missing = parse(":concurrency: <%= ENV.fetch('X') %>\n").unwrap_err().to_string();
        assert!(missing.contains("line 1") && missing.contains("no variable X"), "{missing}");
    }

    #[test]
    fn is_bounded_in_bytes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &vec![b'\n'; LARGEST]).unwrap();
        assert!(ConfigFile::read(file.path(), "production").is_ok());
        std::io::Write::write_all(&mut file, &vec![b'\n'; LARGEST]).unwrap();
        let error = ConfigFile::read(file.path(), "production").unwrap_err().to_string();
        assert!(error.contains("more than 262144 bytes"), "{error}");
    }

    #[test]
    fn names_a_file_that_is_no_map() {
        for text in ["- a\n", "just text\n", "a: [\n", "production: 5\n"] {
            assert!(parse(text).unwrap_err().to_string().contains("config/sidekiq.yml"), "{text}");
        }
        let missing = ConfigFile::read(Path::new("no/such.yml"), "production").unwrap_err();
        assert!(missing.to_string().contains("no/such.yml"));
    }
}
