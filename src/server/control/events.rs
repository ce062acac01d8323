use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::boxed::BoxFuture;
use crate::client::Client;
use crate::contain::{Contained, contained};
use crate::server::control::supervisor::spawn;

/// A moment in the life of a server.
///
/// The hooks of [`Quiet`](Self::Quiet), [`Shutdown`](Self::Shutdown) and [`Exit`](Self::Exit) get the
/// [shutdown timeout](crate::ServerBuilder::timeout): together with the jobs, so in a stop what is left of it, but a quarter of a second each
/// in any case. One that takes longer is logged and aborted at its next `await`. Startup hooks get all the time they want, as in Ruby; one
/// that takes more than 10 s is logged. A heartbeat hook that still runs at the next beat is logged and not called again before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Redis was reached; nothing is fetched yet.
    Startup,
    /// Nothing more is fetched.
    Quiet,
    /// It was told to stop; jobs may still run.
    Shutdown,
    /// Everything has ended.
    Exit,
    /// The first beat, and the first after Redis forgot this process.
    Heartbeat,
    /// Every beat, 10 s apart.
    Beat,
    /// This process became the leader of its [group](crate::ServerBuilder::leader_group): once for each lease that it gets, as the `leader`
    /// event of Sidekiq Enterprise. A hook that still runs when the process gets another lease is logged and not called again.
    Leader,
}

/// The server that calls a hook. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerContext {
    client: Client,
    identity: Arc<str>,
}

impl ServerContext {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        Self { client, identity: identity.into() }
    }

    /// A client for the server's Redis, with its middleware.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name of this process in Redis: `HOST:PID:NONCE`.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

/// A hook of [`ServerBuilder::on`](crate::ServerBuilder::on): an async function without arguments, or with a [`ServerContext`]. `Takes` is
/// inferred.
pub trait LifecycleHook<Takes>: Send + Sync + 'static {
    /// What it returns.
    type Running: Future<Output = ()> + Send + 'static;

    /// Calls it.
    fn call(&self, server: ServerContext) -> Self::Running;
}

impl<F, Fut> LifecycleHook<()> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Running = Fut;

    fn call(&self, _: ServerContext) -> Fut {
        self()
    }
}

impl<F, Fut> LifecycleHook<(ServerContext,)> for F
where
    F: Fn(ServerContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Running = Fut;

    fn call(&self, server: ServerContext) -> Fut {
        self(server)
    }
}

type Hook = Arc<dyn Fn(ServerContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// What users want done at those moments.
#[derive(Clone, Default)]
pub(crate) struct LifecycleHooks(HashMap<Event, Vec<Hook>>);

impl LifecycleHooks {
    pub(crate) fn add<Takes>(&mut self, event: Event, hook: impl LifecycleHook<Takes>) {
        self.0.entry(event).or_default().push(Arc::new(move |server| Box::pin(hook.call(server))));
    }

    /// Whether nobody wants anything done then.
    pub(crate) fn is_empty(&self, event: Event) -> bool {
        !self.0.contains_key(&event)
    }

    /// Runs the hooks one after the other: the last added first when going down, as Ruby does. Each has until the deadline, or [`LEAST`] if
    /// that is later; without a deadline they have no limit.
    ///
    /// # Cancel safety
    ///
    /// The hook that runs goes on, the others are not called.
    pub(crate) async fn fire(&self, event: Event, server: &ServerContext, deadline: Option<Instant>) {
        let Some(hooks) = self.0.get(&event) else { return };
        let down = matches!(event, Event::Quiet | Event::Shutdown | Event::Exit);
        let mut order: Vec<&Hook> = hooks.iter().collect();
        if down {
            order.reverse();
        }
        for hook in order {
            match contained(|| hook(server.clone())) {
                Ok(running) => run(event, running, deadline).await,
                Err(panic) => tracing::error!(?event, panic, "a lifecycle hook panicked"),
            }
        }
    }
}

/// What a hook gets in a stop even if nothing is left of the timeout.
const LEAST: Duration = Duration::from_millis(250);
/// A hook that takes longer is worth a line.
const LONG: Duration = Duration::from_secs(10);

/// Runs a hook in a task of its own: it may block its thread, and is left behind then.
async fn run(event: Event, running: BoxFuture<'static, ()>, deadline: Option<Instant>) {
    let (mut task, began) = (spawn(Contained::new(running)), Instant::now());
    let first = deadline.map_or(began + LONG, |deadline| deadline.max(began + LEAST));
    let ended = match tokio::time::timeout_at(first, &mut task).await {
        Ok(ended) => ended,
        Err(_) if deadline.is_some() => {
            task.abort();
            return tracing::error!(?event, elapsed = ?began.elapsed(), "a lifecycle hook took too long; it was given up");
        }
        Err(_) => {
            tracing::warn!(?event, "a lifecycle hook has run for 10 s; the server waits for it");
            task.await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => tracing::error!(?event, panic, "a lifecycle hook panicked"),
        Err(error) => tracing::error!(?event, %error, "a lifecycle hook did not end"),
    }
}

impl fmt::Debug for LifecycleHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(event, hooks)| (event, hooks.len()))).finish()
    }
}
