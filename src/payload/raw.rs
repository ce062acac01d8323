use std::ops::Deref;
#[cfg(feature = "server")]
use std::sync::Arc;

/// The text a payload was read from.
#[derive(Clone)]
pub(super) enum Raw {
    Own(String),
    /// That of a large job, which other payloads share.
    #[cfg(feature = "server")]
    Shared(Arc<String>),
}

impl Raw {
    pub(super) fn into_string(self) -> String {
        match self {
            Self::Own(text) => text,
            #[cfg(feature = "server")]
            Self::Shared(text) => Arc::unwrap_or_clone(text),
        }
    }
}

impl Deref for Raw {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Own(text) => text,
            #[cfg(feature = "server")]
            Self::Shared(text) => text,
        }
    }
}
