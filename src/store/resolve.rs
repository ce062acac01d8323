//! Resolves host names on threads that no runtime waits for: a resolver without an answer can hold its thread for half a minute, and with a
//! thread of the runtime the end of the process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};

use once_cell::sync::Lazy;
use tokio::sync::oneshot;

/// The addresses of a host, or the error of the resolver.
type Answer = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// Waits for the answer of one lookup.
type Waiter = oneshot::Sender<Answer>;

/// The lookups of this process that have not ended, by host. A further lookup of the same host joins the one that runs, so a resolver that hangs
/// holds one thread for each host and no more.
static RUNNING: Lazy<Mutex<HashMap<String, Vec<Waiter>>>> = Lazy::new(Mutex::default);

/// Returns the addresses of a host: by the system's resolver, or by parsing if it is an address.
///
/// # Errors
///
/// That of the resolver, or of the system if it starts no thread.
///
/// # Cancel safety
///
/// It may be dropped at any point; the thread ends when the resolver returns.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    resolve_by(host, port, |host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())).await
}

async fn resolve_by(
    host: &str,
    port: u16,
    resolver: impl FnOnce(&str) -> io::Result<Vec<IpAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let answer =
        join(host, resolver)?.await.unwrap_or_else(|_| Err((io::ErrorKind::Other, "the resolver panicked".to_owned())));
    let addresses = answer.map_err(|(kind, why)| io::Error::new(kind, why))?;
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// Waits for the lookup of this host that runs, or starts one.
fn join(
    host: &str,
    resolver: impl FnOnce(&str) -> io::Result<Vec<IpAddr>> + Send + 'static,
) -> io::Result<oneshot::Receiver<Answer>> {
    let (waiter, answer) = oneshot::channel();
    let mut running = running();
    if let Some(waiters) = running.get_mut(host) {
        // Callers that gave up do not wait any more.
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
        return Ok(answer);
    }
    start(host.to_owned(), resolver)?;
    running.insert(host.to_owned(), vec![waiter]);
    Ok(answer)
}

#[expect(clippy::disallowed_methods, reason = "every caller gets an answer, even if the resolver panics")]
fn start(host: String, resolver: impl FnOnce(&str) -> io::Result<Vec<IpAddr>> + Send + 'static) -> io::Result<()> {
    let look_up = move || {
        let mut lookup = Lookup(Some(host.clone()));
        let answer = resolver(&host).map_err(|error| (error.kind(), error.to_string()));
        for waiter in lookup.end() {
            let _ = waiter.send(answer.clone());
        }
    };
    std::thread::Builder::new().name("ferrokiq-dns".to_owned()).spawn(look_up).map(drop)
}

/// A lookup that runs. Dropping it ends it without an answer.
struct Lookup(Option<String>);

impl Lookup {
    /// Takes those that wait: the next caller starts another lookup.
    fn end(&mut self) -> Vec<Waiter> {
        self.0.take().and_then(|host| running().remove(&host)).unwrap_or_default()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn running() -> MutexGuard<'static, HashMap<String, Vec<Waiter>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn resolves_names_and_addresses() {
        for host in ["127.0.0.1", "::1"] {
            assert_eq!(resolve(host, 6_379).await.unwrap(), [SocketAddr::new(host.parse().unwrap(), 6_379)]);
        }
        assert!(resolve("localhost", 1).await.unwrap().iter().all(|address| address.ip().is_loopback()));
        assert!(resolve("no such host", 1).await.is_err());
    }

    #[tokio::test]
    async fn a_resolver_that_panics_is_an_error() {
        let error = resolve_by("panics.test", 1, |_| panic!("out of order")).await.unwrap_err();
        assert_eq!(error.to_string(), "the resolver panicked");
        assert!(resolve_by("panics.test", 1, |_| Ok(vec![[127, 0, 0, 1].into()])).await.is_ok());
    }

    #[test]
    fn a_resolver_that_hangs_holds_one_thread_and_no_runtime() {
        let (release, released) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hang = move |_: &str| {
                let _ = released.recv();
                Ok(vec![[127, 0, 0, 1].into()])
            };
            let first = resolve_by("hangs.test", 1, hang);
            assert!(tokio::time::timeout(Duration::from_millis(10), first).await.is_err());
            for _ in 0..20 {
                let next = resolve_by("hangs.test", 1, |_| panic!("a second lookup of the same host"));
                assert!(tokio::time::timeout(Duration::from_millis(1), next).await.is_err());
            }
            assert!(running()["hangs.test"].len() <= 1, "only those that still wait are kept");
        });
        let began = Instant::now();
        drop(runtime);
        assert!(began.elapsed() < Duration::from_secs(10), "the runtime waited for the resolver");
        let last = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(resolve_by("hangs.test", 7, |_| panic!("a second lookup of the same host")))
        });
        while running()["hangs.test"].iter().all(oneshot::Sender::is_closed) {
            std::thread::yield_now();
        }
        drop(release);
        assert_eq!(last.join().unwrap().unwrap(), [SocketAddr::new([127, 0, 0, 1].into(), 7)]);
    }
}
