//! What an S3 store means by a refusal: its status and XML body, and what the operator does about it.
//!
//! Pure. Invariant: only a body's error code, its message and the region or host that it names get into our texts, cut short and
//! without odd characters, and never one that contains a credential: a body may quote keys and signatures back.

use super::wire::Answer;
use crate::error::{Error, ErrorKind};

#[cfg(test)]
mod tests;

/// How many characters of a store's message are shown.
const LONGEST_MESSAGE: usize = 200;

/// The hint where only waiting helps.
const LATER: &str = "run again later: nothing is lost";

/// The hint where a body is larger than something on the way accepts.
const TOO_LARGE: &str = "waiting does not help: raise the limit of what is in between (nginx: client_max_body_size) or, for \
                         parts to come, set load.part_max_records";

/// The hint where a key of KMS cannot be used.
const KMS: &str = "allow these credentials kms:GenerateDataKey and kms:Decrypt with that key, and check load.kms_key";

/// The hint where what answers behaves unlike any store.
const NO_STORE: &str = "a store does not redirect like that: if something in between wants a login, run again when it is gone; else \
                        check load.endpoint";

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Put,
    Head,
    Get,
    List,
}

impl Verb {
    /// "cannot … s3://…"
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Head => "look at",
            Self::Get => "read",
            Self::List => "list",
        }
    }

    const fn permission(self) -> &'static str {
        match self {
            Self::Put => "s3:PutObject",
            // Without the second, a store answers 403 for an object that is not there.
            Self::Head | Self::Get => "s3:GetObject and s3:ListBucket",
            Self::List => "s3:ListBucket",
        }
    }
}

/// An answer other than 2xx.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The S3 error code; empty where the body has none (always so for HEAD).
    pub(super) code: String,
    /// What the store says about it.
    message: Option<String>,
    /// The region or host that the store names as the right one.
    elsewhere: Option<String>,
    /// The host that it redirects to; redirects are not followed.
    moved_to: Option<String>,
    /// Whether it is about more than one object.
    is_of_all: bool,
}

impl Refusal {
    /// Reads an answer, and keeps no text of it that contains one of the `secrets`.
    pub(super) fn read(answer: &Answer, secrets: &[&str]) -> Self {
        let region = answer.header("x-amz-bucket-region").map(harmless).filter(|region| !region.is_empty());
        let moved_to = answer.header("location").and_then(|to| reqwest::Url::parse(to).ok());
        let refusal = Self::of(answer.status, &String::from_utf8_lossy(&answer.body), secrets);
        Self {
            elsewhere: refusal.elsewhere.or(region),
            moved_to: moved_to.and_then(|to| to.host_str().map(harmless)),
            ..refusal
        }
    }

    fn of(status: u16, body: &str, secrets: &[&str]) -> Self {
        let safe = |text: &String| !holds_any(text, secrets);
        let plain = |name| element(body, name).filter(safe).map(|text| harmless(&text)).filter(|text| !text.is_empty());
        let elsewhere = plain("Region").or_else(|| plain("Endpoint"));
        let message = element(body, "Message").filter(safe).map(|text| shown(&text)).filter(|text| !text.is_empty());
        Self { status, code: plain("Code").unwrap_or_default(), message, elsewhere, moved_to: None, is_of_all: false }
    }

    /// The same, for a request that was not about the object.
    pub(super) fn of_all(self) -> Self {
        Self { is_of_all: true, ..self }
    }

    /// Whether it may be `If-None-Match` that is refused, and nothing else.
    pub(super) fn may_be_the_condition(&self) -> bool {
        let by_code = matches!(self.code.as_str(), "NotImplemented" | "InvalidArgument" | "InvalidRequest");
        self.status == 501 || (self.status == 400 && by_code)
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_temporary(&self) -> bool {
        let by_code = matches!(
            self.code.as_str(),
            "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "Throttling"
        );
        by_code || matches!(self.status, 408 | 429) || (self.status >= 500 && self.status != 501)
    }

    /// Whether the store knows who asks, and does not allow this.
    pub(super) fn is_about_rights(&self) -> bool {
        self.status == 403 && self.is_about_the_object(Verb::Get)
    }

    /// Whether the object that was asked for is not there, as an answer with a body says it.
    pub(super) fn is_absence(&self) -> bool {
        self.status == 404 && self.code == "NoSuchKey"
    }

    /// Whether fresh credentials may help.
    pub(super) fn is_expiry(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
    }

    /// What the operator does about it. `target` is the `s3://` address that was asked for.
    pub(super) fn into_error(self, verb: Verb, target: &str) -> Error {
        let (kind, hint) = self.meaning(verb);
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        let to = self.moved_to.as_ref().map(|host| format!(" to {host}")).unwrap_or_default();
        let to = if self.is_redirect() { format!(", a redirect{to}, which is not followed") } else { String::new() };
        let what = format!("cannot {} {target}: HTTP {}{code}{message}{to}", verb.phrase(), self.status);
        let error = Error::new(kind, what).hint(hint);
        if self.is_about_the_object(verb) { error.about_one_object() } else { error }
    }

    /// Whether it is this object alone that is refused, neither the sender nor the place: others may be accepted.
    fn is_about_the_object(&self, verb: Verb) -> bool {
        if verb == Verb::List || self.is_of_all {
            return false;
        }
        let sender_or_place = matches!(
            self.code.as_str(),
            "RequestTimeTooSkewed"
                | "NoSuchBucket"
                | "InvalidBucketName"
                | "AuthorizationHeaderMalformed"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "InvalidSecurity"
                | "NotSignedUp"
                | "AccountProblem"
                | "AllAccessDisabled"
                | "QuotaExceeded"
        );
        let by_status = matches!(self.status, 400 | 403 | 410..=499) || (verb == Verb::Get && self.is_absence());
        by_status && !sender_or_place && !self.is_temporary() && !self.is_expiry()
    }

    fn meaning(&self, verb: Verb) -> (ErrorKind, String) {
        use ErrorKind::{Config, Credentials, Unavailable};
        let (kind, hint) = match (self.code.as_str(), self.status) {
            _ if self.is_temporary() => (Unavailable, LATER),
            _ if self.is_expiry() => (Credentials, "renew the session token: it has expired"),
            ("RequestTimeTooSkewed", _) => (Config, "set this machine's clock: it is off by more than 15 minutes"),
            ("NoSuchBucket" | "InvalidBucketName", _) => {
                (Config, "check the S3 bucket in load.to, and create it first")
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _) => {
                return (Config, self.region_hint());
            }
            _ if self.is_redirect() && self.elsewhere.is_some() => return (Config, self.region_hint()),
            _ if self.is_redirect() => (Unavailable, NO_STORE),
            ("QuotaExceeded", _) => (Unavailable, "raise the store's quota, or make room there: waiting does not help"),
            ("InvalidAccessKeyId", _) => (Credentials, "check the access key id: the store does not know it"),
            ("InvalidToken", _) => (Credentials, "check the session token: the store does not know it"),
            ("SignatureDoesNotMatch", _) => (Credentials, "check the secret access key"),
            ("", 404 | 405) | (_, 501) => (Config, "check load.endpoint: what answers there does not do what S3 does"),
            _ => return self.meaning_for_one(verb),
        };
        (kind, hint.to_owned())
    }

    /// The meaning where neither the sender nor the place is refused.
    fn meaning_for_one(&self, verb: Verb) -> (ErrorKind, String) {
        let hint = match (self.code.as_str(), self.status) {
            ("InvalidObjectState", _) => "the object is archived: restore it in S3 (Glacier), then run again",
            ("EntityTooLarge", _) | (_, 413) => TOO_LARGE,
            ("AccessControlListNotSupported", _) => {
                "leave load.acl out: the S3 bucket has no ACLs, its owner owns all objects"
            }
            ("InvalidStorageClass", _) => "correct load.storage_class: the store does not have it",
            (code, 400) if code.starts_with("KMS.") => KMS,
            (_, 401 | 403) => return (ErrorKind::Credentials, self.right(verb)),
            (_, 400..=499) => "look at what the store says: waiting alone may not help",
            _ => LATER,
        };
        (ErrorKind::Unavailable, hint.to_owned())
    }

    /// Which right is missing, or what a policy demands.
    fn right(&self, verb: Verb) -> String {
        let says = |words: &str| self.message.as_deref().is_some_and(|said| said.to_ascii_lowercase().contains(words));
        if says("kms:") {
            return KMS.to_owned();
        }
        let (named, right) = (says(&verb.permission().to_ascii_lowercase()), verb.permission());
        match verb {
            Verb::Put if says("explicit deny") => {
                "a policy forbids it as it is sent: look at what the policy demands, and set load.sse, \
                                                   load.kms_key, load.storage_class, load.acl or load.tags accordingly"
                    .to_owned()
            }
            _ if says("explicit deny") => "a policy forbids it: look at its statements that deny".to_owned(),
            Verb::Put if says("putobjecttagging") => {
                "allow these credentials s3:PutObjectTagging there, or leave load.tags out".to_owned()
            }
            Verb::Put if !named => format!(
                "allow these credentials {right} there, or give the bucket's policy what it demands (load.sse, load.acl, …)"
            ),
            _ => format!("allow these credentials {right} there"),
        }
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status, 301..=303 | 307 | 308)
    }

    fn region_hint(&self) -> String {
        match &self.elsewhere {
            Some(right) => format!("set load.region: the store names {right}"),
            None => "check load.region: the S3 bucket is in another one".to_owned(),
        }
    }
}

/// Whether a refusal's body says why, as far as it came.
pub(super) fn names_its_code(body: &[u8]) -> bool {
    element(&String::from_utf8_lossy(body), "Code").is_some()
}

/// The start of a refusal's body, for the log. Of a body that S3 wrote only its code and message: the rest may quote a signature.
pub(super) fn excerpt(body: &[u8], secrets: &[&str]) -> String {
    let body = String::from_utf8_lossy(body);
    let refusal = Refusal::of(0, &body, secrets);
    match refusal.message {
        Some(message) => format!("{} {message}", refusal.code),
        None if !refusal.code.is_empty() => refusal.code,
        None if body.contains("<Error") || body.contains("Signature") || holds_any(&body, secrets) => "…".to_owned(),
        None => shown(&body),
    }
}

/// The text of the first element `name` in an S3 error body, its entities resolved.
pub(super) fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = quick_xml::escape::unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned);
    (!text.is_empty()).then_some(text)
}

/// At most 100 characters that a name of S3 may have.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).take(100).collect()
}

/// A foreign text on one line of ours.
fn shown(text: &str) -> String {
    // Characters that turn the direction of a line, or are invisible, could change what it says.
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let plain: String = text.chars().map(|c| if odd(c) { ' ' } else { c }).take(16 << 10).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match plain.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", plain.get(..at).unwrap_or_default()),
        None => plain,
    }
}

/// Whether a text contains one of the secrets. A short one, which any text may contain by chance, must stand as a word.
fn holds_any(text: &str, secrets: &[&str]) -> bool {
    secrets.iter().any(|secret| match secret.len() {
        0 => false,
        1..8 => text.split(|c: char| !c.is_alphanumeric()).any(|word| word == *secret),
        _ => text.contains(secret),
    })
}
