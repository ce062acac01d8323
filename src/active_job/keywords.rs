use super::argument::Argument;
use super::convert::{FromArgument, unexpected};
use super::hash::Hash;
use crate::job::ArgsError;

/// Keyword arguments of a Ruby `perform`, as a struct.
///
/// A field that is an [`Option`] may be left out, and is left out when it is `None`: Ruby's default applies. One that Ruby requires and that may be
/// `nil` is a [`Nilable`](crate::active_job::Nilable). One that is missing and one that is unknown is an `ArgumentError`, as in Ruby.
///
/// ```
/// use ferrokiq::active_job::{Arguments, Symbol};
///
/// ferrokiq::keywords! {
///     /// `perform(user, greeting:, style: nil)`
///     #[derive(Debug, PartialEq)]
///     pub struct Greeting {
///         /// What to say.
///         pub greeting: String,
///         /// How.
///         pub style: Option<Symbol>,
///     }
/// }
///
/// let raw = r#"[7,{"greeting":"hello","_aj_ruby2_keywords":["greeting"]}]"#;
/// let (id, said) = <(i64, Greeting)>::from_json(raw)?;
/// assert_eq!((id, &said), (7, &Greeting { greeting: "hello".to_owned(), style: None }));
/// assert_eq!((id, said).into_json()?, raw);
///
/// let error = <(i64, Greeting)>::from_json("[7]").unwrap_err();
/// assert_eq!(error.to_string(), "missing keyword: :greeting");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! keywords {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$about:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$about])* $field_vis $field: $type,)*
        }

        impl $crate::active_job::FromArgument for $name {
            fn from_argument(
                argument: $crate::active_job::Argument,
            ) -> ::std::result::Result<Self, $crate::job::ArgsError> {
                #[allow(unused_mut, reason = "there may be no field")]
                let mut given = $crate::active_job::Keywords::from_argument(argument)?;
                let read = Self { $($field: given.take(::std::stringify!($field))?,)* };
                given.finish()?;
                Ok(read)
            }

            fn absent() -> ::std::option::Option<::std::result::Result<Self, $crate::job::ArgsError>> {
                ::std::option::Option::Some($crate::active_job::Keywords::default().into_argument_of())
            }
        }

        impl $crate::active_job::IntoArgument for $name {
            fn into_argument(self) -> $crate::active_job::Argument {
                #[allow(unused_mut, reason = "there may be no field")]
                let mut given = $crate::active_job::Keywords::default();
                $(if !$crate::active_job::IntoArgument::is_left_out(&self.$field) {
                    given.put(::std::stringify!($field), $crate::active_job::IntoArgument::into_argument(self.$field));
                })*
                $crate::active_job::IntoArgument::into_argument(given)
            }
        }
    };
}

/// Keyword arguments one by one: what [`keywords!`](crate::keywords) reads and writes its struct with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keywords(Vec<(String, Argument)>);

impl Keywords {
    /// Takes one. The name may be a raw identifier.
    ///
    /// # Errors
    ///
    /// `ArgumentError` if it is missing or of another type.
    pub fn take<T: FromArgument>(&mut self, name: &str) -> Result<T, ArgsError> {
        let name = plain(name);
        match self.0.iter().position(|(known, _)| known == name) {
            Some(at) => {
                let (_, argument) = self.0.remove(at);
                T::from_argument(argument).map_err(|error| error.of_keyword(name))
            }
            None => T::absent().unwrap_or_else(|| Err(ArgsError::new(format!("missing keyword: :{name}")))),
        }
    }

    /// Makes sure that none is left.
    ///
    /// # Errors
    ///
    /// `ArgumentError` that names the first one nobody took.
    pub fn finish(self) -> Result<(), ArgsError> {
        match self.0.first() {
            Some((name, _)) => Err(ArgsError::new(format!("unknown keyword: :{name}"))),
            None => Ok(()),
        }
    }

    /// Adds one, `nil` too: Ruby misses a required keyword that is left out.
    pub fn put(&mut self, name: &str, argument: Argument) {
        self.0.push((plain(name).to_owned(), argument));
    }

    /// Reads a type from them.
    ///
    /// # Errors
    ///
    /// As its [`FromArgument`].
    pub fn into_argument_of<T: FromArgument>(self) -> Result<T, ArgsError> {
        T::from_argument(Argument::Hash(Hash::of_keywords(self.0)))
    }
}

fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

impl FromArgument for Keywords {
    /// Of any hash: before Ruby 3 there was no difference.
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Hash(hash) => Ok(Self(hash.into_iter().collect())),
            other => Err(unexpected(&other, "keyword arguments")),
        }
    }

    fn absent() -> Option<Result<Self, ArgsError>> {
        Some(Ok(Self::default()))
    }
}

impl super::convert::IntoArgument for Keywords {
    fn into_argument(self) -> Argument {
        Argument::Hash(Hash::of_keywords(self.0))
    }
}
