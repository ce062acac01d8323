//! Pushes that wait until replicas have them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::Semaphore;

use super::error::Applied;
use super::error::failed;
use super::link::{Again, Link};
use super::wire::{Request, Wire};
use crate::error::{Error, ErrorKind, Result};

/// How many replicas must have a push, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) count: usize,
    pub(crate) within: Duration,
}

/// Connections of their own: `WAIT` holds a connection up, and speaks of what was written on it.
pub(super) struct Confirmed {
    free: Mutex<Vec<Wire>>,
    turns: Semaphore,
}

/// Pushes of one client that wait at the same time, and so connections.
const TURNS: usize = 8;

impl Default for Confirmed {
    fn default() -> Self {
        Self { free: Mutex::default(), turns: Semaphore::new(TURNS) }
    }
}

impl Confirmed {
    /// Sends a request, then waits for replicas: also where Redis applied only part of it. Returns how the waiting ended,
    /// [`ErrorKind::Unconfirmed`] if too few have it in time; and what Redis refused.
    pub(super) async fn run(
        &self,
        link: &Link,
        doing: &str,
        request: Request<'_>,
        replicas: Replicas,
    ) -> (Result<()>, Option<Error>) {
        let _turn = self.turns.acquire().await;
        let (mut wire, refused) = match self.send(link, doing, request).await {
            Ok(sent) => sent,
            Err(error) => return (Err(error), None),
        };
        let waited = self.wait(link, doing, &mut wire, replicas).await;
        let answered = waited.as_ref().err().is_none_or(|error| error.replicas().is_some());
        if answered && refused.is_none() {
            self.give_back(wire);
        }
        (waited, refused)
    }

    /// Waits for the replicas of a server to have what was sent on this connection.
    async fn wait(&self, link: &Link, doing: &str, wire: &mut Wire, replicas: Replicas) -> Result<()> {
        let Replicas { count, within } = replicas;
        // Without a time Redis would wait for ever.
        let millis = within.as_millis().max(1);
        wire.set_patience(within + link.options().response_timeout);
        let wait = cmd("WAIT").arg(count).arg(u64::try_from(millis).unwrap_or(u64::MAX)).take();
        match wire.send::<usize>(Request::Command(&wait)).await {
            Ok(confirmed) if confirmed >= count => Ok(()),
            Ok(confirmed) => Err(unconfirmed(doing, Some(confirmed), replicas)),
            Err(error) => Err(unconfirmed(doing, None, replicas).because(error)),
        }
    }

    /// The connection a request was applied on, and what Redis refused of it.
    async fn send(&self, link: &Link, doing: &str, request: Request<'_>) -> Result<(Wire, Option<Error>)> {
        let (patience, mut again) = (link.options().response_timeout, Again::default());
        loop {
            let mut wire = match self.take() {
                Some(wire) => wire,
                None => link.dedicated(patience).await?,
            };
            wire.set_patience(patience);
            let error = match wire.send::<Value>(request).await {
                Ok(_) => return Ok((wire, None)),
                Err(error) => error,
            };
            // The connection is not used again: it is rare, and who knows.
            if again.is_worth_it(request, &error) {
                continue;
            }
            let applied = request.applied(&error);
            let error = failed(doing, applied, error);
            return if applied == Applied::Part { Ok((wire, Some(error))) } else { Err(error) };
        }
    }

    fn take(&self) -> Option<Wire> {
        let mut free = self.free();
        free.retain(|wire| !wire.has_ended());
        let at = free.iter().rposition(Wire::is_of_this_runtime)?;
        Some(free.swap_remove(at))
    }

    fn give_back(&self, wire: Wire) {
        let mut free = self.free();
        // They may be of runtimes that are not used any more.
        if free.len() == TURNS {
            free.remove(0);
        }
        free.push(wire);
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Wire>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unconfirmed(doing: &str, confirmed: Option<usize>, Replicas { count, within }: Replicas) -> Error {
    let had = confirmed.map_or_else(|| "nobody knows how many".to_owned(), |confirmed| confirmed.to_string());
    Error::new(
        ErrorKind::Unconfirmed,
        format!("{doing} was applied, but {had} of {count} replicas confirmed it within {within:?}"),
    )
    .with_replicas(confirmed)
}
