//! Our own numbers under the names and labels of the `metrics` facade, whose recorder is the program's choice.

use std::fmt;
use std::time::Duration;

use metrics::{Histogram, Key, Label, Level, Metadata};

use crate::server::stats::catalog::DURATION;

/// How long jobs of one class take: the one thing that is recorded with each job, by a handle made once.
pub(crate) struct Durations(Histogram);

impl Durations {
    pub(crate) fn of(class: &str) -> Self {
        Self(metrics::with_recorder(|recorder| {
            recorder.register_histogram(&key(DURATION.name, Some(("class", class))), &METADATA)
        }))
    }

    pub(crate) fn record(&self, took: Duration) {
        self.0.record(took.as_secs_f64());
    }
}

impl Default for Durations {
    /// Recorded nowhere.
    fn default() -> Self {
        Self(Histogram::noop())
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").finish_non_exhaustive()
    }
}

/// Where metrics come from.
pub(crate) static METADATA: Metadata<'static> = Metadata::new("ferrokiq", Level::INFO, Some("ferrokiq"));

/// A name, and the one label it may have.
pub(crate) fn key(name: &'static str, label: Option<(&'static str, &str)>) -> Key {
    let labels: Vec<Label> = label.map(|(key, value)| Label::new(key, value.to_owned())).into_iter().collect();
    Key::from_parts(name, labels)
}
