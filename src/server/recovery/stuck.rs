//! Private lists whose jobs cannot be moved: one of them must not keep the others.

use std::collections::HashMap;

use crate::error::{Error, RedisFault, Result};

/// Lists that failed, with the error that was logged: each is logged once until its error changes.
#[derive(Debug, Default)]
pub(crate) struct Stuck(HashMap<String, String>);

/// Lists that are remembered.
const MOST: usize = 10_000;

impl Stuck {
    /// Logs the failure of one list, so that the caller goes on with the next.
    ///
    /// # Errors
    ///
    /// `error`, if Redis is unreachable or refuses everything: then the next list fails, too.
    pub(crate) fn note(&mut self, list: &str, error: Error) -> Result<()> {
        if error.is_ambiguous() || matches!(error.redis_fault(), Some(RedisFault::Unreachable | RedisFault::Unwilling))
        {
            return Err(error);
        }
        let why =
            format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
        if self.0.get(list) != Some(&why) {
            tracing::error!(list, %error, why, "the jobs of a private list cannot be put back; they stay there");
            if self.0.len() >= MOST {
                self.0.clear();
            }
            self.0.insert(list.to_owned(), why);
        }
        Ok(())
    }

    /// The list is empty, or its jobs could be moved.
    pub(crate) fn works(&mut self, list: &str) {
        self.0.remove(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn error(fault: RedisFault) -> Error {
        Error::new(ErrorKind::Redis, "recover failed").with_fault(fault)
    }

    #[test]
    fn keeps_the_fault_of_one_list_from_the_others() {
        let mut stuck = Stuck::default();
        for fault in [RedisFault::WrongType, RedisFault::Denied, RedisFault::Other] {
            assert!(stuck.note("list", error(fault)).is_ok());
        }
        assert_eq!(stuck.0.len(), 1);
        stuck.works("list");
        assert!(stuck.0.is_empty());
        for fault in [RedisFault::Unreachable, RedisFault::Unwilling] {
            assert!(stuck.note("list", error(fault)).is_err(), "{fault:?} concerns every list");
        }
        (0..2 * MOST).for_each(|list| stuck.note(&list.to_string(), error(RedisFault::WrongType)).unwrap());
        assert!(stuck.0.len() <= MOST);
    }
}
