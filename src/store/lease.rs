//! The lease of a leader, and scripts that run only under the current lease.

use std::fmt;
use std::time::Duration;

use redis::{FromRedisValue, ParsingError, Script, Value};

use super::{Store, keys, scripts};
use crate::error::{Error, ErrorKind, Result};

/// Whom a campaign is for, and its times.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) group: String,
    pub(crate) identity: String,
    /// How long a lease lasts that is not renewed.
    pub(crate) lasts: Duration,
    /// Between the turns of two candidates.
    pub(crate) turn: Duration,
}

/// The answer to a campaign. A greater token belongs to a later lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// This process has the lease, newly or still.
    Leads { token: u64 },
    /// Another process has it. This one may try again after `pause`.
    Waits { token: u64, pause: Duration },
}

/// A Lua script that runs only under the current lease of a leader; see [`TickContext::run_fenced`](crate::server::TickContext::run_fenced).
#[derive(Clone)]
pub struct FencedScript(Script);

impl FencedScript {
    /// A script from its source: statements that find keys in `KEYS` and arguments in `ARGV`, both counted from 1, and may `return` a string
    /// or an integer. It has no `#!lua` line. Redis loads it with the first run.
    ///
    /// ```
    /// use ferrokiq::server::FencedScript;
    ///
    /// let script = FencedScript::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// # drop(script);
    /// ```
    pub fn new(source: &str) -> Self {
        Self(scripts::fenced(source))
    }
}

impl fmt::Debug for FencedScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FencedScript").field(&self.0.get_hash()).finish()
    }
}

/// The answer to a fenced script.
#[derive(Debug, PartialEq, Eq)]
enum Fenced {
    /// It did not run.
    Refused,
    /// It ran, and returned this.
    Ran(Option<Vec<u8>>),
}

impl FromRedisValue for Fenced {
    fn from_redis_value(answer: Value) -> std::result::Result<Self, ParsingError> {
        let mut returned = match answer {
            Value::Nil => return Ok(Self::Refused),
            Value::Array(returned) => returned,
            other => vec![other],
        };
        let returned = match returned.pop() {
            None | Some(Value::Nil) => None,
            Some(Value::Int(number)) => Some(number.to_string().into_bytes()),
            Some(Value::BulkString(bytes)) => Some(bytes),
            Some(Value::SimpleString(text)) => Some(text.into_bytes()),
            Some(Value::Okay) => Some(b"OK".to_vec()),
            Some(_) => return Err("a fenced script returned neither a string nor an integer".into()),
        };
        Ok(Self::Ran(returned))
    }
}

impl Store {
    /// Takes or renews the lease of a group. `known` is the greatest token that this process knows of it: a new lease gets a greater one, even
    /// if Redis lost the lease. The same call after a lost answer changes nothing.
    pub(crate) async fn campaign(&self, of: &Candidate, known: u64) -> Result<Campaign> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut campaign = scripts::CAMPAIGN.key(keys::leader(&of.group));
        campaign.arg(&of.identity).arg(millis(of.lasts)).arg(known).arg(millis(of.turn)).arg(keys::LEADER_TTL);
        let (leads, token, pause): (bool, u64, u64) = self.link.eval("campaign for the lead", &campaign).await?;
        let pause = Duration::from_millis(pause);
        Ok(if leads { Campaign::Leads { token } } else { Campaign::Waits { token, pause } })
    }

    /// Gives the lease of a group back, if this process has it.
    pub(crate) async fn resign(&self, of: &Candidate) -> Result<()> {
        self.link.eval("resign the lead", scripts::RESIGN.key(keys::leader(&of.group)).arg(&of.identity)).await
    }

    /// Runs a script if `token` is that of the current lease of a group; returns what it returned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotLeader`] if not: then it changed nothing.
    pub(crate) async fn run_fenced(
        &self,
        (group, token): (&str, u64),
        script: &FencedScript,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Option<Vec<u8>>> {
        let mut run = script.0.key(keys::leader(group));
        run.arg(token);
        for key in keys {
            run.key(*key);
        }
        for arg in args {
            run.arg(*arg);
        }
        match self.link.eval("run a fenced script", &run).await? {
            Fenced::Ran(returned) => Ok(returned),
            Fenced::Refused => Err(Error::new(
                ErrorKind::NotLeader,
                format!("the lease with token {token} is not the current one: another process leads, or Redis lost it"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_script_returns_a_string_an_integer_or_nothing() {
        let parse = |answer: &str| Fenced::from_redis_value(redis::parse_redis_value(answer.as_bytes()).unwrap()).ok();
        let ran = |returned: Option<&str>| Some(Fenced::Ran(returned.map(|text| text.as_bytes().to_vec())));
        assert_eq!(parse("$-1\r\n"), Some(Fenced::Refused));
        for nothing in ["*0\r\n", "*1\r\n$-1\r\n"] {
            assert_eq!(parse(nothing), ran(None));
        }
        for (answer, text) in [("*1\r\n:-7\r\n", "-7"), ("*1\r\n$2\r\n\u{e9}\r\n", "\u{e9}"), ("*1\r\n+OK\r\n", "OK")] {
            assert_eq!(parse(answer), ran(Some(text)));
        }
        assert_eq!(parse("*1\r\n*1\r\n:1\r\n"), None, "an array");
    }
}
