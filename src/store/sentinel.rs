//! Which server is the primary, where sentinels decide.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ConnectionInfo, PushInfo, PushKind, RedisResult, cmd};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::dial::dial;
use super::error::Unreachable;
use super::meter::Meter;
use super::options::host_and_port;
use super::primary::{Address, PrimaryWatch, Sentinels};
use super::progress::Line;
use super::tls::Tls;
use crate::boxed::BoxFuture;

/// The channel sentinels tell on when another server becomes the primary.
const SWITCH: &str = "+switch-master";
/// How often the sentinel that is listened to is asked: whether it is there, and whether a switch was missed.
const LOOK: Duration = Duration::from_secs(5);
/// Before the next sentinel is listened to, when one has gone.
const PAUSE: Duration = Duration::from_millis(500);

/// The primary as far as it is known, and a task that listens to a sentinel for as long as this lives.
pub(super) struct Primary {
    sentinels: Sentinels,
    tls: Tls,
    patience: Duration,
    /// The sentinel that answered last: it is asked first.
    first: AtomicUsize,
    known: watch::Sender<Option<Address>>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Primary {
    /// `patience` is how long a sentinel may take to be reached, and to answer.
    pub(super) fn new(sentinels: Sentinels, tls: Tls, patience: Duration) -> Self {
        Self {
            sentinels,
            tls,
            patience,
            first: AtomicUsize::new(0),
            known: watch::Sender::new(None),
            listener: Mutex::new(None),
        }
    }

    /// How many sentinels there are.
    pub(super) fn count(&self) -> usize {
        self.sentinels.nodes.len()
    }

    /// Asks a sentinel, counted from the one that was right last; an error says what it said.
    pub(super) async fn ask(&self, turn: usize) -> Result<Address, String> {
        let (_, node) = self.node(turn);
        let answer = match self.connect(node, None).await {
            Ok(mut sentinel) => self.ask_one(&mut sentinel).await.map_err(Unreachable::from),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(format!("{} knows no \"{}\"", node.addr(), self.sentinels.primary)),
            Err(error) => Err(format!("{}: {error}", node.addr())),
        }
    }

    /// A sentinel was right: it is asked first from now on.
    pub(super) fn was_right(&self, turn: usize) {
        self.first.store(self.node(turn).0, Ordering::Relaxed);
    }

    fn node(&self, turn: usize) -> (usize, &ConnectionInfo) {
        let at = (self.first.load(Ordering::Relaxed) + turn) % self.sentinels.nodes.len();
        (at, &self.sentinels.nodes[at])
    }

    async fn connect(
        &self,
        node: &ConnectionInfo,
        pushes: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<MultiplexedConnection, Unreachable> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let (connection, _) =
            Box::pin(dial(node, &self.tls, (&Meter::default(), &Line::default()), self.patience, config)).await?;
        Ok(connection)
    }

    async fn ask_one(&self, sentinel: &mut impl ConnectionLike) -> RedisResult<Option<Address>> {
        cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.sentinels.primary).query_async(sentinel).await
    }

    /// The server at this address is the primary: connections to the one before, if it is another, are cut.
    pub(super) fn is_now(&self, address: Address) {
        self.known.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&address);
            if changed {
                if let Some((host, port)) = known {
                    tracing::warn!(
                        "{} moved from {} to {}",
                        self.sentinels.primary,
                        host_and_port(host, *port),
                        host_and_port(&address.0, address.1)
                    );
                }
                *known = Some(address);
            }
            changed
        });
    }

    /// What tells when `address` is no longer the primary.
    pub(super) fn post(&self, address: Address) -> PrimaryWatch {
        PrimaryWatch { address, known: self.known.subscribe() }
    }

    /// Whether it would be news that the server at this address is the primary.
    fn is_news(&self, address: &Address) -> bool {
        self.known.borrow().as_ref() != Some(address)
    }
}

/// What listening for switches needs of the connections.
pub(super) trait Connects: Send + Sync + 'static {
    /// The primary that they go to.
    fn primary(&self) -> Option<&Primary>;

    /// Whether the server at this address is a primary; the error says why not.
    fn check<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<(), String>>;
}

impl Primary {
    /// Starts to listen for switches, unless somebody does.
    #[expect(clippy::disallowed_methods, reason = "the next connection starts it again")]
    pub(super) fn listen<C: Connects>(&self, connections: Weak<C>) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(connections)));
        }
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut().unwrap_or_else(PoisonError::into_inner) {
            listener.abort();
        }
    }
}

/// Listens to one sentinel after the other until nobody needs to know any more.
async fn listen<C: Connects>(connector: Weak<C>) {
    for turn in 0.. {
        if let Err(error) = listen_to(&connector, turn).await {
            tracing::debug!(error, "listening to the next sentinel");
        }
        if connector.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the sentinel goes away, or does not know the primary.
async fn listen_to<C: Connects>(connector: &Weak<C>, turn: usize) -> Result<(), String> {
    let gone = || "nobody needs to know".to_owned();
    let (pushes, mut told) = mpsc::unbounded_channel();
    let mut sentinel = {
        let connector = connector.upgrade().ok_or_else(gone)?;
        let primary = connector.primary().ok_or_else(gone)?;
        let (_, node) = primary.node(turn);
        let mut sentinel = primary.connect(node, Some(pushes)).await.map_err(|error| error.to_string())?;
        sentinel.subscribe(SWITCH).await.map_err(|error| error.to_string())?;
        sentinel
    };
    loop {
        {
            let connector = connector.upgrade().ok_or_else(gone)?;
            let primary = connector.primary().ok_or_else(gone)?;
            let address = primary.ask_one(&mut sentinel).await.map_err(|error| error.to_string())?;
            let address = address.ok_or("it knows no such primary")?;
            if primary.is_news(&address) {
                // One whose own failover was overtaken by the next names a dead server; nothing is cut for its word alone.
                connector.check(&address).await?;
                primary.is_now(address);
            }
        }
        // Whatever it was that came: the sentinel is asked again, it knows already.
        if let Ok(Some(PushInfo { kind: PushKind::Disconnection, .. }) | None) =
            tokio::time::timeout(LOOK, told.recv()).await
        {
            return Ok(());
        }
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").field("name", &self.sentinels.primary).field("known", &*self.known.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_address_is_news() {
        let sentinels = Sentinels { primary: "main".to_owned(), nodes: Vec::new() };
        let primary = Primary::new(sentinels, Tls::default(), Duration::from_secs(1));
        let address = |port| ("host".to_owned(), port);
        assert!(primary.is_news(&address(1)), "none is known");
        primary.is_now(address(1));
        assert!(!primary.is_news(&address(1)));
        assert!(primary.is_news(&address(2)));
    }
}
