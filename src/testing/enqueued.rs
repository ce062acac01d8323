use std::time::Duration;

use serde_json::Value;

use super::fake::due;
use crate::job::{Args, BlockingJob, Job};
use crate::payload::Payload;
use crate::time::EpochSecs;

/// A job that should have been pushed; what is not said does not matter. Held against what was by
/// [`assert_enqueued!`](crate::assert_enqueued).
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::testing::Enqueued;
///
/// let reminder = Enqueued::class("ReminderJob").with_json("[7]").queue("mail").after(Duration::from_secs(3_600));
/// assert!(reminder.found_in(&[]).unwrap_err().contains("nothing at all was enqueued"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is held against nothing until `assert_enqueued!`"]
pub struct Enqueued {
    class: String,
    args: Option<Value>,
    queue: Option<String>,
    when: Option<When>,
    options: Vec<(String, Value)>,
    times: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Now,
    /// So long from when it is looked at, give or take [`TOLERANCE`].
    After(Duration),
    At(EpochSecs),
}

/// Seconds a time may be off: a test may be slow.
const TOLERANCE: f64 = 5.0;

impl Enqueued {
    /// A job of this class.
    pub fn job<J: Job>() -> EnqueuedJob<J::Args> {
        EnqueuedJob::new(J::CLASS)
    }

    /// A blocking job of this class.
    pub fn blocking<J: BlockingJob>() -> EnqueuedJob<J::Args> {
        EnqueuedJob::new(J::CLASS)
    }

    /// A job of a class that only Ruby has.
    pub fn class(name: &str) -> Self {
        Self { class: name.to_owned(), args: None, queue: None, when: None, options: Vec::new(), times: None }
    }

    /// With these arguments, a JSON array.
    ///
    /// # Panics
    ///
    /// If it is no JSON.
    pub fn with_json(mut self, args: &str) -> Self {
        self.args = Some(serde_json::from_str(args).expect("the arguments are JSON"));
        self
    }

    /// On this queue.
    pub fn queue(mut self, name: &str) -> Self {
        self.queue = Some(name.to_owned());
        self
    }

    /// To run at once.
    pub fn now(mut self) -> Self {
        self.when = Some(When::Now);
        self
    }

    /// To run so long from now, give or take five seconds.
    pub fn after(mut self, delay: Duration) -> Self {
        self.when = Some(When::After(delay));
        self
    }

    /// To run at a time, give or take a millisecond.
    pub fn at(mut self, time: impl Into<EpochSecs>) -> Self {
        self.when = Some(When::At(time.into()));
        self
    }

    /// With this under another key of the payload, `retry` or `tags` say.
    ///
    /// # Panics
    ///
    /// If it cannot be written as JSON.
    pub fn option(mut self, key: &str, value: impl serde::Serialize) -> Self {
        let value = serde_json::to_value(value).expect("the value can be written as JSON");
        self.options.push((key.to_owned(), value));
        self
    }

    /// So often exactly, 0 for never; at least once unless said.
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Whether the job is among these; if not, what to say about it.
    ///
    /// # Errors
    ///
    /// What was expected, and what was pushed instead, arguments and all.
    pub fn found_in(&self, jobs: &[Payload]) -> Result<(), String> {
        let now = EpochSecs::now();
        let found = jobs.iter().filter(|payload| self.misfit(payload, now).is_none()).count();
        match self.times {
            None if found > 0 => return Ok(()),
            Some(times) if found == times => return Ok(()),
            _ => {}
        }
        let times = match self.times {
            Some(times) => format!("{times} times, and was {found} times"),
            None => "and was not".to_owned(),
        };
        let mut said = format!("{} should have been enqueued, {times}", self.in_words());
        if jobs.is_empty() {
            return Err(said + "; nothing at all was enqueued");
        }
        said.push_str("; enqueued were:");
        for payload in jobs {
            let misfit = self.misfit(payload, now).unwrap_or_else(|| "this is one".to_owned());
            said.push_str(&format!("\n  {} {} on {} ({misfit})", payload.class(), payload.args(), payload.queue()));
        }
        Err(said)
    }

    /// Why a job is not the one.
    fn misfit(&self, payload: &Payload, now: EpochSecs) -> Option<String> {
        if payload.class() != self.class {
            return Some("another class".to_owned());
        }
        if self.args.as_ref().is_some_and(|args| payload.decode::<Value>("args").as_ref() != Some(args)) {
            return Some("other arguments".to_owned());
        }
        if self.queue.as_ref().is_some_and(|queue| payload.queue() != queue) {
            return Some("another queue".to_owned());
        }
        let when = |wanted: f64, tolerance: f64| match due(payload) {
            None => Some("to run at once".to_owned()),
            Some(at) if (at - wanted).abs() > tolerance => Some(format!("to run in {:.0} s", at - now.0)),
            Some(_) => None,
        };
        let misfit = match self.when {
            None => None,
            Some(When::Now) => due(payload).map(|at| format!("to run in {:.0} s", at - now.0)),
            Some(When::After(delay)) => when((now + delay).0, TOLERANCE),
            Some(When::At(at)) => when(at.0, 0.001),
        };
        misfit.or_else(|| {
            let (key, _) =
                self.options.iter().find(|(key, value)| payload.decode::<Value>(key).as_ref() != Some(value))?;
            Some(format!("{key} is {}", payload.get(key).unwrap_or("not set")))
        })
    }

    fn in_words(&self) -> String {
        let mut words = self.class.clone();
        if let Some(args) = &self.args {
            words.push_str(&format!(" with {args}"));
        }
        if let Some(queue) = &self.queue {
            words.push_str(&format!(" on {queue}"));
        }
        match self.when {
            None => {}
            Some(When::Now) => words.push_str(" to run at once"),
            Some(When::After(delay)) => words.push_str(&format!(" to run in {} s", delay.as_secs())),
            Some(When::At(at)) => words.push_str(&format!(" to run at {at}")),
        }
        for (key, value) in &self.options {
            words.push_str(&format!(" with {key} {value}"));
        }
        words
    }
}

/// An [`Enqueued`] whose arguments are a job's.
#[derive(Clone, Debug)]
#[must_use = "it is held against nothing until `assert_enqueued!`"]
pub struct EnqueuedJob<A>(Enqueued, std::marker::PhantomData<fn(A)>);

impl<A: Args> EnqueuedJob<A> {
    fn new(class: &str) -> Self {
        Self(Enqueued::class(class), std::marker::PhantomData)
    }

    /// With these arguments.
    ///
    /// # Panics
    ///
    /// If they cannot be written as JSON.
    pub fn with(self, args: &A) -> Enqueued {
        self.0.with_json(&args.to_json().expect("the arguments can be written as JSON"))
    }

    /// With whatever arguments.
    pub fn with_any(self) -> Enqueued {
        self.0
    }
}

/// Ends the test with a panic unless a job was pushed to a [`Fake`](crate::testing::Fake); tells what was pushed instead.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ferrokiq::Result<()> {
/// use ferrokiq::testing::{Enqueued, Fake};
/// use ferrokiq::{Payload, assert_enqueued};
///
/// let fake = Fake::new();
/// fake.client().push(Payload::new("RubysJob", [7.into()])).await?;
/// assert_enqueued!(fake, Enqueued::class("RubysJob").with_json("[7]").now());
/// assert_enqueued!(fake, Enqueued::class("OtherJob").times(0));
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    ($fake:expr, $job:expr $(,)?) => {
        if let Err(said) = $job.found_in(&$fake.jobs()) {
            panic!("{said}");
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed() -> Vec<Payload> {
        let job = |raw: &str| Payload::parse(raw).unwrap();
        let at = (EpochSecs::now() + Duration::from_secs(60)).to_string();
        vec![
            job(r#"{"class":"A","args":[1,"x"],"queue":"low","retry":5}"#),
            job(&format!(r#"{{"class":"A","args":[2],"queue":"high","at":{at}}}"#)),
        ]
    }

    #[test]
    fn finds_by_all_that_was_said() {
        let jobs = pushed();
        let at = EpochSecs(due(&jobs[1]).unwrap());
        for job in [
            Enqueued::class("A"),
            Enqueued::class("A").times(2),
            Enqueued::class("B").times(0),
            Enqueued::class("A").with_json(r#"[ 1, "x" ]"#).queue("low").now().option("retry", 5),
            Enqueued::class("A").after(Duration::from_secs(60)).times(1),
            Enqueued::class("A").queue("high").at(at),
        ] {
            assert_eq!(job.found_in(&jobs), Ok(()));
        }
    }

    #[test]
    fn tells_what_was_pushed_instead() {
        let jobs = pushed();
        for (job, said) in [
            (Enqueued::class("B"), "B should have been enqueued, and was not; enqueued were:"),
            (Enqueued::class("A").with_json("[3]"), "\n  A [1,\"x\"] on low (other arguments)"),
            (Enqueued::class("A").queue("mid"), "(another queue)"),
            (Enqueued::class("A").after(Duration::from_secs(600)), "A to run in 600 s should"),
            (Enqueued::class("A").after(Duration::from_secs(600)), "on low (to run at once)"),
            (Enqueued::class("A").with_json("[2]").now(), "(to run in 60 s)"),
            (Enqueued::class("A").option("retry", 6), "(retry is 5)"),
            (Enqueued::class("A").option("retry", 6), "(retry is not set)"),
            (Enqueued::class("A").times(1), "1 times, and was 2 times"),
        ] {
            let complaint = job.found_in(&jobs).unwrap_err();
            assert!(complaint.contains(said), "{complaint}");
        }
    }
}
