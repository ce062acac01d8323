//! Futures in boxes.

use std::pin::Pin;

/// A future of unknown type that may move between threads.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
