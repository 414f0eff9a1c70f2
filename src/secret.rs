//! What must not be shown: secrets, and the parts of a URL that may hold one.
//!
//! Owns [`Secret`] and [`redact_url`]. Invariant: neither `Debug` nor `Display` of anything here gives a secret away;
//! the only way to one is a call of `expose()`, which is easy to grep for.

use std::fmt;
use std::net::IpAddr;

/// A value that is never printed, logged or serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the one who signs, decrypts or sends it, nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An `http:` or `https:` URL. Shown without query, userinfo and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(String);

impl SourceUrl {
    /// Takes `text` if it is an absolute `http:` or `https:` URL with a host, and nothing in it that no URL has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        (is_host_and_port(host) && !text.contains(odd)).then(|| Self(text.to_owned()))
    }

    /// The whole URL, for the one who sends the request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the URL holds more than its redacted form shows.
    #[must_use]
    pub fn hides_something(&self) -> bool {
        redact_url(&self.0) != self.0
    }
}

impl SourceUrl {
    /// Whether a user stands in it.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.authority().contains('@')
    }

    /// Whether what is sent there can be read on the way: it goes to another machine, without TLS.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let host = self.authority().rsplit('@').next().unwrap_or_default();
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.split(':').next().unwrap_or_default(),
        };
        let is_here = name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        !self.0.starts_with("https:") && !is_here
    }

    fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn is_host_and_port(text: &str) -> bool {
    let after_address = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match after_address {
        Some((address, "")) => (address, None),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `url` as it may be shown: without userinfo, query and fragment. Works on anything, also on what is no URL:
/// where it cannot tell a host from a password, it shows neither. A `file:` location is shown as it is.
#[must_use]
pub fn redact_url(url: &str) -> String {
    if url.starts_with("file:") {
        return url.to_owned();
    }
    let (scheme, rest) = split_scheme(url);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find(['/', '\\']).map_or((rest, ""), |at| rest.split_at(at));
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    // An '@' behind a "port" that is no number: a password with a slash, question mark or hash in it.
    let cut_password = userinfo.is_none() && url.contains('@') && !scheme.is_empty() && !is_host_and_port(host);
    if cut_password { format!("{scheme}***") } else { format!("{scheme}{host}{path}") }
}

/// The scheme with its slashes (`https://`; empty where there is none) and what follows.
fn split_scheme(url: &str) -> (String, &str) {
    let named = url.split_once(':').filter(|(scheme, rest)| {
        let is_name = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        // Web URLs are recognised with too few slashes too, as browsers do.
        is_name
            && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
    });
    named.map_or((String::new(), url), |(scheme, rest)| (format!("{scheme}://"), rest.trim_start_matches(['/', '\\'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn url_is_shown_without_query_userinfo_and_fragment() {
        for (url, shown) in [
            ("https://host/api/log", "https://host/api/log"),
            ("https://user:pw@host:8080/api/log?key=s3cret#frag", "https://host:8080/api/log"),
            ("https://token@host", "https://host"),
            ("https://host?key=s3cret", "https://host"),
            ("https://host#frag", "https://host"),
            ("https://host/@scope/x?y", "https://host/@scope/x"),
            ("http://[::1]:80/x?y", "http://[::1]:80/x"),
            ("https:user:pw@host/x", "https://host/x"),
            ("user:pw@host/x", "host/x"),
            ("/next?cursor=s3cret", "/next"),
            ("s3://bucket/prefix/", "s3://bucket/prefix/"),
            ("file:pages/?.json", "file:pages/?.json"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown, "{url}");
        }
    }

    #[test]
    fn password_with_a_delimiter_in_it_is_not_shown_either() {
        for url in ["https://user:p/w@host/x", "https://user:p?w@host/x", "https://user:p#w@host/x"] {
            assert_eq!(redact_url(url), "https://***");
        }
    }

    #[test]
    fn what_goes_to_this_machine_or_through_tls_is_not_in_the_clear() {
        for (url, clear) in [
            ("http://localhost:80/x", false),
            ("http://127.0.0.1/x", false),
            ("http://u:p@[::1]:9?q", false),
            ("https://h/x", false),
            ("http://h/x", true),
            ("http://127.0.0.1@h/x", true),
            ("http://localhost.h/x", true),
            ("http://h/@localhost", true),
            ("http://h?@127.0.0.1", true),
        ] {
            let url = SourceUrl::parse(url).unwrap();
            assert_eq!(url.is_in_the_clear(), clear, "{}", url.expose());
            assert_eq!(
                url.has_user(),
                url.expose().contains("u:p@") || url.expose().contains("1@h"),
                "{}",
                url.expose()
            );
        }
    }

    #[test]
    fn source_url_is_absolute_and_has_a_host() {
        for good in ["http://127.0.0.1:8080/api/data/log", "https://u:p@h/x?y", "http://[::1]:9/", "https://h"] {
            assert_eq!(SourceUrl::parse(good).unwrap().expose(), good);
        }
        for bad in ["", "host/x", "ftp://h/x", "https://", "https:///x", "http://h:port/", "http://h/a b", "http://u@/"]
        {
            assert!(SourceUrl::parse(bad).is_none(), "{bad}");
        }
        let url = SourceUrl::parse("https://u:p@h/x?y").unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://h/x https://h/x");
    }
}
