//! Runs tests with scripts of a directory: which test loads which scripts, and which test fails with a mutant.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use crate::rules::Mutant;
use crate::{Failure, SCRIPTS, scripts};

/// A program of tests, built once for all mutants.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// `lib` or `integration`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) program: Program,
    pub(crate) name: String,
    time: Duration,
    scripts: HashSet<String>,
}

/// Tests of one process.
const CHUNK: usize = 8;
/// Tests of one process that run side by side.
const THREADS: &str = "4";
/// A mutant may make tests so many times slower, and so much besides, before the run counts as failed.
const SLOWER: u32 = 4;
const SLACK: Duration = Duration::from_secs(8);

/// The directory of one worker: scripts, and a place for the files of the tests.
struct Room(PathBuf);

impl Room {
    fn new(of: &Path, name: &str) -> Result<Self, Failure> {
        let room = Self(of.join(name));
        fs::create_dir_all(room.scripts().join("lib"))?;
        fs::create_dir_all(room.temporary())?;
        Ok(room)
    }

    fn scripts(&self) -> PathBuf {
        self.0.join("s")
    }

    /// Short: the path of a socket has 107 bytes at most.
    fn temporary(&self) -> PathBuf {
        self.0.join("t")
    }
}

enum Outcome {
    Passed,
    Failed(String),
}

/// Runs tests in a process until one fails; then ends it, with the servers it started.
fn run(program: &Program, tests: &[&str], room: &Room, limit: Duration) -> Result<Outcome, Failure> {
    let mut child = Command::new(&program.path)
        .args(["--exact", "--test-threads", THREADS])
        .args(tests)
        .env("FERROKIQ_SCRIPTS", room.scripts())
        .env("TMPDIR", room.temporary())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().ok_or("no output")?;
    let reader = std::thread::Builder::new().name("tests".to_owned());
    let reader = reader.spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| {
            let _ = sender.send(line);
        })
    })?;
    let deadline = Instant::now() + limit;
    let mut outcome = None;
    while outcome.is_none() {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let failed = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
                outcome = failed.map(|name| Outcome::Failed(name.to_owned()));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => outcome = Some(Outcome::Failed("(no end)".to_owned())),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let is_over = outcome.is_none();
    if !is_over {
        let group = format!("-{}", child.id());
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
    }
    let status = child.wait()?;
    let _ = reader.join();
    if !is_over {
        fs::remove_dir_all(room.temporary())?;
        fs::create_dir_all(room.temporary())?;
    }
    Ok(match outcome {
        None if status.success() => Outcome::Passed,
        None => Outcome::Failed("(ended)".to_owned()),
        Some(outcome) => outcome,
    })
}

/// Does `work` with each item, on `threads` threads; each has a directory.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T, &Room) -> Result<R, Failure> + Sync,
) -> Result<Vec<R>, Failure> {
    let rooms = std::env::temp_dir().join(format!("fm{}", std::process::id()));
    let next = Mutex::new(0..items.len());
    let done = Mutex::new(Vec::new());
    let run = std::thread::scope(|scope| -> Result<(), Failure> {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (rooms, next, done, work) = (&rooms, &next, &done, &work);
                scope.spawn(move || -> Result<(), Failure> {
                    let room = Room::new(rooms, &thread.to_string())?;
                    loop {
                        let Some(at) = next.lock().map_err(|_| "poisoned")?.next() else { return Ok(()) };
                        let result = work(&items[at], &room)?;
                        done.lock().map_err(|_| "poisoned")?.push((at, result));
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    });
    fs::remove_dir_all(&rooms)?;
    run?;
    let mut done = done.into_inner().map_err(|_| "poisoned")?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Returns all tests that load scripts. Runs each once in a process of its own, unless `cache` is newer than the programs.
pub(crate) fn tests(programs: &[Program], cache: &Path, threads: usize) -> Result<Vec<Test>, Failure> {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let built = programs.iter().map(|program| changed(&program.path)).collect::<Result<Vec<SystemTime>, _>>()?;
    if !changed(cache).is_ok_and(|cached| built.iter().all(|built| *built < cached)) {
        record(programs, cache, threads)?;
    }
    let mut tests = Vec::new();
    for line in fs::read_to_string(cache)?.lines() {
        let mut fields = line.split(' ');
        let mut field = || fields.next().ok_or("the record of tests is broken: delete it");
        let (name, test, millis) = (field()?, field()?, field()?.parse()?);
        let program = programs.iter().find(|program| program.name == name).ok_or("the record names another program")?;
        tests.push(Test {
            program: program.clone(),
            name: test.to_owned(),
            time: Duration::from_millis(millis),
            scripts: fields.map(str::to_owned).collect(),
        });
    }
    Ok(tests)
}

fn record(programs: &[Program], cache: &Path, threads: usize) -> Result<(), Failure> {
    let mut all = Vec::new();
    for program in programs {
        let listed = Command::new(&program.path).args(["--list", "--format", "terse"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        all.extend(names.map(|name| (program, name.to_owned())));
    }
    eprintln!("recording which scripts each of {} tests loads", all.len());
    let lines = side_by_side(&all, threads, |(program, name), room| {
        let since = Instant::now();
        let outcome = run(program, &[name], room, Duration::from_secs(120))?;
        let millis = since.elapsed().as_millis();
        let mut used = Vec::new();
        for script in scripts()? {
            let mark = room.scripts().join(format!("{script}.used"));
            if mark.exists() {
                fs::remove_file(mark)?;
                used.push(script);
            }
        }
        if matches!(outcome, Outcome::Failed(_)) {
            eprintln!("left out, fails without a mutant: {} {name}", program.name);
            used.clear();
        }
        Ok((!used.is_empty()).then(|| format!("{} {name} {millis} {}\n", program.name, used.join(" "))))
    })?;
    fs::write(cache, lines.into_iter().flatten().collect::<String>())?;
    Ok(())
}

/// Returns for each mutant the test that failed, or nothing. The tests of the library come first, then those that were quick to kill before.
pub(crate) fn killers(
    mutants: &[Mutant],
    tests: &[Test],
    threads: usize,
    report: impl Fn(&Mutant, Option<&str>) + Sync,
) -> Result<Vec<Option<String>>, Failure> {
    let kills: Mutex<HashMap<(String, String), usize>> = Mutex::default();
    side_by_side(mutants, threads, |mutant, room| {
        let mut candidates: Vec<&Test> = tests.iter().filter(|test| test.scripts.contains(&mutant.script)).collect();
        {
            let kills = kills.lock().map_err(|_| "poisoned")?;
            let kills_of = |test: &Test| kills.get(&(mutant.script.clone(), test.name.clone())).copied().unwrap_or(0);
            candidates.sort_by_key(|test| (test.program.name != "lib", usize::MAX - kills_of(test), test.time));
        }
        let file = room.scripts().join(format!("{}.lua", mutant.script));
        fs::write(&file, &mutant.text)?;
        let mut killer = None;
        for chunk in candidates.chunk_by(|a, b| a.program.name == b.program.name).flat_map(|some| some.chunks(CHUNK)) {
            let names: Vec<&str> = chunk.iter().map(|test| test.name.as_str()).collect();
            let limit = chunk.iter().map(|test| test.time).sum::<Duration>() * SLOWER + SLACK;
            if let Outcome::Failed(name) = run(&chunk[0].program, &names, room, limit)? {
                *kills.lock().map_err(|_| "poisoned")?.entry((mutant.script.clone(), name.clone())).or_default() += 1;
                killer = Some(format!("{} {name}", chunk[0].program.name));
                break;
            }
        }
        fs::remove_file(&file)?;
        report(mutant, killer.as_deref());
        Ok(killer)
    })
}

/// Runs one test with a mutant. Returns whether it failed.
pub(crate) fn are_killed(samples: &[(Mutant, Program, String)], threads: usize) -> Result<Vec<bool>, Failure> {
    side_by_side(samples, threads, |(mutant, program, test), room| {
        let file = room.scripts().join(format!("{}.lua", mutant.script));
        fs::write(&file, &mutant.text)?;
        let outcome = run(program, &[test], room, Duration::from_secs(60))?;
        fs::remove_file(&file)?;
        Ok(matches!(outcome, Outcome::Failed(_)))
    })
}

/// Returns the text of a script as it is.
pub(crate) fn text(script: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(Path::new(SCRIPTS).join(format!("{script}.lua")))?)
}
