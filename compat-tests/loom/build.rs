//! Takes the files under test from `src/`, with the types of `src/sync.rs` in the place of the standard library's and tokio's.

use std::path::Path;
use std::{env, fs};

/// Each file, and what is replaced in it.
const FILES: [(&str, &[(&str, &str)]); 2] = [
    ("server/unit/batch.rs", &[("std::sync::atomic::", "crate::sync::")]),
    (
        "server/fetch/idle.rs",
        &[("std::sync::atomic::", "crate::sync::"), ("tokio::sync::Notify", "crate::sync::Notify")],
    ),
];

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    for (file, replaced) in FILES {
        let path = Path::new("../../src").join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (from, to) in replaced {
            assert!(text.contains(from), "{file} does not use {from} any more");
            text = text.replace(from, to);
        }
        // `include!` takes no comments on the module.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("//!")).collect();
        let name = path.file_name().expect("it is a file");
        fs::write(Path::new(&out).join(name), lines.join("\n")).expect("it can be written");
    }
}
