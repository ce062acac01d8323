//! What starts, quiets and stops the tasks and threads of a server, and what it calls for the user on these occasions.

pub(crate) mod blocking;
pub(crate) mod events;
pub(crate) mod handle;
pub(crate) mod memory_watch;
pub(crate) mod supervisor;
