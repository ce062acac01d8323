//! How a process describes itself to the Web UI.

use serde::Serialize;

use crate::server::settings::capsule::Capsule;
use crate::server::settings::identity::hostname;
use crate::server::shared::Shared;
use crate::time::EpochSecs;

/// What `info` in the process hash says: the superset of what the Web UIs of Sidekiq 6, 7 and 8 read.
#[derive(Serialize)]
struct Info<'a> {
    hostname: String,
    started_at: f64,
    pid: u32,
    tag: &'a str,
    concurrency: usize,
    capsules: Ordered<CapsuleInfo>,
    queues: Vec<&'a str>,
    weights: Vec<Ordered<u32>>,
    labels: &'a [String],
    identity: &'a str,
    version: &'static str,
    embedded: bool,
}

#[derive(Serialize)]
struct CapsuleInfo {
    concurrency: usize,
    mode: &'static str,
    weights: Ordered<u32>,
}

/// A JSON object whose keys keep their order.
struct Ordered<V>(Vec<(String, V)>);

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// How this process names itself where Sidekiq names its version; the Web UI shows it where it differs from its own.
const VERSION: &str = concat!("ferrokiq-", env!("CARGO_PKG_VERSION"));

/// As JSON.
pub(crate) fn info(shared: &Shared, capsules: &[Capsule]) -> String {
    let weights = |capsule: &Capsule| Ordered(capsule.weights().to_vec());
    let mut queues: Vec<&str> = Vec::new();
    for (queue, _) in capsules.iter().flat_map(Capsule::weights) {
        if !queues.contains(&queue.as_str()) {
            queues.push(queue);
        }
    }
    let info = Info {
        hostname: hostname(),
        started_at: EpochSecs::now().0,
        pid: std::process::id(),
        tag: &shared.config.tag,
        concurrency: capsules.iter().map(Capsule::concurrency).sum(),
        capsules: Ordered(
            capsules
                .iter()
                .map(|capsule| {
                    let info = CapsuleInfo {
                        concurrency: capsule.concurrency(),
                        mode: capsule.mode().as_str(),
                        weights: weights(capsule),
                    };
                    (capsule.name().to_owned(), info)
                })
                .collect(),
        ),
        queues,
        weights: capsules.iter().map(weights).collect(),
        labels: &shared.config.labels,
        identity: &shared.identity,
        version: VERSION,
        embedded: shared.config.embedded,
    };
    serde_json::to_string(&info).expect("process info can be written as JSON")
}
