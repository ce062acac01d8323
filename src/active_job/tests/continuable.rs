//! Jobs in steps against what real Rails 8.1 recorded in `ruby-fixtures/continuable.json`.

use super::*;
use crate::job::{Context, Job, JobError, JobResult, Outcome, Run, StopSignal};
use crate::testing::Fake;

/// As `ContinuedActiveJob` in `ruby-fixtures/continuable.rb`.
struct Continued<const MOST: u64>(StopSignal);

impl<const MOST: u64> Continued<MOST> {
    fn texts(kind: &str) -> Vec<Argument> {
        let list = |items: &[Argument]| Argument::Array(items.to_vec());
        match kind {
            "text" => vec!["é\"#{x}\n".into_argument(), "plain".into_argument()],
            "list" => vec![
                list(&[
                    1.into_argument(),
                    "a".into_argument(),
                    Argument::Nil,
                    1.5.into_argument(),
                    true.into_argument(),
                ]),
                list(&[2.into_argument(), "b".into_argument()]),
            ],
            _ => Vec::new(),
        }
    }
}

impl<const MOST: u64> ActiveJob for Continued<MOST> {
    const CLASS: &'static str = if MOST == 1 { "LimitedActiveJob" } else { "ContinuedActiveJob" };
    type Args = (String,);

    fn max_resumptions(&self) -> Option<u64> {
        (MOST == 1).then_some(MOST)
    }

    async fn perform(&self, cx: ActiveJobContext, (kind,): (String,)) -> JobResult {
        let (kind, stop, resumptions) = (kind.as_str(), &self.0, cx.resumptions());
        let validate = |_| async {
            if kind == "between" {
                stop.trigger();
            }
            Ok(())
        };
        cx.step("validate", validate).await?;
        cx.step("records", |step| async move {
            for cursor in Self::texts(kind) {
                stop.trigger();
                step.set(cursor)?;
            }
            for record in step.cursor()?.unwrap_or(0)..5_i64 {
                if (kind == "failed" && record == 3) || (kind == "failed_first" && record == 0 && resumptions > 0) {
                    return Err(JobError::new("KeyError", "gone"));
                }
                if kind == "within" && [1, 3].contains(&record) {
                    stop.trigger();
                }
                step.set(record + 1)?;
            }
            Ok(())
        })
        .await?;
        cx.step("finish", |step| async move { step.checkpoint() }).await
    }
}

/// As `InvalidActiveJob` there.
struct Invalid;

impl ActiveJob for Invalid {
    const CLASS: &'static str = "InvalidActiveJob";
    type Args = (String,);

    fn rules(&self) -> Rules {
        Rules::new().retry_on(["Busy"], RetryOn::new().jitter(0.0))
    }

    async fn perform(&self, cx: ActiveJobContext, (kind,): (String,)) -> JobResult {
        let nothing = |_: Step| async { Ok(()) };
        match kind.as_str() {
            "twice" => {
                cx.step("one", nothing).await?;
                cx.step("one", nothing).await
            }
            "nested" => cx.step("one", |_| cx.step("two", nothing)).await,
            "order" => cx.step("two", nothing).await,
            "resume" => cx.step("other", nothing).await,
            "busy" => Err(JobError::new("Busy", "later")),
            _ => Ok(()),
        }
    }
}

/// Runs a job once. Returns its result and the jobs it enqueued.
async fn run<J: ActiveJob>(job: J, payload: &Payload, stop: StopSignal) -> (JobResult, Vec<Payload>) {
    let fake = Fake::new();
    let (queue, client) = (payload.queue().into(), fake.client());
    let cx = Context::new(payload.clone(), Run { queue, client, stop, deadline: None, max_iteration_runtime: None });
    let args = crate::job::RawArgs::new(payload.args()).unwrap();
    (running::Running(job).perform(cx, args).await, fake.jobs())
}

async fn run_of_class(payload: &Payload) -> (JobResult, Vec<Payload>) {
    let stop = StopSignal::default();
    match payload.display_class() {
        "ContinuedActiveJob" => run(Continued::<0>(stop.clone()), payload, stop).await,
        "LimitedActiveJob" => run(Continued::<1>(stop.clone()), payload, stop).await,
        _ => run(Invalid, payload, stop).await,
    }
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    payload: String,
    left: Vec<(f64, String)>,
    raises: Option<(String, String)>,
}

fn recorded() -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ruby-fixtures/continuable.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_run_of_steps_leaves_what_rails_leaves_byte_for_byte() {
    let rows = recorded();
    assert!(rows.len() >= 22, "{}", rows.len());
    for Recorded { name, payload, left, raises } in rows {
        let payload = Payload::parse(payload).unwrap();
        let began = SystemTime::now();
        let (outcome, pushed) = run_of_class(&payload).await;
        let error = outcome.err().map(|error| (error.class().to_owned(), error.message().to_owned()));
        assert_eq!(error, raises, "{name}");
        assert_eq!(pushed.len(), left.len(), "{name}");
        let Some((mut ours, (_, recorded))) = pushed.into_iter().zip(left).next() else { continue };
        let recorded = Payload::parse(recorded).unwrap();
        // What is drawn, and what depends on the moment.
        let data = JobData::of(&ours).unwrap();
        let wait = data.scheduled_at.unwrap().to_system_time().unwrap().duration_since(began).unwrap();
        assert!(wait >= Duration::from_secs(5), "{name}: {wait:?}");
        let mut raw = data.raw;
        let theirs = JobData::of(&recorded).unwrap();
        for key in ["enqueued_at", "scheduled_at"] {
            raw.insert_raw(key, theirs.raw.get(key).unwrap());
        }
        ours.insert_raw("args", format!("[{}]", raw.as_str()));
        ours.remove("at").unwrap();
        for key in ["jid", "created_at"] {
            ours.insert_raw(key, recorded.get(key).unwrap());
        }
        assert_eq!(ours.as_str(), recorded.as_str(), "{name}");
    }
}

#[tokio::test]
async fn a_job_that_uses_no_steps_keeps_those_of_its_payload_byte_for_byte() {
    let kept = r#""continuation":{ "completed":["one"],"current":["two",{"a":1e3}], "later":7},"resumptions":3.0"#;
    let data = format!(r#"{{"job_class":"InvalidActiveJob","job_id":"1","arguments":["busy"],"executions":0,{kept}}}"#);
    let payload = format!(r#"{{"class":"Sidekiq::ActiveJob::Wrapper","queue":"q","args":[{data}],"jid":"j"}}"#);
    let (outcome, pushed) = run_of_class(&Payload::parse(payload).unwrap()).await;
    assert!(outcome.is_ok() && pushed.len() == 1);
    assert!(pushed[0].as_str().contains(kept), "{}", pushed[0].as_str());
}

#[tokio::test]
async fn a_job_enqueued_from_rust_is_resumed_until_it_is_done() {
    let (mut payload, mut runs) = (
        Later::<(String,)>::of("ContinuedActiveJob")
            .payload("Sidekiq::ActiveJob::Wrapper", r#"["within"]"#.to_owned(), SystemTime::now())
            .unwrap(),
        0,
    );
    payload.insert("jid", "0123456789ab");
    loop {
        runs += 1;
        let (outcome, mut pushed) = run_of_class(&payload).await;
        outcome.unwrap();
        let Some(next) = pushed.pop() else { break };
        assert!(runs < 5);
        payload = next;
    }
    assert_eq!(runs, 3);
}

#[tokio::test]
async fn steps_that_are_none_fail_the_job_and_keep_its_payload() {
    for continuation in ["7", "[]", r#"{"completed":"x"}"#, r#"{"current":["one"]}"#, r#"{"current":[1,2]}"#] {
        let data = format!(
            r#"{{"job_class":"ContinuedActiveJob","arguments":["fine"],"continuation":{continuation},"resumptions":-1}}"#
        );
        let payload = Payload::parse(format!(r#"{{"class":"W","wrapped":"ContinuedActiveJob","args":[{data}]}}"#));
        let (outcome, pushed) = run_of_class(&payload.unwrap()).await;
        assert_eq!(outcome.unwrap_err().class(), "ActiveJob::DeserializationError", "{continuation}");
        assert!(pushed.is_empty());
    }
}

#[tokio::test]
async fn a_job_that_is_resumed_for_ever_does_not_grow_for_ever() {
    let counts = |bytes| format!(r#"{{"Interrupted at 'records', cursor '{}' (stopping)":1}}"#, "9".repeat(bytes));
    for (bytes, grows) in [(1_000, true), (64 << 10, false)] {
        let data = format!(
            r#"{{"job_class":"ContinuedActiveJob","arguments":["within"],"exception_executions":{}}}"#,
            counts(bytes)
        );
        let payload = Payload::parse(format!(
            r#"{{"class":"W","queue":"q","jid":"j","wrapped":"ContinuedActiveJob","args":[{data}]}}"#
        ));
        let (outcome, pushed) = run_of_class(&payload.unwrap()).await;
        outcome.unwrap();
        let data = JobData::of(&pushed[0]).unwrap();
        let grown = data.raw.get("exception_executions").unwrap() != counts(bytes);
        assert_eq!(grown, grows, "{bytes}");
    }
}

/// Its rules are for every error.
struct Decided;

impl ActiveJob for Decided {
    const CLASS: &'static str = "DecidedActiveJob";
    type Args = (String,);

    fn rules(&self) -> Rules {
        Rules::new().retry_on(["StandardError"], RetryOn::new())
    }

    async fn perform(&self, _: ActiveJobContext, (how,): (String,)) -> JobResult {
        Err(match how.as_str() {
            "snooze" => JobError::snooze(Duration::from_secs(5)),
            "requeue" => JobError::requeue(),
            "kill" => JobError::kill("broken"),
            "discard" => JobError::discard("broken"),
            _ => "broken".into(),
        })
    }
}

#[tokio::test]
async fn the_rules_of_a_class_do_not_see_what_a_job_decides_itself() {
    for (how, expected, enqueued) in [
        ("snooze", "Snooze(5s)", 0),
        ("requeue", "Requeue", 0),
        ("kill", "Kill", 0),
        ("discard", "Discard", 0),
        ("fail", "Done", 1),
    ] {
        let data = format!(r#"{{"job_class":"DecidedActiveJob","arguments":["{how}"],"executions":0}}"#);
        let payload = Payload::parse(format!(r#"{{"class":"W","queue":"q","jid":"j","args":[{data}]}}"#)).unwrap();
        let (result, pushed) = run(Decided, &payload, StopSignal::default()).await;
        let outcome = format!("{:?}", Outcome::from(result));
        assert!(outcome.starts_with(expected), "{how}: {outcome}");
        assert_eq!(pushed.len(), enqueued, "{how}");
    }
}
