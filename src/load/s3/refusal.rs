//! What an S3 store means by a refusal: its status and XML body, and what the operator does about it.
//!
//! Pure. Invariant: of a body only the error code and the region or host it names get into a message, cut short and
//! stripped to harmless characters; a body may quote keys and signatures back.

use crate::error::{Error, ErrorKind};

/// What helps where a body is larger than something on the way takes.
const TOO_LARGE: &str = "waiting does not help: raise the limit of what is in between (nginx: client_max_body_size) or, for \
                         parts to come, set load.part_max_records";

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The S3 error code; empty where the body has none (always so for HEAD).
    pub(super) code: String,
    /// The region or host that the store names as the right one.
    elsewhere: Option<String>,
}

impl Refusal {
    /// Reads the answer's status and body.
    pub(super) fn new(status: u16, body: &str) -> Self {
        let elsewhere = element(body, "Region").or_else(|| element(body, "Endpoint"));
        Self { status, code: element(body, "Code").unwrap_or_default(), elsewhere }
    }

    /// Whether the same request may well succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        let by_code = matches!(
            self.code.as_str(),
            "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "Throttling"
        );
        by_code || matches!(self.status, 408 | 429) || (self.status >= 500 && self.status != 501)
    }

    /// Whether fresh credentials may help.
    pub(super) fn is_expiry(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
    }

    /// What the operator does about it. `target` is the `s3://` address that was asked for.
    pub(super) fn into_error(self, verb: Verb, target: &str) -> Error {
        let (kind, hint) = self.meaning(verb);
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        let error =
            Error::new(kind, format!("cannot {} {target}: HTTP {}{code}", verb.phrase(), self.status)).hint(hint);
        if verb != Verb::List && self.is_about_the_object() { error.about_one_object() } else { error }
    }

    /// Whether another object may well be treated otherwise: what is refused is neither the sender nor the place.
    fn is_about_the_object(&self) -> bool {
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
        let by_status =
            matches!(self.status, 400 | 403 | 410..=499) || (self.status == 404 && self.code == "NoSuchKey");
        by_status && !sender_or_place && !self.is_passing() && !self.is_expiry()
    }

    fn meaning(&self, verb: Verb) -> (ErrorKind, String) {
        let (kind, hint) = match (self.code.as_str(), self.status) {
            _ if self.is_passing() => return later(),
            _ if self.is_expiry() => (ErrorKind::Credentials, "renew the session token: it has expired".to_owned()),
            ("RequestTimeTooSkewed", _) => {
                (ErrorKind::Config, "set this machine's clock: it is off by more than 15 minutes".to_owned())
            }
            ("NoSuchBucket" | "InvalidBucketName", _) => {
                (ErrorKind::Config, "check the S3 bucket in load.to, and create it first".to_owned())
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _)
            | (_, 301 | 302 | 307 | 308) => (ErrorKind::Config, self.region_hint()),
            ("InvalidObjectState", _) => (
                ErrorKind::Unavailable,
                "the object is archived: restore it in S3 (Glacier), then run again".to_owned(),
            ),
            ("EntityTooLarge", _) | (_, 413) => (ErrorKind::Unavailable, TOO_LARGE.to_owned()),
            ("QuotaExceeded", _) => (
                ErrorKind::Unavailable,
                "raise the store's quota, or make room there: waiting does not help".to_owned(),
            ),
            ("InvalidAccessKeyId", _) => {
                (ErrorKind::Credentials, "check the access key id: the store does not know it".to_owned())
            }
            ("SignatureDoesNotMatch", _) => (ErrorKind::Credentials, "check the secret access key".to_owned()),
            ("", 404 | 405) | (_, 501) => {
                (ErrorKind::Config, "check load.endpoint: what answers there does not do what S3 does".to_owned())
            }
            (_, 401 | 403) => (ErrorKind::Credentials, format!("allow these credentials {} there", verb.permission())),
            _ => return later(),
        };
        (kind, hint)
    }

    fn region_hint(&self) -> String {
        match &self.elsewhere {
            Some(right) => format!("set load.region: the store names {right}"),
            None => "check load.region: the S3 bucket is in another one".to_owned(),
        }
    }
}

fn later() -> (ErrorKind, String) {
    (ErrorKind::Unavailable, "run again later: nothing is lost".to_owned())
}

/// The text of the first element `name` in an S3 error body.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let harmless = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let text: String = text.chars().filter(harmless).take(100).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, more: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message>{more}</Error>")
    }

    fn error(status: u16, body: &str, verb: Verb) -> Error {
        Refusal::new(status, body).into_error(verb, "s3://b/k")
    }

    #[test]
    fn each_refusal_says_who_can_mend_it() {
        let table = [
            (403, "AccessDenied", ErrorKind::Credentials, "s3:PutObject"),
            (403, "InvalidAccessKeyId", ErrorKind::Credentials, "access key id"),
            (403, "SignatureDoesNotMatch", ErrorKind::Credentials, "secret"),
            (400, "ExpiredToken", ErrorKind::Credentials, "expired"),
            (403, "RequestTimeTooSkewed", ErrorKind::Config, "clock"),
            (404, "NoSuchBucket", ErrorKind::Config, "create"),
            (501, "NotImplemented", ErrorKind::Config, "endpoint"),
            (400, "RequestTimeout", ErrorKind::Unavailable, "again"),
            (400, "SomethingNew", ErrorKind::Unavailable, "again"),
            (503, "SlowDown", ErrorKind::Unavailable, "again"),
            (500, "AccessDenied", ErrorKind::Unavailable, "again"),
        ];
        for (status, code, kind, word) in table {
            let error = error(status, &xml(code, ""), Verb::Put);
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.to_string(), format!("cannot put s3://b/k: HTTP {status} {code}"));
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
            (404, "NoSuchKey", true),
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
        assert_eq!(error.to_string(), "cannot read s3://b/k: HTTP 403 AccessDenied31m");
        assert!(!error.chain().contains("AKIASECRET"));
        assert_eq!(super::element("<Code></Code>", "Code"), None);
        assert_eq!(super::element("<Code>half", "Code"), None);
    }

    #[test]
    fn only_passing_refusals_are_worth_another_try() {
        for (status, code) in [(500, ""), (503, "SlowDown"), (429, ""), (408, ""), (400, "RequestTimeout"), (504, "")] {
            assert!(Refusal::new(status, &xml(code, "")).is_passing(), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, ""), (412, ""), (409, ""), (501, ""), (400, "BadDigest")] {
            assert!(!Refusal::new(status, &xml(code, "")).is_passing(), "{status} {code}");
        }
    }
}
