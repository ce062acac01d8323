use clap::Args;
use ferrokiq::job::RawArgs;
use ferrokiq::{Client, Payload, Result};
use serde_json::Value;

/// Push a job: `ferrokiq push ReportJob '[1, "monthly"]' --queue low`
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The Ruby class
    class: String,

    /// Its arguments, a JSON array
    #[arg(default_value = "[]")]
    args: String,

    /// The queue
    #[arg(short, long, default_value = "default")]
    queue: String,

    /// Run it so many seconds from now
    #[arg(long = "in", value_name = "SECONDS")]
    delay: Option<f64>,

    /// Retry it so often; 25 unless said
    #[arg(long, value_name = "TIMES")]
    retry: Option<u64>,
}

impl Push {
    pub(crate) async fn run(self, client: &Client) -> Result<String> {
        let payload = self.payload()?;
        match client.push(payload).await? {
            Some(jid) => Ok(jid.to_string()),
            None => Ok("stopped by a middleware".to_owned()),
        }
    }

    fn payload(&self) -> Result<Payload> {
        // Written out by hand so that numbers keep their digits.
        let quoted = |text: &str| Value::from(text).to_string();
        let args = RawArgs::new(self.args.as_str())?;
        let (class, queue) = (quoted(&self.class), quoted(&self.queue));
        let mut payload = Payload::parse(format!(r#"{{"class":{class},"args":{},"queue":{queue}}}"#, args.as_str()))?;
        if let Some(times) = self.retry {
            payload.insert("retry", times);
        }
        if let Some(delay) = self.delay {
            let now = ferrokiq::time::EpochSecs::now().0;
            payload.insert("at", now + delay);
        }
        Ok(payload)
    }
}
