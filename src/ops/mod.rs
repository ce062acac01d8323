//! The operator's commands, one file each.

pub(crate) mod push;
