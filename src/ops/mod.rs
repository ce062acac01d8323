//! The operator's commands, one file each.

pub(crate) mod cancel;
pub(crate) mod push;
