//! What a service says of how many requests it still takes: `Retry-After`, `X-RateLimit-*`, `RateLimit-*` and `RateLimit`.
//!
//! Pure. Invariant: a wait counts from the source's own clock where it tells the time, and what cannot be read asks for nothing.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::skew;
use crate::net::backoff::retry_after;

/// Numbers above this are seconds since 1970, and not until then: it would be a wait of thirty years.
const EPOCH: f64 = 1e9;
/// Numbers above this are milliseconds since 1970.
const EPOCH_MILLIS: f64 = 1e11;

/// The names of how many requests are left, and of when there are more.
const NAMES: [(&str, &str); 4] = [
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
];

/// The wait that an answer asks for before the next request. `None`: it asks for none.
pub(super) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let now = skew::date_of(headers).unwrap_or_else(Timestamp::now);
    let asked = text(headers, "retry-after").and_then(|value| retry_after(value, now));
    asked.or_else(|| until_reset(headers, now))
}

/// The wait until there are requests again, where none is left.
pub(super) fn until_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let by_name = NAMES.iter().filter_map(|(left, reset)| {
        let (left, reset) = (number(text(headers, left)?)?, number(text(headers, reset)?)?);
        (left <= 0.0).then_some(reset)
    });
    let reset = by_name.chain(text(headers, "ratelimit").and_then(exhausted)).next()?;
    wait(reset, now)
}

/// The same, where the answer tells its time.
pub(super) fn until_more(headers: &HeaderMap) -> Option<Duration> {
    until_reset(headers, skew::date_of(headers).unwrap_or_else(Timestamp::now))
}

/// `limit=100, remaining=0, reset=30`, or `"default";r=0;t=30`.
fn exhausted(value: &str) -> Option<f64> {
    let field = |names: [&str; 2]| {
        value
            .split([',', ';'])
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| names.contains(&name.trim()).then(|| number(value)).flatten())
    };
    (field(["remaining", "r"])? <= 0.0).then(|| field(["reset", "t"])).flatten()
}

fn wait(reset: f64, now: Timestamp) -> Option<Duration> {
    let now = now.as_millisecond() as f64 / 1000.0;
    let seconds = match reset {
        reset if reset > EPOCH_MILLIS => reset / 1000.0 - now,
        reset if reset > EPOCH => reset - now,
        reset => reset,
    };
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        map.insert("date", "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        asked_wait(&map).map(|wait| wait.as_secs())
    }

    #[test]
    fn wait_is_read_however_it_is_spelled() {
        for (headers, wait) in [
            (vec![("retry-after", "7"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "99")], 7),
            (vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "30")], 30),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412540")], 60),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412540000")], 60),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.5")], 1),
            (vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1")], 1),
            (vec![("ratelimit", "limit=100, remaining=0, reset=30")], 30),
            (vec![("ratelimit", "\"default\";r=0;t=30")], 30),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412000")], 0),
        ] {
            assert_eq!(asked(&headers), Some(wait), "{headers:?}");
        }
    }

    #[test]
    fn what_is_left_or_cannot_be_read_asks_for_nothing() {
        for headers in [
            vec![],
            vec![("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "30")],
            vec![("x-ratelimit-remaining", "0")],
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "soon")],
            vec![("ratelimit", "limit=100, remaining=5, reset=30")],
            vec![("retry-after", "soon")],
        ] {
            assert_eq!(asked(&headers), None, "{headers:?}");
        }
    }
}
