//! How long to wait before the next try: of a source's page, of a request to the store. Pure but for the jitter, which keeps
//! clients that failed together from coming back together.

use std::time::Duration;

use jiff::Timestamp;

use crate::net::http_date;

/// The longest wait that a server's `Retry-After` can ask for within one run. What takes longer is for the next run.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Exponential back-off: about `base` after the first failure, `factor` times that after the second, never more than `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure; the shortest is half of it.
    pub base: Duration,
    /// How much longer each wait is than the one before.
    pub factor: u32,
    /// The longest wait of all, unless `Retry-After` asks for more.
    pub max: Duration,
}

impl Backoff {
    /// For a source: it has minutes, and nothing else waits for it.
    pub const SOURCE: Self = Self { base: Duration::from_secs(1), factor: 2, max: Duration::from_secs(30) };
    /// For a store: other parts wait.
    pub const STORE: Self = Self { base: Duration::from_millis(250), factor: 4, max: Duration::from_secs(4) };

    /// The wait after failure number `failures` (from 1): at random from the upper half of what the factor allows. `asked` is what
    /// the server asked for: at least that long, up to a minute.
    #[must_use]
    pub fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let grown = self.factor.saturating_pow(failures.saturating_sub(1));
        let longest = self.base.saturating_mul(grown).min(self.max);
        let wait = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        wait.max(asked.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

/// The wait that a `Retry-After` header asks for: seconds, or an HTTP date as seen from `now`. `None` for anything else.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number too large to read fails here: "very long".
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let at = http_date(value)?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_keep_at_least_half() {
        let backoff = Backoff { base: Duration::from_secs(1), factor: 2, max: Duration::from_secs(10) };
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (99, 10)] {
            let longest = Duration::from_secs(longest);
            for _ in 0..50 {
                let wait = backoff.wait(failures, None);
                assert!(wait <= longest && wait >= longest / 2, "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn waits_differ_between_clients() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| Backoff::SOURCE.wait(3, None)).collect();
        assert!(waits.len() > 10);
    }

    #[test]
    fn source_may_ask_for_a_longer_wait_up_to_a_minute() {
        let backoff = Backoff { base: Duration::from_secs(2), factor: 2, max: Duration::from_secs(10) };
        assert_eq!(backoff.wait(1, Some(Duration::from_secs(20))), Duration::from_secs(20));
        assert_eq!(backoff.wait(1, Some(Duration::MAX)), MAX_RETRY_AFTER);
        assert!(backoff.wait(1, Some(Duration::ZERO)) >= Duration::from_secs(1));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now: Timestamp = "2015-10-21T07:27:30Z".parse().unwrap();
        let after = |value| retry_after(value, now);
        assert_eq!(after(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(after("99999999999999999999999"), Some(Duration::MAX));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        for value in ["", "soon", "-1", "+1", "1.5", "21 Oct"] {
            assert_eq!(after(value), None, "{value}");
        }
    }
}
