//! `--where class=HardJob|SoftJob,error!=Timeout,age>1h`: terms that all must hold.

use std::time::Duration;

use ferrokiq::api::SortedEntry;
use ferrokiq::time::EpochSecs;

use crate::frame::parse_span;
use crate::record::{retries, text};

/// What the help says of it.
pub(super) const HELP: &str = "Filters: terms with commas between them, which all must hold; so must those of several --where.\n  \
    class, error, message, queue, jid, tag, args   = is, != is not, ~ holds, !~ does not hold; A|B is either\n  \
    retries                                        = != > >= < <= a number: retry_count, as the Web UI shows it: 0 after the first\n  \
    \x20                                               failure, and of a job that never failed\n  \
    age                                            > >= < <= a span such as 90s, 5m, 1.5h, 2d, 1w: since its last failure, or since it was\n  \
    \x20                                               created if it never failed; of the dead since they died\n  \
    due                                            > >= < <= a span: until it is due\n\
    A value with a comma or | in it goes in quotes: --where 'message~\"a, b\"'.";

/// Terms that all must hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter(Vec<Term>);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Text { key: Text, is: bool, holds: bool, values: Vec<String> },
    Number { order: Order, value: i64 },
    Span { key: Span, order: Order, value: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Text {
    Class,
    Error,
    Message,
    Queue,
    Jid,
    Tag,
    Args,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    Age,
    Due,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Equal,
    Other,
    More,
    AtLeast,
    Less,
    AtMost,
}

/// Longer ones first.
const OPERATORS: [&str; 8] = ["!=", "!~", ">=", "<=", "=", "~", ">", "<"];
const FIELDS: &str = "class, error, message, queue, jid, tag, args, retries, age or due";

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(format!("a filter is empty; expected such as class=HardJob,age>1h, with {FIELDS}"));
        }
        split(text, ',')?.iter().map(|term| Term::parse(term.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all terms hold for an entry of a set, the dead one or another.
    pub(super) fn takes(&self, entry: &SortedEntry, is_dead: bool, now: EpochSecs) -> bool {
        self.0.iter().all(|term| term.holds(entry, is_dead, now))
    }
}

impl Term {
    fn parse(term: &str) -> Result<Self, String> {
        let end = term.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(term.len());
        let (name, rest) = term.split_at(end);
        let field = Field::named(name).ok_or_else(|| format!("{name:?} in {term:?} is no field; expected {FIELDS}"))?;
        let operator = OPERATORS
            .into_iter()
            .find(|operator| rest.starts_with(operator))
            .ok_or_else(|| format!("{term:?} compares nothing; expected one of {} after {name}", field.operators()))?;
        if !field.operators().split(' ').any(|known| known == operator) {
            return Err(format!("{name} does not know {operator}; expected one of {}", field.operators()));
        }
        field.term(operator, &rest[operator.len()..]).map_err(|why| format!("{name}{operator}: {why}"))
    }

    /// What is no payload has no field, so no term about one holds for it; it has a time.
    fn holds(&self, entry: &SortedEntry, is_dead: bool, now: EpochSecs) -> bool {
        match self {
            Self::Text { .. } | Self::Number { .. } if entry.record.payload().is_none() => false,
            Self::Text { key, is, holds, values } => {
                key.any(entry, &|text: &str| {
                    values.iter().any(|value| if *holds { text.contains(value.as_str()) } else { text == value })
                }) == *is
            }
            Self::Number { order, value } => {
                let count = retries(&entry.record);
                let count: f64 = if count.is_empty() { 0.0 } else { count.parse().unwrap_or(f64::NAN) };
                match count.partial_cmp(&(*value as f64)) {
                    Some(found) => order.holds(found),
                    // A value that is no number differs from every number.
                    None => *order == Order::Other,
                }
            }
            Self::Span { key, order, value } => {
                let secs = match key {
                    Span::Age => now.0 - since(entry, is_dead).0,
                    Span::Due => entry.score.0 - now.0,
                };
                order.holds(secs.total_cmp(&value.as_secs_f64()))
            }
        }
    }
}

enum Field {
    Text(Text),
    Number,
    Span(Span),
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "class" => Self::Text(Text::Class),
            "error" => Self::Text(Text::Error),
            "message" => Self::Text(Text::Message),
            "queue" => Self::Text(Text::Queue),
            "jid" => Self::Text(Text::Jid),
            "tag" => Self::Text(Text::Tag),
            "args" => Self::Text(Text::Args),
            "retries" => Self::Number,
            "age" => Self::Span(Span::Age),
            "due" => Self::Span(Span::Due),
            _ => return None,
        })
    }

    fn operators(&self) -> &'static str {
        match self {
            Self::Text(_) => "= != ~ !~",
            Self::Number => "= != > >= < <=",
            Self::Span(_) => "> >= < <=",
        }
    }

    fn term(&self, operator: &str, value: &str) -> Result<Term, String> {
        let order = match operator {
            "=" => Order::Equal,
            "!=" => Order::Other,
            ">" => Order::More,
            ">=" => Order::AtLeast,
            "<" => Order::Less,
            _ => Order::AtMost,
        };
        let value = value.trim();
        match self {
            Self::Text(key) => {
                let values = split(value, '|')?.iter().map(|value| unquoted(value)).collect();
                Ok(Term::Text { key: *key, is: !operator.starts_with('!'), holds: operator.ends_with('~'), values })
            }
            Self::Number => {
                let value = value.parse().map_err(|_| format!("{value:?} is no whole number; expected such as 5"))?;
                Ok(Term::Number { order, value })
            }
            Self::Span(key) => Ok(Term::Span { key: *key, order, value: parse_span(value)? }),
        }
    }
}

impl Text {
    /// Whether one of the texts a job has there is right.
    fn any(self, entry: &SortedEntry, right: &dyn Fn(&str) -> bool) -> bool {
        let record = &entry.record;
        let Some(payload) = record.payload() else { return false };
        let shown = |key: &str| text(record, key).is_some_and(|text| right(&text));
        match self {
            Self::Class => right(payload.class()) || shown("wrapped") || right(&record.display_class()),
            Self::Error => shown("error_class"),
            Self::Message => shown("error_message"),
            Self::Queue => right(payload.queue()),
            Self::Jid => right(payload.jid()),
            Self::Tag => payload.tags().iter().any(|tag| right(tag)),
            Self::Args => right(payload.args()),
        }
    }
}

impl Order {
    fn holds(self, found: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => found.is_eq(),
            Self::Other => found.is_ne(),
            Self::More => found.is_gt(),
            Self::AtLeast => found.is_ge(),
            Self::Less => found.is_lt(),
            Self::AtMost => found.is_le(),
        }
    }
}

/// Since when an entry is as it is.
pub(super) fn since(entry: &SortedEntry, is_dead: bool) -> EpochSecs {
    if is_dead {
        return entry.score;
    }
    ["retried_at", "failed_at", "created_at"].iter().find_map(|key| entry.record.moment(key)).unwrap_or(entry.score)
}

/// The parts of a text between separators that stand in no quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, String> {
    let (mut parts, mut begin, mut quote) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            // A quote opens at the beginning of a value alone: `message~can't` is none.
            None if matches!(c, '"' | '\'') && text[..at].ends_with(['=', '~', '|', '>', '<'])
                || at == 0 && matches!(c, '"' | '\'') =>
            {
                quote = Some(c);
            }
            None if c == separator => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            None => {}
        }
    }
    if let Some(open) = quote {
        return Err(format!("{text:?} has an open {open}; expected another"));
    }
    parts.push(&text[begin..]);
    Ok(parts)
}

fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests;
