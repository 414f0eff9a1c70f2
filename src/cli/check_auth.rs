//! `etl check`: whether there is a token for the source, and until when the client's certificate is valid.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::setup;
use crate::config::{Config, SourceLocation};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::source::{PageRequest, PageUrl};
use crate::stop::Stop;
use crate::view::findings::Checked;
use crate::view::words::ago;

/// A certificate that ends sooner is worth a warning: to get another takes people some days.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The steps, where the source is asked with more than headers. What cannot be read is told by the step of the source, which needs it too.
pub(super) fn steps(config: &Config) -> Vec<Checked> {
    let Ok(SourceLocation::Http(url)) = config.source.location() else { return Vec::new() };
    let Ok(auth) = config.source.auth().and_then(setup::auth) else { return Vec::new() };
    let mut steps = Vec::new();
    if auth.tls.has_identity() {
        let judged = judge(auth.tls.until(), SystemClock.now());
        steps.push(judged.unwrap_or_else(|error| Checked::failed("certificate", &error)));
    }
    if auth.oauth2.is_some() {
        steps.push(token(config, url.expose()).unwrap_or_else(|error| Checked::failed("token", &error)));
    }
    steps
}

fn token(config: &Config, url: &str) -> Result<Checked> {
    let page = PageRequest::get(PageUrl::parse(url)?);
    let mut client = setup::client(config, &Stop::new())?;
    let left = client.as_mut().map(|client| client.authorise(&page)).transpose()?.flatten();
    Ok(match left {
        None => Checked::skipped("token", "there was none"),
        Some(None) => Checked::ok("token", "given, without a lifetime: it is used until it is refused"),
        Some(Some(left)) => Checked::ok("token", format!("given, and used for {}", span(left))),
    })
}

fn span(length: Duration) -> String {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    ago(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH.checked_add(length).unwrap_or(Timestamp::MAX))
}

fn judge(until: Option<Timestamp>, now: Timestamp) -> Result<Checked> {
    const NAME: &str = "certificate";
    const RENEW: &str = "have it renewed, and put the new one where source.auth.cert and source.auth.key say";
    let Some(until) = until else { return Ok(Checked::skipped(NAME, "until when it is valid cannot be read")) };
    if until <= now {
        let what = format!("that of source.auth.cert is not valid any more, since {until}");
        return Err(Error::new(ErrorKind::Credentials, what).hint(RENEW));
    }
    let text = format!("that of source.auth.cert is valid until {until}, for {}", ago(now, until));
    Ok(if until.duration_since(now) <= SOON { Checked::warning(NAME, text, RENEW) } else { Checked::ok(NAME, text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::findings::Verdict;

    #[test]
    fn certificate_that_ends_within_two_weeks_is_a_warning_and_one_that_ended_a_failure() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |hours: i64| judge(Some(now + SignedDuration::from_hours(hours)), now);
        assert_eq!(at(15 * 24).unwrap().result, Verdict::Ok);
        let soon = at(14 * 24).unwrap();
        assert!(soon.result == Verdict::Warning && soon.text.ends_with("for 14 d"), "{soon:?}");
        assert_eq!(at(0).unwrap_err().kind(), ErrorKind::Credentials);
        assert_eq!(judge(None, now).unwrap().result, Verdict::Skipped);
    }
}
