//! The only room that speaks Redis: connections, keys and scripts. Knows bytes, not jobs or policy.

mod census;
mod deploy;
mod error;
mod keys;
mod link;
mod options;
mod push;
mod refusal;
mod scripts;

#[cfg(feature = "server")]
pub(crate) mod beat;
#[cfg(feature = "server")]
pub(crate) mod claims;
#[cfg(feature = "server")]
pub(crate) mod fleet;
#[cfg(feature = "server")]
mod inspect;
#[cfg(feature = "server")]
pub(crate) mod metrics;
#[cfg(feature = "server")]
pub(crate) mod sets;

pub(crate) mod iteration;

pub use options::RedisOptions;

#[cfg(feature = "server")]
pub(crate) use error::is_wrong_type;
#[cfg(feature = "server")]
pub(crate) use keys::queue as queue_key;

use crate::error::Result;
use link::Link;

/// One Redis. Cheap to clone; all clones share one multiplexed connection, made when first needed.
///
/// A connection lives on the runtime that made it: a thread with a runtime of its own needs a `Store` of its own
/// ([`fresh`](Self::fresh)).
#[derive(Clone, Debug)]
pub(crate) struct Store {
    link: Link,
}

impl Store {
    pub(crate) fn new(options: RedisOptions) -> Result<Self> {
        Ok(Self { link: Link::new(options)? })
    }

    /// The same Redis through a connection of its own.
    #[cfg(feature = "server")]
    pub(crate) fn fresh(&self) -> Self {
        Self { link: self.link.fresh() }
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        self.link.options()
    }
}
