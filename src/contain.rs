//! Runs code that may panic and returns the panic's message: code of users, and loops that must not end.

use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Calls `code`; a panic in it is an error with its message.
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message)
}

/// Drops a value whose `Drop` may panic; such a panic is logged.
pub(crate) fn discard<T>(what: &str, value: T) {
    if let Err(panic) = contained(|| drop(value)) {
        tracing::error!(panic, "dropping {what} panicked");
    }
}

/// The message of a panic. Its payload may panic itself when it is dropped.
fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(no message)").to_owned();
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Never dropped: it may panic as well, and so on without end.
        let _leaked = ManuallyDrop::new(next);
    }
    text
}

/// A future whose panic is its output. A panic in the future's `Drop` is logged, also when this is dropped before it is ready.
pub(crate) struct Contained<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<'a, T> Contained<'a, T> {
    pub(crate) fn new(future: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Self(Some(future))
    }
}

impl<T> Future for Contained<'_, T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let output = match contained(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        discard("a future", self.0.take());
        Poll::Ready(output)
    }
}

impl<T> Drop for Contained<'_, T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            discard("a future", future);
        }
    }
}

impl<T> fmt::Debug for Contained<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contained").finish_non_exhaustive()
    }
}

/// Runs a user's hook; a panic in it is logged and goes no further.
pub(crate) fn guarded(what: &str, hook: impl FnOnce()) {
    if let Err(panic) = contained(hook) {
        tracing::error!(panic, "{what} panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;
    use std::task::Waker;

    /// Panics when it is dropped, with another of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    /// Ready at once, or never; panics when it is dropped.
    struct Armed(Bomb, bool);

    impl Future for Armed {
        type Output = u8;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            let Self(Bomb, ready) = *self;
            if ready { Poll::Ready(7) } else { Poll::Pending }
        }
    }

    fn poll<T>(future: &mut Contained<'_, T>) -> Poll<Result<T, String>> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn returns_the_message_of_a_panic() {
        assert_eq!(contained(|| 1), Ok(1));
        assert_eq!(contained(|| panic!("a {}", "b")), Err::<(), _>("a b".to_owned()));
        assert_eq!(contained(|| panic_any(7)), Err::<(), _>("(no message)".to_owned()));
    }

    #[test]
    fn survives_what_panics_when_it_is_dropped() {
        assert_eq!(contained(|| panic_any(Bomb)), Err::<(), _>("(no message)".to_owned()));
        discard("a bomb", Bomb);
        let mut ready = Contained::new(Box::pin(Armed(Bomb, true)));
        assert_eq!(poll(&mut ready), Poll::Ready(Ok(7)), "it was ready before it was dropped");
        let mut pending = Contained::new(Box::pin(Armed(Bomb, false)));
        assert_eq!(poll(&mut pending), Poll::Pending);
        drop(pending);
        let mut panics = Contained::new(Box::pin(async {
            let _bomb = Box::new(0);
            panic!("in the middle")
        }));
        assert_eq!(poll(&mut panics), Poll::Ready(Err::<(), _>("in the middle".to_owned())));
    }
}
