//! How things are done: for reading, not for calling. The same pages stand in `docs/guide/`; their Rust examples are compiled.

#[doc = include_str!("../docs/guide/getting-started.md")]
pub mod getting_started {}
#[doc = include_str!("../docs/guide/move-a-job.md")]
pub mod move_a_job {}
#[cfg(feature = "active-job")]
#[doc = include_str!("../docs/guide/active-job.md")]
pub mod active_job {}
#[doc = include_str!("../docs/guide/cookbook.md")]
pub mod cookbook {}
#[doc = include_str!("../docs/guide/ticks.md")]
pub mod ticks {}
#[cfg(feature = "testing")]
#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}
#[cfg(feature = "contract")]
#[doc = include_str!("../docs/guide/contracts.md")]
pub mod contracts {}
#[doc = include_str!("../docs/guide/your-gems-beside-rust.md")]
pub mod your_gems_beside_rust {}
#[doc = include_str!("../docs/guide/configuration.md")]
pub mod configuration {}
#[doc = include_str!("../docs/guide/redis.md")]
pub mod redis {}
#[doc = include_str!("../docs/guide/deployment.md")]
pub mod deployment {}
#[doc = include_str!("../docs/guide/operating.md")]
pub mod operating {}
#[doc = include_str!("../docs/guide/metrics.md")]
pub mod metrics {}
#[doc = include_str!("../docs/guide/migrating-from-rusty-sidekiq.md")]
pub mod migrating_from_rusty_sidekiq {}
#[doc = include_str!("../docs/promises.md")]
pub mod promises {}
