//! A worker as a process of its own: its signals, its end, and what it does where the system refuses it something. This program is the worker if
//! `AS_WORKER` is set, else the tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod limits;
mod stops;
mod systemd;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use ferrokiq::{Context, Server};

/// Every test, by name.
const TESTS: [(&str, fn()); 8] = [
    ("hup_and_quit_stop_in_good_order", stops::hup_and_quit_stop_in_good_order),
    ("a_hup_that_the_parent_ignores_stays_ignored", stops::a_hup_that_the_parent_ignores_stays_ignored),
    ("usr1_and_usr2_are_ignored_with_a_line", stops::usr1_and_usr2_are_ignored_with_a_line),
    ("an_idle_worker_without_redis_stops_at_once_and_logs_one_line", stops::an_idle_worker_without_redis_stops_at_once),
    ("a_resolver_that_hangs_holds_no_stop", stops::a_resolver_that_hangs_holds_no_stop),
    ("a_limit_of_memory_below_the_size_at_start_is_refused", limits::of_memory_below_the_size_at_start_is_refused),
    ("under_limits_it_works_or_names_the_limit", limits::it_works_or_names_the_limit),
    ("the_shipped_unit_outlasts_a_redis_that_is_late", systemd::the_shipped_unit_outlasts_a_redis_that_is_late),
];

fn main() -> ExitCode {
    if std::env::var_os(worker::AS_WORKER).is_some() {
        let nothing = async |_: Context, _: (u32,)| Ok(());
        return ferrokiq::cli::main(ferrokiq::cli::run(Server::builder().register_fn("NothingJob", nothing)));
    }
    let arguments = std::env::args().skip(1);
    let wanted: Vec<String> = arguments.filter(|word| !word.starts_with('-') && word.parse::<u8>().is_err()).collect();
    let (mut passed, mut failed, mut out) = (0, 0, std::io::stdout());
    for (name, test) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let ok = std::panic::catch_unwind(test).is_ok();
        if ok {
            passed += 1
        } else {
            failed += 1
        }
        writeln!(out, "test {name} ... {}", if ok { "ok" } else { "FAILED" }).unwrap();
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    writeln!(out, "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out")
        .unwrap();
    ExitCode::from(u8::from(failed > 0))
}
