//! The primary as connections know it, where sentinels decide.

use redis::ConnectionInfo;
use tokio::sync::watch;

/// Sentinels and what they call the primary.
#[derive(Clone)]
pub(super) struct Sentinels {
    pub(super) primary: String,
    pub(super) nodes: Vec<ConnectionInfo>,
}

/// Host and port.
pub(super) type Address = (String, u16);

/// What a connection to the primary knows of a switch.
#[derive(Clone)]
pub(super) struct PrimaryWatch {
    pub(super) address: Address,
    pub(super) known: watch::Receiver<Option<Address>>,
}

impl PrimaryWatch {
    fn is_other(&self, known: &Option<Address>) -> bool {
        known.as_ref().is_some_and(|known| *known != self.address)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_other(&self.known.borrow())
    }

    /// Until another server is the primary.
    pub(super) async fn lost(&self) {
        let mut known = self.known.clone();
        if known.wait_for(|known| self.is_other(known)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
