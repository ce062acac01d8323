//! The floors of `src/` and `cli/src/`: which file may import from which. ARCHITECTURE.md has them, in the tables that this test reads: a row
//! imports only from the rows below it, and no two files import each other, not even by way of others.
//!
//! Code that exists in tests alone is passed over.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by its names, below the crate.
type Module = Vec<String>;

/// Files that are one recursive type: a value that holds values.
const ONE_TYPE: [&str; 3] = ["active_job::argument", "active_job::hash", "active_job::values"];

#[test]
fn run_downwards_and_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for (directory, least_files, least_floors) in [("src/", 200, 20), ("cli/src/", 50, 3)] {
        let mut sources = BTreeMap::new();
        read(&root.join(directory), &mut Vec::new(), &mut sources);
        assert!(sources.len() > least_files, "{directory}: {} files", sources.len());
        let floors = floors(&architecture, directory);
        assert!(floors.len() >= least_floors, "{directory}: {floors:?}");
        let faults = faults(&sources, &floors);
        assert!(faults.is_empty(), "{directory}: {}", faults.join("\n"));
    }
}

#[test]
fn finds_an_import_that_runs_upwards() {
    let faults = planted(&[("low", "use crate::high::Thing;"), ("high", "pub struct Thing;")]);
    assert_eq!(faults, ["low imports high, which is not below it"]);
    assert_eq!(planted(&[("high", "use crate::low::Thing;"), ("low", "")]), [] as [&str; 0]);
    let inline = planted(&[("low", "fn a() -> crate::high::Thing { todo!() }"), ("high", "")]);
    assert_eq!(inline, ["low imports high, which is not below it"]);
}

#[test]
fn finds_a_circle_of_three_files_through_a_re_export() {
    let faults = planted(&[
        ("low", "mod a;\nmod b;\nmod c;\npub use c::{C, D as E};"),
        ("low::a", "use super::b::B;"),
        ("low::b", "use crate::low::{C, E};"),
        ("low::c", "use super::a::{self, A};"),
    ]);
    assert_eq!(faults, ["a circle of imports: low::a, low::b, low::c"]);
}

#[test]
fn passes_over_what_exists_in_tests_alone() {
    let in_tests =
        "#[cfg(test)]\nuse crate::high::A;\n#[cfg(all(test, unix))]\nmod tests {\n    use crate::high::B;\n}\n";
    assert_eq!(planted(&[("low", in_tests), ("high", "")]), [] as [&str; 0]);
    let file =
        [("low", "#[cfg(test)]\n#[cfg(unix)]\nmod helper;\n"), ("low::helper", "use crate::high::A;"), ("high", "")];
    assert_eq!(planted(&file), [] as [&str; 0]);
}

#[test]
fn demands_a_floor_for_each_file() {
    assert_eq!(planted(&[("attic", "")]), ["attic stands on no floor"]);
}

/// A row may name a whole directory, for the files that no other row names.
#[test]
fn a_row_for_the_directory_holds_the_files_that_no_other_row_names() {
    let floors =
        floors("| `cli/src/main.rs` | top |\n| `cli/src/` | rest |\n| `cli/src/frame/` | base |\n", "cli/src/");
    let sources = [("main", "mod frame;\nmod stats;"), ("stats", "use crate::frame::Table;"), ("frame", "")];
    let planted = |sources: &[(&str, &str)]| {
        faults(&sources.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect(), &floors)
    };
    assert_eq!(planted(&sources), [] as [&str; 0]);
    let upwards = [("main", "mod frame;\nmod stats;"), ("stats", ""), ("frame", "use super::stats::Stats;")];
    assert_eq!(planted(&upwards), ["frame imports stats, which is not below it"]);
}

/// The faults of these sources where `high` stands above `low`.
fn planted(sources: &[(&str, &str)]) -> Vec<String> {
    let sources = sources.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect();
    faults(&sources, &floors("| `src/high/` | one |\n| `src/low/` | other |\n", "src/"))
}

fn module(name: &str) -> Module {
    name.split("::").filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// Reads the files below a directory, by module.
fn read(directory: &Path, above: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            above.push(name);
            read(&path, above, sources);
            above.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut module = above.clone();
            if name != "mod" {
                module.push(name);
            }
            sources.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The floors, from the top: the paths below a directory in the first cell of each row of a table.
fn floors(architecture: &str, directory: &str) -> Vec<Vec<Module>> {
    let mut floors = Vec::new();
    let start = format!("`{directory}");
    for row in architecture.lines().filter_map(|line| line.strip_prefix("| ")?.strip_prefix(&start)) {
        let cell = row.split(" | ").next().unwrap();
        let paths = cell.split(&start).map(|path| path.split('`').next().unwrap());
        floors.push(
            paths
                .map(|path| {
                    module(
                        &path.trim_end_matches('/').trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::"),
                    )
                })
                .collect(),
        );
    }
    floors
}

fn faults(sources: &BTreeMap<Module, String>, floors: &[Vec<Module>]) -> Vec<String> {
    let in_tests: BTreeSet<Module> = sources.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
    let code: BTreeMap<&Module, String> = sources
        .iter()
        .filter(|(module, _)| !in_tests.iter().any(|of_tests| module.starts_with(of_tests)))
        .map(|(module, text)| (module, without_tests(text)))
        .collect();
    let modules: BTreeSet<&Module> = sources.keys().collect();
    let exported: BTreeMap<&Module, BTreeMap<String, Module>> =
        code.iter().map(|(module, text)| (*module, re_exports(module, text, &modules))).collect();
    let mut imports: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    let mut faults = Vec::new();
    for (module, text) in &code {
        let Some(floor) = floor_of(module, floors) else {
            faults.push(format!("{} stands on no floor", module.join("::")));
            continue;
        };
        for path in paths(text) {
            let Some(to) = resolve(module, &path, &modules, &exported) else { continue };
            if to == **module {
                continue;
            }
            if floor_of(&to, floors).is_some_and(|(below, room)| below < floor.0 || below == floor.0 && room != floor.1)
            {
                faults.push(format!("{} imports {}, which is not below it", module.join("::"), to.join("::")));
            }
            // A module may name what its own files hold.
            if !to.starts_with(module) {
                imports.entry(module).or_default().insert(to);
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults.extend(circles(&imports));
    faults
}

/// The row and the room of a module: the longest path that leads to it.
fn floor_of(module: &Module, floors: &[Vec<Module>]) -> Option<(usize, Module)> {
    let rooms = floors.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (floor, room)));
    rooms
        .filter(|(_, room)| module.starts_with(room))
        .max_by_key(|(_, room)| room.len())
        .map(|(floor, room)| (floor, room.clone()))
}

/// Without items that exist in tests alone, and without comments.
fn without_tests(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if !is_of_tests(line) {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        // The item behind the attributes: to its end at the same depth.
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut item = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
        let Some(first) = item.next() else { break };
        if first.trim_end().ends_with('{') || !first.trim_end().ends_with(';') {
            let ends = [format!("{indent}}}"), format!("{indent}}};"), format!("{indent});")];
            let _ = item.find(|line| ends.iter().any(|end| line == end));
        }
    }
    out
}

/// Whether a line is an attribute of an item that exists in tests alone.
fn is_of_tests(line: &str) -> bool {
    line.trim_start().strip_prefix("#[cfg(").is_some_and(|cfg| {
        cfg.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "test" || word == "fuzzing" || word == "doctest")
            && !cfg.starts_with("not(")
            && !cfg.contains("any(test, feature")
    })
}

/// The files of a module that exist in tests alone.
fn test_modules(module: &Module, text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut of_tests = false;
    for line in text.lines() {
        if line.starts_with("#[") {
            of_tests |= is_of_tests(line);
            continue;
        }
        let name = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
        if let Some(name) = name.and_then(|rest| rest.strip_suffix(';')).filter(|_| of_tests) {
            // The root's files stand beside it.
            let above = if *module == ["lib"] || *module == ["main"] { Vec::new() } else { module.clone() };
            found.push([above, vec![name.to_owned()]].concat());
        }
        of_tests = false;
    }
    found
}

/// Every path that a text imports or names from the crate's root.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (tree, _) in uses(text) {
        expand("", &tree, &mut found);
    }
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let path: String =
                text[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            found.push(path.trim_end_matches(':').to_owned());
        }
    }
    found
}

/// The trees behind `use`, and whether they are exported again.
fn uses(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap().trim();
        let (tree, after) = rest[at + 4..].split_once(';').unwrap_or((&rest[at + 4..], ""));
        if line.is_empty() || line.starts_with("pub") && !line.contains(' ') {
            found.push((tree.split_whitespace().collect::<Vec<_>>().join(" "), line.starts_with("pub")));
            rest = after;
        } else {
            rest = &rest[at + 4..];
        }
    }
    found
}

/// The single paths of a tree, with ` as NAME` where a name is changed.
fn expand(above: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        return found.push(format!("{above}{tree}"));
    };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&format!("{above}{before}"), &inner[start..at], found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Where the names come from that a module exports again.
fn re_exports(module: &Module, text: &str, modules: &BTreeSet<&Module>) -> BTreeMap<String, Module> {
    let mut found = BTreeMap::new();
    for (tree, _) in uses(text).into_iter().filter(|(_, exported)| *exported) {
        let mut single = Vec::new();
        expand("", &tree, &mut single);
        for path in single {
            let (path, renamed) =
                path.split_once(" as ").map_or((path.as_str(), None), |(path, name)| (path, Some(name)));
            let Some(to) = resolve(module, path, modules, &BTreeMap::new()) else { continue };
            let name = renamed.unwrap_or_else(|| path.rsplit("::").next().unwrap());
            found.insert(name.to_owned(), to);
        }
    }
    found
}

/// The file that a path leads to from a module, through names that are exported again.
fn resolve(
    from: &Module,
    path: &str,
    modules: &BTreeSet<&Module>,
    exported: &BTreeMap<&Module, BTreeMap<String, Module>>,
) -> Option<Module> {
    let path = path.split(" as ").next().unwrap();
    let mut names = path.split("::").peekable();
    let mut at: Module = match *names.peek()? {
        "crate" => Vec::new(),
        "self" => from.clone(),
        "super" => from.clone(),
        name if modules.contains(&[from.clone(), module(name)].concat()) => from.clone(),
        _ => return None,
    };
    for name in names {
        match name {
            "crate" | "self" => continue,
            "super" => {
                at.pop();
                continue;
            }
            _ => {}
        }
        let below = [at.clone(), vec![name.to_owned()]].concat();
        if modules.contains(&below) {
            at = below;
            continue;
        }
        // The root's names stand in `lib.rs`.
        let holder = if at.is_empty() { module("lib") } else { at.clone() };
        match exported.get(&holder).and_then(|names| names.get(name)) {
            Some(to) => at.clone_from(to),
            None => break,
        }
    }
    (!at.is_empty()).then_some(at)
}

/// The sets of files that import each other.
fn circles(imports: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<String> {
    let reached = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            for to in imports.get(&module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&Module, BTreeSet<Module>> = imports.keys().map(|module| (*module, reached(module))).collect();
    let mut found = BTreeSet::new();
    for (module, seen) in &reach {
        let circle: Vec<String> = seen
            .iter()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(*module)))
            .map(|module| module.join("::"))
            .collect();
        if circle.len() > 1 && !circle.iter().all(|name| ONE_TYPE.contains(&name.as_str())) {
            found.insert(format!("a circle of imports: {}", circle.join(", ")));
        }
    }
    found.into_iter().collect()
}
