//! How far two names are apart, for "did you mean".

/// Names longer than this many bytes are compared with none: the work grows with the product of the lengths.
const LONGEST: usize = 128;

/// Returns how many letters to insert, remove or replace to get from one text to the other; `None` if one of them is too long to compare.
pub(crate) fn distance(one: &str, two: &str) -> Option<usize> {
    if one.len() > LONGEST || two.len() > LONGEST {
        return None;
    }
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, left) in one.bytes().enumerate() {
        let mut diagonal = at;
        row[0] = at + 1;
        for (below, right) in two.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[below + 1];
            row[below + 1] = replaced.min(diagonal + 1).min(row[below] + 1);
        }
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters_that_differ() {
        for (one, two, letters) in [("", "", 0), ("a", "", 1), ("HardJob", "HardJbo", 2), ("kitten", "sitting", 3)] {
            assert_eq!((distance(one, two), distance(two, one)), (Some(letters), Some(letters)), "{one} {two}");
        }
        assert_eq!(distance(&"x".repeat(LONGEST + 1), "x"), None);
    }
}
