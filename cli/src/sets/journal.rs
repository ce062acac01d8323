//! What a replay moved, one line of JSON for each job, written before it is moved: a job that is in the journal may have stayed where it was,
//! but none that was moved is missing. The first line says what the rest is.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ferrokiq::api::Departure;
use ferrokiq::time::EpochSecs;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::frame::{Failure, read_line};

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
struct Head {
    /// The version of this form.
    ferrokiq_journal: u32,
    /// The key of the set.
    set: String,
    at: String,
}

/// Each further line.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    jid: String,
    queue: String,
    /// As text: it has to come back to the last digit.
    score: String,
    /// In the set.
    bytes: String,
    /// In the queue.
    pushed: String,
}

const VERSION: u32 = 1;
/// Bytes of a line at most: a job is written as text in JSON.
const LONGEST: u64 = 256 << 20;

/// A journal that is written.
pub(super) struct Journal<D: Durable = File> {
    path: PathBuf,
    out: BufWriter<D>,
}

/// Where a journal is kept.
pub(super) trait Durable: Write {
    /// Returns once what was written survives a crash of the machine.
    fn sync(&self) -> io::Result<()>;
}

impl Durable for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Journal {
    /// A new file, for its owner alone since it holds payloads: an old journal may be all there is to undo another replay.
    pub(super) fn create(path: &Path, kind: Kind) -> Result<Self, Failure> {
        let mut how = OpenOptions::new();
        how.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut how, 0o600);
        let file = how.open(path).map_err(|error| Failure::file(path, &error))?;
        let journal = Self::begin(path, file, kind)?;
        sync_directory(path).map_err(|error| Failure::file(path, &error))?;
        Ok(journal)
    }
}

impl<D: Durable> Journal<D> {
    fn begin(path: &Path, file: D, kind: Kind) -> Result<Self, Failure> {
        let mut journal = Self { path: path.to_owned(), out: BufWriter::new(file) };
        let head = Head { ferrokiq_journal: VERSION, set: kind.key().to_owned(), at: EpochSecs::now().to_utc() };
        journal.write(&head)?;
        journal.sync()?;
        Ok(journal)
    }

    /// Writes jobs that are about to be moved, as `(jid, how)`. They are on the disk when it returns.
    pub(super) fn add(&mut self, departures: &[Departure]) -> Result<(), Failure> {
        for Departure { queue, pushed, bytes, score } in departures {
            let bytes = String::from_utf8_lossy(bytes).into_owned();
            let jid = jid_of(pushed);
            let line = Line { jid, queue: queue.clone(), score: score.to_string(), bytes, pushed: pushed.clone() };
            self.write(&line)?;
        }
        self.sync()
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(line).map_err(io::Error::from);
        let written = text.and_then(|text| writeln!(self.out, "{text}"));
        written.map_err(|error| Failure::file(&self.path, &error))
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync());
        synced.map_err(|error| Failure::file(&self.path, &error))
    }
}

/// Makes the name of a new file survive a crash, where the file system can.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A directory that may be written and not read cannot be opened; some file systems sync no directory.
    let Ok(directory) = File::open(directory) else { return Ok(()) };
    match directory.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

fn jid_of(payload: &str) -> String {
    ferrokiq::Payload::parse(payload).map_or_else(|_| String::new(), |payload| payload.jid().to_owned())
}

/// A journal that is read, from its last line back: the jobs that were pushed last are found first in their queues.
pub(super) struct Pages {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the lines begin that are still to be read.
    begins: Vec<u64>,
    /// Where the last of them ends.
    end: u64,
}

impl Pages {
    /// Reads all of it once: nothing is undone by a journal that is not in order. A line that was not written to its end does not count: what
    /// it speaks of was not moved.
    pub(super) fn open(path: &Path, kind: Kind) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let mut pages = Self { path: path.to_owned(), file: BufReader::new(file), begins: Vec::new(), end: 0 };
        let wrong = |number: usize, why: &str| {
            Failure::input(format!("{}: line {number}: {why}; nothing was undone", path.display()))
        };
        let head: Option<Head> = pages.line()?.and_then(|line| serde_json::from_str(&line).ok());
        let head = head.filter(|head| head.ferrokiq_journal == VERSION);
        let head = head.ok_or_else(|| wrong(1, "this is no journal of a replay"))?;
        if head.set != kind.key() {
            let of = Kind::ALL.iter().find(|kind| kind.key() == head.set).map_or("", |kind| kind.command());
            return Err(wrong(1, &format!("this is a journal of another set: say ferrokiq {of} undo")));
        }
        loop {
            let begin = pages.file.stream_position().map_err(|error| Failure::file(path, &error))?;
            let Some(line) = pages.line()? else { return Ok(pages) };
            if departure(&line).is_none() {
                return Err(wrong(pages.begins.len() + 2, "this is no line of a journal"));
            }
            pages.begins.push(begin);
            pages.end = begin + line.len() as u64;
        }
    }

    /// Jobs in it.
    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// The last ones that were not read yet, as many as fit into so many bytes, but at least one.
    pub(super) fn next(&mut self, bytes: u64) -> Result<Vec<(String, Departure)>, Failure> {
        let first = self.begins.partition_point(|begin| self.end.saturating_sub(*begin) > bytes);
        let page = self.begins.split_off(first.min(self.begins.len().saturating_sub(1)));
        self.end = page.first().copied().unwrap_or(self.end);
        let mut departures = Vec::with_capacity(page.len());
        for begin in page.into_iter().rev() {
            self.file.seek(SeekFrom::Start(begin)).map_err(|error| Failure::file(&self.path, &error))?;
            departures.extend(self.line()?.as_deref().and_then(departure));
        }
        Ok(departures)
    }

    /// `None` at the end, and where the last line has none.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let ended = read_line(&mut self.file, &mut line, LONGEST).map_err(|error| Failure::file(&self.path, &error))?;
        Ok((ended == Some(true)).then(|| String::from_utf8_lossy(&line).into_owned()))
    }
}

fn departure(line: &str) -> Option<(String, Departure)> {
    let Line { jid, queue, score, bytes, pushed } = serde_json::from_str(line).ok()?;
    let score = EpochSecs(score.parse().ok().filter(|score: &f64| score.is_finite())?);
    Some((jid, Departure { queue, pushed, bytes: bytes.into_bytes(), score }))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What happened to a file, in order.
    #[derive(Clone, Default)]
    struct Watched(Rc<RefCell<Vec<&'static str>>>);

    impl Write for Watched {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().push("write");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Durable for Watched {
        fn sync(&self) -> io::Result<()> {
            self.0.borrow_mut().push("sync");
            Ok(())
        }
    }

    #[test]
    fn a_page_is_on_the_disk_before_it_is_moved() {
        let file = Watched::default();
        let mut journal = Journal::begin(Path::new("journal"), file.clone(), Kind::Retries).unwrap();
        let departure = || Departure {
            queue: "q".to_owned(),
            pushed: r#"{"jid":"a"}"#.to_owned(),
            bytes: b"{}".to_vec(),
            score: EpochSecs(1.5),
        };
        let pages = 3;
        for _ in 0..pages {
            assert_eq!(file.0.borrow().last(), Some(&"sync"));
            journal.add(&[departure(), departure()]).unwrap();
        }
        assert_eq!(file.0.borrow().last(), Some(&"sync"));
        assert_eq!(file.0.borrow().iter().filter(|what| **what == "sync").count(), 1 + pages);
    }
}
