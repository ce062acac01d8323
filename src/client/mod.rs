//! The pushing half: any process that enqueues.
//!
//! 1. check what Sidekiq checks, fill in what it fills in (`normalize.rs`)
//! 2. run the client middleware, which may change or stop a job
//! 3. write: one round trip

mod bulk;
mod delivery;
mod deploy;
mod fleet;
mod inherited;
mod iteration;
mod middleware;
#[cfg(any(feature = "api", feature = "server"))]
mod movable;
mod normalize;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use bulk::Bulk;
use delivery::Delivery;
use fleet::Fleet;
#[cfg(all(feature = "active-job", any(feature = "server", feature = "testing")))]
pub(crate) use inherited::flows;
pub(crate) use inherited::{Inherited, is_current_attributes};
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) use middleware::Moment;
pub use middleware::{ClientMiddleware, Next, Push};
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) use movable::fill_in;
#[cfg(feature = "server")]
pub(crate) use movable::{mend, unmovable};

use crate::error::{Error, Result};
use crate::payload::{Jid, MAX_PAYLOAD, Payload};
use crate::store::{RedisOptions, Script, Store};
pub use crate::store::{Reply, ScriptCall};
use crate::time::{EpochSecs, StampForm, Stamps};
pub(crate) use middleware::Chain;

/// Pushes jobs. Cheap to clone; all clones on a runtime share one connection, made when first needed.
///
/// How sure a push is can be raised for all pushes ([`ClientBuilder`]) or for one
/// ([`idempotent`](Self::idempotent), [`wait_for_replicas`](Self::wait_for_replicas)).
///
/// ```no_run
/// # async fn example() -> ferrokiq::Result<()> {
/// use ferrokiq::{Client, Payload};
///
/// let client = Client::open("redis://127.0.0.1:6379/0")?;
/// let jid = client.push(Payload::new("RubyOnlyJob", [1.into(), "x".into()]).with_queue("ruby")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Shared>, Delivery, Option<Arc<Inherited>>);

struct Shared {
    sink: Sink,
    chain: Chain,
    stamps: Stamps,
    /// Bytes a payload may have for the workers, `usize::MAX` for any.
    max_payload: usize,
    /// Reads the versions of the processes on this Redis; `None` where `stamps` is configured, or a server keeps it current.
    fleet: Option<Fleet>,
}

/// Where jobs go.
enum Sink {
    Redis(Store),
    #[cfg(feature = "testing")]
    Test(Arc<dyn TestSink>),
}

/// What stands in for Redis in the tests of an app.
#[cfg(feature = "testing")]
pub(crate) trait TestSink: Send + Sync {
    /// What was pushed idempotently.
    fn pushed(&self) -> &Pushed;

    fn accept<'a>(
        &'a self,
        client: &'a Client,
        payload: Payload,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
}

/// The jids that were pushed idempotently: what the keys `ferrokiq:pushed:JID` are in Redis.
#[cfg(feature = "testing")]
#[derive(Debug, Default)]
pub(crate) struct Pushed(std::sync::Mutex<std::collections::HashSet<String>>);

#[cfg(feature = "testing")]
impl Pushed {
    fn is_new(&self, jid: String) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(jid)
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
}

/// Describes a [`Client`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    redis: Option<RedisOptions>,
    chain: Chain,
    stamps: Option<StampForm>,
    delivery: Delivery,
    max_payload: Option<usize>,
}

impl ClientBuilder {
    /// Where Redis is; `REDIS_PROVIDER` / `REDIS_URL` unless said.
    pub fn redis(mut self, options: RedisOptions) -> Self {
        self.redis = Some(options);
        self
    }

    /// Code around every push; the first added is the outermost.
    pub fn middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        self.chain.add(middleware);
        self
    }

    /// How stamps are written. Unless said, the client looks once a minute at the versions of the live processes and writes
    /// [`StampForm::Secs`] if one is before Sidekiq 8, [`StampForm::Millis`] if not.
    pub fn stamps(mut self, form: StampForm) -> Self {
        self.stamps = Some(form);
        self
    }

    /// Every push is [idempotent](Client::idempotent).
    pub fn idempotent(mut self) -> Self {
        self.delivery = self.delivery.idempotent();
        self
    }

    /// Every push [waits for replicas](Client::wait_for_replicas).
    pub fn wait_for_replicas(mut self, count: usize, within: Duration) -> Self {
        self.delivery = self.delivery.wait_for_replicas(count, within);
        self
    }

    /// Bytes a payload may have for the workers that read what this client pushes: 16 MiB by default, 0 for no limit. A push of more,
    /// less one part in 256 for the error of a failed job, returns an error. Give the workers the same value
    /// ([`ServerBuilder::max_payload`](crate::server::ServerBuilder::max_payload)); Ruby's have no limit.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(if bytes == 0 { usize::MAX } else { bytes });
        self
    }

    /// Checks the settings. Connects only when first needed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an environment without a usable URL.
    pub fn build(self) -> Result<Client> {
        let options = self.redis.map_or_else(RedisOptions::from_env, Ok)?;
        let stamps = Stamps::default();
        let fleet = match self.stamps {
            Some(form) => {
                stamps.set(form);
                None
            }
            None => Some(Fleet::default()),
        };
        let max_payload = self.max_payload.unwrap_or(MAX_PAYLOAD);
        let shared = Shared { sink: Sink::Redis(Store::new(options)), chain: self.chain, stamps, max_payload, fleet };
        Ok(Client(Arc::new(shared), self.delivery, None))
    }
}

impl Client {
    /// Starts describing a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client for a Redis URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unreadable URL.
    pub fn open(url: &str) -> Result<Self> {
        Self::builder().redis(url.parse()?).build()
    }

    /// A client for the Redis that `REDIS_PROVIDER` or `REDIS_URL` names, as Sidekiq finds it.
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::from_env`].
    pub fn from_env() -> Result<Self> {
        Self::builder().build()
    }

    /// The same client, its middleware and its stamps, for another Redis: a shard. As `Sidekiq::Client.via`. It has a connection of
    /// its own, so make it once and keep it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for options that cannot be used.
    pub fn via(&self, redis: RedisOptions) -> Result<Self> {
        let Shared { sink, chain, stamps, max_payload, fleet } = &*self.0;
        let sink = match sink {
            Sink::Redis(_) => Sink::Redis(Store::new(redis)),
            #[cfg(feature = "testing")]
            Sink::Test(sink) => Sink::Test(Arc::clone(sink)),
        };
        // The other Redis has processes of its own.
        let (stamps, fleet) = match fleet {
            Some(_) => (Stamps::default(), Some(Fleet::default())),
            None => (stamps.clone(), None),
        };
        let shared = Shared { sink, chain: chain.clone(), stamps, max_payload: *max_payload, fleet };
        Ok(Self(Arc::new(shared), self.1, self.2.clone()))
    }

    /// A client of a server, which minds the stamps.
    #[cfg(feature = "server")]
    pub(crate) fn over(store: Store, chain: Chain, stamps: Stamps, max_payload: usize) -> Self {
        let shared = Shared { sink: Sink::Redis(store), chain, stamps, max_payload, fleet: None };
        Self(Arc::new(shared), Delivery::default(), None)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn over_test(sink: Arc<dyn TestSink>) -> Self {
        let (chain, stamps) = (Chain::default(), Stamps::default());
        let shared = Shared { sink: Sink::Test(sink), chain, stamps, max_payload: MAX_PAYLOAD, fleet: None };
        Self(Arc::new(shared), Delivery::default(), None)
    }

    /// Pushes one job: to its queue, or to the schedule if it has `at` (epoch seconds). Returns its id, or `None` if a
    /// middleware stopped it.
    ///
    /// What is missing is filled in as Sidekiq does: `retry`, `queue`, `jid`, `created_at`, `enqueued_at`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what Sidekiq rejects.
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis) if it was certainly not pushed. After silence
    /// [`ErrorKind::Ambiguous`](crate::ErrorKind::Ambiguous), with the [jid](crate::Error::jid): it may have been pushed,
    /// and is never pushed a second time without being asked; see [`idempotent`](Self::idempotent).
    /// [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed), too with the jid, only of a client that
    /// [waits for replicas](Self::wait_for_replicas).
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have pushed the job.
    pub async fn push(&self, payload: Payload) -> Result<Option<Jid>> {
        let form = self.stamp_form().await;
        let payload = normalize::complete(payload, *form.as_ref().unwrap_or(&StampForm::default()))?;
        form.map_err(|error| error.with_jid(normalize::jid(&payload)))?;
        let payload = self.passing_on(payload)?;
        let Some(payload) = self.to_push(payload).await? else { return Ok(None) };
        self.check_size(&payload)?;
        let jid = normalize::jid(&payload);
        self.write(vec![payload]).await.map_err(|error| error.with_jid(jid.clone()))?;
        Ok(jid)
    }

    /// Begins a call of a Lua [`Script`] on the Redis of this client: add its keys and arguments, then [`run`](ScriptCall::run) it. Client
    /// middleware does not see it.
    ///
    /// ```no_run
    /// # async fn example(client: &ferrokiq::Client) -> ferrokiq::Result<()> {
    /// use ferrokiq::Script;
    ///
    /// let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let total = client.script(&add).key("app:total").arg("5").run().await?.int();
    /// # Ok(())
    /// # }
    /// ```
    pub fn script<'a>(&'a self, script: &'a Script) -> ScriptCall<'a> {
        match &self.0.sink {
            Sink::Redis(store) => ScriptCall::new(Some(store), script),
            #[cfg(feature = "testing")]
            Sink::Test(_) => ScriptCall::new(None, script),
        }
    }

    /// Checks a payload as [`push`](Self::push) does, and pushes nothing. Middleware does not run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what Sidekiq rejects, and for what a worker would move to the dead set
    /// unread: too large, too many keys, nested too deep.
    pub fn check(&self, payload: &Payload) -> Result<()> {
        self.check_size(&normalize::complete(payload.clone(), StampForm::default())?)
    }

    /// Refuses a payload that is too large for a worker.
    fn check_size(&self, payload: &Payload) -> Result<()> {
        let limit = normalize::max_pushed(self.0.max_payload);
        if payload.may_exceed(limit) { normalize::check_size(payload.class(), payload.size(), limit) } else { Ok(()) }
    }

    /// The same client for a job that is running: what flows from job to job goes with everything it pushes.
    pub(crate) fn inheriting(&self, inherited: Inherited) -> Self {
        let inherited = (!inherited.is_empty()).then(|| Arc::new(inherited));
        Self(Arc::clone(&self.0), self.1, inherited)
    }

    fn passing_on(&self, mut payload: Payload) -> Result<Payload> {
        if let Some(inherited) = &self.2 {
            inherited.fill(&mut payload);
            normalize::check_keys(&payload)?;
        }
        Ok(payload)
    }

    /// How stamps are written now. Fails where Redis cannot be reached.
    pub(crate) async fn stamp_form(&self) -> Result<StampForm> {
        let Shared { sink, stamps, fleet, .. } = &*self.0;
        if let (Some(fleet), Sink::Redis(store)) = (fleet, sink) {
            fleet.look(store, stamps).await?;
        }
        Ok(stamps.form())
    }

    /// Runs the middleware over a payload.
    pub(crate) async fn through_middleware(&self, payload: Payload, moment: middleware::Moment) -> Result<Push> {
        if self.0.chain.is_empty() {
            return Ok(Push::Keep(payload));
        }
        Ok(match self.0.chain.run(payload, moment).await? {
            Push::Keep(changed) => Push::Keep(normalize::checked(changed)?),
            Push::Delay(changed, delay) => Push::Delay(normalize::checked(changed)?, delay),
            Push::Drop => Push::Drop,
        })
    }

    /// The payload to write, once the middleware has seen it; one that is delayed has `at`. `None` if one dropped it.
    async fn to_push(&self, payload: Payload) -> Result<Option<Payload>> {
        Ok(match self.through_middleware(payload, middleware::Moment::Push).await? {
            Push::Keep(payload) => Some(payload),
            Push::Drop => None,
            Push::Delay(mut payload, delay) => {
                let later = Push::later(EpochSecs::now(), delay);
                let own: f64 = payload.decode("at").unwrap_or(0.0);
                if own < later {
                    payload.insert_raw("at", EpochSecs(later).to_string());
                }
                Some(payload)
            }
        })
    }

    /// Writes complete payloads in one round trip: to the schedule if the first has `at`, else to their queues, all or
    /// none.
    async fn write(&self, payloads: Vec<Payload>) -> Result<()> {
        match &self.0.sink {
            Sink::Redis(store) => self.write_to(store, payloads).await,
            #[cfg(feature = "testing")]
            Sink::Test(sink) => {
                for payload in payloads {
                    if self.1.once && !sink.pushed().is_new(jid_of(&payload)?) {
                        continue;
                    }
                    sink.accept(self, payload).await?;
                }
                Ok(())
            }
        }
    }

    async fn write_to(&self, store: &Store, mut payloads: Vec<Payload>) -> Result<()> {
        let Some(first) = payloads.first() else { return Ok(()) };
        let once = self.1.once;
        if first.contains_key("at") {
            let jids = if once { payloads.iter().map(jid_of).collect::<Result<_>>()? } else { Vec::new() };
            let entries: Vec<(String, String)> =
                payloads.into_iter().map(normalize::scheduled).collect::<Result<_>>()?;
            return self.write_later(store, &entries, &jids).await;
        }
        let stamp = self.0.stamps.form().stamp(EpochSecs::now());
        for payload in &mut payloads {
            payload.insert_raw("enqueued_at", stamp.as_str());
        }
        let mut queues: Vec<(String, Vec<String>)> = Vec::with_capacity(1);
        // By queue, as the jobs.
        let mut jids: Vec<Vec<String>> = Vec::new();
        for payload in payloads {
            let at = queues.iter().position(|(queue, _)| queue == payload.queue()).unwrap_or_else(|| {
                queues.push((payload.queue().to_owned(), Vec::new()));
                queues.len() - 1
            });
            if once {
                jids.resize(queues.len(), Vec::new());
                jids[at].push(jid_of(&payload)?);
            }
            queues[at].1.push(payload.into_string());
        }
        let queues: Vec<(&str, Vec<String>)> =
            queues.iter_mut().map(|(queue, jobs)| (queue.as_str(), std::mem::take(jobs))).collect();
        self.write_now(store, &queues, &jids.concat()).await
    }

    /// To their queues, as this client delivers; `jids` count only where each is to be pushed once.
    async fn write_now(&self, store: &Store, queues: &[(&str, Vec<String>)], jids: &[String]) -> Result<()> {
        let Delivery { once, replicas } = self.1;
        if once { store.push_once(queues, jids, replicas).await } else { store.push(queues, replicas).await }
    }

    /// To the schedule; as [`write_now`](Self::write_now).
    async fn write_later(&self, store: &Store, entries: &[(String, String)], jids: &[String]) -> Result<()> {
        let Delivery { once, replicas } = self.1;
        if once { store.schedule_once(entries, jids, replicas).await } else { store.schedule(entries, replicas).await }
    }

    /// Its Redis; `None` for a client of tests.
    #[cfg(feature = "api")]
    pub(crate) fn store(&self) -> Option<&Store> {
        match &self.0.sink {
            Sink::Redis(store) => Some(store),
            #[cfg(feature = "testing")]
            Sink::Test(_) => None,
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn has_middleware(&self) -> bool {
        !self.0.chain.is_empty()
    }
}

fn jid_of(payload: &Payload) -> Result<String> {
    let jid =
        normalize::jid(payload).ok_or_else(|| Error::payload("a job without a jid cannot be pushed idempotently"))?;
    Ok(jid.to_string())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Client");
        match &self.0.sink {
            Sink::Redis(store) => debug.field("redis", store.options()),
            #[cfg(feature = "testing")]
            Sink::Test(_) => debug.field("redis", &"none, this is a test"),
        };
        debug.field("middleware", &self.0.chain).finish_non_exhaustive()
    }
}
