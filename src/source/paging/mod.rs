//! From a page to the next: by a `Link` header, or not at all, as with files. Another way to page is another file beside `link`.
//!
//! Pure. Invariant: a trail of pages ends, because no page is visited twice and their number is bounded.

use std::collections::HashSet;

use reqwest::Url;

use super::PageUrl;
use crate::error::Result;

mod link;

/// The page after `page`, whose answer came from `answered_at` with these `Link` headers. `None`: there is none.
pub(super) fn next_page<'a>(
    page: &PageUrl,
    answered_at: &Url,
    links: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Result<PageUrl>> {
    link::next_reference(links).map(|reference| page.follow(answered_at, &reference))
}

/// Whether a trail may go on to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The trail has not had this page.
    New,
    /// It has: the links form a circle, and the trail ends here.
    Seen,
    /// The trail has as many pages as it may.
    TooMany,
}

/// The pages that one trail of `next` links has had.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Digests, because a long backfill has many long URLs.
    seen: HashSet<[u8; 16]>,
    max_pages: usize,
}

impl Trail {
    /// A trail that may have `max_pages` pages.
    #[must_use]
    pub fn new(max_pages: usize) -> Self {
        Self { seen: HashSet::new(), max_pages }
    }

    /// Notes that `url` is fetched next, which it should be only after [`Visit::New`].
    pub(crate) fn enter(&mut self, url: &PageUrl) -> Visit {
        let digest = url.digest();
        if self.seen.contains(&digest) {
            return Visit::Seen;
        }
        if self.seen.len() >= self.max_pages {
            return Visit::TooMany;
        }
        self.seen.insert(digest);
        Visit::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trail_ends_at_a_circle_or_at_its_limit() {
        let url = |page: u32| PageUrl::parse(&format!("http://h/log?page={page}")).unwrap();
        let mut trail = Trail::new(2);
        let visits = [1, 2, 1, 3, 2].map(|page| trail.enter(&url(page)));
        assert_eq!(visits, [Visit::New, Visit::New, Visit::Seen, Visit::TooMany, Visit::Seen]);
    }
}
