use serde_json::Value;

/// What Ruby calls the values that a JSON Schema allows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Any,
    Nil,
    Bool,
    Integer,
    Float,
    String,
    /// One of these texts.
    Words(Vec<String>),
    Array(Box<Self>),
    Tuple(Vec<Self>),
    Hash(Box<Self>),
    Union(Vec<Self>),
}

impl Type {
    /// Of a schema in a document, to whose definitions it may refer.
    pub(super) fn of(schema: &Value, document: &Value) -> Self {
        Self::within(schema, document, &mut Vec::new())
    }

    /// `open` are the definitions being read: one that holds itself is not read again.
    fn within<'a>(schema: &'a Value, document: &'a Value, open: &mut Vec<&'a str>) -> Self {
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str) {
            let Some(referred) = pointer.strip_prefix('#').and_then(|pointer| document.pointer(pointer)) else {
                return Self::Any;
            };
            if open.contains(&pointer) {
                return Self::Any;
            }
            open.push(pointer);
            let found = Self::within(referred, document, open);
            open.pop();
            return found;
        }
        let words: Option<Vec<String>> = match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
            (Some(one), _) => one.as_str().map(|word| vec![word.to_owned()]),
            (None, Some(many)) => many.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
            (None, None) => None,
        };
        if let Some(words) = words {
            return Self::Words(words);
        }
        if let Some(kinds) = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array()) {
            return Self::union(kinds.iter().map(|kind| Self::within(kind, document, open)).collect());
        }
        match schema.get("type") {
            Some(Value::String(name)) => Self::named(name, schema, document, open),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                Self::union(names.map(|name| Self::named(name, schema, document, open)).collect())
            }
            _ => Self::Any,
        }
    }

    fn named<'a>(name: &str, schema: &'a Value, document: &'a Value, open: &mut Vec<&'a str>) -> Self {
        match name {
            "null" => Self::Nil,
            "boolean" => Self::Bool,
            "integer" => Self::Integer,
            "number" => Self::Union(vec![Self::Integer, Self::Float]),
            "string" => Self::String,
            "array" => match schema.get("prefixItems").and_then(Value::as_array) {
                Some(items) => Self::Tuple(items.iter().map(|item| Self::within(item, document, open)).collect()),
                None => Self::Array(Box::new(
                    schema.get("items").map_or(Self::Any, |item| Self::within(item, document, open)),
                )),
            },
            "object" => {
                let values = schema.get("additionalProperties").filter(|_| schema.get("properties").is_none());
                Self::Hash(Box::new(values.map_or(Self::Any, |value| Self::within(value, document, open))))
            }
            _ => Self::Any,
        }
    }

    fn union(kinds: Vec<Self>) -> Self {
        let mut union: Vec<Self> = Vec::new();
        let flat = kinds.into_iter().flat_map(|kind| match kind {
            Self::Union(inner) => inner,
            kind => vec![kind],
        });
        for kind in flat {
            match kind {
                Self::Any => return Self::Any,
                Self::Words(more) => match union.iter_mut().find(|known| matches!(known, Self::Words(_))) {
                    Some(Self::Words(words)) => words.extend(more),
                    _ => union.push(Self::Words(more)),
                },
                kind if union.contains(&kind) => {}
                kind => union.push(kind),
            }
        }
        // Whatever may be missing is said last.
        union.sort_by_key(|kind| *kind == Self::Nil);
        match union.len() {
            0 => Self::Any,
            1 => union.remove(0),
            _ => Self::Union(union),
        }
    }

    /// As RBS writes it.
    pub(super) fn rbs(&self) -> String {
        let list = |kinds: &[Self], between: &str| kinds.iter().map(Self::rbs).collect::<Vec<_>>().join(between);
        match self {
            Self::Any => "untyped".to_owned(),
            Self::Nil => "nil".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Integer => "Integer".to_owned(),
            Self::Float => "Float".to_owned(),
            Self::String => "String".to_owned(),
            Self::Words(words) => match &words[..] {
                [word] => super::quoted::string(word),
                words => {
                    format!(
                        "({})",
                        words.iter().map(|word| super::quoted::string(word)).collect::<Vec<_>>().join(" | ")
                    )
                }
            },
            Self::Array(item) => format!("Array[{}]", item.rbs()),
            Self::Tuple(items) if items.is_empty() => "[ ]".to_owned(),
            Self::Tuple(items) => format!("[{}]", list(items, ", ")),
            Self::Hash(value) => format!("Hash[String, {}]", value.rbs()),
            Self::Union(kinds) => format!("({})", list(kinds, " | ")),
        }
    }

    /// As YARD writes it, without the brackets around all.
    pub(super) fn yard(&self) -> String {
        let list = |kinds: &[Self]| kinds.iter().map(Self::yard).collect::<Vec<_>>().join(", ");
        match self {
            Self::Any => "Object".to_owned(),
            Self::Nil => "nil".to_owned(),
            Self::Bool => "Boolean".to_owned(),
            Self::Integer => "Integer".to_owned(),
            Self::Float => "Float".to_owned(),
            Self::String | Self::Words(_) => "String".to_owned(),
            Self::Array(item) => format!("Array<{}>", item.yard()),
            Self::Tuple(items) => format!("Array({})", list(items)),
            Self::Hash(value) => format!("Hash{{String => {}}}", value.yard()),
            Self::Union(kinds) => list(kinds),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_what_a_schema_allows() {
        let document = json!({"$defs": {
            "Card": {"type": "object", "properties": {"number": {"type": "integer"}}},
            "Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        }});
        for (schema, rbs, yard) in [
            (json!(true), "untyped", "Object"),
            (json!({"type": ["string", "null"]}), "(String | nil)", "String, nil"),
            (json!({"type": "number", "format": "double"}), "(Integer | Float)", "Integer, Float"),
            (json!({"$ref": "#/$defs/Card"}), "Hash[String, untyped]", "Hash{String => Object}"),
            (
                json!({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Card"}]}),
                "(Hash[String, untyped] | nil)",
                "Hash{String => Object}, nil",
            ),
            (json!({"$ref": "#/$defs/Tree"}), "Array[untyped]", "Array<Object>"),
            (json!({"enum": ["a", "b"]}), r#"("a" | "b")"#, "String"),
            (json!({"oneOf": [{"const": "a"}, {"const": "b"}]}), r#"("a" | "b")"#, "String"),
            (
                json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}),
                "[Integer, bool]",
                "Array(Integer, Boolean)",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "integer"}}),
                "Hash[String, Integer]",
                "Hash{String => Integer}",
            ),
            (json!({"type": ["number", "null"]}), "(Integer | Float | nil)", "Integer, Float, nil"),
            (json!({"$ref": "#/nowhere"}), "untyped", "Object"),
        ] {
            let named = Type::of(&schema, &document);
            assert_eq!((&*named.rbs(), &*named.yard()), (rbs, yard), "{schema}");
        }
    }
}
