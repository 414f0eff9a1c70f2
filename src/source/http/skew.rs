//! Compares the source's clock with this machine's, which decides whether records are late or of the future.
//!
//! Keeps only whether it has warned: once in a run is enough.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use reqwest::Response;
use reqwest::header::HeaderMap;

use crate::net::http_date;

/// A larger difference is a warning.
const TOLERATED: SignedDuration = SignedDuration::from_mins(2);

/// Compares each answer's `Date`, and warns once.
#[derive(Debug, Default)]
pub(super) struct Skew {
    warned: Cell<bool>,
    /// Whether the last answer that had a `Date` showed clocks that are apart.
    is_off: Cell<bool>,
}

/// When the source made the answer with these `headers`, by its own clock.
pub(super) fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let date = text("date").and_then(http_date)?;
    // A cache repeats the date of the answer that it kept, and tells for how long it has kept it.
    let kept = text("age").and_then(|age| age.trim().parse::<u32>().ok());
    date.checked_add(SignedDuration::from_secs(kept.unwrap_or(0).into())).ok()
}

impl Skew {
    /// Whether the source's clock and this machine's are too far apart, by the last answer that told.
    pub(super) fn is_off(&self) -> bool {
        self.is_off.get()
    }

    /// Compares with the `Date` of an answer to a request that was sent at `asked`.
    pub(super) fn look_at(&self, response: &Response, asked: Timestamp) {
        let Some(theirs) = date_of(response.headers()) else { return };
        let off = apart(theirs, asked, Timestamp::now());
        self.is_off.set(off.is_some());
        if let Some(off) = off
            && !self.warned.replace(true)
        {
            let way = if off.is_negative() { "ahead of" } else { "behind" };
            let off = SignedDuration::from_secs(off.abs().as_secs());
            tracing::warn!("this machine's clock is {off:#} {way} the source's ({theirs}): set it, by NTP");
        }
    }
}

/// How far `theirs` is outside the time from `asked` to `answered`, where that is too far: the source may have told the time
/// at any moment of it.
fn apart(theirs: Timestamp, asked: Timestamp, answered: Timestamp) -> Option<SignedDuration> {
    let off = if theirs < asked { theirs.duration_since(asked) } else { theirs.duration_since(answered) };
    let within = theirs >= asked && theirs <= answered;
    (!within && off.abs() > TOLERATED).then_some(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_of_an_answer_from_a_cache_is_that_of_the_moment() {
        let mut headers = HeaderMap::new();
        assert_eq!(date_of(&headers), None);
        headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        headers.insert("age", "120".parse().unwrap());
        assert_eq!(date_of(&headers), "1994-11-06T08:51:37Z".parse().ok());
    }

    #[test]
    fn clocks_are_apart_beyond_two_minutes_either_way() {
        let asked: Timestamp = "2026-11-24T22:00:00Z".parse().unwrap();
        let at = |seconds| asked + SignedDuration::from_secs(seconds);
        // A slow answer: the source may have told the time at its start or at its end.
        let answered = at(300);
        for seconds in [-120, 0, 150, 300, 420] {
            assert_eq!(apart(at(seconds), asked, answered), None, "{seconds}");
        }
        assert_eq!(apart(at(-121), asked, answered), Some(SignedDuration::from_secs(-121)));
        assert_eq!(apart(at(421), asked, answered), Some(SignedDuration::from_secs(121)));
    }
}
