//! The operator's commands, one file each.

pub(crate) mod cancel;
pub(crate) mod deploy_mark;
pub(crate) mod push;
pub(crate) mod stats;
