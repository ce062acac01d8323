use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use redis::RedisConnectionInfo;

/// Who one is to Redis. `Debug` never shows the password.
///
/// ```
/// use ferrokiq::Credentials;
///
/// let credentials = Credentials::new("s3cr3t").with_username("worker");
/// assert!(!format!("{credentials:?}").contains("s3cr3t"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    username: Option<String>,
    password: String,
}

impl Credentials {
    /// A password. Without a [name](Self::with_username) it goes with the name in the URL, or with Redis's default user.
    pub fn new(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }

    /// The name of the user, as in Redis's ACL.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Where credentials come from, asked anew for each connection.
#[derive(Clone)]
pub(super) struct CredentialSource(Arc<Ask>);

type Ask = dyn Fn() -> Result<Credentials, Box<dyn StdError + Send + Sync>> + Send + Sync;

impl CredentialSource {
    pub(super) fn of(
        ask: impl Fn() -> Result<Credentials, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    /// A file with nothing but the password; one line end behind it does not count.
    pub(super) fn file(path: PathBuf) -> Self {
        Self::of(move || {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))?;
            let password = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Credentials::new(password.strip_suffix('\r').unwrap_or(password)))
        })
    }

    /// The settings of a connection with the credentials of this moment.
    pub(super) fn apply(&self, settings: RedisConnectionInfo) -> Result<RedisConnectionInfo, String> {
        let Credentials { username, password } = (self.0)().map_err(|error| error.to_string())?;
        let settings = settings.set_password(password);
        Ok(match username {
            Some(username) => settings.set_username(username),
            None => settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_anew_each_time() {
        let path = std::env::temp_dir().join(format!("ferrokiq-password-{}", std::process::id()));
        let source = CredentialSource::file(path.clone());
        let settings = || source.apply(RedisConnectionInfo::default().set_username("worker"));
        let error = settings().unwrap_err();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        for (text, password) in [("one\n", "one"), ("two \r\n", "two "), ("three", "three"), ("four\n\n", "four\n")] {
            std::fs::write(&path, text).unwrap();
            let settings = settings().unwrap();
            assert_eq!((settings.username(), settings.password()), (Some("worker"), Some(password)));
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_name_of_its_own_goes_before_that_of_the_url() {
        let source = CredentialSource::of(|| Ok(Credentials::new("p").with_username("rotated")));
        let settings = source.apply(RedisConnectionInfo::default().set_username("worker")).unwrap();
        assert_eq!(settings.username(), Some("rotated"));
    }
}
