//! Which server is the primary, where sentinels decide.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ConnectionInfo, PushInfo, PushKind, RedisResult, cmd};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Sentinels and what they call the primary.
#[derive(Clone)]
pub(super) struct Sentinels {
    pub(super) primary: String,
    pub(super) nodes: Vec<ConnectionInfo>,
}

/// Host and port.
pub(super) type Address = (String, u16);

/// The channel sentinels tell on when another server becomes the primary.
const SWITCH: &str = "+switch-master";
/// How often the sentinel that is listened to is asked: whether it is there, and whether a switch was missed.
const LOOK: Duration = Duration::from_secs(5);
/// Before the next sentinel is listened to, when one has gone.
const PAUSE: Duration = Duration::from_millis(500);

/// The primary as far as it is known, and a task that listens to a sentinel for as long as this lives.
pub(super) struct Primary {
    sentinels: Sentinels,
    patience: Duration,
    /// The sentinel that answered last: it is asked first.
    first: AtomicUsize,
    known: watch::Sender<Option<Address>>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Primary {
    /// `patience` is how long a sentinel may take to be reached, and to answer.
    pub(super) fn new(sentinels: Sentinels, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            sentinels,
            patience,
            first: AtomicUsize::new(0),
            known: watch::Sender::new(None),
            listener: Mutex::new(None),
        })
    }

    /// Asks the sentinels in turn; an error says what each of them said.
    pub(super) async fn ask(&self) -> Result<Address, String> {
        let mut said = Vec::with_capacity(self.sentinels.nodes.len());
        for (at, node) in self.in_turn() {
            let answer = match self.connect(node, None).await {
                Ok(mut sentinel) => self.ask_one(&mut sentinel).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(Some(address)) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(address);
                }
                Ok(None) => said.push(format!("{} knows no \"{}\"", node.addr(), self.sentinels.primary)),
                Err(error) => said.push(format!("{}: {error}", node.addr())),
            }
        }
        Err(format!("no sentinel names the primary: {}", said.join("; ")))
    }

    fn in_turn(&self) -> impl Iterator<Item = (usize, &ConnectionInfo)> {
        let nodes = &self.sentinels.nodes;
        let first = self.first.load(Ordering::Relaxed);
        (0..nodes.len()).map(move |turn| (first + turn) % nodes.len()).map(|at| (at, &nodes[at]))
    }

    async fn connect(
        &self,
        node: &ConnectionInfo,
        pushes: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> RedisResult<MultiplexedConnection> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        redis::Client::open(node.clone())?.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn ask_one(&self, sentinel: &mut impl ConnectionLike) -> RedisResult<Option<Address>> {
        cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.sentinels.primary).query_async(sentinel).await
    }

    /// Another server is the primary: connections to the one before are cut.
    pub(super) fn is_now(&self, address: Address) {
        self.known.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&address);
            if changed {
                if let Some((host, port)) = known {
                    tracing::warn!(
                        "{} moved from {host}:{port} to {}:{}",
                        self.sentinels.primary,
                        address.0,
                        address.1
                    );
                }
                *known = Some(address);
            }
            changed
        });
    }

    /// What tells when `address` is no longer the primary.
    pub(super) fn post(&self, address: Address) -> Post {
        Post { address, known: self.known.subscribe() }
    }

    /// Starts to listen for switches, unless somebody does.
    pub(super) fn listen(self: &Arc<Self>) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(Arc::downgrade(self))));
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
async fn listen(primary: Weak<Primary>) {
    for turn in 0.. {
        let node = {
            let Some(primary) = primary.upgrade() else { return };
            let nodes = primary.sentinels.nodes.len();
            primary.in_turn().nth(turn % nodes).map(|(_, node)| node.clone())
        };
        if let Some(node) = node
            && let Err(error) = listen_to(&primary, &node).await
        {
            tracing::debug!(sentinel = %node.addr(), %error, "listening to the next sentinel");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the sentinel goes away, or does not know the primary.
async fn listen_to(primary: &Weak<Primary>, node: &ConnectionInfo) -> RedisResult<()> {
    let (pushes, mut told) = mpsc::unbounded_channel();
    let Some(strong) = primary.upgrade() else { return Ok(()) };
    let mut sentinel = strong.connect(node, Some(pushes)).await?;
    sentinel.subscribe(SWITCH).await?;
    drop(strong);
    loop {
        let Some(strong) = primary.upgrade() else { return Ok(()) };
        let Some(address) = strong.ask_one(&mut sentinel).await? else { return Ok(()) };
        strong.is_now(address);
        drop(strong);
        // Whatever it was that came: the sentinel is asked again, it knows already.
        if let Ok(Some(PushInfo { kind: PushKind::Disconnection, .. }) | None) =
            tokio::time::timeout(LOOK, told.recv()).await
        {
            return Ok(());
        }
    }
}

/// What a connection to the primary knows of a switch.
#[derive(Clone)]
pub(super) struct Post {
    address: Address,
    known: watch::Receiver<Option<Address>>,
}

impl Post {
    fn is_other(&self, known: &Option<Address>) -> bool {
        known.as_ref().is_some_and(|known| *known != self.address)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_other(&self.known.borrow())
    }

    /// Until another server is the primary.
    pub(super) async fn lost(&self) {
        let mut known = self.known.clone();
        if known.wait_for(|known| self.is_other(known)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").field("name", &self.sentinels.primary).field("known", &*self.known.borrow()).finish()
    }
}
