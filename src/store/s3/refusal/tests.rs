//! What each refusal means, and what of it is shown.

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
fn what_a_policy_or_a_key_asks_for_is_told_from_the_message() {
    let arn = "User: arn:aws:sts::111122223333:assumed-role/a-role-with-a-long-name/i-0123456789abcdef0";
    let key = "arn:aws:s3:::a-bucket-with-a-long-name/prefix/data/2023_y/03_m/21_d/10_h/part-00000.ndjson.gz";
    let denied = |what: &str, why: &str| format!("{arn} is not authorized to perform: {what} on resource: {key} {why}");
    for (message, verb, word) in [
        (denied("s3:PutObject", "with an explicit deny in a resource-based policy"), Verb::Put, "load.sse"),
        (
            denied("s3:ListBucket", "with an explicit deny in a resource-based policy"),
            Verb::List,
            "statements that deny",
        ),
        (denied("kms:GenerateDataKey", "because no identity-based policy allows it"), Verb::Put, "kms:GenerateDataKey"),
        (denied("s3:PutObjectTagging", "because no identity-based policy allows it"), Verb::Put, "load.tags"),
        (
            denied("s3:PutObject", "because no identity-based policy allows it"),
            Verb::Put,
            "allow these credentials s3:PutObject there",
        ),
        ("Access Denied".to_owned(), Verb::Put, "what it demands"),
    ] {
        let body = format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
        let error = error(403, &body, verb);
        assert!(error.next_step().unwrap().contains(word), "{word}: {error:?}");
        assert!(error.to_string().ends_with(&message), "all of it is shown: {error}");
    }
    for (code, word) in [
        ("KMS.NotFoundException", "load.kms_key"),
        ("AccessControlListNotSupported", "load.acl"),
        ("InvalidStorageClass", "load.storage_class"),
    ] {
        assert!(error(400, &xml(code, ""), Verb::Put).next_step().unwrap().contains(word), "{code}");
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
    assert_eq!(said(&"y".repeat(900)), format!(": {}…", "y".repeat(500)));
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
        let what = format!("cannot put s3://b/k: HTTP {status}, a redirect to login.example, which is not followed");
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
        assert!(refusal(status, &xml(code, "")).is_temporary(), "{status} {code}");
    }
    for (status, code) in [(403, "AccessDenied"), (404, ""), (412, ""), (409, ""), (501, ""), (400, "BadDigest")] {
        assert!(!refusal(status, &xml(code, "")).is_temporary(), "{status} {code}");
    }
}
