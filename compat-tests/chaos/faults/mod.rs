//! The faults by name. Each plays on a [`Stage`] and says what it expected and did not get; the accounting comes after.

mod clock;
mod content;
mod endings;
mod leader;
mod losses;
mod memory;
mod network;
mod persistence;
mod points;
mod poison;
mod primary;
mod processes;
mod producer;
mod refusals;
mod riders;
mod ruby;
mod server;
mod soak;
mod surroundings;

use std::future::Future;
use std::pin::Pin;

use crate::Failure;
use crate::stage::Stage;

type Playing<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it can be played here; if not, it is skipped by name.
    pub(crate) needs: Need,
    /// What its redis-server is started with.
    pub(crate) redis: &'static [&'static str],
    pub(crate) play: for<'a> fn(&'a mut Stage) -> Playing<'a>,
}

/// What a fault needs that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// `libfaketime`, which lies to a program about the time.
    FakeTime,
    /// Real Ruby Sidekiq.
    Ruby,
    /// To be root.
    Root,
    /// A place where control groups with a memory limit can be made.
    MemoryGroup,
}

impl Need {
    /// What is not here.
    pub(crate) fn missing(self) -> Option<&'static str> {
        match self {
            Self::FakeTime if clock::library().is_none() => Some("libfaketime"),
            Self::Ruby if !ruby::is_here() => Some("Ruby Sidekiq (bin/setup)"),
            Self::Root if !answers("sh", &["-c", "[ $(id -u) = 0 ] && command -v setpriv"]) => Some("root and setpriv"),
            Self::MemoryGroup if memory::Group::parent().is_none() => Some("root and control groups for memory"),
            _ => None,
        }
    }
}

fn answers(program: &str, arguments: &[&str]) -> bool {
    let command = std::process::Command::new(program).args(arguments).stdout(std::process::Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

impl Fault {
    const fn redis(mut self, arguments: &'static [&'static str]) -> Self {
        self.redis = arguments;
        self
    }

    const fn needs(mut self, need: Need) -> Self {
        self.needs = need;
        self
    }
}

macro_rules! fault {
    ($room:ident :: $name:ident, $about:literal) => {
        Fault {
            name: stringify!($name),
            about: $about,
            redis: &[],
            needs: Need::Nothing,
            play: |stage| Box::pin($room::$name(stage)),
        }
    };
}

/// Those that take longest first: they are played side by side.
pub(crate) const FAULTS: &[Fault] = &[
    fault!(
        processes::recovery_at_defaults,
        "a process dies; its jobs are back within 60 s, with the timing everybody gets"
    ),
    fault!(server::memory_full, "no memory left: the queue drains by itself"),
    fault!(primary::sentinel_failover, "the primary hands over or dies, again and again; sentinels name another"),
    fault!(primary::split_brain, "a primary without its replica goes on, and is succeeded"),
    fault!(refusals::loading, "Redis restarts with much to read"),
    fault!(processes::worker_sigkill, "SIGKILL of random workers, again and again"),
    fault!(processes::quick_jobs_sigkill, "the same while jobs take no time at all"),
    fault!(processes::sigkill_while_redis_lags, "the same while Redis has not read what the worker sent last"),
    fault!(endings::endings_sigkill, "the same while jobs snooze, middleware delays them, and hooks see how they end"),
    fault!(riders::riders_sigkill, "SIGKILL while jobs leave with riders: the effect of each takes place once"),
    fault!(points::abort_points, "SIGKILL before a command reaches Redis, before its answer arrives, and after"),
    fault!(poison::aborts, "a job aborts the process: dead after three recoveries, its neighbours are done"),
    fault!(poison::overflows, "a job overflows the stack"),
    fault!(poison::allocates, "a job eats all memory"),
    fault!(
        poison::killed_from_outside,
        "a worker of many slots is killed twice: what ran there runs again, and nothing waits for it"
    ),
    fault!(processes::starved_runtime, "jobs block every thread of the runtime: the process still counts as alive"),
    fault!(ruby::mixed_fleet, "Ruby and Rust on one queue, both killed at random").needs(Need::Ruby),
    fault!(
        losses::ruby_poller_killed,
        "Ruby's poller is killed with a due job in its hands; ferrokiq's, in its place, too"
    )
    .needs(Need::Ruby),
    fault!(losses::ruby_worker_killed, "a Ruby process is killed while it runs jobs; a Rust one, too")
        .needs(Need::Ruby),
    fault!(losses::web_ui_killed, "Ruby's API is killed while it retries an entry; ferrokiq's, too").needs(Need::Ruby),
    fault!(losses::basic_sigkill, "SIGKILL of a worker with the basic fetcher: what it ran is lost"),
    fault!(losses::nobody_left, "the last worker dies: its jobs wait for the next"),
    fault!(losses::machine_dies, "what a worker sent last is lost with it"),
    fault!(ruby::data_api, "Ruby's API retries, kills and deletes while Rust works").needs(Need::Ruby),
    fault!(server::redis_stalls, "Redis is stopped for longer than processes count as alive: nobody is taken for dead"),
    fault!(processes::term_then_kill, "TERM, and SIGKILL before the stop is over"),
    fault!(soak::soak, "everything at once, at random"),
    fault!(network::half_open, "connections that swallow everything"),
    fault!(network::throttled_link, "five megabytes a second, and payloads of up to fifteen"),
    fault!(network::slow_network, "ten milliseconds to Redis"),
    fault!(server::client_pause, "CLIENT PAUSE: commands time out and are applied later"),
    fault!(processes::rolling_restart, "TERM to one worker after the other; nothing may run twice"),
    fault!(processes::capsules_restart, "the same with two capsules that serve one queue"),
    fault!(
        processes::pause_long,
        "SIGSTOP for longer than a process counts as alive: its jobs run elsewhere, and the sleeper changes nothing when it wakes"
    ),
    fault!(
        leader::leaders,
        "leaders are killed and held, clocks are set, Redis is held: no old leader writes after a newer one"
    ),
    fault!(processes::pause_short, "SIGSTOP for less: nobody takes its jobs"),
    fault!(
        processes::limited_queue,
        "SIGKILL of workers on a queue that sidekiq-limit_fetch limits to two jobs at a time"
    ),
    fault!(processes::recoverers_race, "ten processes put back the jobs of one that died"),
    fault!(processes::term_over_timeout, "TERM while jobs take longer than the timeout"),
    fault!(processes::shutdown_race, "a job is pushed in the moment the worker is quieted"),
    fault!(processes::stubborn_jobs, "jobs that block every thread and cannot be ended: the process ends all the same"),
    fault!(processes::panics, "jobs that panic, in every way; no slot is lost"),
    fault!(processes::thundering_start, "many workers start at once"),
    fault!(surroundings::file_limit, "a worker that may open few files"),
    fault!(surroundings::thread_limit, "a worker that may start few threads").needs(Need::Root),
    fault!(surroundings::closed_stdout, "nobody reads what the worker logs, and the pipe is closed"),
    fault!(surroundings::full_disk, "what the worker logs cannot be written"),
    fault!(clock::worker_clock, "the worker's clock is an hour off, or ten years, or runs away").needs(Need::FakeTime),
    fault!(clock::redis_clock, "the clock of Redis leaps: every process is missing at once"),
    fault!(persistence::redis_sigkill, "SIGKILL of Redis, append-only file synced always, again and again"),
    fault!(persistence::tail_cut, "power fails: the last second of the append-only file is gone"),
    fault!(persistence::forgotten, "Redis forgets everything: what runs is kept"),
    fault!(
        persistence::old_snapshot,
        "Redis comes back with an old snapshot while jobs run that it knows nothing of, and a worker dies with some"
    )
    .redis(&["--appendonly", "no"]),
    fault!(persistence::lagging_replica, "a replica takes over that lacks the jobs that run"),
    fault!(server::busy_script, "a script holds Redis"),
    fault!(server::client_kill, "Redis ends every connection, again and again"),
    fault!(server::script_flush, "Redis forgets its scripts, again and again"),
    fault!(server::no_replicas, "writes are refused for want of replicas"),
    fault!(server::read_only, "the server becomes a replica, and a primary again"),
    fault!(server::wrong_types, "keys of Sidekiq's hold something else"),
    fault!(server::rights_lost, "the password changes while the worker works"),
    fault!(
        server::eviction,
        "Redis evicts a queue when its memory is full, and with noeviction does not; the worker warns at boot and of a change"
    ),
    fault!(content::many_due, "scheduled jobs of equal score are all due at once, for several pollers"),
    fault!(content::twice_the_same, "the same bytes several times in a queue, and SIGKILL while they run"),
    fault!(content::many_queues, "thousands of queues"),
    fault!(content::odd_queues, "queues with odd names, and a process that dies with jobs of each"),
    fault!(content::no_payloads, "what is no payload: dead, byte for byte"),
    fault!(content::odd_signals, "what is no signal is sent as one"),
    fault!(memory::large_failures, "payloads of fifteen megabytes fail, in one slot and in ten: memory stays bounded"),
    fault!(memory::small_container, "64 MB for the worker, payloads of a megabyte: the kernel never kills it")
        .needs(Need::MemoryGroup),
    fault!(content::large_payloads, "payloads of a megabyte"),
    fault!(refusals::misconf, "snapshots fail: Redis takes no writes"),
    fault!(producer::push_ambiguity, "answers to pushes are lost at random"),
    fault!(network::replies_lost, "requests arrive, answers do not"),
    fault!(network::cut_anywhere, "connections end after the nth byte"),
    fault!(network::partition, "one worker is away for longer than it counts as alive"),
    fault!(network::heartbeat_lost, "only the heartbeat is away: the worker fetches nothing more"),
];
