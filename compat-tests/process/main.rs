//! A worker as a process of its own: its signals, its end, and what it does where the system refuses it something. This program is the worker if
//! `AS_WORKER` is set, else the tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

#[path = "../by_name.rs"]
mod by_name;
mod limits;
mod stops;
mod systemd;
mod worker;

use std::process::ExitCode;

use ferrokiq::{BlockingJob, Context, JobResult, Server};

/// Every test, by name.
const TESTS: [(&str, fn()); 9] = [
    ("hup_and_quit_stop_in_good_order", stops::hup_and_quit_stop_in_good_order),
    ("a_hup_that_the_parent_ignores_stays_ignored", stops::a_hup_that_the_parent_ignores_stays_ignored),
    ("usr1_and_usr2_are_ignored_with_a_line", stops::usr1_and_usr2_are_ignored_with_a_line),
    ("an_idle_worker_without_redis_stops_at_once_and_logs_one_line", stops::an_idle_worker_without_redis_stops_at_once),
    ("a_redis_that_falls_silent_holds_a_stop_some_seconds", stops::a_redis_that_falls_silent_holds_a_stop_some_seconds),
    ("a_resolver_that_hangs_holds_no_stop", stops::a_resolver_that_hangs_holds_no_stop),
    ("a_limit_of_memory_below_the_size_at_start_is_refused", limits::of_memory_below_the_size_at_start_is_refused),
    ("under_limits_it_works_or_names_the_limit", limits::it_works_or_names_the_limit),
    ("the_shipped_unit_outlasts_a_redis_that_is_late", systemd::the_shipped_unit_outlasts_a_redis_that_is_late),
];

/// Needs a thread of its own.
struct BlockingNothing;

impl BlockingJob for BlockingNothing {
    const CLASS: &'static str = "BlockingNothing";
    type Args = (u32,);

    fn perform(&self, _: Context, _: (u32,)) -> JobResult {
        Ok(())
    }
}

fn main() -> ExitCode {
    if std::env::var_os(worker::AS_WORKER).is_some() {
        let nothing = async |_: Context, _: (u32,)| Ok(());
        let builder = Server::builder().register_fn("NothingJob", nothing).register_blocking(BlockingNothing);
        return ferrokiq::cli::main(ferrokiq::cli::run(builder));
    }
    by_name::run(&TESTS)
}
