use std::time::Duration;

/// How long to wait after so many failures: anything up to 50 ms after the first, doubling up to a second. A fleet does not come
/// back all at once.
pub(crate) fn backoff(failures: u32) -> Duration {
    let longest = Duration::from_millis(50 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(1));
    longest.mul_f64(rand::random())
}
