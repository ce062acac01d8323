use std::time::Duration;

use super::Client;
use crate::store::Replicas;

/// What a push asks for beyond an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    pub(super) once: bool,
    pub(super) replicas: Option<Replicas>,
}

impl Delivery {
    pub(super) fn idempotent(self) -> Self {
        Self { once: true, ..self }
    }

    pub(super) fn wait_for_replicas(self, count: usize, within: Duration) -> Self {
        Self { replicas: (count > 0).then_some(Replicas { count, within }), ..self }
    }
}

impl Client {
    /// The same client, whose pushes may safely be repeated: a jid that was pushed so within an hour is not pushed again. After
    /// silence the client repeats the push itself, up to three times, so an [ambiguous](crate::ErrorKind::Ambiguous) error becomes
    /// rare; when one comes all the same, a payload that names its `jid` can be pushed again until it works, and runs once.
    ///
    /// It costs a key in Redis for each push, `ferrokiq:pushed:JID`, for an hour, and needs the right to run scripts.
    ///
    /// ```no_run
    /// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
    /// use ferrokiq::{Jid, Payload};
    ///
    /// let mut payload = Payload::new("InvoiceJob", [7.into()]);
    /// payload.insert("jid", Jid::generate());
    /// let client = client.idempotent();
    /// while let Err(error) = client.push(payload.clone()).await {
    ///     if !error.is_ambiguous() {
    ///         return Err(error);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn idempotent(&self) -> Self {
        Self(self.0.clone(), self.1.idempotent(), self.2.clone())
    }

    /// The same client, whose pushes wait until so many replicas have them, up to `within` (1 ms at least): a job that was accepted
    /// then survives the loss of the primary. With 0 replicas they do not wait.
    ///
    /// If fewer have it in time the error is [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed), and says how many do:
    /// the push **was** applied on the primary. Only the setting `min-replicas-to-write` of Redis refuses such pushes beforehand.
    ///
    /// Each push takes the way to the replicas and back; up to eight of one client wait at a time, on connections of their own.
    ///
    /// ```no_run
    /// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
    /// use std::time::Duration;
    /// use ferrokiq::{ErrorKind, Payload};
    ///
    /// let pushed = client.wait_for_replicas(1, Duration::from_millis(200)).push(Payload::new("PayoutJob", [7.into()])).await;
    /// if let Err(error) = &pushed
    ///     && error.kind() == ErrorKind::Unconfirmed
    /// {
    ///     println!("{:?} replicas have it", error.replicas());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wait_for_replicas(&self, count: usize, within: Duration) -> Self {
        Self(self.0.clone(), self.1.wait_for_replicas(count, within), self.2.clone())
    }
}
