//! JSON as a tree that keeps the digits of numbers and the order of keys, in one pass over the text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::error::deserialization;
use crate::job::ArgsError;
use crate::payload::{is_too_deep, last_wins};

#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Each key once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one value that Ruby would read.
    pub(super) fn parse(raw: &'a str) -> Result<Self, ArgsError> {
        // What is walked below is known to be JSON.
        let raw = serde_json::from_str::<&RawValue>(raw).map_err(|_| deserialization("what is there is not JSON"))?;
        if is_too_deep(raw.get()) {
            return Err(deserialization("they are nested deeper than Ruby reads"));
        }
        let mut text = Text { rest: raw.get() };
        text.value()
    }

    /// Whether a condition in Ruby holds for it: for all but `nil` and `false`.
    pub(super) fn is_truthy(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    /// What it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nil",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\t', '\r']);
        self.rest.bytes().next()
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// Takes one ASCII character if it is next.
    fn takes(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.take(1);
        }
        found
    }

    fn value(&mut self) -> Result<Json<'a>, ArgsError> {
        match self.peek() {
            Some(b'n') => {
                self.take(4);
                Ok(Json::Null)
            }
            Some(b't') => {
                self.take(4);
                Ok(Json::Bool(true))
            }
            Some(b'f') => {
                self.take(5);
                Ok(Json::Bool(false))
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b'[') => self.array(),
            Some(b'{') => self.object(),
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\n', '\t', '\r']).unwrap_or(self.rest.len());
                Ok(Json::Number(self.take(end)))
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, ArgsError> {
        let (mut escaped, mut escapes) = (false, false);
        let end = self.rest.bytes().skip(1).position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                (escaped, escapes) = (true, true);
                false
            }
            byte => byte == b'"',
        });
        let quoted = self.take(end.map_or(self.rest.len(), |end| end + 2));
        if escapes {
            let text = serde_json::from_str(quoted).map_err(|_| deserialization("a string holds half a character"))?;
            return Ok(Cow::Owned(text));
        }
        Ok(Cow::Borrowed(quoted.trim_matches('"')))
    }

    fn array(&mut self) -> Result<Json<'a>, ArgsError> {
        self.take(1);
        let mut items = Vec::new();
        while !self.takes(b']') {
            items.push(self.value()?);
            self.takes(b',');
        }
        Ok(Json::Array(items))
    }

    fn object(&mut self) -> Result<Json<'a>, ArgsError> {
        self.take(1);
        let mut entries: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        while !self.takes(b'}') {
            self.peek();
            let key = self.string()?;
            self.takes(b':');
            entries.push((key, self.value()?));
            self.takes(b',');
        }
        Ok(Json::Object(last_wins(entries)))
    }
}
