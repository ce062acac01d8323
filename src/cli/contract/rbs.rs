use super::described::{Described, Params};
use super::types::Type;

/// Signatures of the classes that [`ruby`](super::ruby) prints.
pub(super) fn text(classes: &[Described]) -> String {
    let mut text = String::from("# Made from the worker's jobs; do not edit.\n");
    let mut modules: Vec<&str> = Vec::new();
    for class in classes {
        for module in class.modules() {
            // One that is a class is written as such.
            if !modules.contains(&module) && !classes.iter().any(|class| class.class == module) {
                modules.push(module);
                text.push_str(&format!("\nmodule {module}\nend\n"));
            }
        }
        text.push_str(&signature(class));
    }
    text
}

fn signature(class: &Described) -> String {
    let (list, one) = match &class.params {
        Params::Listed(listed) => {
            let types: Vec<(String, &str)> =
                listed.iter().map(|(name, schema)| (Type::of(schema, &class.schema).rbs(), &**name)).collect();
            let list = types.iter().map(|(kind, name)| format!("{kind} {name}")).collect::<Vec<_>>().join(", ");
            let one = Type::Tuple(listed.iter().map(|(_, schema)| Type::of(schema, &class.schema)).collect()).rbs();
            (list, one)
        }
        Params::Rest(name, schema) => {
            let kind = Type::of(schema, &class.schema);
            (format!("*{} {name}", kind.rbs()), Type::Array(Box::new(kind)).rbs())
        }
    };
    let later = if list.is_empty() { "Numeric | Time".to_owned() } else { format!("Numeric | Time, {list}") };
    format!(
        "\nclass {name}\n  include Sidekiq::Job\n\n  \
         def self.perform_async: ({list}) -> String?\n  \
         def self.perform_in: ({later}) -> String?\n  \
         def self.perform_at: ({later}) -> String?\n  \
         def self.perform_bulk: (Array[{one}], ?batch_size: Integer) -> Array[String?]\n  \
         def self.runs_in_rust?: () -> true\n\n  \
         def perform: ({list}) -> void\nend\n",
        name = class.class,
    )
}
