//! Each row of `docs/promises.md` and of the tables of the README names what would fail if it was not true, and that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The cells of each row of the tables in a page, without heads.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = page.lines().collect();
    let is_rule = |line: &str| line.starts_with("|--") || line.starts_with("|:-");
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| is_rule(next));
    let rows = lines.iter().enumerate().filter(|(at, line)| line.starts_with('|') && !is_rule(line) && !is_head(*at));
    rows.map(|(_, line)| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What a proof may name.
struct Known {
    faults: BTreeSet<String>,
    tests: BTreeSet<String>,
    /// The medians of `benches/RESULTS.md`.
    figures: BTreeMap<String, f64>,
}

impl Known {
    fn read() -> Self {
        let faults = read("compat-tests/chaos/faults/mod.rs");
        let names = faults.split("::").skip(1).filter_map(|rest| rest.split_once(',')).map(|(name, _)| name.to_owned());
        let faults = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect();
        let mut tests = BTreeSet::new();
        for file in std::fs::read_dir(root().join("compat-tests/integration")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
            let named = text.split("test]\nasync fn ").chain(text.split("test]\nfn ")).skip(1);
            tests.extend(named.filter_map(|rest| rest.split_once('(')).map(|(name, _)| name.to_owned()));
        }
        let results = read("benches/RESULTS.md");
        let figures = rows(&results).into_iter().filter(|cells| cells.len() == 3);
        let figures = figures.filter_map(|cells| Some((cells[0].to_owned(), cells[1].parse().ok()?))).collect();
        Self { faults, tests, figures }
    }

    fn figure(&self, key: &str) -> f64 {
        *self.figures.get(key).unwrap_or_else(|| panic!("benches/RESULTS.md has no {key}"))
    }

    /// Panics unless `proof` exists, and `text` has its figure.
    fn check(&self, text: &str, proof: &str) {
        let numbers: Vec<f64> = text
            .split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
            .filter_map(|word| word.trim_matches(['.', ',']).replace(',', "").parse().ok())
            .collect();
        match proof.split(' ').collect::<Vec<_>>()[..] {
            ["fault", name] => assert!(self.faults.contains(name), "bin/chaos knows no fault {name}"),
            ["test", name] => assert!(self.tests.contains(name), "there is no integration test {name}"),
            ["figure", key] => {
                let figure = self.figure(key);
                assert!(numbers.contains(&figure), "{text}: {key} is {figure} in benches/RESULTS.md");
            }
            ["ratio", one, other] => {
                let ratio = self.figure(one) / self.figure(other);
                // To the digits that the text has.
                let has = |digits: f64| numbers.contains(&((ratio * digits).round() / digits));
                assert!(has(1.0) || has(10.0), "{text}: {one} is {ratio:.2} times {other} in benches/RESULTS.md");
            }
            ["run", command, ..] => assert!(root().join(command).exists(), "there is no {command}"),
            _ => panic!("`{proof}` is no proof: see docs/claims.md"),
        }
    }
}

#[test]
fn each_row_of_the_promises_is_played_by_a_fault_or_a_test() {
    let (page, known) = (read("docs/promises.md"), Known::read());
    let mut names = 0;
    for cells in rows(&page) {
        let named = quoted(cells.last().unwrap());
        assert!(!named.is_empty(), "docs/promises.md: nothing shows this: {}", cells[0]);
        for name in named {
            let known = known.faults.contains(name) || known.tests.contains(name);
            assert!(known, "docs/promises.md: {name} is no fault of bin/chaos and no integration test");
            names += 1;
        }
    }
    assert!(names > 40, "{names}");
    for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = link.split('#').next().unwrap_or_default();
        assert!(root().join("docs").join(file).exists(), "{link}");
    }
}

#[test]
fn each_row_of_the_readme_has_a_proof_and_its_figure() {
    let (readme, claims, known) = (read("README.md"), read("docs/claims.md"), Known::read());
    let (before, rest) = readme.split_once("<!-- matrix -->").unwrap();
    let (_, after) = rest.split_once("<!-- end of matrix -->").unwrap();
    let written_by_hand = format!("{before}{after}");
    let proofs: BTreeMap<&str, Vec<&str>> =
        rows(&claims).into_iter().map(|cells| (cells[0], quoted(cells[1]))).collect();
    let mut used = BTreeSet::from(["the table of features (each row)"]);
    for cells in rows(&written_by_hand) {
        let row = cells[0];
        let proofs = proofs.get(row).filter(|proofs| !proofs.is_empty());
        let proofs = proofs.unwrap_or_else(|| panic!("docs/claims.md has no proof of the row {row:?} of README.md"));
        proofs.iter().for_each(|proof| known.check(&cells[1..].join(" | "), proof));
        used.insert(row);
    }
    // The other lines are about sentences, which may be broken anywhere.
    let text = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for (claim, proofs) in proofs.iter().filter(|(claim, _)| !used.contains(*claim)) {
        assert!(text.contains(claim), "README.md does not say {claim:?}");
        proofs.iter().for_each(|proof| known.check(claim, proof));
    }
    assert!(used.len() > 10, "{used:?}");
}

#[test]
fn a_missing_proof_and_a_wrong_figure_are_noticed() {
    let known = Known::read();
    let fails = |text: &'static str, proof: &'static str| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| known.check(text, proof))).is_err()
    };
    assert!(!fails("it runs", "fault worker_sigkill"));
    for (text, proof) in [
        ("it runs", "fault no_such_fault"),
        ("it runs", "test no_such_test"),
        ("it runs", "run bin/nothing"),
        ("it is 7 times as fast", "ratio drain_noop.ferrokiq_reliable.50 drain_noop.sidekiq.10"),
        ("618,994", "figure drain_noop.ferrokiq_reliable.50"),
        ("it runs", "believe me"),
    ] {
        assert!(fails(text, proof), "{proof}");
    }
}
