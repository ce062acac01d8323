//! Arguments from JSON and back, as `ActiveJob::Arguments` does it.

use std::borrow::Cow;

use super::argument::Argument;
use super::error::deserialization;
use super::global_id::GlobalId;
use super::hash::{Hash, Keys};
use super::json::Json;
use super::moment::{Date, DateTime, Time, TimeWithZone};
use super::number::{BigDecimal, Number};
use super::values::{Custom, Duration, Module, Range, Symbol};
use crate::error::{Error, Result};
use crate::job::ArgsError;
use crate::payload::is_too_deep;

const GLOBAL_ID: &str = "_aj_globalid";
const SERIALIZER: &str = "_aj_serialized";
const SYMBOL_KEYS: &str = "_aj_symbol_keys";
const KEYWORDS: &str = "_aj_ruby2_keywords";
const INDIFFERENT: &str = "_aj_hash_with_indifferent_access";

type Decoded<T> = std::result::Result<T, ArgsError>;
type Entries<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Argument {
    /// Reads one argument.
    ///
    /// # Errors
    ///
    /// `ActiveJob::DeserializationError` for what Rails could not read either. A serializer that is not one of Rails's own is no error here: see
    /// [`Custom`].
    pub fn parse(raw: &str) -> Decoded<Self> {
        decode(Json::parse(raw)?)
    }

    /// Reads the `arguments` of a job, an array.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_all(raw: &str) -> Decoded<Vec<Self>> {
        match Json::parse(raw)? {
            Json::Array(items) => items.into_iter().map(decode).collect(),
            other => Err(deserialization(format!("the arguments are {}, no array", other.kind()))),
        }
    }

    /// Writes it as Rails does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Args`](crate::ErrorKind::Args) for what Rails refuses: a float that is not finite, a key that begins as Rails's own, nesting
    /// deeper than Ruby reads.
    pub fn write(&self) -> Result<String> {
        let mut out = String::new();
        encode(self, &mut out)?;
        checked(out)
    }

    /// Writes arguments as the array Rails writes.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_all(arguments: &[Self]) -> Result<String> {
        let mut out = String::new();
        encode_array(arguments, &mut out)?;
        checked(out)
    }
}

fn checked(out: String) -> Result<String> {
    // The arguments lie three levels deep in a payload.
    if is_too_deep(&format!("[{{\"\":{out}}}]")) {
        return Err(Error::args("arguments are nested deeper than Ruby reads"));
    }
    Ok(out)
}

fn decode(json: Json<'_>) -> Decoded<Argument> {
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

fn encode(argument: &Argument, out: &mut String) -> Result<()> {
    match argument {
        Argument::Nil => out.push_str("null"),
        Argument::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Argument::Number(number) => encode_number(number, out)?,
        Argument::String(text) => encode_text(text, out)?,
        Argument::Array(items) => encode_array(items, out)?,
        Argument::Hash(hash) => encode_hash(hash, out)?,
        Argument::GlobalId(id) => Fielded::open(out).text(GLOBAL_ID, id.as_str())?.close(),
        Argument::Symbol(symbol) => encode_value("Symbol", symbol.as_str(), out)?,
        Argument::Date(date) => encode_value("Date", date.as_str(), out)?,
        Argument::Time(time) => encode_value("Time", time.as_str(), out)?,
        Argument::DateTime(DateTime(time)) => encode_value("DateTime", time.as_str(), out)?,
        Argument::TimeWithZone(TimeWithZone { time, zone }) => {
            let mut fields = Fielded::of("TimeWithZone", out)?.text("value", time.as_str())?;
            if let Some(zone) = zone {
                fields = fields.text("time_zone", zone)?;
            }
            fields.close();
        }
        Argument::Duration(duration) => {
            let parts = duration.parts.iter().map(|(unit, amount)| {
                Argument::Array(vec![Argument::Symbol(unit.clone()), Argument::Number(amount.clone())])
            });
            Fielded::of("Duration", out)?
                .argument("value", &Argument::Number(duration.value.clone()))?
                .argument("parts", &Argument::Array(parts.collect()))?
                .close();
        }
        Argument::BigDecimal(decimal) => encode_value("BigDecimal", decimal.as_str(), out)?,
        Argument::Range(range) => Fielded::of("Range", out)?
            .argument("begin", &range.begin)?
            .argument("end", &range.end)?
            .argument("exclude_end", &Argument::Bool(range.exclude_end))?
            .close(),
        Argument::Module(module) => encode_value("Module", module.name(), out)?,
        Argument::Custom(custom) => {
            let mut fields = Fielded::open(out);
            for (at, (key, value)) in custom.fields.iter().enumerate() {
                if at == custom.mark {
                    fields = fields.text(SERIALIZER, &custom.serializer)?;
                }
                fields = fields.argument(key, value)?;
            }
            if custom.mark >= custom.fields.len() {
                fields = fields.text(SERIALIZER, &custom.serializer)?;
            }
            fields.close();
        }
    }
    Ok(())
}

fn encode_number(number: &Number, out: &mut String) -> Result<()> {
    if !number.as_str().contains(|char: char| char.is_ascii_digit()) {
        return Err(Error::args(format!("{number} is no number JSON can hold")));
    }
    out.push_str(number.as_str());
    Ok(())
}

fn encode_text(text: &str, out: &mut String) -> Result<()> {
    let quoted = serde_json::to_string(text).map_err(|error| Error::args("a text cannot be written").because(error))?;
    out.push_str(&quoted);
    Ok(())
}

fn encode_array(items: &[Argument], out: &mut String) -> Result<()> {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        encode(item, out)?;
    }
    out.push(']');
    Ok(())
}

fn encode_hash(hash: &Hash, out: &mut String) -> Result<()> {
    let mut fields = Fielded::open(out);
    for (at, (key, value)) in hash.iter().enumerate() {
        if [GLOBAL_ID, SERIALIZER, SYMBOL_KEYS, KEYWORDS, INDIFFERENT].contains(&key) {
            return Err(Error::args(format!("can't serialize a Hash with reserved key {key:?}")));
        }
        if at == hash.mark {
            fields = fields.mark(&hash.keys)?;
        }
        fields = fields.argument(key, value)?;
    }
    if hash.mark >= hash.len() {
        fields = fields.mark(&hash.keys)?;
    }
    fields.close();
    Ok(())
}

fn encode_value(serializer: &str, value: &str, out: &mut String) -> Result<()> {
    Fielded::of(serializer, out)?.text("value", value)?.close();
    Ok(())
}

/// An object on its way.
struct Fielded<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> Fielded<'o> {
    fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// What one of Rails's serializers writes.
    fn of(serializer: &str, out: &'o mut String) -> Result<Self> {
        Self::open(out).text(SERIALIZER, &format!("ActiveJob::Serializers::{serializer}Serializer"))
    }

    fn key(&mut self, key: &str) -> Result<()> {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        encode_text(key, self.out)?;
        self.out.push(':');
        Ok(())
    }

    fn text(mut self, key: &str, value: &str) -> Result<Self> {
        self.key(key)?;
        encode_text(value, self.out)?;
        Ok(self)
    }

    fn argument(mut self, key: &str, value: &Argument) -> Result<Self> {
        self.key(key)?;
        encode(value, self.out)?;
        Ok(self)
    }

    fn mark(mut self, keys: &Keys) -> Result<Self> {
        let (mark, names) = match keys {
            Keys::Unmarked => return Ok(self),
            Keys::Indifferent => {
                self.key(INDIFFERENT)?;
                self.out.push_str("true");
                return Ok(self);
            }
            Keys::Symbols(names) => (SYMBOL_KEYS, names),
            Keys::Keywords(names) => (KEYWORDS, names),
        };
        self.key(mark)?;
        self.out.push('[');
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            encode_text(name, self.out)?;
        }
        self.out.push(']');
        Ok(self)
    }

    fn close(self) {
        self.out.push('}');
    }
}
