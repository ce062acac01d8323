use crate::payload::Payload;

/// What flows from a job to the jobs it pushes: its `CurrentAttributes` (`cattr`, `cattr_1`, ...), `locale`, and the trace it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(Box<str>, Box<str>)>);

/// Keys of Sidekiq's I18n middleware and of OpenTelemetry's.
const FLOWING: [&str; 4] = ["locale", "traceparent", "tracestate", "baggage"];

impl Inherited {
    /// That of a job.
    pub(crate) fn of(payload: &Payload) -> Self {
        let keys = payload.keys().filter(|key| flows(key));
        Self(keys.filter_map(|key| Some((key.into(), payload.get(key)?.into()))).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a payload does not say itself.
    pub(super) fn fill(&self, payload: &mut Payload) {
        for (key, value) in &self.0 {
            if !payload.contains_key(key) {
                payload.insert_raw(key, value.clone());
            }
        }
    }
}

/// Whether a key of a job goes to those it pushes.
pub(crate) fn flows(key: &str) -> bool {
    FLOWING.contains(&key) || is_current_attributes(key)
}

/// `cattr`, `cattr_1`, ...
pub(crate) fn is_current_attributes(key: &str) -> bool {
    match key.strip_prefix("cattr") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('_').is_some_and(|number| number.parse::<u32>().is_ok()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_is_not_said() {
        let parent = Payload::parse(
            r#"{"class":"A","cattr":{"user":1},"x":1,"cattr_12":[],"cattrs":1,"cattr_":2,"locale":"fr","traceparent":"00-a"}"#,
        )
        .unwrap();
        let mut child = Payload::parse(r#"{"class":"B","locale":"de"}"#).unwrap();
        Inherited::of(&parent).fill(&mut child);
        assert_eq!(
            child.as_str(),
            r#"{"class":"B","locale":"de","cattr":{"user":1},"cattr_12":[],"traceparent":"00-a"}"#
        );
    }
}
