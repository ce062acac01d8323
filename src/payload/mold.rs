use super::index::Span;
use super::{Jid, Payload};

/// The text of jobs that differ in their arguments and ids only.
pub(crate) struct Mold {
    text: String,
    args: Span,
    jid: Span,
}

impl Mold {
    /// From one such job, written out. `None` unless it has both, the arguments first.
    pub(crate) fn of(job: String) -> Option<Self> {
        let job = Payload::parse(job).ok()?;
        let span = |key: &str| job.entries[job.position(key)?].at;
        let (args, jid) = (span("args")?, span("jid")?);
        (args.end() <= jid.start()).then_some(Self { text: job.raw.into_string(), args, jid })
    }

    /// The job with these arguments, a JSON array, and this id.
    pub(crate) fn cast(&self, args: &str, jid: &Jid) -> String {
        let mut job = String::with_capacity(self.text.len() + args.len() + jid.as_str().len());
        job.push_str(&self.text[..self.args.start()]);
        job.push_str(args);
        job.push_str(&self.text[self.args.end()..self.jid.start()]);
        job.push('"');
        job.push_str(jid.as_str());
        job.push('"');
        job.push_str(&self.text[self.jid.end()..]);
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_nothing_but_arguments_and_id() {
        let mold = Mold::of(r#"{"retry":true,"args":[],"class":"A\u00e9","jid":"x","created_at":1}"#.into()).unwrap();
        assert_eq!(
            mold.cast("[1,2]", &"abc".into()),
            r#"{"retry":true,"args":[1,2],"class":"A\u00e9","jid":"abc","created_at":1}"#
        );
        assert!(Mold::of(r#"{"args":[]}"#.into()).is_none());
        assert!(Mold::of(r#"{"jid":"x","args":[]}"#.into()).is_none());
    }
}
