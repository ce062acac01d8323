//! Lua scripts of users.

use std::sync::Arc;

use redis::{FromRedisValue, ParsingError, ScriptInvocation, Value};

use super::Store;
use super::wire::Request;
use crate::error::{Error, ErrorKind, Result};

/// A Lua script for Redis. [`Client::script`](crate::Client::script) runs it.
///
/// Make it once and keep it, in a `LazyLock` for example: that computes its SHA-1, by which it is called. Redis gets the text only when it does
/// not know the script.
///
/// A script declares each key that it reads or writes ([`ScriptCall::key`]) and builds no names itself. Redis alone does not check that. Proxies,
/// and servers that run scripts side by side, do.
///
/// ```
/// use std::sync::LazyLock;
/// use ferrokiq::{Client, Script};
///
/// /// Adds to a counter, up to a limit.
/// static TAKE: LazyLock<Script> = LazyLock::new(|| {
///     Script::new(
///         "if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
///          redis.call('INCR', KEYS[1])
///          redis.call('EXPIRE', KEYS[1], 60)
///          return 1",
///     )
/// });
///
/// async fn take(client: &Client) -> ferrokiq::Result<bool> {
///     let taken = client.script(&TAKE).key("app:used").arg("100").run().await?;
///     Ok(taken.int() == Some(1))
/// }
/// # drop(take);
/// ```
#[derive(Clone, Debug)]
pub struct Script {
    script: Arc<redis::Script>,
    repeatable: bool,
}

impl Script {
    /// A script with this text. It may begin with a line of flags, `#!lua flags=allow-oom` for example. It is called once: if its answer is
    /// lost, the call returns [`ErrorKind::Ambiguous`].
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::of(redis::Script::new(text.as_ref()))
    }

    pub(super) fn of(script: redis::Script) -> Self {
        Self { script: Arc::new(script), repeatable: false }
    }

    /// Declares that a second run with the same keys and arguments changes nothing that the first one did not. If its answer is lost, the script
    /// is called once more.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// One call of a [`Script`], with its keys and arguments.
#[derive(Debug)]
#[must_use = "a call does nothing until `run`"]
pub struct ScriptCall<'a> {
    /// `None` in the tests of an app, where there is no Redis.
    store: Option<&'a Store>,
    call: Call<'a>,
    repeatable: bool,
    /// For errors.
    doing: &'static str,
}

/// Shown by nothing but its name: its arguments may be secret.
struct Call<'a>(ScriptInvocation<'a>);

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl<'a> ScriptCall<'a> {
    pub(crate) fn new(store: Option<&'a Store>, script: &'a Script) -> Self {
        Self { store, call: Call(script.script.prepare_invoke()), repeatable: script.repeatable, doing: "run a script" }
    }

    /// What an error says was tried.
    pub(super) fn doing(self, doing: &'static str) -> Self {
        Self { doing, ..self }
    }

    /// Declares a key, the next one of `KEYS`.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.call.0.key(key.as_ref());
        self
    }

    /// Adds an argument, the next one of `ARGV`. A number is written as text.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.call.0.arg(arg.as_ref());
        self
    }

    /// Runs the script on the connection that all clones of the client share. Loads it, and calls it again, where Redis does not know it; calls
    /// it once more, on a new connection, where a failover is going on and Redis applied nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`] if Redis could not be reached, or refused the script or one of its commands. Redis does not roll back: what the
    /// script wrote before a refused command stays written. [`ErrorKind::Ambiguous`] if the answer was lost: the script may have run, and for a
    /// [repeatable](Script::repeatable) one so may the second call. [`ErrorKind::Config`] if the client is one of
    /// the feature `testing`: there is no Redis.
    ///
    /// # Cancel safety
    ///
    /// Redis may run the script though the future was dropped.
    pub async fn run(self) -> Result<Reply> {
        let Some(store) = self.store else {
            return Err(Error::new(ErrorKind::Config, "a client without Redis runs no scripts"));
        };
        let run = async || store.link.run(self.doing, Request::Script(&self.call.0)).await;
        match run().await {
            Err(error) if error.is_ambiguous() && self.repeatable => run().await,
            answer => answer,
        }
    }
}

/// What a [`Script`] returned.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// `nil` or `false`.
    Nil,
    /// A number, without its fraction, or `true`.
    Int(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// A table with numbers as keys, up to its first `nil`.
    List(Vec<Reply>),
}

impl Reply {
    /// The number, if it is one.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The bytes, if it is a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The text, if it is a string of UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The items, if it is a list.
    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> std::result::Result<Self, ParsingError> {
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::Boolean(yes) => Self::Int(yes.into()),
            Value::Okay => Self::Bytes(b"OK".to_vec()),
            Value::SimpleString(text) => Self::Bytes(text.into_bytes()),
            Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from_redis_value).collect::<std::result::Result<_, _>>()?)
            }
            other => Self::Bytes(Vec::from_redis_value(other)?),
        })
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "testing"))]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::testing::Redis;
    use crate::testing::refusing::{Fault, Refusing, Which};

    #[tokio::test]
    async fn an_answer_keeps_what_the_script_returned() {
        let redis = Redis::start().unwrap();
        let client = Client::builder().redis(redis.options().unwrap()).build().unwrap();
        let script = Script::new(
            "return { KEYS[1], ARGV[1], 7.9, { true, 'x' }, redis.status_reply('FINE'), false, 1, nil, 2 }",
        );
        let answer = client.script(&script).key("k").arg(b"\xff").run().await.unwrap();
        let items = answer.list().unwrap();
        assert_eq!((items[0].text(), items[1].bytes(), items[1].text()), (Some("k"), Some(&b"\xff"[..]), None));
        assert_eq!((items[2].int(), items[3].list().map(<[_]>::len)), (Some(7), Some(2)));
        assert_eq!((items[3].list().unwrap()[0].int(), items[4].text()), (Some(1), Some("FINE")));
        assert_eq!((&items[5], items[6].int(), items.len()), (&Reply::Nil, Some(1), 7));
        assert_eq!((answer.int(), answer.text(), items[0].list()), (None, None, None));
        let refused =
            client.script(&Script::new("return redis.call('HGET', KEYS[1], 'a') + ")).run().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Redis);
    }

    #[tokio::test]
    async fn only_a_repeatable_script_is_called_again_after_a_lost_answer() {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("proxy.sock");
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        let client = Client::builder().redis(format!("unix://{}", near.display()).parse().unwrap()).build().unwrap();
        let script = Script::new("return redis.call('INCR', KEYS[1])");
        let call = async |script: &Script| client.script(script).key("calls").run().await;
        assert_eq!(call(&script).await.unwrap(), Reply::Int(1));
        proxy.plan(Some((Which::Number(0), Fault::LoseAnswer)));
        assert_eq!(call(&script).await.unwrap_err().kind(), ErrorKind::Ambiguous);
        assert_eq!(call(&script).await.unwrap(), Reply::Int(3), "it ran, once");
        proxy.plan(Some((Which::Number(0), Fault::LoseAnswer)));
        assert_eq!(call(&script.clone().repeatable()).await.unwrap(), Reply::Int(5), "it ran twice");
        proxy.plan(Some((Which::Number(0), Fault::Refuse("OOM"))));
        assert_eq!(
            call(&script.clone().repeatable()).await.unwrap_err().kind(),
            ErrorKind::Redis,
            "refused is refused"
        );
        proxy.plan(Some((Which::Number(0), Fault::Refuse("READONLY"))));
        assert_eq!(call(&script).await.unwrap(), Reply::Int(6), "nothing was applied");
        proxy.plan(Some((Which::Number(0), Fault::Refuse("NOSCRIPT"))));
        assert_eq!(call(&script).await.unwrap(), Reply::Int(7), "it is loaded again");
        assert_eq!(proxy.seen(), ["EVALSHA", "SCRIPT", "EVALSHA"]);
    }
}
