use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use ferrokiq::client::Bulk;
use ferrokiq::job::RawArgs;
use ferrokiq::time::EpochSecs;
use ferrokiq::{Client, Payload};
use serde_json::json;
use serde_json::value::RawValue;

use crate::frame::{Code, Done, Failure, Progress, Tool, compact, read_line};

/// Jobs of one round trip.
const BATCH: usize = 1_000;
/// Bytes of a line at most: more than a payload may have by default.
const LONGEST: u64 = 64 << 20;

/// Pushes one job for each line.
pub(super) async fn push(tool: &mut Tool, template: Payload, at: Option<EpochSecs>, file: &Path) -> Done {
    let client = tool.client()?;
    let is_stdin = file == Path::new("-");
    let total = if is_stdin { None } else { Some(check(file, &client, &template)?) };
    let input: Box<dyn BufRead> = if is_stdin { Box::new(BufReader::new(io::stdin())) } else { Box::new(open(file)?) };
    tool.interrupt.watch();
    let mut bulk =
        Pusher { client, template, at, batch: Vec::new(), pushed: 0, progress: Progress::new("pushing", total) };
    let (mut input, mut line) = (input, Vec::new());
    for number in 1.. {
        if tool.interrupt.is_noted() {
            return Err(bulk.stopped(Code::Interrupted, "interrupted"));
        }
        let read = match read_line(&mut input, &mut line, LONGEST) {
            Ok(None) => break,
            Ok(Some(_)) => arguments(&line, number),
            Err(error) => Err(bulk.stopped(Code::Input, &format!("{}: line {number}: {error}", file.display()))),
        };
        match read {
            Ok(None) => {}
            Ok(Some(args)) => bulk.add(args).await?,
            Err(failure) => {
                bulk.send().await?;
                return Err(bulk.stopped(failure.code(), &failure.line()));
            }
        }
    }
    bulk.send().await?;
    let Pusher { pushed, progress, .. } = bulk;
    drop(progress);
    if tool.screen.is_json() {
        tool.screen.json(&json!({"pushed": pushed}))?;
    } else {
        tool.screen.line(&format!("{pushed} jobs pushed"))?;
    }
    Ok(Code::Fine)
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    File::open(file).map(BufReader::new).map_err(|error| Failure::file(file, &error))
}

/// How many jobs a file holds, if every line of it is in order.
fn check(file: &Path, client: &Client, template: &Payload) -> Result<u64, Failure> {
    let (mut jobs, mut input, mut line) = (0, open(file)?, Vec::new());
    for number in 1.. {
        if read_line(&mut input, &mut line, LONGEST).map_err(|error| Failure::file(file, &error))?.is_none() {
            break;
        }
        let args = arguments(&line, number)
            .map_err(|failure| Failure::input(format!("{}; nothing was pushed", failure.line())))?;
        if let Some(args) = args {
            let mut payload = template.clone();
            payload.insert("args", args);
            client
                .check(&payload)
                .map_err(|error| Failure::input(format!("line {number}: {error}; nothing was pushed")))?;
            jobs += 1;
        }
    }
    Ok(jobs)
}

/// The arguments a line holds; `None` if it is empty.
fn arguments(line: &[u8], number: u64) -> Result<Option<Box<RawValue>>, Failure> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |why: &str| Failure::input(format!("line {number}: {why}"));
    let text = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8"))?;
    let args = RawArgs::new(text).map_err(|error| wrong(&error.to_string()))?;
    // As Ruby reads it: no deeper than a payload may be.
    Payload::parse(format!(r#"{{"args":{}}}"#, args.as_str())).map_err(|error| wrong(&error.to_string()))?;
    RawValue::from_string(compact(text)).map(Some).map_err(|_| wrong("it is no JSON array"))
}

struct Pusher {
    client: Client,
    template: Payload,
    at: Option<EpochSecs>,
    batch: Vec<Box<RawValue>>,
    pushed: usize,
    progress: Progress,
}

impl Pusher {
    async fn add(&mut self, args: Box<RawValue>) -> Result<(), Failure> {
        self.batch.push(args);
        if self.batch.len() == BATCH { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let jobs = self.batch.len();
        let bulk = Bulk::new(self.template.clone(), self.batch.drain(..))?.batch_size(BATCH);
        let bulk = if let Some(at) = self.at { bulk.all_at(at) } else { bulk };
        if let Err(error) = self.client.push_bulk(bulk).await {
            // The batch as a whole: nothing of it is through, unless nobody knows.
            let failure = Failure::from(error);
            let unsure = if failure.is_ambiguous() { format!("; {jobs} may be pushed") } else { String::new() };
            return Err(self.stopped(failure.code(), &format!("{}{unsure}", failure.line())));
        }
        self.pushed += jobs;
        self.progress.add(jobs);
        Ok(())
    }

    fn stopped(&self, code: Code, why: &str) -> Failure {
        Failure::Told(code, format!("{why}; {} jobs were pushed", self.pushed))
    }
}
