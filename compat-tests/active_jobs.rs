//! The Rust halves of `ruby-fixtures/active_job_classes.rb`.

use std::time::Duration;

use ferrokiq::active_job::{
    ActiveJob, ActiveJobContext, Argument, FromArgument, GlobalId, IntoArgument, Loader, MailDelivery, RetryOn, Rules,
    Symbol, Time,
};
use ferrokiq::job::ArgsError;
use ferrokiq::{JobError, JobOptions, JobResult, ServerBuilder};
use serde_json::json;

use crate::jobs::Proof;

/// Who is in the database.
struct Users;

impl Loader for Users {
    type Model = (String, String);
    const MODELS: &'static [&'static str] = &["User"];

    async fn find(&self, id: &GlobalId) -> Result<Option<Self::Model>, JobError> {
        Ok((id.id() != "404").then(|| (id.model().to_owned(), id.id().to_owned())))
    }
}

/// Where Ruby takes text or a symbol.
pub(crate) struct Greeting(String);

impl FromArgument for Greeting {
    fn from_argument(argument: Argument) -> Result<Self, ArgsError> {
        match argument {
            Argument::Symbol(symbol) => Ok(Self(symbol.to_string())),
            other => String::from_argument(other).map(Self),
        }
    }
}

impl IntoArgument for Greeting {
    fn into_argument(self) -> Argument {
        Symbol::new(self.0).into_argument()
    }
}

ferrokiq::keywords! {
    pub(crate) struct Said { greeting: Greeting, at: Option<Time> }
}

struct GreetActiveJob(Proof);

impl ActiveJob for GreetActiveJob {
    const CLASS: &'static str = "GreetActiveJob";
    type Args = (GlobalId, Said);

    fn options() -> JobOptions {
        JobOptions::new().queue("ruby")
    }

    fn rules(&self) -> Rules {
        Rules::new().discard_on(["Gone"])
    }

    async fn perform(&self, cx: ActiveJobContext, (user, said): Self::Args) -> JobResult {
        let (model, id) = user.load(&Users).await?;
        let tenant: Option<i64> = cx.current()?.get("tenant")?;
        let at = said.at.map(|at| at.secs() as f64 + f64::from(at.nanos()) / 1e9);
        let told = json!([model, id, said.greeting.0, at, cx.locale(), cx.executions(), tenant]);
        self.0.tell_of(cx.jid(), told).await
    }
}

struct RelayActiveJob;

ferrokiq::keywords! {
    pub(crate) struct Relayed { greeting: String }
}

impl ActiveJob for RelayActiveJob {
    const CLASS: &'static str = "RelayActiveJob";
    type Args = (GlobalId, Relayed);

    async fn perform(&self, cx: ActiveJobContext, (user, Relayed { greeting }): Self::Args) -> JobResult {
        let said =
            Said { greeting: Greeting(greeting.clone()), at: Some(Time::parse("2026-01-02T03:04:05.250000000Z")?) };
        GreetActiveJob::later().within(&cx).perform_later(cx.client(), (user.clone(), said)).await?;
        MailDelivery::new("NoticeMailer", "hello")
            .params([("user", user.into_argument())])
            .args((greeting,))
            .set(|later| later.queue("ruby"))
            .deliver_later(cx.client())
            .await?;
        Ok(())
    }
}

struct RetryActiveJob;

impl ActiveJob for RetryActiveJob {
    const CLASS: &'static str = "RetryActiveJob";
    type Args = Vec<Argument>;

    fn rules(&self) -> Rules {
        let secs = Duration::from_secs;
        Rules::new()
            .retry_on(["Flaky", "Timeout::Error"], RetryOn::new().wait(secs(30)).attempts(3).jitter(0.0))
            .retry_on(["ZeroDivisionError"], RetryOn::new().polynomially_longer().queue("slow").priority(4).jitter(0.0))
            .retry_on(["KeyError"], RetryOn::new().wait_by(move |n| secs(60 * n)).attempts(2).exhausted(|_| {}))
            .discard_on(["Gone", "ActiveJob::DeserializationError"])
    }

    async fn perform(&self, _: ActiveJobContext, args: Self::Args) -> JobResult {
        match args.into_iter().next() {
            Some(Argument::String(class)) if class != "fine" => Err(JobError::new(class, "boom")),
            _ => Ok(()),
        }
    }
}

pub(crate) fn register(server: ServerBuilder, proof: &Proof) -> ServerBuilder {
    server
        .register_active_job(GreetActiveJob(proof.clone()))
        .register_active_job(RelayActiveJob)
        .register_active_job(RetryActiveJob)
}
