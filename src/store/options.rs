use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::error::{Error, Result};

/// Where Redis is and how long to wait for it.
///
/// Reads `redis://`, `rediss://` (feature `tls`) and `unix://` URLs as Sidekiq does. Never prints a password.
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
    pub(super) info: ConnectionInfo,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
}

/// What `REDIS_URL` defaults to.
const DEFAULT_URL: &str = "redis://127.0.0.1:6379/0";

impl RedisOptions {
    /// From `REDIS_PROVIDER` (the **name** of the variable that holds the URL), else `REDIS_URL`, else
    /// `redis://127.0.0.1:6379/0`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unreadable URL, a `REDIS_PROVIDER` that holds a URL itself
    /// or names a variable that is not set.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
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
        let shown = scheme_of(url);
        if url.starts_with("rediss:") && cfg!(not(feature = "tls")) {
            return Err(Error::config(format!("{shown} needs TLS: build ferrokiq with feature `tls`")));
        }
        // The URL parser's own error may quote the URL, password and all: it is dropped.
        let info = url.into_connection_info().map_err(|_| {
            Error::config(format!("{shown} is no Redis URL: use redis://host:port/db, rediss:// or unix:///path"))
        })?;
        Ok(Self { info, connect_timeout: Duration::from_secs(2), response_timeout: Duration::from_secs(3) })
    }
}

/// All that can be shown of a URL that cannot be read: what is a password in it, only whoever wrote it knows.
fn scheme_of(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.len() <= 10 && scheme.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            format!("{scheme}://...")
        }
        _ => "the value".to_owned(),
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.info.redis_settings().db();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}/{db}"),
            ConnectionAddr::TcpTls { host, port, .. } => write!(f, "rediss://{host}:{port}/{db}"),
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
        ] {
            let shown = match url.parse::<RedisOptions>() {
                Ok(options) => format!("{options} {options:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("s3cr3t"), "{shown}");
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
        for vars in
            [&[("REDIS_PROVIDER", "redis://a")][..], &[("REDIS_PROVIDER", "NOPE")], &[("REDIS_PROVIDER", "s3cr3t-")]]
        {
            let vars: &'static [_] = vars;
            let error = from(vars).unwrap_err();
            assert!(error.is_config() && !format!("{error} {error:?}").contains("s3cr3t"), "{error}");
        }
    }
}
