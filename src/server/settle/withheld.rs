//! Jobs that ended, or are to go back, and that Redis cannot store since the key they belong in holds something else, or since it refuses a
//! rider of theirs.
//!
//! They stay in their private lists, free their slots, and are stored once somebody mends the key.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::Error;
use crate::server::settle::Destination;
use crate::server::settle::riding::is_rider;
use crate::server::stats::counter::Counted;
use crate::server::unit::{MARGIN, Unacknowledged, UnitOfWork};
use crate::store::rider::Riders;

/// Jobs that ran and wait here at most. The next one keeps its slot until there is room. They count among the jobs that would run twice if the
/// process died, and leave a quarter of that margin to acknowledgements.
const MOST: usize = MARGIN as usize / 4 * 3;

/// The withheld jobs of one process, by the key they belong in.
#[derive(Debug)]
pub(crate) struct Withheld {
    keys: Mutex<BTreeMap<String, Waiting>>,
    room: Arc<Semaphore>,
    /// Slots that wait for room.
    held_up: AtomicUsize,
    /// Wakes [`Storing`]: a job was added, or it has to end.
    pub(super) changed: Notify,
    closed: AtomicBool,
}

/// The jobs that wait for one key.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    jobs: VecDeque<Arc<Job>>,
    /// How many there were since the key broke.
    total: usize,
    logged: bool,
}

/// One job that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) unit: UnitOfWork,
    pub(super) to: Destination,
    pub(super) riders: Riders,
    _room: Option<Room>,
}

/// Room for a job that ran. It would run twice if the process died now.
#[derive(Debug)]
struct Room {
    _permit: Option<OwnedSemaphorePermit>,
    exposed: Option<Unacknowledged>,
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(exposed) = &self.exposed {
            exposed.acknowledged(1);
        }
    }
}

impl Default for Withheld {
    fn default() -> Self {
        Self {
            keys: Mutex::default(),
            room: Arc::new(Semaphore::new(MOST)),
            held_up: AtomicUsize::default(),
            changed: Notify::new(),
            closed: AtomicBool::default(),
        }
    }
}

impl Withheld {
    pub(super) fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a job that ran until this key is mended, and counts it as exposed. Waits while too many are kept.
    ///
    /// # Cancel safety
    ///
    /// The job is kept, or it stays the caller's.
    pub(crate) async fn keep(
        &self,
        unit: &UnitOfWork,
        (to, riders): (Destination, Riders),
        key: String,
        exposed: &Unacknowledged,
    ) {
        let permit = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let _held_up = Counted::new(&self.held_up);
                Arc::clone(&self.room).acquire_owned().await.ok()
            }
        };
        let exposed = unit.lies_in_redis().then(|| exposed.clone());
        if let Some(exposed) = &exposed {
            exposed.add();
        }
        self.add(key, Job { unit: unit.clone(), to, riders, _room: Some(Room { _permit: permit, exposed }) });
    }

    /// Keeps a job that has not begun. Nothing more is fetched from a queue that is none, so there are few.
    pub(crate) fn keep_unbegun(&self, unit: &UnitOfWork) {
        let to = Destination::Origin;
        let key = to.key(unit);
        self.add(key, Job { unit: unit.clone(), to, riders: Riders::default(), _room: None });
    }

    fn add(&self, key: String, job: Job) {
        let mut keys = self.keys();
        let waiting = keys.entry(key).or_default();
        waiting.jobs.push_back(Arc::new(job));
        waiting.total += 1;
        drop(keys);
        self.changed.notify_one();
    }

    /// Whether slots are held by jobs that there is no room for.
    pub(crate) fn holds_slots(&self) -> bool {
        self.held_up.load(Ordering::Relaxed) > 0
    }

    /// Has the part end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes every job.
    pub(crate) fn take(&self) -> Vec<UnitOfWork> {
        let keys = std::mem::take(&mut *self.keys());
        keys.into_values().flat_map(|waiting| waiting.jobs).map(|job| job.unit.clone()).collect()
    }

    pub(super) fn first(&self, key: &str) -> Option<Arc<Job>> {
        self.keys().get(key)?.jobs.front().cloned()
    }

    /// The first job that waits for a key left. Forgets the key with its last job.
    pub(super) fn left(&self, key: &str) {
        let mut keys = self.keys();
        let Some(waiting) = keys.get_mut(key) else { return };
        waiting.jobs.pop_front();
        if waiting.jobs.is_empty() {
            if waiting.logged {
                tracing::info!(
                    key,
                    jobs = waiting.total,
                    "Redis takes this key again; the jobs that waited are stored"
                );
            }
            keys.remove(key);
        }
    }

    /// Logs, once, that a key has another type, or why a rider with this key is refused.
    pub(super) fn log(&self, key: &str, first: &Job, error: &Error) {
        let mut keys = self.keys();
        let Some(waiting) = keys.get_mut(key).filter(|waiting| !waiting.logged) else { return };
        waiting.logged = true;
        let jobs = waiting.jobs.len();
        drop(keys);
        let payload = first.unit.payload();
        let jid = payload.as_ref().map_or("", |payload| payload.jid());
        let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let what = if is_rider(error, &first.riders) {
            "Redis refuses riders with this key: their jobs are not settled and wait in private lists until it takes them"
        } else {
            "this key has another type: jobs that belong there wait in private lists until it is removed"
        };
        tracing::error!(key, %error, why, jobs, jid, "{what}");
    }
}
