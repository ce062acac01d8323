//! The faults by name. Each plays on a [`Stage`] and says what it expected and did not get; the accounting comes after.

mod network;
mod poison;
mod processes;
mod server;

use std::future::Future;
use std::pin::Pin;

use crate::Failure;
use crate::stage::Stage;

type Playing<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What its redis-server is started with.
    pub(crate) redis: &'static [&'static str],
    pub(crate) play: for<'a> fn(&'a mut Stage) -> Playing<'a>,
}

macro_rules! fault {
    ($room:ident :: $name:ident, $about:literal) => {
        fault!($room::$name, $about, &[])
    };
    ($room:ident :: $name:ident, $about:literal, $redis:expr) => {
        Fault { name: stringify!($name), about: $about, redis: $redis, play: |stage| Box::pin($room::$name(stage)) }
    };
}

/// Those that take longest first: they are played side by side.
pub(crate) const FAULTS: &[Fault] = &[
    fault!(
        processes::recovery_at_defaults,
        "a process dies; its jobs are back within 60 s, with the timing everybody gets"
    ),
    fault!(processes::worker_sigkill, "SIGKILL of random workers, again and again"),
    fault!(processes::abort_points, "SIGKILL before a command reaches Redis, before its answer arrives, and after"),
    fault!(processes::rolling_restart, "TERM to one worker after the other; nothing may run twice"),
    fault!(processes::term_over_timeout, "TERM while jobs take longer than the timeout"),
    fault!(processes::term_then_kill, "TERM, and SIGKILL before the stop is over"),
    fault!(processes::shutdown_race, "a job is pushed in the moment the worker is quieted"),
    fault!(processes::pause_short, "SIGSTOP for less than a process counts as alive: nobody takes its jobs"),
    fault!(
        processes::pause_long,
        "SIGSTOP for longer: its jobs run elsewhere, and the sleeper changes nothing when it wakes"
    ),
    fault!(processes::starved_runtime, "jobs block every thread of the runtime: the process still counts as alive"),
    fault!(processes::stubborn_jobs, "jobs that cannot be cancelled: the process ends all the same"),
    fault!(processes::panics, "jobs that panic; no slot is lost"),
    fault!(processes::file_limit, "a worker that may open few files"),
    fault!(processes::closed_stdout, "nobody reads what the worker logs"),
    fault!(processes::thundering_start, "many workers start at once"),
    fault!(poison::aborts, "a job aborts the process: dead after three recoveries, its neighbours are done"),
    fault!(poison::overflows, "a job overflows the stack"),
    fault!(poison::allocates, "a job eats all memory"),
    fault!(server::redis_sigkill, "SIGKILL of Redis, append-only file synced always, again and again"),
    fault!(server::redis_stalls, "Redis is stopped for longer than processes count as alive: nobody is taken for dead"),
    fault!(server::busy_script, "a script holds Redis"),
    fault!(server::client_kill, "Redis ends every connection, again and again"),
    fault!(server::client_pause, "CLIENT PAUSE: commands time out and are applied later"),
    fault!(server::script_flush, "Redis forgets its scripts, again and again"),
    fault!(server::memory_full, "no memory left: the queue drains by itself"),
    fault!(server::no_replicas, "writes are refused for want of replicas"),
    fault!(server::read_only, "the server becomes a replica, and a primary again"),
    fault!(server::wrong_types, "keys of Sidekiq's hold something else"),
    fault!(server::rights_lost, "the password changes while the worker works"),
    fault!(server::many_due, "a hundred thousand scheduled jobs of equal score are due at once, for several pollers"),
    fault!(server::twice_the_same, "the same bytes twice in a queue"),
    fault!(server::many_queues, "thousands of queues"),
    fault!(server::odd_signals, "what is no signal is sent as one"),
    fault!(server::large_payloads, "payloads of a megabyte"),
    fault!(network::half_open, "connections that swallow everything"),
    fault!(network::replies_lost, "requests arrive, answers do not"),
    fault!(network::cut_anywhere, "connections end after the nth byte"),
    fault!(network::slow_network, "ten milliseconds to Redis"),
    fault!(network::partition, "one worker is away for longer than it counts as alive"),
    fault!(network::heartbeat_lost, "only the heartbeat is away: the worker fetches nothing more"),
];
