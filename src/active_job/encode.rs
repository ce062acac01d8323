//! To JSON, as `ActiveJob::Arguments.serialize` does it.

use super::argument::Argument;
use super::hash::{Hash, Keys};
use super::marks::{GLOBAL_ID, INDIFFERENT, KEYWORDS, SERIALIZER, SYMBOL_KEYS};
use super::moment::{DateTime, TimeWithZone};
use super::number::Number;
use super::values::Amount;
use crate::error::{Error, Result};

pub(super) fn encode(argument: &Argument, out: &mut String) -> Result<()> {
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
            // Rails gives the seconds to JSON as they are, which makes text of a decimal; the parts go through its serializers.
            let secs = match &duration.value {
                Amount::Number(number) => Argument::Number(number.clone()),
                Amount::Decimal(decimal) => Argument::String(decimal.as_str().to_owned()),
            };
            let parts = duration.parts.iter().map(|(unit, amount)| {
                let amount = match amount {
                    Amount::Number(number) => Argument::Number(number.clone()),
                    Amount::Decimal(decimal) => Argument::BigDecimal(decimal.clone()),
                };
                Argument::Array(vec![Argument::Symbol(unit.clone()), amount])
            });
            Fielded::of("Duration", out)?
                .argument("value", &secs)?
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

pub(super) fn encode_array(items: &[Argument], out: &mut String) -> Result<()> {
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
