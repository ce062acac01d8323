//! How things are done: for reading, not for calling. The same pages stand in `docs/guide/`.

#[doc = include_str!("../docs/guide/metrics.md")]
pub mod metrics {}
