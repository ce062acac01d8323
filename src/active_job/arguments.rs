//! The arguments of a call: a tuple, whose last member may be keyword arguments.

use super::argument::Argument;
use super::convert::{FromArgument, IntoArgument};
use crate::error::Result;
use crate::job::ArgsError;

/// The arguments of an [`ActiveJob`](super::ActiveJob): what Ruby's `perform` takes.
///
/// A tuple of up to 8 members, `()` for none. A member that is an [`Option`] may be left out at the end, as a Ruby parameter with a default.
/// Keyword arguments are a type made by [`keywords!`](crate::keywords), in the last place. For a job that takes anything there is
/// `Vec<Argument>`.
///
/// ```
/// use ferrokiq::active_job::{Arguments, GlobalId};
///
/// let raw = r#"[{"_aj_globalid":"gid://shop/User/7"},"hello"]"#;
/// let (user, text, times) = <(GlobalId, String, Option<u32>)>::from_json(raw)?;
/// assert_eq!((user.id(), text.as_str(), times), ("7", "hello", None));
/// # Ok::<(), ferrokiq::job::ArgsError>(())
/// ```
pub trait Arguments: Sized + Send + 'static {
    /// From the arguments of a job.
    ///
    /// # Errors
    ///
    /// `ArgumentError` if their number or a type does not fit.
    fn from_arguments(arguments: Vec<Argument>) -> std::result::Result<Self, ArgsError>;

    /// As the arguments of a job.
    fn into_arguments(self) -> Vec<Argument>;

    /// From the `arguments` of a payload.
    ///
    /// # Errors
    ///
    /// As [`from_arguments`](Self::from_arguments), and `ActiveJob::DeserializationError` for what Rails could not read either.
    fn from_json(raw: &str) -> std::result::Result<Self, ArgsError> {
        Self::from_arguments(Argument::parse_all(raw)?)
    }

    /// As Rails writes them.
    ///
    /// # Errors
    ///
    /// As [`Argument::write`].
    fn into_json(self) -> Result<String> {
        Argument::write_all(&self.into_arguments())
    }
}

impl Arguments for Vec<Argument> {
    fn from_arguments(arguments: Vec<Argument>) -> std::result::Result<Self, ArgsError> {
        Ok(arguments)
    }

    fn into_arguments(self) -> Vec<Argument> {
        self
    }
}

impl Arguments for () {
    fn from_arguments(arguments: Vec<Argument>) -> std::result::Result<Self, ArgsError> {
        if arguments.is_empty() { Ok(()) } else { Err(wrong_number(arguments.len(), 0, 0)) }
    }

    fn into_arguments(self) -> Vec<Argument> {
        Vec::new()
    }
}

macro_rules! tuples {
    ($($len:literal: $($member:ident $at:tt),+;)+) => {$(
        impl<$($member: FromArgument + IntoArgument),+> Arguments for ($($member,)+) {
            fn from_arguments(arguments: Vec<Argument>) -> std::result::Result<Self, ArgsError> {
                let given = arguments.len();
                let mut needed = 0;
                $(if $member::absent().is_none() {
                    needed = $at + 1;
                })+
                if given > $len || given < needed {
                    return Err(wrong_number(given, needed, $len));
                }
                let mut arguments = arguments.into_iter();
                Ok(($(member::<$member>($at, arguments.next(), (given, needed, $len))?,)+))
            }

            fn into_arguments(self) -> Vec<Argument> {
                let mut arguments = vec![$(self.$at.into_argument()),+];
                // Without any keyword Ruby passes nothing.
                if matches!(arguments.last(), Some(Argument::Hash(hash)) if hash.is_keywords() && hash.is_empty()) {
                    arguments.pop();
                }
                arguments
            }
        }
    )+};
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}

fn member<T: FromArgument>(
    at: usize,
    argument: Option<Argument>,
    (given, needed, most): (usize, usize, usize),
) -> std::result::Result<T, ArgsError> {
    match argument {
        Some(argument) => T::from_argument(argument).map_err(|error| error.of_argument(at + 1)),
        None => T::absent().unwrap_or_else(|| Err(wrong_number(given, needed, most))),
    }
}

/// In Ruby's words.
fn wrong_number(given: usize, needed: usize, most: usize) -> ArgsError {
    let expected = if needed == most { most.to_string() } else { format!("{needed}..{most}") };
    ArgsError::new(format!("wrong number of arguments (given {given}, expected {expected})"))
}
