//! `bin/mutate`: changes the Lua scripts in one place at a time and runs the tests that load the changed script. A change that no test notices
//! shows what is not tested.

#![expect(clippy::print_stdout, reason = "its report is its purpose")]
#![expect(clippy::disallowed_methods, reason = "its threads end with it")]

mod lua;
mod rules;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use rules::Mutant;
use runs::Program;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

pub(crate) const SCRIPTS: &str = "src/store/lua";
/// Mutants that no test can notice, each with the reason: `ID | reason`.
const ACCEPTED: &str = "compat-tests/mutation/accepted.txt";
/// A mutant of each script and the test that fails with it: `ID | test`.
const SAMPLE: &str = "compat-tests/mutation/sample.txt";

#[derive(Debug, Parser)]
#[command(name = "bin/mutate")]
struct Arguments {
    /// A program of tests, `lib=PATH`; bin/mutate builds them
    #[arg(long, required = true)]
    program: Vec<String>,
    /// Where to keep which test loads which scripts
    #[arg(long)]
    record: PathBuf,
    /// Only mutants of this script, `fence` or `lib/dead`; may be given several times
    #[arg(long, value_name = "NAME")]
    script: Vec<String>,
    /// Name the mutants and run nothing
    #[arg(long)]
    list: bool,
    /// Only the mutants of sample.txt, each with its test
    #[arg(long)]
    sample: bool,
    /// Write the lines of sample.txt anew for the scripts of this run
    #[arg(long)]
    write_sample: bool,
    /// Mutants that are tested at the same time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
}

/// Returns the names of all scripts, in order: `bye`, `lib/dead`.
pub(crate) fn scripts() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for dir in ["", "lib/"] {
        for file in fs::read_dir(Path::new(SCRIPTS).join(dir))? {
            let file = file?.file_name();
            names.extend(file.to_string_lossy().strip_suffix(".lua").map(|name| format!("{dir}{name}")));
        }
    }
    names.sort();
    Ok(names)
}

/// Reads lines `ID | last field`, without comments.
fn read(file: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = fs::read_to_string(file)?;
    let mut entries = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (id, last) = line.rsplit_once(" | ").ok_or_else(|| format!("{file}: no ` | ` in {line}"))?;
        if last.trim().is_empty() || entries.insert(id.to_owned(), last.to_owned()).is_some() {
            return Err(format!("{file}: empty or there twice: {line}").into());
        }
    }
    Ok(entries)
}

/// Fails if an entry names a mutant that is not made (any more).
fn all_are_made<'a>(file: &str, mut ids: impl Iterator<Item = &'a String>, mutants: &[Mutant]) -> Result<(), Failure> {
    let hint = match file {
        SAMPLE => "; bin/mutate --script NAME --write-sample chooses another one of that script",
        _ => "; delete the line, and run bin/mutate --script NAME",
    };
    let made: BTreeSet<String> = mutants.iter().map(Mutant::id).collect();
    match ids.find(|id| !made.contains(*id)) {
        Some(id) => Err(format!("{file}: no such mutant is made (any more): {id}{hint}").into()),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    match mutate(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("bin/mutate: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn mutate(arguments: &Arguments) -> Result<bool, Failure> {
    let mut mutants = Vec::new();
    for script in scripts()? {
        mutants.extend(rules::mutants(&script, &runs::text(&script)?));
    }
    let (accepted, sample) = (read(ACCEPTED)?, read(SAMPLE)?);
    all_are_made(ACCEPTED, accepted.keys(), &mutants)?;
    let mut programs = Vec::new();
    for program in &arguments.program {
        let (name, path) = program.split_once('=').ok_or("--program needs NAME=PATH")?;
        programs.push(Program { name: name.to_owned(), path: path.into() });
    }
    if arguments.sample {
        all_are_made(SAMPLE, sample.keys(), &mutants)?;
        return run_sample(&mutants, &sample, &programs, arguments.jobs);
    }
    mutants.retain(|mutant| arguments.script.is_empty() || arguments.script.contains(&mutant.script));
    if arguments.list {
        mutants.iter().for_each(|mutant| println!("{mutant}"));
        return Ok(true);
    }
    let made = mutants.len();
    mutants.retain(|mutant| !accepted.contains_key(&mutant.id()));
    let tests = runs::tests(&programs, &arguments.record, arguments.jobs)?;
    let killers = runs::killers(&mutants, &tests, arguments.jobs, |mutant, killer| match killer {
        Some(killer) => println!("killed   {mutant} | {killer}"),
        None => println!("SURVIVED {mutant}"),
    })?;
    let survived = killers.iter().filter(|killer| killer.is_none()).count();
    println!(
        "{made} mutants: {} killed, {survived} survived, {} accepted with a reason",
        mutants.len() - survived,
        made - mutants.len()
    );
    if arguments.write_sample {
        write_sample(sample, &mutants, &killers)?;
    }
    // One in twenty may be left.
    Ok(survived * 20 <= made)
}

/// Writes one mutant of each script of this run, the one in the middle of those that a test failed with; what is there of other scripts stays.
fn write_sample(
    mut sample: BTreeMap<String, String>,
    mutants: &[Mutant],
    killers: &[Option<String>],
) -> Result<(), Failure> {
    let of = |id: &str| id.split(" | ").next().unwrap_or_default().to_owned();
    sample.retain(|id, _| !mutants.iter().any(|mutant| mutant.script == of(id)));
    let killed: Vec<(&Mutant, &String)> = mutants
        .iter()
        .zip(killers)
        .filter_map(|(mutant, killer)| Some((mutant, killer.as_ref().filter(|killer| !killer.ends_with(')'))?)))
        .collect();
    for of_one in killed.chunk_by(|(a, _), (b, _)| a.script == b.script) {
        let (mutant, killer) = of_one[of_one.len() / 2];
        sample.insert(mutant.id(), killer.clone());
    }
    let head =
        "# A mutant of each script and a test that fails with it; bin/mutate --write-sample writes this.\n".to_owned();
    let lines = sample.iter().map(|(id, test)| format!("{id} | {test}\n"));
    fs::write(SAMPLE, std::iter::once(head).chain(lines).collect::<String>())?;
    Ok(())
}

fn run_sample(
    mutants: &[Mutant],
    sample: &BTreeMap<String, String>,
    programs: &[Program],
    jobs: usize,
) -> Result<bool, Failure> {
    let mut samples = Vec::new();
    for (id, test) in sample {
        let (program, name) = test.split_once(' ').ok_or_else(|| format!("{SAMPLE}: no test: {test}"))?;
        let program = programs.iter().find(|known| known.name == program).ok_or_else(|| format!("{SAMPLE}: {test}"))?;
        let mutant = mutants.iter().find(|mutant| mutant.id() == *id).ok_or("it is made")?;
        samples.push((mutant.clone(), program.clone(), name.to_owned()));
    }
    let killed = runs::are_killed(&samples, jobs)?;
    for ((mutant, _, test), _) in samples.iter().zip(&killed).filter(|(_, killed)| !**killed) {
        println!("SURVIVED {mutant} | {test}");
    }
    let survived = killed.iter().filter(|killed| !**killed).count();
    println!("{} mutants of the sample: {} killed, {survived} survived", killed.len(), killed.len() - survived);
    Ok(survived == 0)
}
