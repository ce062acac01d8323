//! `docs/promises.md` sends nobody to what is not there: a fault that was renamed is renamed there, too.

use std::path::Path;

#[test]
fn names_faults_and_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/promises.md")).unwrap();
    let faults = std::fs::read_to_string(root.join("compat-tests/chaos/faults/mod.rs")).unwrap();
    let mut shown = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let column = row.strip_suffix("|").unwrap_or(row).rsplit("| ").next().unwrap_or_default();
        if column.starts_with("shown by") {
            continue;
        }
        // Between backticks stands every other part.
        for name in column.split('`').skip(1).step_by(2).filter(|name| *name != "noeviction") {
            assert!(faults.contains(&format!("::{name},")), "bin/chaos knows no fault {name}");
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
    for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = link.split('#').next().unwrap_or_default();
        assert!(root.join("docs").join(file).exists(), "{link}");
    }
}
