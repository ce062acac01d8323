use std::fs;
use std::path::Path;

use serde_json::Value;

use super::described::{Described, Params};
use super::quoted::string;
use super::types::Type;
use crate::error::{Error, Result};

/// What a Ruby process does that fetches a job of these classes, if it is told to.
const DIVERT: &str = include_str!("divert.rb");
/// What checks arguments.
const CONTRACT: &str = include_str!("contract.rb");

const HEADER: &str = "# frozen_string_literal: true\n\n# Made from the worker's jobs; do not edit.\n";

/// All classes as one file.
pub(super) fn text(classes: &[Described], checked: bool) -> String {
    let mut text = format!("{HEADER}\nrequire \"sidekiq\"\n\n{DIVERT}");
    if checked {
        text.push_str(&format!("\n{CONTRACT}"));
    }
    for class in classes {
        text.push_str(&format!("\n{}", stub(class, checked)));
    }
    text
}

/// Each class as a file of its own, where Rails looks for it.
pub(super) fn write(dir: &Path, classes: &[Described], checked: bool) -> Result<()> {
    let mut files = vec![("ferrokiq/divert.rb".to_owned(), format!("{HEADER}\n{DIVERT}"))];
    if checked {
        files.push(("ferrokiq/contract.rb".to_owned(), format!("{HEADER}\n{CONTRACT}")));
    }
    for class in classes {
        let path = class.class.split("::").map(underscored).collect::<Vec<_>>().join("/");
        let up = "../".repeat(class.modules().count());
        // With Rails the constant is there already: it is loaded when it is used.
        let needed = if checked {
            format!("require_relative \"{up}ferrokiq/contract\" unless defined?(Ferrokiq::Contract)\n\n")
        } else {
            String::new()
        };
        files.push((format!("{path}.rb"), format!("{HEADER}\n{needed}{}", stub(class, checked))));
    }
    for (name, text) in files {
        let path = dir.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Error::config(format!("{} cannot be written", path.display())).because(error))?;
    }
    Ok(())
}

/// `ChargeJob` as `charge_job`, `PDFJob` as `pdf_job`: as `ActiveSupport` does.
fn underscored(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, c) in chars.iter().enumerate() {
        if at > 0 && c.is_ascii_uppercase() {
            let before = chars[at - 1];
            let word_ends = before.is_ascii_lowercase() || before.is_ascii_digit();
            let word_begins = before.is_ascii_uppercase() && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
            if word_ends || word_begins {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn stub(class: &Described, checked: bool) -> String {
    let mut text = String::new();
    for module in class.modules() {
        text.push_str(&format!("module {module}; end unless defined?({module})\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let name = &class.class;
    text.push_str(&format!("# Runs in Rust.\nclass {name}\n  include Sidekiq::Job\n"));
    if !class.options.is_empty() {
        let options: Vec<String> = class.options.iter().map(|(key, value)| pair(key, value)).collect();
        text.push_str(&format!("  sidekiq_options {}\n", options.join(", ")));
    }
    text.push_str("\n  def self.runs_in_rust?\n    true\n  end\n\n");
    for (param, schema) in class.params.each() {
        text.push_str(&format!("  # @param {param} [{}]\n", Type::of(schema, &class.schema).yard()));
    }
    let params = match &class.params {
        Params::Listed(listed) if listed.is_empty() => String::new(),
        Params::Listed(listed) => {
            format!("({})", listed.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", "))
        }
        Params::Rest(name, _) => format!("(*{name})"),
    };
    text.push_str(&format!(
        "  # @return [void]\n  def perform{params}\n    raise NotImplementedError, \"{name} runs in Rust: a ferrokiq worker performs it, Ruby enqueues it\"\n  end\n"
    ));
    if checked {
        text.push_str(&check(class));
    }
    text.push_str("end\n");
    text
}

fn check(class: &Described) -> String {
    let params = class.params.each();
    let listed: Vec<String> =
        params.iter().map(|(name, schema)| format!("      [{}, {}]", string(name), literal(schema))).collect();
    let takes = match class.params {
        Params::Listed(_) if listed.is_empty() => "[]".to_owned(),
        Params::Listed(_) => format!("[\n{}\n    ]", listed.join(",\n")),
        Params::Rest(..) => format!("[\n{}\n    ], rest: true", listed.join(",\n")),
    };
    let definitions = class.schema.get("$defs").map_or("{}".to_owned(), literal);
    format!("\n  Ferrokiq::Contract.check self,\n    takes: {takes},\n    definitions: {definitions}\n")
}

fn pair(key: &str, value: &Value) -> String {
    let is_plain =
        key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain { format!("{key}: {}", literal(value)) } else { format!("{} => {}", string(key), literal(value)) }
}

/// A value as Ruby writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(text) => string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(pairs) if pairs.is_empty() => "{}".to_owned(),
        Value::Object(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{} => {}", string(key), literal(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn evaluates_nothing() {
        assert_eq!(
            literal(&json!({"a": [null, true, 1, "x\"#{exit}\n"]})),
            r#"{"a" => [nil, true, 1, "x\"\#{exit}\n"]}"#
        );
    }

    /// `bin/test rails` starts the Rails app with both.
    #[test]
    fn the_rails_app_has_the_middleware_as_it_is_written_and_the_lines_of_the_guide() {
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("ruby-fixtures/rails_app");
        let dir = app.join("app/jobs");
        let written = fs::read_to_string(dir.join("ferrokiq/divert.rb")).unwrap();
        assert_eq!(written, format!("{HEADER}\n{DIVERT}"));
        let guide = include_str!("../../../docs/guide/contracts.md");
        let (_, shown) = guide.split_once("```ruby\nrequire Rails.root").unwrap();
        let (shown, _) = shown.split_once("```").unwrap();
        let initializer = fs::read_to_string(app.join("config/initializers/sidekiq.rb")).unwrap();
        assert!(initializer.contains(&format!("require Rails.root{shown}")), "{shown}");
    }

    #[test]
    fn names_files_as_rails_does() {
        for (class, file) in [("ChargeJob", "charge_job"), ("PDFJob", "pdf_job"), ("S3Upload", "s3_upload"), ("A", "a")]
        {
            assert_eq!(underscored(class), file);
        }
    }
}
