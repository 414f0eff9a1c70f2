//! What an S3 store means by a refusal: its status and XML body, and what the operator does about it.
//!
//! Pure. Invariant: of a body only the error code, the message and the region or host it names get into a text of ours, cut short
//! and stripped to harmless characters, and none that holds a part of the credentials: a body may quote keys and signatures back.

use super::wire::Answer;
use crate::error::{Error, ErrorKind};

/// How many characters of a store's message are shown.
const LONGEST_MESSAGE: usize = 200;

/// What helps where nothing but time does.
const LATER: &str = "run again later: nothing is lost";

/// What helps where a body is larger than something on the way takes.
const TOO_LARGE: &str = "waiting does not help: raise the limit of what is in between (nginx: client_max_body_size) or, for \
                         parts to come, set load.part_max_records";

/// What helps where something answers as no store does.
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
    /// The host that it redirects to, where nobody follows.
    moved_to: Option<String>,
    /// Whether more than the object was refused.
    is_of_all: bool,
}

impl Refusal {
    /// Reads an answer. Nothing that holds one of the `secrets` is kept of it.
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

    /// The same, met where the object was not what was asked for.
    pub(super) fn of_all(self) -> Self {
        Self { is_of_all: true, ..self }
    }

    /// Whether it may be `If-None-Match` that is refused, and nothing else.
    pub(super) fn may_be_the_condition(&self) -> bool {
        let by_code = matches!(self.code.as_str(), "NotImplemented" | "InvalidArgument" | "InvalidRequest");
        self.status == 501 || (self.status == 400 && by_code)
    }

    /// Whether the same request may well succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
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

    /// Whether another object may well be treated otherwise: what is refused is neither the sender nor the place.
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
        by_status && !sender_or_place && !self.is_passing() && !self.is_expiry()
    }

    fn meaning(&self, verb: Verb) -> (ErrorKind, String) {
        use ErrorKind::{Config, Credentials, Unavailable};
        let (kind, hint) = match (self.code.as_str(), self.status) {
            _ if self.is_passing() => (Unavailable, LATER),
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

    /// Where it is neither the sender nor the place.
    fn meaning_for_one(&self, verb: Verb) -> (ErrorKind, String) {
        let hint = match (self.code.as_str(), self.status) {
            ("InvalidObjectState", _) => "the object is archived: restore it in S3 (Glacier), then run again",
            ("EntityTooLarge", _) | (_, 413) => TOO_LARGE,
            (_, 401 | 403) => {
                return (ErrorKind::Credentials, format!("allow these credentials {} there", verb.permission()));
            }
            (_, 400..=499) => "look at what the store says: waiting alone may not help",
            _ => LATER,
        };
        (ErrorKind::Unavailable, hint.to_owned())
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

/// The first bytes of a refusal's body, for the log: of one that S3 wrote its code and message, which alone are sure to quote no
/// signature.
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
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = quick_xml::escape::unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned);
    (!text.is_empty()).then_some(text)
}

/// At most 100 characters that a name of S3 may have.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).take(100).collect()
}

/// A text of others on one line of ours.
fn shown(text: &str) -> String {
    // What turns the direction of a line, or shows nothing, can make it say something else.
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

/// Whether a text holds one of them. One so short that any text has it by chance has to stand alone.
fn holds_any(text: &str, secrets: &[&str]) -> bool {
    secrets.iter().any(|secret| match secret.len() {
        0 => false,
        1..8 => text.split(|c: char| !c.is_alphanumeric()).any(|word| word == *secret),
        _ => text.contains(secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, more: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message>{more}</Error>")
    }

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::of(status, body, &["AKIASECRET", "very/secret+key", "x"])
    }

    fn error(status: u16, body: &str, verb: Verb) -> Error {
        refusal(status, body).into_error(verb, "s3://b/k")
    }

    #[test]
    fn each_refusal_says_who_can_mend_it() {
        let table = [
            (403, "AccessDenied", ErrorKind::Credentials, "s3:PutObject"),
            (403, "InvalidAccessKeyId", ErrorKind::Credentials, "access key id"),
            (403, "SignatureDoesNotMatch", ErrorKind::Credentials, "secret"),
            (400, "ExpiredToken", ErrorKind::Credentials, "expired"),
            (400, "InvalidToken", ErrorKind::Credentials, "session token"),
            (403, "RequestTimeTooSkewed", ErrorKind::Config, "clock"),
            (404, "NoSuchBucket", ErrorKind::Config, "create"),
            (501, "NotImplemented", ErrorKind::Config, "endpoint"),
            (400, "RequestTimeout", ErrorKind::Unavailable, "again"),
            (400, "SomethingNew", ErrorKind::Unavailable, "store says"),
            (503, "SlowDown", ErrorKind::Unavailable, "again"),
            (500, "AccessDenied", ErrorKind::Unavailable, "again"),
        ];
        for (status, code, kind, word) in table {
            let error = error(status, &xml(code, ""), Verb::Put);
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.to_string(), format!("cannot put s3://b/k: HTTP {status} {code}: m"));
            assert!(error.next_step().unwrap().contains(word), "{code}: {:?}", error.next_step());
        }
    }

    #[test]
    fn refusal_is_about_one_object_unless_the_sender_or_the_place_is_refused() {
        for (status, code, one) in [
            (403, "AccessDenied", true),
            (403, "", true),
            (403, "InvalidObjectState", true),
            (400, "EntityTooLarge", true),
            (400, "SomethingNew", true),
            (413, "", true),
            (422, "", true),
            (401, "", false),
            (404, "", false),
            (404, "NoSuchBucket", false),
            (403, "InvalidAccessKeyId", false),
            (403, "SignatureDoesNotMatch", false),
            (403, "RequestTimeTooSkewed", false),
            (400, "ExpiredToken", false),
            (400, "AuthorizationHeaderMalformed", false),
            (400, "RequestTimeout", false),
            (403, "QuotaExceeded", false),
            (301, "PermanentRedirect", false),
            (429, "", false),
            (500, "AccessDenied", false),
            (501, "NotImplemented", false),
        ] {
            for verb in [Verb::Put, Verb::Get, Verb::Head] {
                assert_eq!(error(status, &xml(code, ""), verb).concerns_one_object(), one, "{status} {code} {verb:?}");
            }
            assert!(!error(status, &xml(code, ""), Verb::List).concerns_one_object(), "{status} {code}");
        }
        for (verb, one) in [(Verb::Get, true), (Verb::Put, false), (Verb::List, false)] {
            assert_eq!(error(404, &xml("NoSuchKey", ""), verb).concerns_one_object(), one, "{verb:?}");
        }
    }

    #[test]
    fn what_does_not_pass_by_waiting_says_so() {
        for (status, code, word) in [
            (413, "", "client_max_body_size"),
            (400, "EntityTooLarge", "part_max_records"),
            (403, "InvalidObjectState", "Glacier"),
            (403, "QuotaExceeded", "quota"),
        ] {
            let error = error(status, &xml(code, ""), Verb::Get);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{code}");
            assert!(error.next_step().unwrap().contains(word), "{code}: {:?}", error.next_step());
        }
    }

    #[test]
    fn wrong_region_names_the_right_one() {
        for (status, code, more) in [
            (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            (301, "PermanentRedirect", "<Endpoint>eu-west-1</Endpoint>"),
            (307, "TemporaryRedirect", "<Endpoint>eu-west-1</Endpoint>"),
        ] {
            let error = error(status, &xml(code, more), Verb::List);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.next_step(), Some("set load.region: the store names eu-west-1"));
        }
    }

    #[test]
    fn look_without_the_right_to_list_names_it() {
        let error = error(403, "", Verb::Head);
        assert_eq!(error.kind(), ErrorKind::Credentials);
        assert!(error.next_step().unwrap().contains("s3:ListBucket"));
    }

    #[test]
    fn bodies_cannot_smuggle_text_into_a_message() {
        let body = xml("Access Denied\u{1b}[31m\n", "<AWSAccessKeyId>AKIASECRET</AWSAccessKeyId>");
        let error = error(403, &body, Verb::Get);
        assert_eq!(error.to_string(), "cannot read s3://b/k: HTTP 403 AccessDenied31m: m");
        assert!(!error.chain().contains("AKIASECRET"));
        assert_eq!(super::element("<Code></Code>", "Code"), None);
        assert_eq!(super::element("<Code>half", "Code"), None);
    }

    #[test]
    fn message_of_the_store_is_shown_clean_short_and_without_credentials() {
        let said = |message: &str| {
            let body = format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
            let text = error(403, &body, Verb::Put).to_string();
            text.strip_prefix("cannot put s3://b/k: HTTP 403 AccessDenied").unwrap().to_owned()
        };
        assert_eq!(said("with an explicit deny\n\tin a &quot;policy&quot;"), ": with an explicit deny in a \"policy\"");
        assert_eq!(said("red \u{1b}[31m \u{202e}turned"), ": red [31m turned");
        assert_eq!(said(&"y".repeat(500)), format!(": {}…", "y".repeat(200)));
        assert_eq!(said("an exit"), ": an exit", "of a secret that is an x");
        for quoted in ["it is x!", "AKIASECRET is unknown", "you said very/secret+key", "very/secret&#43;key", ""] {
            assert_eq!(said(quoted), "", "{quoted}");
        }
    }

    #[test]
    fn log_never_quotes_what_was_signed() {
        let signed =
            "<Error><Code>SignatureDoesNotMatch</Code><Message>m</Message><StringToSign>AWS4</StringToSign></Error>";
        for (body, shown) in [
            (signed, "SignatureDoesNotMatch m"),
            ("<html>\n<h1>413</h1>\u{7}</html>", "<html> <h1>413</h1> </html>"),
            ("<Error><StringToSign>AWS4", "…"),
            ("who is AKIASECRET", "…"),
        ] {
            assert_eq!(excerpt(body.as_bytes(), &["AKIASECRET"]), shown);
        }
    }

    #[test]
    fn redirect_is_not_followed_and_named() {
        for status in [301, 302, 303, 307, 308] {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("location", "https://user:pw@login.example/in?x=1".parse().unwrap());
            let answer = Answer { status, headers: headers.clone(), body: Vec::new(), cut: false };
            let error = Refusal::read(&answer, &[]).into_error(Verb::Put, "s3://b/k");
            assert_eq!((error.kind(), error.concerns_one_object()), (ErrorKind::Unavailable, false));
            let what =
                format!("cannot put s3://b/k: HTTP {status}, a redirect to login.example, which is not followed");
            assert_eq!(error.to_string(), what);
            headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
            let answer = Answer { status, headers, body: Vec::new(), cut: false };
            let error = Refusal::read(&answer, &[]).into_error(Verb::Head, "s3://b/k");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.next_step(), Some("set load.region: the store names eu-west-1"));
        }
    }

    #[test]
    fn condition_may_be_what_is_refused() {
        for (status, code, may) in [
            (501, "NotImplemented", true),
            (501, "", true),
            (400, "NotImplemented", true),
            (400, "InvalidArgument", true),
            (400, "InvalidRequest", true),
            (400, "EntityTooLarge", false),
            (400, "", false),
            (403, "InvalidRequest", false),
            (412, "PreconditionFailed", false),
        ] {
            assert_eq!(refusal(status, &xml(code, "")).may_be_the_condition(), may, "{status} {code}");
        }
    }

    #[test]
    fn only_passing_refusals_are_worth_another_try() {
        for (status, code) in [(500, ""), (503, "SlowDown"), (429, ""), (408, ""), (400, "RequestTimeout"), (504, "")] {
            assert!(refusal(status, &xml(code, "")).is_passing(), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, ""), (412, ""), (409, ""), (501, ""), (400, "BadDigest")] {
            assert!(!refusal(status, &xml(code, "")).is_passing(), "{status} {code}");
        }
    }
}
