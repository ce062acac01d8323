use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo};

use super::credentials::{CredentialSource, Credentials};
use super::primary::Sentinels;
use super::progress::Line;
use super::tls::{Tls, Trust};
use super::url;
use crate::error::{Error, Result};

/// Where Redis is, who one is to it, and how long to wait for it. Never prints a password.
///
/// Reads URLs as Sidekiq does:
///
/// | | |
/// |---|---|
/// | `redis://user:password@host:port/db` | |
/// | `rediss://...` | the same with TLS, feature `tls`; [`Tls`] configures who is trusted |
/// | `unix:///path?db=1&user=u&pass=p` | a socket |
/// | `redis+sentinel://user:password@host:port,host:port/PRIMARY/db` | the server that these sentinels (port 26379 unless said) name as the primary |
/// | `rediss+sentinel://...` | the same with TLS to both |
///
/// Parameters behind a question mark: `db` (where the path has none), `username` and `password`, `timeout`, `connect_timeout`,
/// `read_timeout` and `write_timeout` in seconds, `protocol=3`, `ssl=true`, and those of [`Tls`]. Any other is an error. A word alone before the `@`
/// is the password, as in Ruby, unless [`credentials`](Self::credentials) or a password file gives one: then it is the user. In passwords a plus
/// sign is a space.
///
/// In the last two, user and password are those of the data servers; sentinels that ask for some get
/// `?sentinel_username=u&sentinel_password=p`. The sentinels are asked for each connection, the one that answered last first, and
/// one of them is listened to: when another server becomes the primary, all connections move there at once.
///
/// ```
/// use ferrokiq::RedisOptions;
///
/// let options: RedisOptions = "redis://:s3cr3t@127.0.0.1:6390/2".parse()?;
/// assert_eq!(options.to_string(), "redis://127.0.0.1:6390/2");
/// assert!(!format!("{options:?}").contains("s3cr3t"));
/// # Ok::<(), ferrokiq::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    /// The server; with sentinels, what is the same whichever server is the primary.
    pub(super) info: ConnectionInfo,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) credentials: Option<CredentialSource>,
    pub(super) tls: Tls,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    /// Shared by all connections made with these options or clones of them.
    pub(super) line: Line,
}

/// What `REDIS_URL` defaults to.
const DEFAULT_URL: &str = "redis://127.0.0.1:6379/0";

impl RedisOptions {
    /// From `REDIS_PROVIDER` (the **name** of the variable that holds the URL), else `REDIS_URL`, else
    /// `redis://127.0.0.1:6379/0`; [`password_file`](Self::password_file) from `REDIS_PASSWORD_FILE`; and the variables of [`Tls`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unreadable URL, a `REDIS_PROVIDER` that holds a URL itself
    /// or names a variable that is not set.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(var)
    }

    /// Adds the settings of the environment beside the URL: [`password_file`](Self::password_file) from `REDIS_PASSWORD_FILE`, and the variables of
    /// [`Tls`]. [`from_env`](Self::from_env) does it, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a variable that cannot be used, or is for TLS where the URL has none.
    pub fn with_env(self) -> Result<Self> {
        self.completed_by(var)
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Self::located_by(&var)?.completed_by(var)
    }

    fn completed_by(self, var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let options = self.tls_from(&var)?;
        Ok(match var("REDIS_PASSWORD_FILE") {
            Some(path) => options.password_file(path),
            None => options,
        })
    }

    /// The `REDIS_SSL_` variables beside the parameters of the URL.
    fn tls_from(mut self, var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut first = None;
        for (name, variable) in Tls::NAMES {
            if let Some(value) = var(variable) {
                self.tls.set(name, &value).map_err(|why| Error::config(format!("{variable}: {why}")))?;
                first.get_or_insert(variable);
            }
        }
        match first {
            Some(variable) if !self.is_tls() => Err(Error::config(format!(
                "{variable} is set, but the URL of Redis has no TLS: it begins with rediss:// if it has"
            ))),
            _ => self.tls.check().map(|()| self).map_err(Error::config),
        }
    }

    fn located_by(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let Some(provider) = var("REDIS_PROVIDER") else {
            return var("REDIS_URL").as_deref().unwrap_or(DEFAULT_URL).parse();
        };
        if provider.contains(':') {
            return Err(Error::config(
                "REDIS_PROVIDER holds the name of the variable with the URL, not the URL itself: \
                 set REDIS_PROVIDER=MY_REDIS_URL and MY_REDIS_URL=redis://...",
            ));
        }
        match var(&provider) {
            Some(url) => url.parse(),
            None if is_variable(&provider) => {
                Err(Error::config(format!("REDIS_PROVIDER names {provider}, which is not set")))
            }
            // A password, perhaps.
            None => Err(Error::config("REDIS_PROVIDER holds what cannot be the name of a variable")),
        }
    }

    /// The server that sentinels name as the primary `name`: for a list that is not written as a URL. Each sentinel is a URL,
    /// `redis://user:password@host:26379` say, with credentials and TLS of its own; the data servers get TLS if the first
    /// sentinel does.
    ///
    /// ```
    /// use ferrokiq::{Credentials, RedisOptions};
    ///
    /// let options = RedisOptions::sentinels("main", ["redis://:s3cr3t@a:26379", "redis://b:26379"])?
    ///     .credentials(|| Ok(Credentials::new("s3cr3t").with_username("worker")))
    ///     .database(3);
    /// assert_eq!(options.to_string(), "redis+sentinel://a:26379,b:26379/main/3");
    /// # Ok::<(), ferrokiq::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unreadable URL, an empty name or list.
    pub fn sentinels<S: AsRef<str>>(name: impl Into<String>, sentinels: impl IntoIterator<Item = S>) -> Result<Self> {
        let primary = name.into();
        let nodes = sentinels
            .into_iter()
            .map(|url| match url::parse(url.as_ref()).map_err(Error::config)? {
                location if location.sentinels.is_none() => Ok(location),
                _ => Err(Error::config("one sentinel of a list is named by redis://host:26379 or rediss://")),
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = nodes.first().filter(|_| !primary.is_empty()) else {
            return Err(Error::config("sentinels need a name of the primary, and one URL at least"));
        };
        if nodes.iter().any(|node| node.tls != first.tls) {
            return Err(Error::config("all sentinels of a list have the same ssl_ parameters"));
        }
        Ok(Self::at(url::Location {
            info: first.info.clone().set_redis_settings(redis::RedisConnectionInfo::default()),
            tls: first.tls.clone(),
            connect_timeout: first.connect_timeout,
            response_timeout: first.response_timeout,
            sentinels: Some(Sentinels { primary, nodes: nodes.into_iter().map(|node| node.info).collect() }),
        }))
    }

    fn at(location: url::Location) -> Self {
        let url::Location { info, sentinels, tls, connect_timeout, response_timeout } = location;
        Self {
            info,
            sentinels,
            credentials: None,
            tls,
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(2)),
            response_timeout: response_timeout.unwrap_or(Duration::from_secs(3)),
            line: Line::default(),
        }
    }

    /// The number of the database; 0 or what the URL says unless said.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        let settings = self.info.redis_settings().clone().set_db(number.into());
        self.info = self.info.set_redis_settings(settings);
        self
    }

    /// Asks for credentials whenever a connection is made, instead of those of the URL. A password that was rotated is so
    /// picked up by the next connection, and one that Redis refuses ends a connection: no restart is needed. With sentinels these
    /// are the credentials of the data servers.
    ///
    /// `ask` is called on the async runtime: it should not block for long. Its error is that of the command the connection was
    /// for.
    ///
    /// ```
    /// use ferrokiq::{Credentials, RedisOptions};
    ///
    /// fn token() -> std::io::Result<String> {
    ///     Ok("signed".to_owned())
    /// }
    ///
    /// let options: RedisOptions = "redis://worker@127.0.0.1:6390".parse()?;
    /// let options = options.credentials(|| Ok(Credentials::new(token()?)));
    /// # drop(options);
    /// # Ok::<(), ferrokiq::Error>(())
    /// ```
    #[must_use]
    pub fn credentials<F>(mut self, ask: F) -> Self
    where
        F: Fn() -> Result<Credentials, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    {
        self.credentials = Some(CredentialSource::of(ask));
        self
    }

    /// Reads the password from a file whenever a connection is made, as [`credentials`](Self::credentials) asks for it. The file
    /// holds nothing else; one line end behind it does not count.
    #[must_use]
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(CredentialSource::file(path.into()));
        self
    }

    /// Connects over TLS. `tls` has the servers that are trusted and the certificate that is presented. Has TLS also where the URL has none; with
    /// sentinels they are reached over TLS, too.
    ///
    /// Without feature `tls` no connection can be made then. A socket stays one without TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.info = over_tls(self.info);
        if let Some(sentinels) = &mut self.sentinels {
            sentinels.nodes = std::mem::take(&mut sentinels.nodes).into_iter().map(over_tls).collect();
        }
        self.tls = tls;
        self
    }

    fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Whether anyone who controls the network can read and change jobs although there is TLS: see [`Tls::without_verification`].
    pub fn is_unverified(&self) -> bool {
        self.is_tls() && self.tls.trust == Trust::Anyone
    }

    /// How long a connection may take to be made, 2 s unless said otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long Redis may take to answer, 3 s unless said otherwise. Blocking commands get their own time on top.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }
}

impl FromStr for RedisOptions {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        url::parse(url).map(Self::at).map_err(Error::config)
    }
}

/// An empty variable counts as none.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn over_tls(info: ConnectionInfo) -> ConnectionInfo {
    match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) => {
            info.set_addr(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None })
        }
        _ => info,
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Host and port as a URL has them.
fn address(of: &ConnectionAddr) -> String {
    match of {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => host_and_port(host, *port),
        other => other.to_string(),
    }
}

/// A host and a port as a URL has them: an address of IPv6 in brackets.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.info.redis_settings().db();
        let verifies = if self.is_unverified() { "?ssl_verify_mode=none" } else { "" };
        if let Some(Sentinels { primary, nodes }) = &self.sentinels {
            let tls = if self.is_tls() { "s" } else { "" };
            let nodes: Vec<String> = nodes.iter().map(|node| address(node.addr())).collect();
            return write!(f, "redis{tls}+sentinel://{}/{primary}/{db}{verifies}", nodes.join(","));
        }
        match self.info.addr() {
            ConnectionAddr::Tcp(..) => write!(f, "redis://{}/{db}", address(self.info.addr())),
            ConnectionAddr::TcpTls { .. } => write!(f, "rediss://{}/{db}{verifies}", address(self.info.addr())),
            ConnectionAddr::Unix(path) => write!(f, "unix://{}?db={db}", path.display()),
            _ => f.write_str("redis"),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &self.to_string())
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_pasted_back() {
        for url in ["redis://[::1]:7/1", "redis://h:6380/0", "redis+sentinel://[::1]:26379,h:26379/main/3"] {
            assert_eq!(url.parse::<RedisOptions>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn never_shows_a_password() {
        for url in [
            "redis://user:s3cr3t@h:1/0",
            "redis://s3cr3t:s3cr3t@h/0",
            "redis//:s3cr3t@h",
            "redis://:s3cr3t@h:notaport/0",
            "redis://:s3cr3t",
            "redis://h/s3cr3t",
            "redis://:p@ss/s3cr3t@h",
            "http://x:s3cr3t@h",
            "s3cr3t://h",
            "s3cr3t",
            "unix:///run/redis.sock?user=u&pass=s3cr3t",
            "unix:///run/redis.sock?pass=s3cr3t&db=x",
            "unix://s3cr3t",
            "rediss://:s3cr3t@h",
            "redis+sentinel://:s3cr3t",
            "redis+sentinel://s3cr3t/",
            "redis+sentinel://:s3cr3t@h",
            "redis+sentinel://:s3cr3t@h/p/s3cr3t",
            "redis+sentinel://:s3cr3t@h:x/p",
            "redis+sentinel://h/p?s3cr3t",
            "redis+sentinel://h/p?password=s3cr3t",
            "sentinel:s3cr3t",
            "sentinel-s3cr3t://h",
            "redis+sentinel://x:s3cr3t@h/p?sentinel_password=s3cr3t",
        ] {
            let shown = match url.parse::<RedisOptions>() {
                Ok(options) => format!("{options} {options:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
    }

    #[test]
    fn refuses_sentinels_without_a_name_or_an_address() {
        for (name, urls) in [("", &["redis://a:1"][..]), ("p", &[]), ("p", &["redis+sentinel://a/p"]), ("p", &["a:1"])]
        {
            assert!(RedisOptions::sentinels(name, urls).unwrap_err().is_config());
        }
    }

    #[test]
    fn finds_the_url_as_sidekiq_does() {
        let from = |vars: &'static [(&'static str, &'static str)]| {
            RedisOptions::from_vars(|name| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(from(&[]).unwrap().to_string(), "redis://127.0.0.1:6379/0");
        assert_eq!(from(&[("REDIS_URL", "redis://a:1/2")]).unwrap().to_string(), "redis://a:1/2");
        let provided = from(&[("REDIS_URL", "redis://a:1"), ("REDIS_PROVIDER", "X"), ("X", "redis://b:2/0")]);
        assert_eq!(provided.unwrap().to_string(), "redis://b:2/0");
        let of_sentinels = from(&[("REDIS_URL", "redis+sentinel://:s3cr3t@a,b:1/main?sentinel_password=s3cr3t")]);
        assert_eq!(of_sentinels.unwrap().to_string(), "redis+sentinel://a:26379,b:1/main/0");
        assert!(from(&[]).unwrap().credentials.is_none());
        let pinned = from(&[("REDIS_URL", "redis://a?ssl=true"), ("REDIS_SSL_VERIFY_MODE", "none")]);
        if cfg!(feature = "tls") {
            let pinned = pinned.unwrap();
            assert!(pinned.is_unverified() && pinned.to_string().ends_with("?ssl_verify_mode=none"), "{pinned}");
        }
        let error = from(&[("REDIS_URL", "redis://a"), ("REDIS_SSL_CA_FILE", "/ca.pem")]).unwrap_err();
        assert!(error.to_string().contains("REDIS_SSL_CA_FILE"), "{error}");
        assert!(from(&[("REDIS_PASSWORD_FILE", "/run/secrets/redis")]).unwrap().credentials.is_some());
        for vars in
            [&[("REDIS_PROVIDER", "redis://a")][..], &[("REDIS_PROVIDER", "NOPE")], &[("REDIS_PROVIDER", "s3cr3t-")]]
        {
            let vars: &'static [_] = vars;
            let error = from(vars).unwrap_err();
            assert!(error.is_config() && !format!("{error} {error:?}").contains("s3cr3t"), "{error}");
        }
    }
}
