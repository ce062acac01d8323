//! The Rust halves of the jobs of `ruby-fixtures/jobs.rb`. Every job tells Redis what it did, under `proof:*`.

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use ferrokiq::job::{Indexed, IterableJob, RawArgs, Variadic};
use ferrokiq::{
    BlockingJob, Context, Job, JobError, JobOptions, JobResult, OnExhausted, Payload, RetryIn, ServerBuilder,
};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

/// The Redis that proofs are told to: the one the jobs come from.
#[derive(Clone)]
pub(crate) struct Proof(MultiplexedConnection);

impl Proof {
    pub(crate) async fn open(url: &str) -> Result<Self, redis::RedisError> {
        // Many tests start at the same time, and a busy machine takes longer than the library's second.
        let patience = Some(std::time::Duration::from_secs(20));
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        Ok(Self(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?))
    }

    async fn tell(&self, cx: &Context, what: Value) -> JobResult {
        self.tell_of(cx.jid(), what).await
    }

    pub(crate) async fn tell_of(&self, jid: &str, what: Value) -> JobResult {
        self.write(jid, &json!(["rust", what]).to_string()).await
    }

    async fn write(&self, jid: &str, proof: &str) -> JobResult {
        redis::pipe()
            .rpush(format!("proof:{jid}"), proof)
            .hincr("proof:count", "rust", 1)
            .exec_async(&mut self.0.clone())
            .await?;
        Ok(())
    }
}

struct EchoJob(Proof);

impl Job for EchoJob {
    const CLASS: &'static str = "EchoJob";
    type Args = RawArgs;

    async fn perform(&self, cx: Context, args: RawArgs) -> JobResult {
        // Numbers of any size and floats of any spelling, as they came.
        self.0.write(cx.jid(), &format!(r#"["rust",{}]"#, args.as_str())).await
    }
}

struct NoopJob;

impl Job for NoopJob {
    const CLASS: &'static str = "NoopJob";
    type Args = (String, i64, Value);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        Ok(())
    }
}

/// Adds a byte to a file, which tells how often it ran even where the process ends in the next moment.
struct TallyJob;

impl Job for TallyJob {
    const CLASS: &'static str = "TallyJob";
    type Args = (String,);

    async fn perform(&self, _cx: Context, (path,): Self::Args) -> JobResult {
        static TALLY: OnceLock<std::io::Result<File>> = OnceLock::new();
        let tally = TALLY.get_or_init(|| File::options().append(true).create(true).open(path));
        let mut tally = tally.as_ref().map_err(|error| error.to_string())?;
        tally.write_all(b".")?;
        Ok(())
    }
}

struct FlakyJob(Proof);

impl Job for FlakyJob {
    const CLASS: &'static str = "FlakyJob";
    type Args = (Value,);

    async fn perform(&self, cx: Context, (key,): Self::Args) -> JobResult {
        let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let mut set = redis::cmd("SET");
        let first: Option<String> =
            set.arg(format!("proof:flaky:{name}")).arg(1).arg("NX").query_async(&mut self.0.0.clone()).await?;
        if first.is_some() {
            return Err(JobError::new("ArgumentError", format!("not yet, {name}")));
        }
        self.0.tell(&cx, key).await
    }
}

/// A class whose jobs fail with `ArgumentError`, whenever they run.
macro_rules! failing {
    ($($name:ident $(retry $retry:literal)? $(retry_in $retry_in:expr)?;)+) => {$(
        struct $name;

        impl Job for $name {
            const CLASS: &'static str = stringify!($name);
            type Args = (String,);

            async fn perform(&self, _cx: Context, (message,): Self::Args) -> JobResult {
                Err(JobError::new("ArgumentError", message))
            }

            $(fn options() -> JobOptions {
                JobOptions::new().retry($retry)
            })?

            $(fn retry_in(&self, count: u32, _error: &JobError) -> RetryIn {
                $retry_in(count)
            })?
        }
    )+};
}

failing! {
    FailJob;
    DoomedJob retry 0;
    PatientJob retry 3 retry_in |count: u32| RetryIn::After(Duration::from_secs(100 * u64::from(count + 1)));
    KilledJob retry_in |_| RetryIn::Kill;
    DiscardedJob retry_in |_| RetryIn::Discard;
}

struct SlowJob(Proof);

impl Job for SlowJob {
    const CLASS: &'static str = "SlowJob";
    type Args = (f64,);

    async fn perform(&self, cx: Context, (seconds,): Self::Args) -> JobResult {
        self.0.tell(&cx, "started".into()).await?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        self.0.tell(&cx, "ended".into()).await
    }
}

/// As `SlowJob`, but it blocks its thread and cannot be interrupted.
struct StubbornJob;

impl BlockingJob for StubbornJob {
    const CLASS: &'static str = "StubbornJob";
    type Args = (f64,);

    fn perform(&self, _cx: Context, (seconds,): Self::Args) -> JobResult {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        Ok(())
    }
}

struct HandoverJob(Proof);

impl Job for HandoverJob {
    const CLASS: &'static str = "HandoverJob";
    type Args = (String,);

    async fn perform(&self, cx: Context, (text,): Self::Args) -> JobResult {
        cx.client().push(Payload::new("RubyEchoJob", [text.as_str().into()]).with_queue("ruby")).await?;
        self.0.tell(&cx, text.into()).await
    }
}

/// Has a last word when its retries are over; wants no burial if that is its message.
struct LastWordJob(Proof);

impl Job for LastWordJob {
    const CLASS: &'static str = "LastWordJob";
    type Args = (String,);

    async fn perform(&self, _cx: Context, (message,): Self::Args) -> JobResult {
        Err(JobError::new("ArgumentError", message))
    }

    fn options() -> JobOptions {
        JobOptions::new().retry(0)
    }

    #[expect(clippy::disallowed_methods, reason = "the test looks for what it writes")]
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        let (proof, jid, message) = (self.0.clone(), payload.jid().to_owned(), error.message().to_owned());
        let discard = message == "discard";
        tokio::spawn(async move { proof.tell_of(&jid, json!(["exhausted", message])).await });
        if discard { OnExhausted::Discard } else { OnExhausted::Bury }
    }
}

/// Pushes a job to another Redis: a shard.
struct ShardJob(Proof);

impl Job for ShardJob {
    const CLASS: &'static str = "ShardJob";
    type Args = (String, String);

    async fn perform(&self, cx: Context, (url, text): Self::Args) -> JobResult {
        let shard = cx.client().via(url.parse()?)?;
        shard.push(Payload::new("RubyEchoJob", [text.as_str().into()]).with_queue("ruby")).await?;
        self.0.tell(&cx, text.into()).await
    }
}

/// Counts to a number, item by item.
struct CountJob(Proof);

impl IterableJob for CountJob {
    const CLASS: &'static str = "CountJob";
    type Args = (u64, Value);
    type Enumerator = Indexed<u64>;

    async fn build_enumerator(
        &self,
        _cx: &Context,
        (number, _seconds): &Self::Args,
        cursor: Option<u64>,
    ) -> Result<Self::Enumerator, JobError> {
        Ok(Indexed::new((0..*number).collect(), cursor))
    }

    async fn each_iteration(&self, cx: &Context, (_number, seconds): &Self::Args, item: u64) -> JobResult {
        let Some(seconds) = seconds.as_f64() else { return Err(JobError::new("ArgumentError", "no number")) };
        self.0.tell(cx, item.into()).await?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        Ok(())
    }

    async fn on_start(&self, cx: &Context) -> JobResult {
        self.0.tell(cx, "start".into()).await
    }

    async fn on_resume(&self, cx: &Context) -> JobResult {
        self.0.tell(cx, "resume".into()).await
    }

    async fn on_cancel(&self, cx: &Context) -> JobResult {
        self.0.tell(cx, "cancel".into()).await
    }

    async fn on_complete(&self, cx: &Context) -> JobResult {
        self.0.tell(cx, "complete".into()).await
    }
}

/// What Ruby learns of by `contract`: it has no half there.
struct ChargeJob(Proof);

#[derive(serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "contract", derive(schemars::JsonSchema))]
struct Card {
    number: u64,
    kind: CardKind,
    #[serde(default)]
    holder: Option<String>,
}

#[derive(serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "contract", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum CardKind {
    Debit,
    Credit,
}

impl Job for ChargeJob {
    const CLASS: &'static str = "Billing::ChargeJob";
    type Args = (i64, String, Card, Option<f64>);

    fn options() -> JobOptions {
        JobOptions::new().queue("rust").retry(3).tags(["money"])
    }

    #[cfg(feature = "contract")]
    fn args_schema() -> ferrokiq::job::ArgsSchema {
        ferrokiq::job::ArgsSchema::of::<Self::Args>().names(["invoice_id", "note", "card", "tip"])
    }

    async fn perform(&self, cx: Context, (invoice, note, card, tip): Self::Args) -> JobResult {
        self.0.tell(&cx, json!([invoice, note, card, tip])).await
    }
}

/// The same with any number of arguments.
struct SumJob(Proof);

impl Job for SumJob {
    const CLASS: &'static str = "SumJob";
    type Args = Variadic<i32>;

    #[cfg(feature = "contract")]
    fn args_schema() -> ferrokiq::job::ArgsSchema {
        ferrokiq::job::ArgsSchema::of::<Self::Args>().names(["numbers"])
    }

    async fn perform(&self, cx: Context, Variadic(numbers): Self::Args) -> JobResult {
        self.0.tell(&cx, numbers.iter().sum::<i32>().into()).await
    }
}

/// Registers all of them.
pub(crate) fn register(server: ServerBuilder, proof: &Proof) -> ServerBuilder {
    let strict = proof.clone();
    server
        .register(EchoJob(proof.clone()))
        .register(NoopJob)
        .register(FlakyJob(proof.clone()))
        .register(FailJob)
        .register(DoomedJob)
        .register(PatientJob)
        .register(KilledJob)
        .register(DiscardedJob)
        .register(TallyJob)
        .register(SlowJob(proof.clone()))
        .register_blocking(StubbornJob)
        .register_iterable(CountJob(proof.clone()))
        .register(HandoverJob(proof.clone()))
        .register(LastWordJob(proof.clone()))
        .register(ShardJob(proof.clone()))
        .register(ChargeJob(proof.clone()))
        .register(SumJob(proof.clone()))
        .register_fn("StrictJob", move |cx: Context, (id, name): (i64, String)| {
            let proof = strict.clone();
            async move { proof.tell(&cx, json!([id, name])).await }
        })
        .register_fn("PanicJob", |_cx: Context, (message,): (String,)| async move { panic!("{message}") })
}
