//! Jobs that hold something of a Ruby gem, a lock or a place in a batch, or that only its middleware can run.

use std::fmt;

use super::Payload;

/// A Ruby gem that holds something for a job, which only its Ruby middleware releases.
///
/// A Rust worker that ran such a job would leave the lock for ever, or a batch that never completes. Returned by [`Payload::gem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Gem {
    /// sidekiq-unique-jobs: a lock by `lock_digest` (`unique_digest` before version 7).
    UniqueJobs,
    /// sidekiq-batch or Sidekiq Pro: the job is counted in a batch by `bid`, or is a callback of one.
    Batch,
    /// Sidekiq Enterprise: a lock by `unique_for`, a job that a rate limiter rescheduled, or an encrypted argument.
    Enterprise,
    /// Sidekiq Pro or sidekiq-expiring-jobs: the job must not run after a moment that the payload names.
    Expiry,
    /// sidekiq-encrypted_args: arguments that only its Ruby middleware decrypts.
    EncryptedArgs,
}

/// Keys that gems write into payloads.
const KEYS: [(&str, Gem); 18] = [
    ("lock", Gem::UniqueJobs),
    ("lock_digest", Gem::UniqueJobs),
    ("lock_args", Gem::UniqueJobs),
    ("lock_prefix", Gem::UniqueJobs),
    ("lock_timeout", Gem::UniqueJobs),
    ("lock_ttl", Gem::UniqueJobs),
    ("unique_digest", Gem::UniqueJobs),
    ("unique_args", Gem::UniqueJobs),
    ("bid", Gem::Batch),
    ("unique_for", Gem::Enterprise),
    ("unique_until", Gem::Enterprise),
    ("unlock", Gem::Enterprise),
    ("overrated", Gem::Enterprise),
    ("encrypt", Gem::Enterprise),
    ("expires_in", Gem::Expiry),
    ("expires_at", Gem::Expiry),
    ("expiry", Gem::Expiry),
    ("encrypted_args", Gem::EncryptedArgs),
];

impl Gem {
    /// Every gem.
    #[cfg(feature = "server")]
    pub(crate) const ALL: [Self; 5] =
        [Self::UniqueJobs, Self::Batch, Self::Enterprise, Self::Expiry, Self::EncryptedArgs];

    /// The name of the gem, for messages and metrics. The two batch gems write the same payloads and share a name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UniqueJobs => "sidekiq-unique-jobs",
            Self::Batch => "sidekiq-batch or Sidekiq Pro",
            Self::Enterprise => "Sidekiq Enterprise",
            Self::Expiry => "Sidekiq Pro or sidekiq-expiring-jobs",
            Self::EncryptedArgs => "sidekiq-encrypted_args",
        }
    }
}

impl fmt::Display for Gem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Payload {
    /// The Ruby gem that holds something for this job, by the keys the gem writes into payloads; `None` for an ordinary job.
    ///
    /// `null` and `false` count as absent, as in Ruby (`unique_for: false` turns a lock off). A job of several gems is named after the
    /// last such key. Gems that write nothing into payloads (sidekiq-status, sidekiq-throttled, activejob-uniqueness) cannot be recognised.
    ///
    /// ```
    /// use ferrokiq::Payload;
    /// use ferrokiq::payload::Gem;
    ///
    /// let payload = Payload::parse(r#"{"class":"Import","args":[],"jid":"a","bid":"zRviBvBqbbkX3A"}"#)?;
    /// assert_eq!(payload.gem(), Some(Gem::Batch));
    /// # Ok::<(), ferrokiq::Error>(())
    /// ```
    pub fn gem(&self) -> Option<Gem> {
        let (text, mut class): (&str, _) = (&self.raw, None);
        // Backwards: of a key that stands twice, the last counts.
        let mut seen = [false; KEYS.len()];
        let held = self.entries.iter().rev().filter(|entry| !entry.removed).find_map(|entry| {
            #[cfg(test)]
            super::steps::count();
            let key = entry.key.bytes(text);
            match key.first() {
                Some(b'l' | b'b' | b'u' | b'o' | b'e') => {}
                // One pass finds it, too.
                Some(b'c') if class.is_none() && key == b"class" => {
                    class = Some(self.raw_of(entry));
                    return None;
                }
                _ => return None,
            }
            let at = KEYS.iter().position(|(known, _)| known.as_bytes() == key)?;
            let is_last = !std::mem::replace(&mut seen[at], true);
            (is_last && !matches!(self.raw_of(entry), "null" | "false")).then_some(KEYS[at].1)
        });
        held.or_else(|| {
            const PREFIX: &str = "Sidekiq::Batch::";
            let class = class.filter(|class| class.len() > PREFIX.len())?;
            let class = if class.contains('\\') { self.class() } else { class.strip_prefix('"')? };
            class.strip_prefix("::").unwrap_or(class).starts_with(PREFIX).then_some(Gem::Batch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gem(keys: &str) -> Option<Gem> {
        let job = r#""class":"HardJob","args":[{"bid":"x","lock_digest":"y"}],"queue":"default","retry":true"#;
        Payload::parse(format!("{{{job}{keys}}}")).unwrap().gem()
    }

    #[test]
    fn knows_a_job_by_the_keys_its_gem_writes() {
        for (keys, expected) in [
            (r#","lock":"until_executed","lock_timeout":0,"lock_ttl":null"#, Gem::UniqueJobs),
            (r#","lock_prefix":"uniquejobs","lock_args":[1]"#, Gem::UniqueJobs),
            (r#","lock_digest":"uniquejobs:48655c62684bf846f597e291bccee43a""#, Gem::UniqueJobs),
            (r#","unique_digest":"uniquejobs:48655c62684bf846f597e291bccee43a""#, Gem::UniqueJobs),
            (r#","bid":"zRviBvBqbbkX3A""#, Gem::Batch),
            (r#","bid":"BID-zRviBvBqbbkX3A""#, Gem::Batch),
            (r#","bid":"b-zRviBvBqbbkX3A""#, Gem::Batch),
            (r#","bid":null,"bid":"twice""#, Gem::Batch),
            (r#","unique_for":600,"unique_until":"success""#, Gem::Enterprise),
            (r#","overrated":2"#, Gem::Enterprise),
            (r#","encrypt":true"#, Gem::Enterprise),
            (r#","expires_in":3600"#, Gem::Expiry),
            (r#","expires_at":1795408404.2"#, Gem::Expiry),
            (r#","expiry":1795408404.2,"enqueued_at":1"#, Gem::Expiry),
            (r#","encrypted_args":[0]"#, Gem::EncryptedArgs),
            (r#","\u0062id":"escaped""#, Gem::Batch),
        ] {
            assert_eq!(gem(keys), Some(expected), "{keys}");
        }
    }

    #[test]
    fn an_ordinary_job_belongs_to_nobody() {
        for keys in [
            "",
            r#","bid":null,"lock":false,"unique_for":false"#,
            r#","encrypt":false,"expires_in":null,"enqueued_at":1,"error_class":"E","error_message":"m","expire":1"#,
            r#","bid":"first","bid":null"#,
            r#","locked":true,"lock_":1,"locale":"de","unknown":1,"unique":true,"uniq":1,"bids":["x"],"Bid":"x""#,
            r#","tags":["bid"],"cattr":{"bid":"x"},"display_class":"Sidekiq::Batch::Callback""#,
        ] {
            assert_eq!(gem(keys), None, "{keys}");
        }
        assert_eq!(Payload::parse("{}").unwrap().gem(), None);
        let mut taken_off = Payload::parse(r#"{"bid":"x","class":"A"}"#).unwrap();
        taken_off.remove("bid");
        assert_eq!(taken_off.gem(), None);
        taken_off.insert("lock_digest", "set since");
        assert_eq!(taken_off.gem(), Some(Gem::UniqueJobs));
    }

    #[test]
    fn callbacks_of_batches_are_the_gems_own() {
        for class in ["Sidekiq::Batch::Callback::Worker", "Sidekiq::Batch::Empty", "::Sidekiq::Batch::Callback"] {
            let payload = Payload::new(class, []);
            assert_eq!(payload.gem(), Some(Gem::Batch), "{class}");
        }
        assert_eq!(Payload::new("Sidekiq::BatchJob", []).gem(), None);
        let escaped = Payload::parse(r#"{"class":"\u0053idekiq::Batch::Empty","args":[]}"#).unwrap();
        assert_eq!(escaped.gem(), Some(Gem::Batch));
        let twice = Payload::parse(r#"{"class":"Sidekiq::Batch::Empty","class":"A"}"#).unwrap();
        assert_eq!(twice.gem(), None);
        assert_eq!(Payload::parse(r#"{"class":["Sidekiq::Batch::Empty"]}"#).unwrap().gem(), None);
    }

    #[test]
    fn looks_at_each_key_of_an_ordinary_job_once() {
        let payload = Payload::parse(r#"{"class":"A","args":[],"queue":"q","jid":"j","retry":true}"#).unwrap();
        let (steps, gem) = crate::payload::steps::of(|| payload.gem());
        assert!(gem.is_none() && steps <= 2 * payload.keys().count(), "{steps}");
        let many = (0..500).map(|n| format!(r#""lock":null,"key{n}":0,"#)).collect::<String>();
        let payload = Payload::parse(format!("{{{many}\"class\":\"A\"}}")).unwrap();
        let (steps, gem) = crate::payload::steps::of(|| payload.gem());
        assert!(gem.is_none() && steps <= 2_010, "{steps}");
    }
}
