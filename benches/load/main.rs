//! One workload in a process of its own, on an empty Redis; prints what it measured as `name value` lines on stderr.
//!
//! The drain is the twin of Sidekiq's own load script. `benches/load.rb` does the same in Ruby, `benches/peers/` elsewhere;
//! `bin/bench` runs them side by side. By hand:
//! `REDIS_URL=redis://127.0.0.1:6390/0 cargo bench --bench load -- drain --concurrency 10`

mod drain;
mod fleet;
mod idle;
mod latency;
mod push;
mod raw;
#[path = "../compare/redis_server.rs"]
mod redis_server;
mod waiting;

use std::error::Error;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ferrokiq::server::FetchMode;
use ferrokiq::{RedisOptions, Server, ServerBuilder};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Run one workload on the Redis that REDIS_URL names. Its database must be empty.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
    #[command(flatten)]
    setting: Setting,
    /// Given by cargo
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Setting {
    /// Jobs
    #[arg(long, default_value_t = 500_000, global = true)]
    pub(crate) jobs: usize,
    /// Jobs run at the same time, or tasks that push
    #[arg(long, default_value_t = 10, global = true)]
    pub(crate) concurrency: usize,
    /// How jobs leave the queue
    #[arg(long, value_enum, default_value = "reliable", global = true)]
    fetch: Fetch,
    /// Queues, with weights from 1 to 5
    #[arg(long, default_value_t = 1, global = true)]
    pub(crate) queues: usize,
    /// Log start and done lines to stdout, as a worker does
    #[arg(long, global = true)]
    pub(crate) log: bool,
    /// Threads of the runtime; as many as there are cores unless said
    #[arg(long, global = true)]
    threads: Option<usize>,
}

#[derive(Clone, Debug, Subcommand)]
enum Workload {
    /// No-op jobs that wait in their queues
    Drain,
    /// The same, each with a rider: a counter that goes with its acknowledgement
    Ride,
    /// Jobs that fail and are retried
    Fail,
    /// Jobs that read a JSON document of 100 KB
    Cpu,
    /// Jobs of 1 MB that do nothing
    Large,
    /// Jobs that sleep 100 ms
    Sleep,
    /// Scheduled jobs that are due
    Promote,
    /// Jobs that say when they were pushed, at so many a second
    Latency {
        #[arg(long)]
        rate: u64,
    },
    /// Pushes such jobs, for a worker elsewhere
    Produce {
        #[arg(long)]
        rate: u64,
    },
    /// One job a push
    Push,
    /// A thousand jobs a push
    Bulk,
    /// A server without work: its memory and its commands
    Idle,
    /// Servers without work, many on one Redis: commands of each, and Redis's CPU
    Fleet {
        /// Servers in each fleet; every fleet has a Redis of its own, REDIS_URL is not used
        #[arg(long, value_delimiter = ',', default_value = "10,50,200")]
        processes: Vec<usize>,
        /// Seconds they are watched; a multiple of the 10 s between two beats
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Jobs that all sleep at the same time: memory
    Sleepers,
    /// What Redis gives away: batches of 50, one connection, each payload parsed, nothing run
    Ceiling,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fetch {
    Reliable,
    Basic,
}

impl Setting {
    /// A server of this setting, to which jobs are added.
    pub(crate) fn server(&self) -> Result<ServerBuilder, Box<dyn Error>> {
        let fetch = match self.fetch {
            Fetch::Reliable => FetchMode::Reliable,
            Fetch::Basic => FetchMode::Basic,
        };
        let queues = (0..self.queues).map(|number| format!("{},{}", queue(number), number % 5 + 1));
        let builder = Server::builder().redis(RedisOptions::from_env()?).concurrency(self.concurrency).fetch(fetch);
        Ok(if self.queues > 1 { builder.queues(queues) } else { builder })
    }
}

/// The name of one queue of several.
pub(crate) fn queue(number: usize) -> String {
    if number == 0 { "default".to_owned() } else { format!("queue{number}") }
}

/// Says a figure to whoever started this.
pub(crate) fn tell(name: &str, value: f64) {
    eprintln!("{name} {value}");
}

/// Jobs per second.
pub(crate) fn tell_rate(jobs: usize, span: Duration) {
    tell("per_s", jobs as f64 / span.as_secs_f64());
}

fn main() -> Outcome {
    let Arguments { workload, setting, .. } = Arguments::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = setting.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(async {
        match workload {
            Workload::Drain => drain::no_op(&setting).await,
            Workload::Ride => drain::riding(&setting).await,
            Workload::Fail => drain::failing(&setting).await,
            Workload::Cpu => drain::reading(&setting).await,
            Workload::Large => drain::large(&setting).await,
            Workload::Sleep => drain::sleeping(&setting).await,
            Workload::Promote => waiting::promote(&setting).await,
            Workload::Sleepers => waiting::sleepers(&setting).await,
            Workload::Latency { rate } => latency::measure(&setting, rate).await,
            Workload::Produce { rate } => latency::produce(&setting, rate).await,
            Workload::Push => push::one_by_one(&setting).await,
            Workload::Bulk => push::in_bulk(&setting).await,
            Workload::Idle => idle::idle(&setting).await,
            Workload::Fleet { processes, seconds } => fleet::fleet(&setting, &processes, seconds).await,
            Workload::Ceiling => raw::ceiling(&setting).await,
        }
    })
}
