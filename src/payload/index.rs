//! Where the keys and values of a payload are in its text.

use serde_json::value::RawValue;

use super::scan;

/// One key of a payload.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Where the value is in the text; `None` for a key that was added since.
    pub(super) at: Option<Span>,
    /// The value set since the text was read.
    pub(super) new: Option<Box<str>>,
    /// Whether it was removed since. Beside `new` and not in one enum with it: an entry is 8 bytes smaller so.
    pub(super) removed: bool,
}

#[derive(Clone)]
pub(super) enum Key {
    /// Between the quotes, in the text.
    At(Span),
    Own(Box<str>),
}

#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Key {
    /// Whether this is the key `name`. Most keys differ in length already.
    pub(super) fn is(&self, raw: &str, name: &str) -> bool {
        #[cfg(test)]
        super::steps::count();
        match self {
            Self::At(span) => span.end - span.start == name.len() as u32 && self.bytes(raw) == name.as_bytes(),
            Self::Own(key) => **key == *name,
        }
    }

    pub(super) fn bytes<'a>(&'a self, raw: &'a str) -> &'a [u8] {
        match self {
            Self::At(span) => &raw.as_bytes()[span.start()..span.end()],
            Self::Own(key) => key.as_bytes(),
        }
    }

    pub(super) fn text<'a>(&'a self, raw: &'a str) -> &'a str {
        #[cfg(test)]
        super::steps::count();
        match self {
            Self::At(span) => span.of(raw),
            Self::Own(key) => key,
        }
    }
}

impl Span {
    pub(super) fn of(self, raw: &str) -> &str {
        &raw[self.start()..self.end()]
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }
}

/// String keys with an accessor that lends a `&str`.
pub(super) const STRING_KEYS: [&str; 8] =
    ["class", "queue", "jid", "wrapped", "retry_queue", "display_class", "bid", "error_class"];

type Index = (Vec<Entry>, Vec<(&'static str, Box<str>)>);

/// The keys of a payload's text, and the values of those [`STRING_KEYS`] that are written with escapes.
pub(super) fn index(raw: &str) -> Result<Index, String> {
    let glance = scan::Glance::at(raw);
    if scan::deeper_than(raw, glance, scan::MAX_DEPTH) {
        return Err(format!("nested deeper than {} levels", scan::MAX_DEPTH));
    }
    if scan::has_lone_surrogate(raw, glance) {
        return Err(scan::LONE_SURROGATE.to_owned());
    }
    if u32::try_from(raw.len()).is_err() {
        return Err("larger than 4 GiB".to_owned());
    }
    let base = raw.as_ptr() as usize;
    let span = |part: &str| {
        let start = part.as_ptr() as usize - base;
        Span { start: start as u32, end: (start + part.len()) as u32 }
    };
    let mut entries = Vec::with_capacity(12);
    let mut unescaped = Vec::new();
    scan::top_level(raw, |key: scan::KeyText<'_>, value: &RawValue| {
        let value = value.get();
        let name = key.as_str();
        if glance.has_escapes
            && value.starts_with('"')
            && value.contains('\\')
            && let Some(known) = STRING_KEYS.into_iter().find(|known| *known == name)
            && let Ok(text) = serde_json::from_str(value)
        {
            unescaped.retain(|(old, _)| *old != known);
            unescaped.push((known, text));
        } else if !unescaped.is_empty() {
            unescaped.retain(|(old, _)| *old != name);
        }
        let key = match key {
            scan::KeyText::Borrowed(text) => Key::At(span(text)),
            scan::KeyText::Owned(text) => Key::Own(text.into()),
        };
        entries.push(Entry { key, at: Some(span(value)), new: None, removed: false });
    })?;
    Ok((entries, unescaped))
}
