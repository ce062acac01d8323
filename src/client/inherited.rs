use std::collections::HashSet;

use crate::payload::Payload;

/// What flows from a job to the jobs it pushes: its `CurrentAttributes` (`cattr`, `cattr_1`, ...), `locale`, and the trace it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(Box<str>, Box<str>)>);

/// Keys of Sidekiq's I18n middleware and of OpenTelemetry's.
const FLOWING: [&str; 4] = ["locale", "traceparent", "tracestate", "baggage"];

impl Inherited {
    /// That of a job.
    pub(crate) fn of(payload: &Payload) -> Self {
        let flowing = payload.distinct().into_iter().filter(|(key, _)| flows(key));
        Self(flowing.map(|(key, value)| (key.into(), value.into())).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a payload does not say itself.
    pub(super) fn fill(&self, payload: &mut Payload) {
        let own: HashSet<&str> = payload.keys().filter(|key| flows(key)).collect();
        let missing: Vec<_> = self.0.iter().filter(|(key, _)| !own.contains(&**key)).collect();
        for (key, value) in missing {
            payload.append_raw(key, value.clone());
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

    #[test]
    fn costs_a_look_at_each_key() {
        let keys = 900;
        let cattrs: String = (0..keys).map(|key| format!(r#","cattr_{key}":{key}"#)).collect();
        let parent = Payload::parse(format!(r#"{{"class":"A"{cattrs},"cattr_7":"last"}}"#)).unwrap();
        let mut child = Payload::parse(r#"{"class":"B","cattr_8":"own"}"#).unwrap();
        let (steps, ()) = crate::payload::steps::of(|| Inherited::of(&parent).fill(&mut child));
        assert!(steps < 2 * keys, "{steps}");
        assert_eq!(child.keys().count(), keys + 1);
        assert_eq!((child.get("cattr_7"), child.get("cattr_8")), (Some("\"last\""), Some("\"own\"")));
    }
}
