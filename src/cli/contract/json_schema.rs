use serde_json::{Map, Value, json};

use super::described::{Described, Params};

/// One document for the payloads of all classes; each class is a definition of it.
pub(super) fn text(classes: &[Described]) -> String {
    let definitions: Map<String, Value> =
        classes.iter().map(|class| (class.class.clone(), definition(class))).collect();
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sidekiq jobs",
        "oneOf": classes.iter().map(|class| json!({"$ref": format!("#/$defs/{}", class.class)})).collect::<Vec<_>>(),
        "$defs": definitions,
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// A payload of one class. What it takes unless the push says otherwise is told as `default`.
fn definition(class: &Described) -> Value {
    let here = format!("#/$defs/{}/$defs/", class.class);
    let mut args = class.schema.clone();
    let own = args.as_object_mut();
    let definitions = own.and_then(|args| {
        args.remove("$schema");
        args.remove("title");
        args.remove("$defs")
    });
    if let (Some(items), Params::Listed(listed)) =
        (args.get_mut("prefixItems").and_then(Value::as_array_mut), &class.params)
    {
        for (item, (name, _)) in items.iter_mut().zip(listed) {
            match item {
                Value::Object(item) => drop(item.insert("title".into(), json!(name))),
                Value::Bool(true) => *item = json!({"title": name}),
                _ => {}
            }
        }
    }
    refer(&mut args, &here);
    let or = |key: &str, default: Value| class.option(key).cloned().unwrap_or(default);
    let mut definition = json!({
        "type": "object",
        "required": ["class", "args"],
        "properties": {
            "class": {"const": class.class},
            "args": args,
            "queue": {"type": "string", "default": or("queue", json!("default"))},
            "retry": {"type": ["boolean", "integer", "null"], "default": or("retry", json!(true))},
            "tags": {"type": "array", "items": {"type": "string"}, "default": or("tags", json!([]))},
        },
    });
    if let Some(mut definitions) = definitions {
        refer(&mut definitions, &here);
        definition["$defs"] = definitions;
    }
    definition
}

/// Lets what referred to the definitions of its own document refer to where they are now.
fn refer(schema: &mut Value, here: &str) {
    match schema {
        Value::Object(keys) => {
            for (key, value) in keys {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some(name) = to.strip_prefix("#/$defs/") {
                            *to = format!("{here}{name}");
                        }
                    }
                    value => refer(value, here),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, here)),
        _ => {}
    }
}
