use super::{Client, Sink};
use crate::error::Result;
use crate::payload::Jid;
#[cfg(feature = "server")]
use crate::store::iteration::Iteration;
use crate::time::EpochSecs;

impl Client {
    /// Asks an [iterable job](crate::job::IterableJob), Ruby's or ours, to end before its next item; works before it began,
    /// too. Returns the moment it was first asked, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis), as every command; [`ErrorKind::Partial`](crate::ErrorKind::Partial) if Redis refused
    /// only part of it. Asking twice is harmless.
    pub async fn cancel(&self, jid: &Jid) -> Result<EpochSecs> {
        let now = EpochSecs::now().secs();
        let at = match &self.0.sink {
            Sink::Redis(store) => store.cancel_iteration(jid.as_str(), now).await?,
            #[cfg(feature = "testing")]
            Sink::Test(_) => now,
        };
        Ok(EpochSecs(at as f64))
    }

    #[cfg(feature = "server")]
    pub(crate) async fn iteration(&self, jid: &str) -> Result<Iteration> {
        match &self.0.sink {
            Sink::Redis(store) => store.iteration(jid).await,
            #[cfg(feature = "testing")]
            Sink::Test(_) => Ok(Iteration::default()),
        }
    }

    #[cfg(feature = "server")]
    pub(crate) async fn keep_iteration(&self, jid: &str, state: &Iteration) -> Result<bool> {
        match &self.0.sink {
            Sink::Redis(store) => store.keep_iteration(jid, state).await,
            #[cfg(feature = "testing")]
            Sink::Test(_) => Ok(false),
        }
    }

    #[cfg(feature = "server")]
    pub(crate) async fn forget_iteration(&self, jid: &str) -> Result<()> {
        match &self.0.sink {
            Sink::Redis(store) => store.forget_iteration(jid).await,
            #[cfg(feature = "testing")]
            Sink::Test(_) => Ok(()),
        }
    }
}
