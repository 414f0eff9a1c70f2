//! How often a store is asked again, and how long to wait before.
//!
//! Pure but for the jitter, which keeps runs of several machines from asking in step.

use std::time::Duration;

/// How often one request is sent before the store counts as unavailable.
pub(crate) const TRIES: u32 = 4;

/// How long to wait after the failed try number `tried` (from 1): 0.2 s, 0.8 s, then 3 s, each ± a quarter.
pub(crate) fn pause(tried: u32) -> Duration {
    let millis: f64 = match tried {
        0 | 1 => 200.0,
        2 => 800.0,
        _ => 3000.0,
    };
    Duration::from_secs_f64(millis * (0.75 + fastrand::f64() / 2.0) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_a_quarter_of_their_length() {
        for (tried, millis) in [(1, 200), (2, 800), (3, 3000), (9, 3000)] {
            for _ in 0..100 {
                let pause = pause(tried).as_millis();
                assert!((millis * 3 / 4..=millis * 5 / 4).contains(&pause), "{tried}: {pause} ms");
            }
        }
    }
}
