use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Args, RawArgs, Variadic};

/// What the arguments of a job are, told to other languages: as a JSON Schema of what [`Args::from_json`] reads.
///
/// ```
/// use ferrokiq::job::ArgsSchema;
/// use ferrokiq::{Context, Job, JobResult};
///
/// struct Charge;
///
/// impl Job for Charge {
///     const CLASS: &'static str = "Billing::ChargeJob";
///     type Args = (i64, Option<String>);
///
///     fn args_schema() -> ArgsSchema {
///         ArgsSchema::of::<Self::Args>().names(["invoice_id", "note"])
///     }
///
///     async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
///         Ok(())
///     }
/// }
///
/// assert_eq!(Charge::args_schema().as_json()["prefixItems"][0]["type"], "integer");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ArgsSchema {
    document: Value,
    names: Vec<String>,
}

impl ArgsSchema {
    /// Arguments of which nothing is known but that they are an array: what a job that does not tell has.
    pub fn unknown() -> Self {
        Self::new(json!({"type": "array"}))
    }

    /// What a type's arguments are.
    pub fn of<A: DescribeArgs>() -> Self {
        A::describe()
    }

    /// A JSON Schema (2020-12) of an array; for an [`Args`] of one's own.
    pub fn new(document: Value) -> Self {
        Self { document, names: Vec::new() }
    }

    /// What the arguments are called, in order: as many as there are, each a name that Ruby takes for a parameter. Without, they are
    /// `arg1`, `arg2` and so on.
    #[must_use]
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The JSON Schema.
    pub fn as_json(&self) -> &Value {
        &self.document
    }

    /// The names that were given.
    pub(crate) fn given_names(&self) -> &[String] {
        &self.names
    }

    fn of_type<T: JsonSchema>() -> Self {
        let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
        Self::new(generator.into_root_schema_for::<T>().to_value())
    }
}

/// [`Args`] that can tell what they are: those whose members have [`schemars::JsonSchema`], as std's types do. A type of one's own derives
/// it; the `schemars` crate is re-exported as [`ferrokiq::schemars`](crate::schemars).
pub trait DescribeArgs: Args {
    /// What they are.
    fn describe() -> ArgsSchema;
}

impl DescribeArgs for RawArgs {
    fn describe() -> ArgsSchema {
        ArgsSchema::unknown()
    }
}

impl DescribeArgs for () {
    fn describe() -> ArgsSchema {
        ArgsSchema::new(json!({"type": "array", "prefixItems": [], "minItems": 0, "maxItems": 0}))
    }
}

impl<T: JsonSchema + Serialize + DeserializeOwned + Send + 'static> DescribeArgs for Variadic<T> {
    fn describe() -> ArgsSchema {
        ArgsSchema::of_type::<Vec<T>>()
    }
}

macro_rules! tuples {
    ($($($member:ident)+;)+) => {$(
        impl<$($member: JsonSchema + Serialize + DeserializeOwned + Send + 'static),+> DescribeArgs for ($($member,)+) {
            fn describe() -> ArgsSchema {
                ArgsSchema::of_type::<Self>()
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_number_and_types() {
        let pair = ArgsSchema::of::<(i64, Option<String>)>();
        let schema = pair.as_json();
        assert_eq!((&schema["minItems"], &schema["maxItems"]), (&json!(2), &json!(2)));
        assert_eq!(schema["prefixItems"][1]["type"], json!(["string", "null"]));
        assert_eq!(ArgsSchema::of::<()>().as_json()["maxItems"], 0);
        assert_eq!(ArgsSchema::of::<Variadic<bool>>().as_json()["items"]["type"], "boolean");
        assert_eq!(ArgsSchema::of::<RawArgs>(), ArgsSchema::unknown());
    }

    #[test]
    fn tells_what_is_read_not_what_is_written() {
        #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
        struct Card {
            number: u32,
            #[serde(default)]
            holder: String,
        }
        let schema = ArgsSchema::of::<(Card,)>();
        assert_eq!(schema.as_json()["$defs"]["Card"]["required"], json!(["number"]));
    }
}
