use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A wire to Redis that is longer than loopback: half of the delay each way, at full bandwidth. Threads of their own sleep more
/// exactly than a runtime's clock; they end with the connections.
pub(crate) struct Proxy {
    port: u16,
}

impl Proxy {
    pub(crate) fn start(to: u16, delay_ms: u64) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let delay = Duration::from_millis(delay_ms) / 2;
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let _ = forward(&near, to, delay);
            }
        });
        Ok(Self { port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn forward(near: &TcpStream, to: u16, delay: Duration) -> Result<(), Error> {
    let far = TcpStream::connect(("127.0.0.1", to))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near.try_clone()?, far.try_clone()?, delay);
    carry(far, near.try_clone()?, delay);
    Ok(())
}

/// Every piece arrives the delay after it was read, however many are on the way.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (send, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if send.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (at, piece) in pieces {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
