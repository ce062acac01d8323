//! What the user decided, and who this process is. Knows neither Redis nor tasks.

pub(crate) mod capsule;
pub(crate) mod cgroup;
pub(crate) mod config;
pub(crate) mod dialect;
pub(crate) mod identity;
pub(crate) mod os;
