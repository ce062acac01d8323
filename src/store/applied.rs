//! The one rule for what may be sent again: how much of a request Redis applied, as an error shows it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::error::Applied;
use super::wire::Request;

impl Request<'_> {
    /// How much Redis applied of this request, which failed with `error`.
    pub(super) fn applied(self, error: &RedisError) -> Applied {
        if error.is_connection_refusal() {
            return Applied::Nothing;
        }
        if error.is_io_error() || error.kind() == ErrorKind::Parse {
            return Applied::Unknown;
        }
        let (Self::Pipeline(pipeline) | Self::Repeatable(pipeline) | Self::LastCounts(pipeline)) = self else {
            return Applied::Nothing;
        };
        let Some(refusals) = error.clone().into_server_errors() else {
            // `EXEC` itself was refused, which discards the transaction. The library does not keep the reason.
            return Applied::Nothing;
        };
        let commands = pipeline.len();
        let refused = refusals.iter().filter(|(at, _)| *at < commands).count();
        // A refused `MULTI` has a place outside the pipeline: then there was no transaction to discard.
        let discarded = error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) && refused == refusals.len();
        let last_refused = || refusals.iter().any(|(at, _)| at + 1 == commands);
        if discarded || refused == commands || matches!(self, Self::LastCounts(_)) && last_refused() {
            Applied::Nothing
        } else {
            Applied::Part
        }
    }

    /// Whether this request may be sent again after `error`.
    pub(super) fn may_be_repeated(self, error: &RedisError) -> bool {
        match self.applied(error) {
            Applied::Nothing => true,
            Applied::Part => matches!(self, Self::Repeatable(_)),
            Applied::Unknown => false,
        }
    }
}
