use super::argument::Argument;
use crate::payload::last_wins;

/// A Ruby `Hash` with string and symbol keys, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hash {
    pub(super) entries: Vec<(String, Argument)>,
    pub(super) keys: Keys,
    /// Behind how many entries the mark of its kind stands; Rails writes it last.
    pub(super) mark: usize,
}

/// What the keys of a [`Hash`](struct@Hash) are in Ruby.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keys {
    /// Strings: a hash that no Rails since 4.2 wrote.
    #[default]
    Unmarked,
    /// Those named are symbols, the others strings (`_aj_symbol_keys`).
    Symbols(Vec<String>),
    /// As `Symbols`, and the hash is the keyword arguments of the call (`_aj_ruby2_keywords`).
    Keywords(Vec<String>),
    /// Either, as of a `HashWithIndifferentAccess` (`_aj_hash_with_indifferent_access`).
    Indifferent,
}

impl Hash {
    fn with(entries: Vec<(String, Argument)>, keys: Keys) -> Self {
        let entries = last_wins(entries);
        Self { mark: entries.len(), entries, keys }
    }

    fn owned<K: Into<String>>(entries: impl IntoIterator<Item = (K, Argument)>) -> Vec<(String, Argument)> {
        entries.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }

    /// `{"a" => 1}`: string keys.
    pub fn of_strings<K: Into<String>>(entries: impl IntoIterator<Item = (K, Argument)>) -> Self {
        Self::with(Self::owned(entries), Keys::Symbols(Vec::new()))
    }

    /// `{a: 1}`: symbol keys.
    pub fn of_symbols<K: Into<String>>(entries: impl IntoIterator<Item = (K, Argument)>) -> Self {
        let entries = Self::owned(entries);
        let names = entries.iter().map(|(key, _)| key.clone()).collect();
        Self::with(entries, Keys::Symbols(names))
    }

    /// `perform(a: 1)`: keyword arguments.
    pub fn of_keywords<K: Into<String>>(entries: impl IntoIterator<Item = (K, Argument)>) -> Self {
        let entries = Self::owned(entries);
        let names = entries.iter().map(|(key, _)| key.clone()).collect();
        Self::with(entries, Keys::Keywords(names))
    }

    /// `{a: 1}.with_indifferent_access`.
    pub fn indifferent<K: Into<String>>(entries: impl IntoIterator<Item = (K, Argument)>) -> Self {
        Self::with(Self::owned(entries), Keys::Indifferent)
    }

    /// The value of a key, symbol or string.
    pub fn get(&self, key: &str) -> Option<&Argument> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Whether a key is a symbol in Ruby.
    pub fn is_symbol(&self, key: &str) -> bool {
        match &self.keys {
            Keys::Symbols(names) | Keys::Keywords(names) => names.iter().any(|name| name == key),
            Keys::Unmarked | Keys::Indifferent => false,
        }
    }

    /// What its keys are in Ruby.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether it is the keyword arguments of the call.
    pub fn is_keywords(&self) -> bool {
        matches!(self.keys, Keys::Keywords(_))
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Argument)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Hash {
    type Item = (String, Argument);
    type IntoIter = std::vec::IntoIter<(String, Argument)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
