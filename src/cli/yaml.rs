//! YAML as Ruby's Psych loads it: version 1.1, merge keys in their order, the last of two equal keys, and no class but `Symbol`.

mod scalar;

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

pub(super) use scalar::leading_integer;

/// Nodes of a document, those behind aliases counted each time.
const NODES: usize = 10_000;

/// Lists and maps within each other.
const DEPTH: usize = 100;

/// Tabs behind keys; the text is parsed once for each.
const TABS: usize = 200;

/// A value of YAML.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// `:name`
    Symbol(String),
    List(Vec<Self>),
    Map(Vec<(Key, Self)>),
}

/// The key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    Symbol(String),
    Text(String),
    /// A number, a truth value and others, as Ruby prints them.
    Other(String),
}

impl Key {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Symbol(name) | Self::Text(name) | Self::Other(name) => name,
        }
    }
}

impl From<Value> for Key {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Symbol(name) => Self::Symbol(name),
            other => Self::Other(other.to_text().unwrap_or_default()),
        }
    }
}

impl Value {
    /// A scalar as Ruby's `to_s` writes it; `None` for a list or a map.
    pub(super) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => String::new(),
            Self::Bool(yes) => yes.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::Text(text) | Self::Symbol(text) => text.clone(),
            Self::List(_) | Self::Map(_) => return None,
        })
    }

    fn nodes(&self) -> usize {
        1 + match self {
            Self::List(items) => items.iter().map(Self::nodes).sum(),
            Self::Map(entries) => entries.iter().map(|(_, value)| 1 + value.nodes()).sum(),
            _ => 0,
        }
    }
}

/// Replaces the value of a key, or appends it.
pub(super) fn put<K: PartialEq>(entries: &mut Vec<(K, Value)>, key: K, value: Value) {
    match entries.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => entries.push((key, value)),
    }
}

/// Loads the first document; `Null` if there is none.
pub(super) fn load(text: &str) -> Result<Value, String> {
    let marked = text.strip_prefix('\u{feff}');
    let is_content = |line: &str| !(line.trim().is_empty() || line.starts_with(['#', '%']) || line.starts_with("---"));
    if marked.and_then(|text| text.lines().next()).is_some_and(is_content) {
        return Err(
            "it begins with a byte order mark, with which Ruby reads its first key alone; save it without".to_owned()
        );
    }
    let mut text = Cow::Borrowed(marked.unwrap_or(text));
    for _ in 0..TABS {
        match parse(&text) {
            Ok(value) => return Ok(value),
            Err(Refused { at: Some(at), message }) => text = Cow::Owned(without_tab(&text, at).ok_or(message)?),
            Err(Refused { at: None, message }) => return Err(message),
        }
    }
    Err(format!("it has more than {TABS} tabs behind keys; write blanks there"))
}

/// Why a text cannot be loaded, and where the parser refuses a tab behind a colon or a dash, which YAML and Ruby allow.
struct Refused {
    at: Option<usize>,
    message: String,
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { at: None, message }
    }
}

/// The text with a blank for the tabs that end at a character.
fn without_tab(text: &str, at: usize) -> Option<String> {
    let end = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    let before = text[..end].trim_end_matches(['\t', ' ']);
    (before.ends_with([':', '-']) && text[before.len()..end].contains('\t'))
        .then(|| format!("{before} {}", &text[end..]))
}

fn parse(text: &str) -> Result<Value, Refused> {
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let is_tab = error.info().contains("must be followed by a valid YAML whitespace");
            Refused { at: is_tab.then(|| error.marker().index()), message: error.to_string() }
        })?;
        if event == Event::DocumentEnd {
            break;
        }
        loader.take(event).map_err(|why| format!("{why} at line {}", span.start.line()))?;
    }
    Ok(loader.root.unwrap_or(Value::Null))
}

/// How a value is written: this decides what a merge key does with it.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Scalar,
    List,
    MapOrAlias,
}

/// A list or map whose end was not reached yet.
struct Open {
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    /// With the key whose value comes next, and whether that key merges.
    Map(Vec<(Key, Value)>, Option<(Key, bool)>),
}

#[derive(Default)]
struct Loader {
    root: Option<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    nodes: usize,
}

impl Loader {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                let value = scalar::value(&text, style == ScalarStyle::Plain, tag)?;
                let is_other = |tag: &Tag| tag.is_yaml_core_schema() && tag.suffix != "merge";
                let merges = matches!(&value, Value::Text(text) if text == "<<") && !tag.is_some_and(is_other);
                self.finish(anchor, value, Form::Scalar, merges)
            }
            Event::SequenceStart(anchor, tag) => self.start(anchor, tag.as_deref(), Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => self.start(anchor, tag.as_deref(), Content::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { anchor, content }) = self.open.pop() else { return Ok(()) };
                match content {
                    Content::List(items) => self.finish(anchor, Value::List(items), Form::List, false),
                    Content::Map(entries, _) => self.finish(anchor, Value::Map(entries), Form::MapOrAlias, false),
                }
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or("an alias refers to what contains it")?;
                self.nodes += value.nodes();
                self.finish(0, value, Form::MapOrAlias, false)
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), String> {
        if tag.is_some_and(|tag| tag.suffix.starts_with("ruby/")) {
            return Err("an object of Ruby is no setting".to_owned());
        }
        if let Some(Tag { suffix, .. }) =
            tag.filter(|tag| tag.is_yaml_core_schema() && !matches!(&*tag.suffix, "seq" | "map"))
        {
            return Err(format!("a !!{suffix} is no setting"));
        }
        if self.open.len() == DEPTH {
            return Err("it is nested too deep".to_owned());
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn finish(&mut self, anchor: usize, value: Value, form: Form, merges: bool) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(format!("it has more than {NODES} values"));
        }
        // Anchors are numbered from 1.
        if anchor > 0 {
            self.nodes += value.nodes();
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(value),
            Some(Content::List(items)) => items.push(value),
            Some(Content::Map(entries, next)) => match next.take() {
                None => *next = Some((Key::from(value), merges)),
                Some((key, false)) => put(entries, key, value),
                Some((key, true)) => merge(entries, key, value, form),
            },
        }
        Ok(())
    }
}

/// Does what `<<` does in Ruby: the merged entries replace those before it, and what follows replaces them. The first of several maps
/// wins. What is no map becomes the value of a key `<<`.
fn merge(entries: &mut Vec<(Key, Value)>, key: Key, value: Value, form: Form) {
    let maps = match (value, form) {
        (Value::Map(map), Form::MapOrAlias) => vec![map],
        (Value::List(items), Form::List) if items.iter().all(|item| matches!(item, Value::Map(_))) => {
            let map = |item| if let Value::Map(map) = item { map } else { Vec::new() };
            items.into_iter().rev().map(map).collect()
        }
        (value, _) => return put(entries, key, value),
    };
    for (key, value) in maps.into_iter().flatten() {
        put(entries, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Vec<(String, Value)> {
        match load(text).unwrap() {
            Value::Map(entries) => entries.into_iter().map(|(key, value)| (key.name().to_owned(), value)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn merges_in_the_order_of_the_keys() {
        let base = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\n";
        for (text, expected) in [
            ("c: {<<: *a, x: 3}", [("x", 3), ("y", 1)].as_slice()),
            ("c: {x: 3, <<: *a}", &[("x", 1), ("y", 1)]),
            ("c: {<<: [*a, *b]}", &[("y", 1), ("z", 2), ("x", 1)]),
            ("c: {<<: *a, <<: *b}", &[("x", 1), ("y", 2), ("z", 2)]),
        ] {
            let (_, merged) = map(&format!("{base}{text}")).pop().unwrap();
            let expected = expected.iter().map(|(key, value)| (Key::Text((*key).into()), Value::Int(*value))).collect();
            assert_eq!(merged, Value::Map(expected), "{text}");
        }
    }

    #[test]
    fn reads_tabs_behind_a_key_and_refuses_what_ruby_reads_in_another_way() {
        let expected = [("a".to_owned(), Value::Int(3)), ("b".to_owned(), Value::Text("x:\ty".to_owned()))];
        assert_eq!(map("a:\t\t3\nb: \"x:\ty\"\n"), expected);
        for text in ["ü: |-\n  x:\ty\nb:\tz\n", "ü: 'x:\ty'\n\"b\":\tz\n", "{ü: \"x:\ty\", b:\tz}\n"] {
            let text_of = |text: &str| Value::Text(text.to_owned());
            assert_eq!(map(text), [("ü".to_owned(), text_of("x:\ty")), ("b".to_owned(), text_of("z"))], "{text:?}");
        }
        assert!(load(&"a:\tb\n".repeat(TABS + 1)).is_err_and(|said| said.contains("tabs behind keys")));
        for (text, why) in [
            ("\u{feff}a: 1\nb: 2\n", "byte order mark"),
            ("a: !!binary NQ==\n", "!!binary"),
            ("a: !!set {x}\n", "!!set"),
            ("a: !!omap [x: 1]\n", "!!omap"),
        ] {
            assert!(load(text).is_err_and(|said| said.contains(why)), "{text:?}");
        }
        for text in ["\u{feff}# x\na: 1\n", "\u{feff}---\na: 1\n", "\u{feff}\na: 1\n"] {
            assert_eq!(map(text), [("a".to_owned(), Value::Int(1))], "{text:?}");
        }
        let (_, merged) = map("a: &a {x: 1}\nb:\n  !!merge <<: *a\n").pop().unwrap();
        assert_eq!(merged, Value::Map(vec![(Key::Text("x".into()), Value::Int(1))]));
    }

    #[test]
    fn takes_the_last_of_two_equal_keys() {
        assert_eq!(map("a: 1\nb: 2\na: 3\n"), [("a".to_owned(), Value::Int(3)), ("b".to_owned(), Value::Int(2))]);
    }

    #[test]
    fn is_bounded_in_depth_and_in_values() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(load(&nested(DEPTH)).is_ok());
        for text in [nested(DEPTH + 1), "[".repeat(60_000), format!("{}a", "- ".repeat(30_000)), "? ".repeat(30_000)] {
            let error = load(&text).unwrap_err();
            assert!(error.contains("nested too deep") || error.contains("recursion"), "{error}");
        }
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(load(&laughs).unwrap_err().contains("more than 10000 values"));
        assert!(load("a: &a [*a]").is_err());
    }
}
