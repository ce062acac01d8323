//! Riders: effects that Redis applies in the script that settles a job.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Script, ScriptInvocation, cmd};

use super::error::is_refusal;
use super::refusal::without_quotations;
use super::{Store, scripts};
use crate::error::{Error, ErrorKind, RedisFault, Result};

/// An effect in Redis that takes place together with the settlement of a job: in the same script, once for each job that is settled, and only
/// if the job was still this process's.
///
/// It is a piece of Lua with keys and arguments of its own. A crash, a lost answer or a second process with the same job neither loses the
/// effect nor applies it twice: the job and its effect leave together. Attach one with [`Context::ride`](crate::Context::ride) or
/// [`ServerBuilder::rider`](crate::ServerBuilder::rider).
///
/// ```
/// use ferrokiq::{KeyType, Rider};
///
/// const COUNT: &str = "redis.call('HINCRBY', KEYS[1], ARGV[1], 1)";
///
/// let rider = Rider::new(COUNT).key(KeyType::Hash, "app:done").arg("HardJob");
/// # drop(rider);
/// ```
///
/// # What the Lua code may do
///
/// It is the body of a function: `KEYS` and `ARGV` are the keys and arguments of this rider, and what it returns is not used. It reads and
/// writes only its keys, declares its variables `local`, and ends quickly: Redis does nothing else meanwhile. The text is a constant of the
/// program; what changes from job to job is an argument. A program has 32 different texts of 64 KiB together at most.
///
/// Redis does not roll back. So the types of all keys are checked before the first rider of a job is applied, and a command that may be refused
/// for another reason (`HINCRBY` of a field that is no number) comes first in the code.
///
/// # When Redis refuses it
///
/// Where a key has another type, the user has no right to a key or command, or the code fails or returns `redis.error_reply(..)`, the job is not
/// settled and stays this process's. Other jobs are settled all the same. The job waits outside its slot, at most 48 jobs do that, and is tried
/// again after a growing pause. The log names the error once. When the server stops meanwhile, the job goes back to its queue and runs again. A
/// full memory refuses no rider.
#[derive(Clone, Debug)]
pub struct Rider {
    lua: &'static str,
    keys: Vec<(KeyType, String)>,
    args: Vec<Vec<u8>>,
}

/// What a key of a [`Rider`] holds if it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyType {
    /// A string, a counter or a bitmap.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// Not checked: the Lua code takes any type.
    Any,
}

impl KeyType {
    /// As Redis's `TYPE` answers; nothing for any.
    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Any => "",
        }
    }
}

/// Different texts of one program.
const MOST_FRAGMENTS: usize = 32;
/// Bytes of all texts of one program.
const FRAGMENT_BYTES: usize = 64 << 10;
/// Keys, and arguments, of one rider.
const MOST_VALUES: usize = 128;
/// Bytes of keys and arguments of one rider.
pub(crate) const RIDER_BYTES: usize = 64 << 10;

impl Rider {
    /// A rider that runs this Lua code.
    pub fn new(lua: &'static str) -> Self {
        Self { lua, keys: Vec::new(), args: Vec::new() }
    }

    /// Declares a key, the next one of `KEYS`, and what it holds if it exists. A rider has 128 keys at most.
    #[must_use]
    pub fn key(mut self, kind: KeyType, key: impl Into<String>) -> Self {
        self.keys.push((kind, key.into()));
        self
    }

    /// Adds an argument, the next one of `ARGV`. A rider has 128 arguments at most, and 64 KiB of keys and arguments.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    /// Bytes of its keys and arguments.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.iter().map(|(_, key)| key.len()).sum::<usize>() + self.args.iter().map(Vec::len).sum::<usize>()
    }

    /// Returns an error if it is larger than a rider may be.
    pub(crate) fn check(&self) -> Result<()> {
        let (keys, args, bytes) = (self.keys.len(), self.args.len(), self.bytes());
        if keys > MOST_VALUES || args > MOST_VALUES || bytes > RIDER_BYTES {
            let most = format!("at most {MOST_VALUES} keys, {MOST_VALUES} arguments and {RIDER_BYTES} bytes");
            return Err(refused(format!("{keys} keys, {args} arguments and {bytes} bytes are too many: {most}")));
        }
        Ok(())
    }
}

/// The riders of one job. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Riders(Option<Arc<[Rider]>>);

impl Riders {
    pub(crate) fn of(riders: Vec<Rider>) -> Self {
        Self((!riders.is_empty()).then(|| riders.into()))
    }

    pub(crate) fn as_slice(&self) -> &[Rider] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The first key of them, for the log.
    pub(crate) fn first_key(&self) -> &str {
        self.as_slice().iter().find_map(|rider| rider.keys.first()).map_or("no key", |(_, key)| key)
    }

    /// Bytes of their keys and arguments.
    pub(crate) fn bytes(&self) -> usize {
        self.as_slice().iter().map(Rider::bytes).sum()
    }
}

/// Why a rider was refused.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_quotations(self.0.clone()))
    }
}

impl std::error::Error for Refused {}

pub(super) fn refused(why: String) -> Error {
    let is = |code: &str| why.contains(code);
    let fault = match () {
        () if is("WRONGTYPE") => RedisFault::WrongType,
        // A refusal within a script has no code of its own.
        () if is("NOPERM") || is("can't run this command") || is("can't access") => RedisFault::Denied,
        () => RedisFault::Other,
    };
    Error::new(ErrorKind::Redis, "a rider of the job was refused").with_fault(fault).because(Refused(why))
}

/// Whether the rider of a job is the reason for an error, and the job stays where it was.
pub(crate) fn is_refused_rider(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Refused>())
}

/// The Lua texts of the riders of one program, and the script that has them all. There is one script for any mixture of riders, and its text
/// is the same in each process that has the same riders.
#[derive(Debug, Default)]
pub(super) struct Fragments(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// In order.
    texts: Vec<&'static str>,
    /// Those that cannot be used, and why.
    refused: BTreeMap<&'static str, String>,
    script: Option<Arc<Script>>,
}

/// The script for some riders.
pub(super) struct Riding {
    pub(super) script: Arc<Script>,
    texts: Vec<&'static str>,
}

impl Fragments {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The texts with one more; `None` if it is among them, or cannot be used.
    fn with(&self, text: &'static str) -> Option<Vec<&'static str>> {
        let Err(place) = self.texts.binary_search(&text) else { return None };
        if self.refused.contains_key(text) {
            return None;
        }
        let bytes: usize = self.texts.iter().map(|text| text.len()).sum();
        if self.texts.len() + self.refused.len() >= MOST_FRAGMENTS || bytes + text.len() > FRAGMENT_BYTES {
            return None;
        }
        let mut texts = self.texts.clone();
        texts.insert(place, text);
        Some(texts)
    }
}

impl Store {
    /// The script that applies riders. Has Redis compile each text once before: one that does not compile must not hold up the others.
    pub(super) async fn riding(&self, riders: impl Iterator<Item = &Rider>) -> Result<Riding> {
        for rider in riders {
            loop {
                let Some(texts) = self.fragments.known().with(rider.lua) else { break };
                let text = scripts::settle_with(&texts);
                let loaded: Result<String> =
                    self.link.query("load a rider", cmd("SCRIPT").arg("LOAD").arg(&text)).await;
                let mut known = self.fragments.known();
                match loaded {
                    Ok(_) if known.with(rider.lua).is_some_and(|now| now == texts) => {
                        (known.texts, known.script) = (texts, Some(Arc::new(Script::new(&text))));
                    }
                    // Another one came meanwhile: again, with both.
                    Ok(_) => {}
                    Err(error) if is_refusal(&error) && error.with_causes().contains("compiling") => {
                        known.refused.insert(rider.lua, error.with_causes());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let known = self.fragments.known();
        let script = known.script.clone().unwrap_or_else(|| Arc::new(Script::new(&scripts::settle_with(&[]))));
        Ok(Riding { script, texts: known.texts.clone() })
    }

    /// Returns an error if a rider can never be applied.
    pub(super) fn check_riders(&self, riders: &[Rider]) -> Result<()> {
        for rider in riders {
            rider.check()?;
            let known = self.fragments.known();
            if known.texts.binary_search(&rider.lua).is_err() {
                let most = || format!("{MOST_FRAGMENTS} texts and {FRAGMENT_BYTES} bytes of Lua");
                let too_many = || format!("the riders of a program have at most {}", most());
                return Err(refused(known.refused.get(rider.lua).cloned().unwrap_or_else(too_many)));
            }
        }
        Ok(())
    }
}

impl Riding {
    /// Adds the riders of each job to a call of the script, as `lib/riders.lua` reads them.
    pub(super) fn add<'a>(&self, settle: &mut ScriptInvocation<'_>, jobs: impl ExactSizeIterator<Item = &'a [Rider]>) {
        let count = jobs.len();
        for riders in jobs {
            settle.arg(riders.len());
            for Rider { lua, keys, args } in riders {
                // Each text was checked before.
                let number = self.texts.binary_search(lua).map_or(0, |at| at + 1);
                settle.arg(number).arg(keys.len());
                for (kind, key) in keys {
                    settle.key(key).arg(kind.name());
                }
                settle.arg(args.len()).arg(args);
            }
        }
        settle.arg(count);
    }
}
