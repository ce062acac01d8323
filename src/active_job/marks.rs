//! Keys that mean something to Rails.

pub(super) const GLOBAL_ID: &str = "_aj_globalid";
pub(super) const SERIALIZER: &str = "_aj_serialized";
pub(super) const SYMBOL_KEYS: &str = "_aj_symbol_keys";
pub(super) const KEYWORDS: &str = "_aj_ruby2_keywords";
pub(super) const INDIFFERENT: &str = "_aj_hash_with_indifferent_access";
