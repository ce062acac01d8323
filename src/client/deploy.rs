use super::{Client, Sink};
use crate::error::Result;
use crate::time::{EpochSecs, Utc};

impl Client {
    /// Marks this minute on the graphs of the Metrics page, as `Sidekiq::Deploy.mark!`. `false` if the minute, or this label
    /// within a minute, is marked already: many machines of one deploy make one mark.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis), as every command.
    pub async fn mark_deploy(&self, label: &str) -> Result<bool> {
        let Utc { year, month, day, hour, minute } = Utc::from(EpochSecs::now());
        let date = format!("{year:04}{month:02}{day:02}");
        let stamp = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z");
        match &self.0.sink {
            Sink::Redis(store) => store.mark_deploy(&date, &stamp, label).await,
            #[cfg(feature = "testing")]
            Sink::Test(_) => Ok(true),
        }
    }
}
