use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Keeps each key once: its last value, in the place where it stood first, as a Ruby `Hash` does. Linear in the entries.
pub(crate) fn last_wins<K: Clone + Eq + Hash, V>(entries: impl IntoIterator<Item = (K, V)>) -> Vec<(K, V)> {
    let entries = entries.into_iter();
    let mut kept: Vec<(K, V)> = Vec::with_capacity(entries.size_hint().0);
    let mut places: HashMap<K, usize> = HashMap::with_capacity(entries.size_hint().0);
    for (key, value) in entries {
        match places.entry(key.clone()) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_place_of_the_first_and_the_value_of_the_last() {
        assert_eq!(last_wins([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)]), [("a", 3), ("b", 5), ("c", 4)]);
    }
}
