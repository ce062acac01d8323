use super::error::deserialization;
use super::moment::Time;
use crate::job::ArgsError;
use crate::payload::Payload;

/// What ActiveJob knows about a job: the only argument of the payload around it.
#[derive(Clone, Debug)]
pub(super) struct JobData {
    /// As it lies there; keys that Rails does not know survive.
    pub(super) raw: Payload,
    pub(super) job_class: String,
    pub(super) job_id: String,
    pub(super) queue_name: Option<String>,
    pub(super) priority: Option<i64>,
    /// How often it was begun before.
    pub(super) executions: u64,
    pub(super) locale: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) enqueued_at: Option<Time>,
    pub(super) scheduled_at: Option<Time>,
}

impl JobData {
    /// That of a payload.
    pub(super) fn of(payload: &Payload) -> Result<Self, ArgsError> {
        let raw = first_argument(payload.args())?;
        let raw = Payload::parse(raw).map_err(|_| deserialization("the job's data is no object"))?;
        let text = |key: &str| raw.decode::<String>(key);
        // They only inform, so a job runs whatever they hold.
        let time = |key: &str| Time::parse(&text(key)?).ok();
        Ok(Self {
            job_class: text("job_class").ok_or_else(|| wrong("job_class"))?,
            job_id: text("job_id").unwrap_or_default(),
            queue_name: text("queue_name"),
            priority: raw.decode("priority"),
            executions: match raw.get("executions") {
                None | Some("null") => 0,
                Some(_) => raw.decode("executions").ok_or_else(|| wrong("executions"))?,
            },
            locale: text("locale"),
            timezone: text("timezone"),
            enqueued_at: time("enqueued_at"),
            scheduled_at: time("scheduled_at"),
            raw,
        })
    }

    /// The arguments as JSON; none if it has none, as in Rails.
    pub(super) fn arguments(&self) -> &str {
        self.raw.get("arguments").filter(|raw| *raw != "null").unwrap_or("[]")
    }

    /// How often the errors of a rule were met, `"[Timeout::Error]"` say.
    pub(super) fn exception_executions(&self, rule: &str) -> Option<u64> {
        let counts = Payload::parse(self.raw.get("exception_executions")?).ok()?;
        Some(counts.decode(rule).unwrap_or(0))
    }

    /// Sets that count.
    pub(super) fn count_exception(&mut self, rule: &str, count: u64) {
        if let Some(Ok(mut counts)) = self.raw.get("exception_executions").map(Payload::parse) {
            counts.insert(rule, count);
            self.raw.insert_raw("exception_executions", counts.into_string());
        }
    }
}

fn first_argument(args: &str) -> Result<String, ArgsError> {
    let args: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(args).map_err(|_| deserialization("the payload's arguments are no array"))?;
    match args.as_slice() {
        [data] => Ok(data.get().to_owned()),
        others => {
            let given = others.len();
            Err(ArgsError::new(format!("wrong number of arguments (given {given}, expected 1)")))
        }
    }
}

fn wrong(key: &str) -> ArgsError {
    deserialization(format!("{key} of the job's data is missing or no such thing"))
}
