//! The ERB tags of a configuration file that need no Ruby.

use super::yaml::leading_integer;

/// Parentheses in parentheses: deeper expressions are left to Ruby.
const DEPTH: usize = 16;

/// Why a file is not rendered.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// The tag on this line is more than this module evaluates.
    NeedsRuby { line: usize },
    /// Ruby fails as well.
    Fails { line: usize, why: String },
}

/// Replaces `<%= ... %>` by its value where the expression is made of `ENV["X"]`, `ENV.fetch("X", n)`, `||`, `.to_i`, `.to_s`,
/// `Integer(...)` and literals, and removes `<%# ... %>`. As Sidekiq does, reads `-%>` as a tag that takes its line end with it.
///
/// A `<%= ... %>` in a comment of the YAML is removed without being evaluated.
pub(super) fn render(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<%") {
        let start = text.len() - rest.len() + at;
        let line = || 1 + text[..start].matches('\n').count();
        out.push_str(&rest[..at]);
        rest = &rest[at + 2..];
        if let Some(escaped) = rest.strip_prefix('%') {
            out.push_str("<%");
            rest = escaped;
            continue;
        }
        let Some(end) = rest.find("%>") else {
            return Err(Failure::Fails { line: line(), why: "the tag has no end".to_owned() });
        };
        let mut tag = &rest[..end];
        rest = &rest[end + 2..];
        if let Some(trimmed) = tag.strip_suffix('-') {
            tag = trimmed;
            rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
        }
        if let Some(trimmed) = tag.strip_prefix('-') {
            tag = trimmed;
            let before = out.trim_end_matches([' ', '\t']).len();
            if before == 0 || out[..before].ends_with('\n') {
                out.truncate(before);
            }
        }
        if let Some(expression) = tag.strip_prefix('=') {
            if !ends_in_comment(&out) {
                out.push_str(&evaluate(expression, variable).map_err(|stop| stop.on(line()))?);
            }
        } else if !is_ruby_comment(tag) {
            return Err(Failure::NeedsRuby { line: line() });
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether a tag that prints nothing does nothing either.
fn is_ruby_comment(tag: &str) -> bool {
    tag.starts_with('#') || tag.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
}

/// Whether the next character of this YAML belongs to a comment.
fn ends_in_comment(yaml: &str) -> bool {
    let line = yaml.rsplit('\n').next().unwrap_or_default();
    let mut quote = None;
    let mut before = ' ';
    for character in line.chars() {
        match quote {
            Some('"') if before == '\\' => {}
            Some(open) if character == open => quote = None,
            None if matches!(character, '"' | '\'') && matches!(before, ' ' | '\t' | '[' | '{' | ',') => {
                quote = Some(character);
            }
            None if character == '#' && matches!(before, ' ' | '\t') => return true,
            _ => {}
        }
        before = character;
    }
    false
}

/// A value of Ruby.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Value {
    fn is_truthy(&self) -> bool {
        !matches!(self, Self::Nil | Self::Bool(false))
    }
}

#[derive(Debug)]
enum Stop {
    NeedsRuby,
    Fails(String),
}

impl Stop {
    fn on(self, line: usize) -> Failure {
        match self {
            Self::NeedsRuby => Failure::NeedsRuby { line },
            Self::Fails(why) => Failure::Fails { line, why },
        }
    }
}

fn evaluate(expression: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Stop> {
    let mut reader = Reader { rest: expression, variable, depth: 0 };
    let value = reader.alternatives(true)?;
    reader.skip_blanks();
    if !reader.rest.is_empty() {
        return Err(Stop::NeedsRuby);
    }
    Ok(match value {
        Value::Nil => String::new(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text,
    })
}

/// Parses and evaluates in one pass. With `needed` false it only parses: Ruby does not evaluate what follows a true value and `||`.
struct Reader<'a> {
    rest: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Stop> {
        if self.takes(token) { Ok(()) } else { Err(Stop::NeedsRuby) }
    }

    /// A whole word: `nil` and not the start of `nilable`.
    fn takes_word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        if rest.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '_' | '?' | '!')) {
            return false;
        }
        self.rest = rest;
        true
    }

    /// `a || b || c`
    fn alternatives(&mut self, needed: bool) -> Result<Value, Stop> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Stop::NeedsRuby);
        }
        let mut value = self.operand(needed)?;
        while self.takes("||") {
            let next = self.operand(needed && !value.is_truthy())?;
            if !value.is_truthy() {
                value = next;
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    /// A value and the methods called on it.
    fn operand(&mut self, needed: bool) -> Result<Value, Stop> {
        let mut value = self.primary(needed)?;
        loop {
            let safe = self.takes("&.");
            if !safe && !self.takes(".") {
                return Ok(value);
            }
            let is_integer = self.takes_word("to_i");
            if !is_integer && !self.takes_word("to_s") {
                return Err(Stop::NeedsRuby);
            }
            if self.rest.starts_with('(') {
                return Err(Stop::NeedsRuby);
            }
            value = match value {
                Value::Nil if safe => Value::Nil,
                Value::Nil if is_integer => Value::Int(0),
                Value::Text(text) if is_integer => Value::Int(leading_integer(&text)),
                Value::Bool(yes) if is_integer && needed => {
                    return Err(Stop::Fails(format!("{yes} has no method to_i")));
                }
                Value::Int(number) if is_integer => Value::Int(number),
                Value::Int(number) => Value::Text(number.to_string()),
                Value::Bool(yes) => Value::Text(yes.to_string()),
                Value::Nil => Value::Text(String::new()),
                Value::Text(text) => Value::Text(text),
            };
        }
    }

    fn primary(&mut self, needed: bool) -> Result<Value, Stop> {
        if self.takes("(") {
            let value = self.alternatives(needed)?;
            self.expect(")")?;
            return Ok(value);
        }
        if self.takes("ENV[") {
            let name = self.string()?;
            self.expect("]")?;
            return Ok((self.variable)(name).map_or(Value::Nil, Value::Text));
        }
        if self.takes("ENV.fetch(") {
            return self.fetch(needed);
        }
        if self.takes("Integer(") {
            let value = self.alternatives(needed)?;
            self.expect(")")?;
            return if needed { strict_integer(value) } else { Ok(value) };
        }
        for (word, value) in [("nil", Value::Nil), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.takes_word(word) {
                return Ok(value);
            }
        }
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Value::Text(self.string()?.to_owned()));
        }
        self.number()
    }

    /// What follows `ENV.fetch(`.
    fn fetch(&mut self, needed: bool) -> Result<Value, Stop> {
        let name = self.string()?;
        let found = (self.variable)(name);
        let default = if self.takes(",") { Some(self.alternatives(needed)?) } else { None };
        self.expect(")")?;
        let default = match default {
            None if self.takes("{") => {
                let value = self.alternatives(needed && found.is_none())?;
                self.expect("}")?;
                Some(value)
            }
            default => default,
        };
        match (found.map(Value::Text).or(default), needed) {
            (Some(value), _) => Ok(value),
            (None, true) => Err(Stop::Fails(format!("the environment has no variable {name}"))),
            (None, false) => Ok(Value::Nil),
        }
    }

    /// A string in which nothing is replaced.
    fn string(&mut self) -> Result<&'a str, Stop> {
        self.skip_blanks();
        let mut characters = self.rest.chars();
        let quote = characters.next().filter(|first| matches!(first, '"' | '\'')).ok_or(Stop::NeedsRuby)?;
        let (text, rest) = characters.as_str().split_once(quote).ok_or(Stop::NeedsRuby)?;
        if text.contains('\\') || (quote == '"' && text.contains('#')) {
            return Err(Stop::NeedsRuby);
        }
        self.rest = rest;
        Ok(text)
    }

    fn number(&mut self) -> Result<Value, Stop> {
        self.skip_blanks();
        let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = self.rest.split_at(digits);
        // `010` is octal, `1_0` and `1.5` are rare.
        let is_octal = number.len() > 1 && number.starts_with('0');
        let goes_on = rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        let is_float = rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
        let is_plain = !(is_octal || goes_on || is_float);
        let value = number.parse().ok().filter(|_| is_plain).ok_or(Stop::NeedsRuby)?;
        self.rest = rest;
        Ok(Value::Int(value))
    }
}

/// `Integer(value)` for decimal digits.
fn strict_integer(value: Value) -> Result<Value, Stop> {
    let text = match value {
        Value::Int(_) => return Ok(value),
        Value::Text(text) => text,
        Value::Nil | Value::Bool(_) => {
            return Err(Stop::Fails("Integer(...) is given no text and no number".to_owned()));
        }
    };
    let digits = text.trim().trim_start_matches(['+', '-']);
    // Other bases, and digits in groups.
    if digits.contains('_') || (digits.starts_with('0') && digits.len() > 1) {
        return Err(Stop::NeedsRuby);
    }
    let number =
        text.trim().parse().map_err(|_| Stop::Fails("Integer(...) is given what is no whole number".to_owned()))?;
    Ok(Value::Int(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, Failure> {
        render(text, &|name| match name {
            "N" => Some("7".to_owned()),
            "EMPTY" => Some(String::new()),
            "THREADS" => Some("12 threads".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn evaluates_what_needs_no_ruby() {
        for (tag, value) in [
            (r#"ENV["N"]"#, "7"),
            ("ENV['NO']", ""),
            (r#"ENV.fetch("N", 5)"#, "7"),
            (r#"ENV.fetch("NO", 5)"#, "5"),
            (r#"ENV.fetch('NO', "five")"#, "five"),
            (r#"ENV.fetch("NO") { 5 }"#, "5"),
            (r#"ENV.fetch("NO", ENV.fetch("N", 1))"#, "7"),
            (r#"ENV["NO"] || ENV["N"] || 3"#, "7"),
            (r#"ENV["EMPTY"] || 3"#, ""),
            (r#"ENV["N"] || ENV.fetch("NO")"#, "7"),
            (r#"ENV.fetch("N") { ENV.fetch("NO") }"#, "7"),
            (r#"ENV["THREADS"].to_i"#, "12"),
            (r#"ENV["NO"].to_i"#, "0"),
            (r#"ENV["NO"]&.to_i || 4"#, "4"),
            (r#"(ENV["NO"] || "9").to_i"#, "9"),
            (r#"Integer(ENV.fetch("N", 5))"#, "7"),
            ("nil", ""),
            ("false || true", "true"),
            ("12", "12"),
            ("'a'", "a"),
        ] {
            assert_eq!(rendered(&format!("a: <%= {tag} %>\n")), Ok(format!("a: {value}\n")), "{tag}");
        }
    }

    #[test]
    fn leaves_the_rest_to_ruby() {
        let deep = format!("a\n<%= {}1{} %>", "(".repeat(10_000), ")".repeat(10_000));
        for text in [
            "a\n<%= 1 + 1 %>",
            "a\n<%= foo %>",
            "a\n<%= ENV[\"N\"].presence %>",
            "a\n<%= \"#{ENV['N']}\" %>",
            "a\n<%= ENV[name] %>",
            "a\n<%= nilable %>",
            "a\n<%= 010 %>",
            "a\n<%= 1.5 %>",
            "a\n<%= Integer('010') %>",
            "a\n<%= Integer('1_0') %>",
            "a\n<%= ENV[\"N\"].to_i(8) %>",
            "a\n<%= %>",
            "a\n<% if true %>b<% end %>",
            "a\n# <% if true %>",
            &deep,
        ] {
            assert_eq!(rendered(text), Err(Failure::NeedsRuby { line: 2 }), "{}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn fails_where_ruby_fails() {
        for text in ["<%= ENV.fetch(\"NO\") %>", "<%= Integer(ENV['NO']) %>", "<%= Integer('x') %>", "<%= true.to_i %>"]
        {
            assert!(matches!(rendered(text), Err(Failure::Fails { line: 1, .. })), "{text}");
        }
        assert!(matches!(rendered("a <%= 5"), Err(Failure::Fails { .. })));
    }

    #[test]
    fn reads_no_tag_in_a_comment() {
        for (text, made) in [
            ("# a: <%= anything.at_all %>\nb: 1", "# a: \nb: 1"),
            ("a: 1 # was <%= 5 + 5 %>", "a: 1 # was "),
            ("a: \"x # <%= 5 %>\"", "a: \"x # 5\""),
            ("a: x#<%= 5 %>", "a: x#5"),
            ("a: it's # <%= 5 + 5 %>", "a: it's # "),
            ("a: <%# 5 %>1", "a: 1"),
            ("<%# 5 -%>\na", "a"),
            ("  <%- # nothing -%>\na", "a"),
            ("<%% a %>", "<% a %>"),
            ("a: <%= 5 -%>\nb", "a: 5b"),
        ] {
            assert_eq!(rendered(text).as_deref(), Ok(made), "{text}");
        }
    }
}
