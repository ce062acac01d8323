//! The look at the Sidekiq versions that share this Redis: they decide how a client writes times.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, RedisFault, Result};
use crate::store::Store;
use crate::time::{StampForm, Stamps};

/// When a client last read the versions of the live processes, and failed to.
#[derive(Default)]
pub(super) struct Fleet {
    last: Mutex<Last>,
    /// Held while one push reads the versions. The first pushes of a client wait for it.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Last {
    read: Option<Instant>,
    failed: Option<Instant>,
}

/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(60);

impl Fleet {
    /// Sets `stamps` to what all live processes can read. Until the versions have been read once, every push waits here; later, one push
    /// a minute reads them again and the others go on.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached: the push that needs the form cannot be sent either. Where Redis answers and refuses, as to a user who
    /// may not read the processes, the form stays as it is.
    pub(super) async fn look(&self, store: &Store, stamps: &Stamps) -> Result<()> {
        let asked = Instant::now();
        let is_fresh = |last: Last| last.read.is_some_and(|read| read.elapsed() < HOLDS);
        let last = self.last();
        if is_fresh(last) {
            return Ok(());
        }
        let _reading = match last.read {
            None => self.reading.lock().await,
            Some(_) => match self.reading.try_lock() {
                Ok(reading) => reading,
                Err(_) => return Ok(()),
            },
        };
        let last = self.last();
        // Another push read them while this one waited, or could not: each would wait for the same time-out after the other.
        if is_fresh(last) || last.failed.is_some_and(|failed| failed > asked) {
            return Ok(());
        }
        let majors = store.sidekiqs().await;
        let now = Some(Instant::now());
        match majors {
            Ok(majors) => {
                let old = majors.iter().any(|major| *major < 8);
                stamps.set(if old { StampForm::Secs } else { StampForm::Millis });
                self.set(Last { read: now, failed: None });
            }
            Err(error) if error.redis_fault() == Some(RedisFault::Unreachable) => {
                // An older answer counts for another minute.
                self.set(Last { read: last.read.and(now), failed: now });
                if error.kind() == ErrorKind::Redis {
                    return Err(error);
                }
            }
            Err(_) => self.set(Last { read: now, failed: None }),
        }
        Ok(())
    }

    fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}
