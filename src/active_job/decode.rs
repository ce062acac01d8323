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
use super::values::{Amount, Custom, Duration, Module, Range, Symbol};
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

fn hash(mut entries: Entries<'_>) -> Decoded<Hash> {
    let mut marked = None;
    // As Rails looks for them: one that is `nil` or `false` is none, and those behind the first are entries like any other.
    for mark in [INDIFFERENT, SYMBOL_KEYS, KEYWORDS] {
        let Some(place) = entries.iter().position(|(key, _)| key == mark) else { continue };
        let (_, value) = entries.remove(place);
        if value.is_truthy() {
            marked = Some((mark, place, value));
            break;
        }
    }
    let entries = entries.into_iter().map(|(key, value)| Ok((key.into_owned(), decode(value)?)));
    let entries = entries.collect::<Decoded<Vec<_>>>()?;
    let (keys, mark) = match marked {
        None => (Keys::Unmarked, 0),
        // Whatever it holds is true in Ruby.
        Some((INDIFFERENT, place, _)) => (Keys::Indifferent, place),
        Some((SYMBOL_KEYS, place, names)) => (Keys::Symbols(names_of(names, &entries)?), place),
        Some((_, place, names)) => (Keys::Keywords(names_of(names, &entries)?), place),
    };
    Ok(Hash { entries, keys, mark })
}

/// The keys that are symbols: Ruby calls `include?` on whatever the payload holds.
fn names_of(json: Json<'_>, entries: &[(String, Argument)]) -> Decoded<Vec<String>> {
    Ok(match json {
        Json::Array(names) => {
            let texts =
                names.into_iter().filter_map(|name| if let Json::String(name) = name { Some(name) } else { None });
            texts.map(Cow::into_owned).collect()
        }
        Json::Object(names) => names.into_iter().map(|(name, _)| name.into_owned()).collect(),
        Json::String(text) => {
            entries.iter().map(|(key, _)| key).filter(|key| text.contains(key.as_str())).cloned().collect()
        }
        other => return Err(deserialization(format!("the names of symbol keys are {}, no array", other.kind()))),
    })
}

/// What a serializer wrote.
fn serialized(mark: usize, mut entries: Entries<'_>) -> Decoded<Argument> {
    let serializer = match entries.remove(mark).1 {
        Json::String(name) => name,
        _ => return Err(deserialization("Serializer name is not present in the argument")),
    };
    let mut fields = Fields { serializer: &serializer, entries };
    let name = serializer.strip_prefix("::").unwrap_or(&serializer);
    Ok(match name.strip_prefix("ActiveJob::Serializers::").unwrap_or("") {
        "SymbolSerializer" => Argument::Symbol(Symbol::new(fields.text("value")?)),
        "DateSerializer" => Argument::Date(Date::parse(&fields.text("value")?)?),
        "TimeSerializer" => Argument::Time(Time::parse(&fields.text("value")?)?),
        "DateTimeSerializer" => Argument::DateTime(DateTime::parse(&fields.text("value")?)?),
        "TimeWithZoneSerializer" => Argument::TimeWithZone(TimeWithZone {
            time: Time::parse(&fields.text("value")?)?,
            zone: match fields.take("time_zone").filter(Json::is_truthy) {
                None => None,
                Some(zone) => Some(text(zone, "the time zone")?.into_owned()),
            },
        }),
        "DurationSerializer" => Argument::Duration(Duration {
            value: seconds(fields.required("value")?)?,
            parts: match fields.required("parts")? {
                Json::Array(parts) => parts.into_iter().map(part).collect::<Decoded<_>>()?,
                other => return Err(deserialization(format!("the parts of a duration are {}", other.kind()))),
            },
        }),
        "BigDecimalSerializer" => Argument::BigDecimal(match fields.required("value")? {
            Json::Number(digits) if !Number(digits.into()).is_float() => BigDecimal::parse(digits)?,
            other => BigDecimal::parse(&text(other, "a decimal")?)?,
        }),
        "ModuleSerializer" => Argument::Module(Module::new(fields.text("value")?)),
        "RangeSerializer" => Argument::Range(Box::new(Range {
            begin: decode(fields.take("begin").unwrap_or(Json::Null))?,
            end: decode(fields.take("end").unwrap_or(Json::Null))?,
            exclude_end: fields.take("exclude_end").is_some_and(|value| value.is_truthy()),
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

/// The seconds of a duration: a number, or the text that JSON makes of a decimal.
fn seconds(json: Json<'_>) -> Decoded<Amount> {
    match json {
        Json::Number(digits) => Ok(Amount::Number(Number(digits.into()))),
        Json::String(text) => BigDecimal::parse(&text).map(Amount::Decimal),
        other => Err(deserialization(format!("the seconds of a duration are {}", other.kind()))),
    }
}

/// `[:days, 2]`.
fn part(json: Json<'_>) -> Decoded<(Symbol, Amount)> {
    if let Json::Array(mut pair) = json
        && pair.len() == 2
        && let Some(amount) = pair.pop()
        && let Some(unit) = pair.pop()
        && let Argument::Symbol(unit) = decode(unit)?
    {
        let amount = match decode(amount)? {
            Argument::Number(number) => Amount::Number(number),
            Argument::BigDecimal(decimal) => Amount::Decimal(decimal),
            other => return Err(deserialization(format!("a number of a duration is {}", other.kind()))),
        };
        return Ok((unit, amount));
    }
    Err(deserialization("a part of a duration is no pair of a unit and a number"))
}
