//! What the system tells of this process and shows of it.

/// Resident memory of this process in bytes; `None` where the system does not report it: on Linux without `/proc`, on OpenBSD and NetBSD.
pub(crate) fn rss() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64).filter(|bytes| *bytes > 0)
}

/// The same in KB, as Sidekiq writes it; 0 where the system does not report it.
pub(crate) fn rss_kb() -> u64 {
    rss().unwrap_or(0) / 1_024
}

/// What `ps` and `top` show, as Sidekiq's procline: `ferrokiq 3/25`, and `ferrokiq stop 3` once nothing more is fetched. Linux has
/// room for 15 bytes.
pub(crate) fn procline_of(busy: usize, concurrency: usize, stopping: bool) -> String {
    let text = if stopping { format!("ferrokiq stop {busy}") } else { format!("ferrokiq {busy}/{concurrency}") };
    // Half a number would be a lie.
    if text.len() <= 15 { text } else { "ferrokiq".to_owned() }
}

/// Where the system has such a thing.
pub(crate) fn set_procline(text: &str) {
    let _ = std::fs::write("/proc/self/comm", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_whole_numbers_or_none() {
        assert_eq!(procline_of(3, 25, false), "ferrokiq 3/25");
        assert_eq!(procline_of(50, 100, false), "ferrokiq 50/100");
        assert_eq!(procline_of(500, 1000, false), "ferrokiq");
        assert_eq!(procline_of(3, 25, true), "ferrokiq stop 3");
    }
}
