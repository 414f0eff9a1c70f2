//! The address of a page, which may hold secrets in its userinfo and query.
//!
//! Owns how an address is shown. Invariant: neither `Display` nor `Debug` shows userinfo, query or fragment, so that any message may
//! contain an address. Pure.

use std::fmt;

use reqwest::Url;

use crate::error::{Error, ErrorKind, Result};

/// An `http:` or `https:` address. Shown without userinfo, query and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct PageUrl(Url);

impl PageUrl {
    /// Reads an absolute address.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], which does not quote the text.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Config, format!("source.url is no web address: {why}"))
                .hint("write it as in https://api.example.com/logs, or as file:PATTERN")
        };
        let mut url = Url::parse(text.trim()).map_err(|cause| wrong(cause.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither http: nor https:".to_owned()));
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The address that `reference` leads to from `at`, where the answer to this address came from. It has this address' scheme, host,
    /// port and userinfo.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where it leads elsewhere or is not an address.
    pub(super) fn follow(&self, at: &Url, reference: &str) -> Result<Self> {
        let refused = |what: String| {
            Error::new(ErrorKind::Unavailable, format!("the link to the page after {self} {what}"))
                .hint("ask the service's owner; only pages on the host of source.url are fetched")
        };
        let mut url = at.join(reference).map_err(|cause| refused(format!("is no address: {cause}")))?;
        url.set_fragment(None);
        if url.origin() != self.0.origin() {
            return Err(refused(format!("leads to another host: {}", Self(url))));
        }
        if url.username().is_empty() && url.password().is_none() {
            // These fail only for addresses without a host, which have another origin.
            let _ = url.set_username(self.0.username());
            let _ = url.set_password(self.0.password());
        }
        Ok(Self(url))
    }

    /// The whole address, with its secrets.
    pub(super) const fn reveal(&self) -> &Url {
        &self.0
    }

    /// A name for the whole address, its query included, that reveals nothing of it: 32 hex digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The whole address, with its secrets: for the state directory, which is private.
    #[must_use]
    pub(crate) fn secret_text(&self) -> &str {
        self.0.as_str()
    }

    /// The address `text`, if it has this one's scheme, host and port.
    #[must_use]
    pub(crate) fn on_same_host(&self, text: &str) -> Option<Self> {
        Url::parse(text).ok().filter(|url| url.origin() == self.0.origin()).map(Self)
    }

    /// A digest that tells addresses apart.
    pub(super) fn digest(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        blake3::Hasher::new().update(self.0.as_str().as_bytes()).finalize_xof().fill(&mut digest);
        digest
    }
}

impl From<Url> for PageUrl {
    fn from(url: Url) -> Self {
        Self(url)
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_shown_without_userinfo_query_and_fragment() {
        let url = PageUrl::parse("https://me:s3cret@api.example:8443/logs/new?key=s3cret#s3cret").unwrap();
        assert_eq!(url.to_string(), "https://api.example:8443/logs/new");
        assert_eq!(format!("{url:?}"), "https://api.example:8443/logs/new");
        assert_eq!(url.reveal().query(), Some("key=s3cret"));
    }

    #[test]
    fn what_is_no_web_address_is_refused_unquoted() {
        for text in ["", "s3cret", "ftp://s3cret/", "file:s3cret", "http://[s3cret", "http://h:s3cret/"] {
            let refused = PageUrl::parse(text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(!refused.chain().contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn links_stay_on_the_host_and_keep_the_userinfo() {
        let first = PageUrl::parse("https://me:pw@api.example/logs?page=1").unwrap();
        let at = Url::parse("https://api.example/v2/logs?page=1").unwrap();
        for (reference, expected) in [
            ("?page=2", "https://me:pw@api.example/v2/logs?page=2"),
            ("/logs?page=2#x", "https://me:pw@api.example/logs?page=2"),
            ("https://api.example:443/l", "https://me:pw@api.example/l"),
        ] {
            assert_eq!(first.follow(&at, reference).unwrap().reveal().as_str(), expected);
        }
        for reference in ["https://evil.example/?t=s3cret", "http://api.example/", "//api.example:444/", "file:///x"] {
            let refused = first.follow(&at, reference).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable);
            assert!(!refused.chain().contains("s3cret"), "{refused}");
        }
    }
}
