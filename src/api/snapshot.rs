use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::sorted_set::{SortedEntry, SortedSet};
use crate::error::Result;

/// The jobs that were in a set at one moment: what is done to them is done to no job that came later, nor to one that ran, failed and came
/// back. Keeps eight bytes of each.
#[derive(Debug, Default)]
pub struct Snapshot {
    hasher: RandomState,
    members: HashSet<u64>,
}

impl Snapshot {
    /// Adds an entry.
    pub fn add(&mut self, entry: &SortedEntry) {
        self.add_member(entry.bytes());
    }

    /// Whether an entry was in the set then, as these bytes.
    pub fn holds(&self, entry: &SortedEntry) -> bool {
        self.members.contains(&self.hasher.hash_one(entry.bytes()))
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn add_member(&mut self, member: &[u8]) {
        self.members.insert(self.hasher.hash_one(member));
    }
}

impl SortedSet {
    /// Reads the whole set once, for its [`Snapshot`].
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let (mut snapshot, mut scan) = (Snapshot::default(), self.scanner(None));
        while let Some(page) = scan.next_raw().await? {
            page.iter().for_each(|(member, _)| snapshot.add_member(member));
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EpochSecs;

    #[test]
    fn holds_a_job_until_it_fails_again() {
        let entry = |failed: f64| {
            SortedEntry::new(
                format!(r#"{{"class":"A","jid":"a","failed_at":{failed:.1}}}"#).into_bytes(),
                EpochSecs(failed),
            )
        };
        let mut snapshot = Snapshot::default();
        snapshot.add(&entry(1.0));
        snapshot.add(&entry(1.0));
        assert_eq!((snapshot.len(), snapshot.is_empty()), (1, false));
        assert!(snapshot.holds(&entry(1.0)) && !snapshot.holds(&entry(2.0)));
    }
}
