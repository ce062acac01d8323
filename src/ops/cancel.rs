use clap::Args;
use ferrokiq::{Client, Result};

/// Ask an iterable job to end before its next item: `ferrokiq cancel 6fac50c1db3c621b388a7e46`
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Its jid
    jid: String,
}

impl Cancel {
    pub(crate) async fn run(self, client: &Client) -> Result<String> {
        let at = client.cancel(&self.jid.as_str().into()).await?;
        Ok(format!("{} is cancelled since {}", self.jid, at.secs()))
    }
}
