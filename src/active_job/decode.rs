//! From JSON, as `ActiveJob::Arguments.deserialize` does it.

use std::borrow::Cow;

use super::argument::Argument;
use super::error::deserialization;
use super::global_id::GlobalId;
use super::hash::{Hash, Keys};
use super::json::Json;
use super::marks::{GLOBAL_ID, INDIFFERENT, KEYWORDS, SERIALIZER, SYMBOL_KEYS};
use super::moment::{Date, DateTime, Time, TimeWithZone};
use super::number::{BigDecimal, Number};
use super::values::{Custom, Duration, Module, Range, Symbol};
use crate::job::ArgsError;

type Decoded<T> = Result<T, ArgsError>;
type Entries<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

pub(super) fn decode(json: Json<'_>) -> Decoded<Argument> {
    Ok(match json {
        Json::Null => Argument::Nil,
        Json::Bool(value) => Argument::Bool(value),
        Json::Number(digits) => Argument::Number(Number(digits.into())),
        Json::String(text) => Argument::String(text.into_owned()),
        Json::Array(items) => Argument::Array(items.into_iter().map(decode).collect::<Decoded<_>>()?),
        Json::Object(mut entries) => match entries.iter().position(|(key, _)| key == SERIALIZER) {
            None if entries.len() == 1 && entries[0].0 == GLOBAL_ID => {
                Argument::GlobalId(GlobalId::parse(&text(entries.remove(0).1, "a global id")?)?)
            }
            Some(mark) => serialized(mark, entries)?,
            None => Argument::Hash(hash(entries)?),
        },
    })
}

fn text<'a>(json: Json<'a>, what: &str) -> Decoded<Cow<'a, str>> {
    match json {
        Json::String(text) => Ok(text),
        other => Err(deserialization(format!("{what} is {}, no string", other.kind()))),
    }
}

fn hash(entries: Entries<'_>) -> Decoded<Hash> {
    // As Rails looks for them.
    let mark = [INDIFFERENT, SYMBOL_KEYS, KEYWORDS]
        .into_iter()
        .find_map(|mark| entries.iter().position(|(key, _)| key == mark).map(|at| (mark, at)));
    let mut hash = Hash { entries: Vec::with_capacity(entries.len()), keys: Keys::Unmarked, mark: 0 };
    for (at, (key, value)) in entries.into_iter().enumerate() {
        match mark {
            Some((mark, place)) if place == at => {
                hash.mark = at;
                hash.keys = match (mark, value) {
                    (INDIFFERENT, Json::Bool(true)) => Keys::Indifferent,
                    (SYMBOL_KEYS, names) => Keys::Symbols(names_of(names)?),
                    (KEYWORDS, names) => Keys::Keywords(names_of(names)?),
                    (mark, other) => return Err(deserialization(format!("{mark} is {}", other.kind()))),
                };
            }
            _ => hash.entries.push((key.into_owned(), decode(value)?)),
        }
    }
    Ok(hash)
}

fn names_of(json: Json<'_>) -> Decoded<Vec<String>> {
    match json {
        Json::Array(names) => names.into_iter().map(|name| Ok(text(name, "the name of a key")?.into_owned())).collect(),
        other => Err(deserialization(format!("the names of symbol keys are {}, no array", other.kind()))),
    }
}

/// What a serializer wrote.
fn serialized(mark: usize, mut entries: Entries<'_>) -> Decoded<Argument> {
    let serializer = match entries.remove(mark).1 {
        Json::String(name) => name,
        _ => return Err(deserialization("Serializer name is not present in the argument")),
    };
    let mut fields = Fields { serializer: &serializer, entries };
    Ok(match serializer.strip_prefix("ActiveJob::Serializers::").unwrap_or("") {
        "SymbolSerializer" => Argument::Symbol(Symbol::new(fields.text("value")?)),
        "DateSerializer" => Argument::Date(Date::parse(&fields.text("value")?)?),
        "TimeSerializer" => Argument::Time(Time::parse(&fields.text("value")?)?),
        "DateTimeSerializer" => Argument::DateTime(DateTime(Time::parse(&fields.text("value")?)?)),
        "TimeWithZoneSerializer" => Argument::TimeWithZone(TimeWithZone {
            time: Time::parse(&fields.text("value")?)?,
            zone: match fields.take("time_zone") {
                None => None,
                Some(zone) => Some(text(zone, "the time zone")?.into_owned()),
            },
        }),
        "DurationSerializer" => Argument::Duration(Duration {
            value: number(fields.required("value")?)?,
            parts: match fields.required("parts")? {
                Json::Array(parts) => parts.into_iter().map(part).collect::<Decoded<_>>()?,
                other => return Err(deserialization(format!("the parts of a duration are {}", other.kind()))),
            },
        }),
        "BigDecimalSerializer" => Argument::BigDecimal(BigDecimal::parse(&fields.text("value")?)?),
        "ModuleSerializer" => Argument::Module(Module::new(fields.text("value")?)),
        "RangeSerializer" => Argument::Range(Box::new(Range {
            begin: decode(fields.take("begin").unwrap_or(Json::Null))?,
            end: decode(fields.take("end").unwrap_or(Json::Null))?,
            exclude_end: match fields.take("exclude_end") {
                Some(Json::Bool(exclude)) => exclude,
                None | Some(Json::Null) => false,
                Some(other) => return Err(deserialization(format!("exclude_end of a range is {}", other.kind()))),
            },
        })),
        _ => {
            let fields = fields
                .entries
                .into_iter()
                .map(|(key, value)| Ok((key.into_owned(), decode(value)?)))
                .collect::<Decoded<_>>();
            Argument::Custom(Custom { fields: fields?, serializer: serializer.into_owned(), mark })
        }
    })
}

struct Fields<'s, 'a> {
    serializer: &'s str,
    entries: Entries<'a>,
}

impl<'a> Fields<'_, 'a> {
    fn take(&mut self, field: &str) -> Option<Json<'a>> {
        let at = self.entries.iter().position(|(key, _)| key == field)?;
        Some(self.entries.swap_remove(at).1)
    }

    fn required(&mut self, field: &str) -> Decoded<Json<'a>> {
        let found = self.take(field);
        found.ok_or_else(|| deserialization(format!("what {} wrote has no {field}", self.serializer)))
    }

    fn text(&mut self, field: &str) -> Decoded<String> {
        let value = self.required(field)?;
        Ok(text(value, &format!("{field} of {}", self.serializer))?.into_owned())
    }
}

fn number(json: Json<'_>) -> Decoded<Number> {
    match json {
        Json::Number(digits) => Ok(Number(digits.into())),
        other => Err(deserialization(format!("a number of a duration is {}", other.kind()))),
    }
}

/// `[:days, 2]`.
fn part(json: Json<'_>) -> Decoded<(Symbol, Number)> {
    if let Json::Array(mut pair) = json
        && pair.len() == 2
        && let Some(amount) = pair.pop()
        && let Some(unit) = pair.pop()
        && let Argument::Symbol(unit) = decode(unit)?
    {
        return Ok((unit, number(amount)?));
    }
    Err(deserialization("a part of a duration is no pair of a unit and a number"))
}
