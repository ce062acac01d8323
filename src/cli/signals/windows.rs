//! The events of a Windows console under the names of the Unix signals that they stand for.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// A Unix signal.
#[derive(Clone, Copy, Debug)]
pub(super) enum SignalKind {
    /// Ctrl-C and Ctrl-Break; service wrappers send one of the two to stop a service.
    Interrupt,
    /// The console closes, or the system shuts down. Windows ends the process about 5 s later.
    Terminate,
    /// A signal that Windows does not have.
    Absent,
}

impl SignalKind {
    pub(super) fn interrupt() -> Self {
        Self::Interrupt
    }

    pub(super) fn terminate() -> Self {
        Self::Terminate
    }

    pub(super) fn hangup() -> Self {
        Self::Absent
    }

    pub(super) fn quit() -> Self {
        Self::Absent
    }

    pub(super) fn user_defined1() -> Self {
        Self::Absent
    }

    pub(super) fn user_defined2() -> Self {
        Self::Absent
    }

    pub(super) fn from_raw(_number: i32) -> Self {
        Self::Absent
    }

    /// The number that C has for it on Windows; 1, which it does not use, for a signal that is absent.
    pub(super) fn as_raw_value(self) -> i32 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Absent => 1,
        }
    }
}

/// Receives the events of one kind.
#[derive(Debug)]
pub(super) enum Signal {
    Interrupt(CtrlC, CtrlBreak),
    Terminate(CtrlClose, CtrlShutdown),
    Absent,
}

/// Installs the handlers of one kind of event.
///
/// # Errors
///
/// Windows refuses the handler.
pub(super) fn signal(kind: SignalKind) -> io::Result<Signal> {
    Ok(match kind {
        SignalKind::Interrupt => Signal::Interrupt(ctrl_c()?, ctrl_break()?),
        SignalKind::Terminate => Signal::Terminate(ctrl_close()?, ctrl_shutdown()?),
        SignalKind::Absent => Signal::Absent,
    })
}

impl Signal {
    /// Waits for the next event; for ever where Windows has none. Cancel safe.
    pub(super) async fn recv(&mut self) -> Option<()> {
        match self {
            Self::Interrupt(first, second) => tokio::select! {
                event = first.recv() => event,
                event = second.recv() => event,
            },
            Self::Terminate(first, second) => tokio::select! {
                event = first.recv() => event,
                event = second.recv() => event,
            },
            Self::Absent => std::future::pending().await,
        }
    }
}
