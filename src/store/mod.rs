//! The only room that speaks Redis: connections, keys and scripts. Knows bytes, not jobs or policy.

mod applied;
mod backoff;
pub(crate) mod census;
mod confirm;
mod connect;
mod credentials;
mod deploy;
mod dial;
mod error;
#[cfg(test)]
#[cfg(all(unix, feature = "server", feature = "testing"))]
mod exchanges;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "server")]
mod invalidations;
mod keys;
mod link;
mod meter;
mod options;
mod primary;
mod progress;
mod push;
mod refusal;
mod resolve;
#[cfg(test)]
#[cfg(all(unix, feature = "server", feature = "testing"))]
mod script_tests;
mod scripts;
mod sentinel;
mod stream;
mod tls;
mod url;
#[cfg(feature = "server")]
mod windows;
mod wire;
mod wrong_key;

#[cfg(feature = "server")]
pub(crate) mod beat;
#[cfg(feature = "server")]
mod checkup;
#[cfg(feature = "server")]
pub(crate) mod claims;
#[cfg(feature = "server")]
pub(crate) mod courier;
#[cfg(feature = "server")]
pub(crate) mod fleet;
#[cfg(feature = "server")]
pub(crate) mod in_place;
#[cfg(feature = "server")]
pub(crate) mod inspect;
#[cfg(feature = "server")]
pub(crate) mod lease;
#[cfg(feature = "server")]
pub(crate) mod metrics;
#[cfg(feature = "server")]
pub(crate) mod pages;
#[cfg(feature = "server")]
pub(crate) mod registration;
#[cfg(feature = "server")]
pub(crate) mod sets;
#[cfg(feature = "server")]
pub(crate) mod settle;
#[cfg(feature = "server")]
pub(crate) mod suspects;
#[cfg(feature = "server")]
pub(crate) mod tracking;

pub(crate) mod iteration;

pub use credentials::Credentials;
pub use options::RedisOptions;
pub use tls::Tls;

pub(crate) use backoff::backoff;
pub(crate) use confirm::Replicas;
#[cfg(all(test, feature = "server"))]
pub(crate) use error::refused_with;
#[cfg(feature = "server")]
pub(crate) use error::{is_denied, is_refusal, is_wrong_type, refuses_writes};
#[cfg(feature = "server")]
pub(crate) use inspect::QueueState;
#[cfg(feature = "server")]
pub(crate) use keys::queue as queue_key;
#[cfg(feature = "server")]
pub(crate) use windows::{CLAIM_BYTES, are_large};

use std::sync::Arc;

use confirm::Confirmed;
use link::Link;

/// One Redis. Cheap to clone; all clones on a runtime share one multiplexed connection, made when first needed.
///
/// A connection lives on the runtime that made it, so each runtime has its own.
#[derive(Clone)]
pub(crate) struct Store {
    link: Link,
    confirmed: Arc<Confirmed>,
    #[cfg(feature = "server")]
    window: windows::Window,
}

impl Store {
    pub(crate) fn new(options: RedisOptions) -> Self {
        Self {
            link: Link::new(options),
            confirmed: Arc::default(),
            #[cfg(feature = "server")]
            window: windows::Window::default(),
        }
    }

    /// The same Redis through a connection of its own.
    #[cfg(feature = "server")]
    pub(crate) fn fresh(&self) -> Self {
        Self { link: self.link.fresh(), confirmed: Arc::default(), window: self.window.clone() }
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        self.link.options()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.link).finish()
    }
}
