//! How fast a source may be asked, by what it says of its limits; and whether it refused the place that a trail was at.
//!
//! In memory only. Invariant: a page is not asked for before the source takes requests again, within what a run may wait.

use std::cell::Cell;
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};

use super::{HttpSource, failure, limits};
use crate::error::Result;
use crate::net::backoff::MAX_RETRY_AFTER;
use crate::source::PageUrl;

/// What the last answer said.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When more requests are taken. `None`: now.
    more_at: Cell<Option<Instant>>,
    refused_the_place: Cell<bool>,
    is_limited: Cell<bool>,
}

impl Pace {
    /// Notes what an answer says.
    pub(super) fn look_at(&self, response: &Response) {
        let more = limits::until_more(response.headers()).and_then(|wait| Instant::now().checked_add(wait));
        self.is_limited.set(more.is_some() || response.status() == StatusCode::TOO_MANY_REQUESTS);
        self.more_at.set(more);
        let is_gone = |status| {
            matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY
            )
        };
        self.refused_the_place.set(is_gone(response.status()));
    }

    /// Whether the last answer said that what was asked for is not there, or not any more.
    pub(super) fn refused_the_place(&self) -> bool {
        self.refused_the_place.get()
    }

    /// Whether the last answer said that no more requests are taken for now.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.get()
    }

    fn wait(&self) -> Duration {
        self.more_at.take().map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }
}

impl HttpSource {
    /// Waits until the source takes requests again, where the last answer said that none is left.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Unavailable`]: that is later than this run may wait.
    pub(super) fn wait_for_more(&self, url: &PageUrl) -> Result<()> {
        let wait = self.pace.wait();
        if wait > MAX_RETRY_AFTER || self.stop.time_left().is_some_and(|left| left <= wait && !wait.is_zero()) {
            return Err(failure::no_requests_left(url, wait));
        }
        if !wait.is_zero() {
            tracing::info!(%url, ?wait, "the source takes no request before that");
            let _ = self.stop.sleep(wait);
        }
        Ok(())
    }
}
