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
mod script;
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
#[cfg(any(feature = "api", feature = "server"))]
mod checkup;
#[cfg(feature = "server")]
pub(crate) mod claims;
#[cfg(feature = "server")]
pub(crate) mod courier;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod fleet;
#[cfg(feature = "server")]
pub(crate) mod in_place;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod inspect;
#[cfg(feature = "server")]
pub(crate) mod lease;
#[cfg(feature = "server")]
pub(crate) mod limit_fetch;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod metrics;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod pages;
#[cfg(feature = "server")]
pub(crate) mod registration;
#[cfg(feature = "server")]
pub(crate) mod rider;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod sets;
#[cfg(feature = "server")]
pub(crate) mod settle;
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) mod suspects;
#[cfg(feature = "server")]
pub(crate) mod tracking;

pub(crate) mod iteration;

pub use credentials::Credentials;
pub use options::RedisOptions;
#[cfg(feature = "server")]
pub use rider::{KeyType, Rider};
pub use script::{Reply, Script, ScriptCall};
pub use tls::Tls;

pub(crate) use backoff::backoff;
pub(crate) use confirm::Replicas;
#[cfg(feature = "server")]
pub(crate) use error::is_not_permitted;
#[cfg(all(test, feature = "server"))]
pub(crate) use error::refused_with;
#[cfg(any(feature = "api", feature = "server"))]
#[cfg_attr(not(feature = "server"), allow(unused_imports, reason = "the Data API calls some of them"))]
pub(crate) use error::{is_denied, is_refusal, is_wrong_type, refuses_writes};
#[cfg(feature = "server")]
pub(crate) use inspect::QueueState;
#[cfg(feature = "server")]
pub(crate) use keys::queue as queue_key;
#[cfg(feature = "server")]
pub(crate) use windows::{CLAIM_BYTES, are_large};

use std::sync::Arc;
#[cfg(any(feature = "api", feature = "server"))]
use std::time::{Duration, Instant};

#[cfg(any(feature = "api", feature = "server"))]
use redis::{FromRedisValue, ScriptInvocation, cmd};

use confirm::Confirmed;
use link::Link;

#[cfg(any(feature = "api", feature = "server"))]
use crate::error::Result;

/// One Redis. Cheap to clone; all clones on a runtime share one multiplexed connection, made when first needed.
///
/// A connection lives on the runtime that made it, so each runtime has its own.
#[derive(Clone)]
pub(crate) struct Store {
    link: Link,
    confirmed: Arc<Confirmed>,
    #[cfg(feature = "server")]
    window: windows::Window,
    #[cfg(feature = "server")]
    fragments: Arc<rider::Fragments>,
}

impl Store {
    pub(crate) fn new(options: RedisOptions) -> Self {
        Self {
            link: Link::new(options),
            confirmed: Arc::default(),
            #[cfg(feature = "server")]
            window: windows::Window::default(),
            #[cfg(feature = "server")]
            fragments: Arc::default(),
        }
    }

    /// The same Redis through a connection of its own.
    #[cfg(feature = "server")]
    pub(crate) fn fresh(&self) -> Self {
        Self {
            link: self.link.fresh(),
            confirmed: Arc::default(),
            window: self.window.clone(),
            fragments: Arc::clone(&self.fragments),
        }
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        self.link.options()
    }
}

#[cfg(any(feature = "api", feature = "server"))]
impl Store {
    /// How long Redis takes to answer.
    pub(crate) async fn ping(&self) -> Result<Duration> {
        let asked = Instant::now();
        let _: () = self.link.query("ping", &cmd("PING")).await?;
        Ok(asked.elapsed())
    }

    /// Runs a script; asked again once after silence, since every script of ours changes nothing the second time.
    async fn eval<T: FromRedisValue>(&self, doing: &str, script: &ScriptInvocation<'_>) -> Result<T> {
        match self.link.eval(doing, script).await {
            Err(error) if error.is_ambiguous() => self.link.eval(doing, script).await,
            answer => answer,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.link).finish()
    }
}
