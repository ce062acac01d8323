use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::server::middleware::BoxFuture;

/// Moments in the life of a server.
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
}

type Hook = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What users want done at those moments.
#[derive(Clone, Default)]
pub(crate) struct Hooks(HashMap<Event, Vec<Hook>>);

impl Hooks {
    pub(crate) fn add<Fut>(&mut self, event: Event, hook: impl Fn() -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.0.entry(event).or_default().push(Arc::new(move || Box::pin(hook())));
    }

    /// Runs the hooks one after the other: the last added first when going down, as Ruby does.
    pub(crate) async fn fire(&self, event: Event) {
        let Some(hooks) = self.0.get(&event) else { return };
        let down = matches!(event, Event::Quiet | Event::Shutdown | Event::Exit);
        let mut order: Vec<&Hook> = hooks.iter().collect();
        if down {
            order.reverse();
        }
        for hook in order {
            // A hook of its own task: a panic in it ends that task and nothing else.
            if let Err(error) = tokio::spawn(hook()).await {
                tracing::error!(?event, %error, "a lifecycle hook failed");
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(event, hooks)| (event, hooks.len()))).finish()
    }
}
