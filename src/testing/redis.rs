use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::store::RedisOptions;

/// A Redis of a test's own, on a socket in a directory of its own: nobody else sees it, and it is gone, data and all, when this is dropped.
///
/// Needs `redis-server` or `valkey-server` on the `PATH`. Takes some ten milliseconds to start.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ferrokiq::Result<()> {
/// # if std::process::Command::new("redis-server").arg("--version").output().is_err() { return Ok(()) }
/// use ferrokiq::{Payload, testing::Redis};
///
/// let redis = Redis::start()?;
/// let jid = redis.client()?.push(Payload::new("RubysJob", [])).await?;
/// assert!(jid.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Redis {
    child: Child,
    dir: TempDir,
    arguments: Vec<std::ffi::OsString>,
}

/// What is looked for on the `PATH`, the first first.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

impl Redis {
    /// Starts one that keeps nothing on disk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if there is no `redis-server`, or it does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with([] as [&str; 0])
    }

    /// The same with arguments of its own, `["--maxmemory", "10mb"]` say.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Self> {
        // Nobody else may enter it or guess its name.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("ferrokiq-").permissions(private).tempdir();
        let dir =
            dir.map_err(|error| Error::config("a directory for the test's Redis cannot be made").because(error))?;
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect::<Vec<_>>();
        let mut redis = Self { child: spawn(dir.path(), &arguments)?, dir, arguments };
        redis.wait()?;
        Ok(redis)
    }

    /// Until it answers.
    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = ["stderr", "log"].map(|name| fs::read_to_string(self.dir().join(name)).unwrap_or_default());
                let mut lines = said.iter().flat_map(|said| said.lines().rev());
                let last = lines.find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                let how = if ended.is_some() { "ended at once" } else { "does not answer" };
                return Err(Error::config(format!("the Redis of the test {how}: {last}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            // Not while it loads; one that asks for a password is up.
            Ok(answer == *b"+PONG" || answer == *b"-NOAU")
        };
        ask().unwrap_or(false)
    }

    fn socket(&self) -> PathBuf {
        self.dir().join("redis.sock")
    }

    /// Where it is, as `REDIS_URL` says it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The same for builders.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the directory for temporary files has a name no URL can hold.
    pub fn options(&self) -> Result<RedisOptions> {
        self.url().parse()
    }

    /// A client of it.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options).
    pub fn client(&self) -> Result<Client> {
        Client::builder().redis(self.options()?).build()
    }

    /// Its directory, with room for files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would: what the app does then is worth a test. Its directory stays.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`kill`](Self::kill), as it was started first. It knows what it kept on disk: nothing unless told to.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn revive(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(self.dir.path(), &self.arguments)?;
        self.wait()
    }
}

fn spawn(dir: &Path, arguments: &[std::ffi::OsString]) -> Result<Child> {
    // One of before would still be there, and answer nobody.
    let _ = fs::remove_file(dir.join("redis.sock"));
    for program in PROGRAMS {
        let spawned = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--logfile", "log", "--dir"])
            .arg(dir)
            .arg("--unixsocket")
            .arg(dir.join("redis.sock"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("stderr")).map_or_else(|_| Stdio::null(), Stdio::from))
            .spawn();
        match spawned {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::config(format!("{program} cannot be started")).because(error)),
        }
    }
    Err(Error::config(
        "a test needs a Redis of its own, and neither redis-server nor valkey-server is on the PATH: install one",
    ))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_why_it_does_not_start() {
        let error = Redis::start_with(["--maxmemory", "nonsense"]).unwrap_err();
        assert!(error.to_string().contains("ended at once: argument must be a memory value"), "{error}");
    }

    #[tokio::test]
    async fn serves_and_is_gone_afterwards() {
        let mut redis = Redis::start_with(["--appendonly", "yes", "--appendfsync", "always"]).unwrap();
        let client = redis.client().unwrap();
        client.push(crate::Payload::new("A", [])).await.unwrap();
        redis.revive().unwrap();
        assert!(redis.answers());
        #[cfg(feature = "api")]
        assert_eq!(crate::api::Api::new(&redis.client().unwrap()).queue("default").size().await.unwrap(), 1);
        let (dir, socket) = (redis.dir().to_owned(), redis.socket());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&dir).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700, "nobody else may enter it");
        drop(redis);
        assert!(!dir.exists() && UnixStream::connect(socket).is_err());
    }
}
