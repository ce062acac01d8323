//! Which key has another type than a command is for: Redis does not say it.

use redis::{Arg, Cmd, RedisError};

use super::refusal::has_code;
use super::wire::Request;

impl Request<'_> {
    /// The key of the command that Redis refused for its type; `None` for other errors, and for a script, which may name many keys.
    pub(super) fn wrong_key(self, error: &RedisError) -> Option<String> {
        if !has_code(error, &["WRONGTYPE"]) {
            return None;
        }
        let refusals = error.clone().into_server_errors()?;
        let (at, _) = refusals.iter().find(|(_, refusal)| refusal.code() == "WRONGTYPE")?;
        match self {
            Self::Command(command) => key_of(command),
            Self::Pipeline(pipeline)
            | Self::Reads(pipeline)
            | Self::Repeatable(pipeline)
            | Self::LastCounts(pipeline) => key_of(pipeline.cmd_iter().nth(*at)?),
            #[cfg(feature = "server")]
            Self::AnsweredOnce(_) => None,
            Self::Script(_) => None,
        }
    }
}

/// The first key of a command: all commands of ours that take one have it in this place.
fn key_of(command: &Cmd) -> Option<String> {
    match command.args_iter().nth(1)? {
        Arg::Simple(key) => Some(String::from_utf8_lossy(key).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use redis::{Pipeline, cmd};

    use crate::store::Store;
    use crate::testing::Redis;

    #[tokio::test]
    async fn an_error_names_the_key_that_has_another_type() {
        let redis = Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        store.link.query::<()>("test", cmd("SET").arg("text").arg("x")).await.unwrap();
        let error = store.link.query::<usize>("count", cmd("LLEN").arg("text")).await.unwrap_err();
        assert_eq!(error.to_string(), "count failed: the key text has another type; rename it");
        let mut pipeline = Pipeline::new();
        pipeline.cmd("LLEN").arg("none").cmd("SCARD").arg("text");
        let error = store.link.read::<(usize, usize)>("count", &pipeline).await.unwrap_err();
        assert!(error.to_string().contains("the key text has another type"), "{error}");
        let error = store.link.query::<()>("count", &cmd("NONE")).await.unwrap_err();
        assert!(!error.to_string().contains("key"), "{error}");
    }
}
