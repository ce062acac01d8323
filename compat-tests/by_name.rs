//! Runs the tests of a program that is more than its tests: started with certain arguments or variables it is a worker.

use std::io::Write;
use std::process::ExitCode;

/// Runs the tests whose names contain one of the words of the command line, or all of them, and reports as Rust's own harness does.
pub(crate) fn run(tests: &[(&str, fn())]) -> ExitCode {
    let arguments = std::env::args().skip(1);
    let wanted: Vec<String> = arguments.filter(|word| !word.starts_with('-') && word.parse::<u8>().is_err()).collect();
    let (mut passed, mut failed, mut out) = (0, 0, std::io::stdout());
    for (name, test) in tests {
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
