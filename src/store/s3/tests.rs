//! The store against a server that answers by a script.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::AtomicU32;

use jiff::Timestamp;

use super::signing::Identity;
use super::test_server::{answer, listed, read_head, refused, serve, serve_all, serve_without_end};
use super::*;
use crate::config::{AwsVariables, Encryption, ObjectOptions, S3Credentials};
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;

/// Of the bytes that [`put`] sends.
const MD5: &str = "4b3a6218bb3e3a7303e8a171a60fcf92";

fn stored() -> String {
    answer("200 OK", &format!("etag: \"{MD5}\"\r\n"), "")
}

fn settings(endpoint: Option<&str>) -> S3Settings {
    let keys = S3Credentials::Keys { id: "ID".into(), secret: "SECRET".into(), token: Some("TOKEN".into()) };
    let endpoint = endpoint.map(str::to_owned);
    let (variables, options) = (AwsVariables::default(), ObjectOptions::default());
    let (bucket, prefix, region) = ("bbb".to_owned(), "p/".to_owned(), "r-1".to_owned());
    S3Settings { bucket, prefix, endpoint, region, credentials: keys, variables, options }
}

fn store(script: Vec<String>) -> (S3Store, std::thread::JoinHandle<Vec<String>>) {
    let (endpoint, requests) = serve(script);
    (S3Store::new(settings(Some(&endpoint))).unwrap(), requests)
}

fn meta() -> PartMeta {
    let identity = PartIdentity { rows: 3, bytes: 5, sha256: "5a".into(), content_sha256: "c5".into() };
    PartMeta { identity, hour: "2023-03-10T01".into(), dict: "d1".into(), range: HashRange::ALL }
}

fn put(store: &S3Store) -> Result<PutAnswer> {
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), b"bytes").unwrap();
    store.put_new("p/k", body.path(), &meta())
}

#[test]
fn put_is_conditional_and_carries_the_identity() {
    let (store, requests) = store(vec![stored()]);
    assert!(matches!(put(&store).unwrap(), PutAnswer::Created { etag: Some(etag) } if etag == MD5));
    let head = requests.join().unwrap().remove(0).to_lowercase();
    for line in [
        "put /bbb/p/k http/1.1",
        "if-none-match: *",
        "content-type: application/x-ndjson",
        "content-length: 5",
        "content-md5: szpigls+onmd6kfxpg/pkg==",
        "x-amz-security-token: token",
        "x-amz-meta-etl-sha256: 5a",
        "x-amz-meta-etl-content-sha256: c5",
        "x-amz-meta-etl-rows: 3",
        "x-amz-meta-etl-hour: 2023-03-10t01",
        "x-amz-meta-etl-dict: d1",
    ] {
        assert!(head.lines().any(|there| there == line), "{line} is not in\n{head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    assert!(head.contains("signedheaders=") && head.contains("/r-1/s3/"), "{head}");
}

#[test]
fn what_is_asked_for_each_object_goes_with_each_put_and_the_owner_with_every_request() {
    let tags = [("team", "logs & co"), ("cost center", "a+b")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let options = ObjectOptions {
        sse: Some(Encryption::Kms),
        kms_key: Some("arn:aws:kms:r-1:111122223333:key/k".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        acl: Some("bucket-owner-full-control".to_owned()),
        expected_owner: Some("111122223333".to_owned()),
        tags: tags.into(),
    };
    let found = "etag: \"of-kms\"\r\ncontent-length: 5\r\nx-amz-meta-etl-sha256: 5a\r\nx-amz-meta-etl-content-sha256: c5\r\n\
                 x-amz-meta-etl-rows: 3\r\nx-amz-meta-etl-hour: 2023-03-10T01\r\nx-amz-meta-etl-dict: d1\r\n";
    let script = vec![answer("200 OK", "etag: \"of-kms\"\r\n", ""), answer("200 OK", found, "")];
    let (endpoint, requests) = serve(script);
    let store = S3Store::new(S3Settings { options, ..settings(Some(&endpoint)) }).unwrap();
    assert!(matches!(put(&store).unwrap(), PutAnswer::Unproven { .. }), "a tag of KMS proves nothing");
    assert_eq!(store.head("p/k").unwrap().unwrap().meta.unwrap().identity.sha256, "5a", "and a look does");
    let heads: Vec<_> = requests.join().unwrap().into_iter().map(|head| head.to_lowercase()).collect();
    let owner = "x-amz-expected-bucket-owner: 111122223333";
    for line in [
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:r-1:111122223333:key/k",
        "x-amz-storage-class: standard_ia",
        "x-amz-acl: bucket-owner-full-control",
        "x-amz-tagging: cost%20center=a%2bb&team=logs%20%26%20co",
        owner,
    ] {
        assert!(heads[0].lines().any(|there| there == line), "{line} is not in\n{}", heads[0]);
        let name = line.split(':').next().unwrap();
        assert!(heads[0].contains(&format!(";{name}")), "{name} is not signed: {}", heads[0]);
    }
    assert!(heads[1].lines().any(|there| there == owner) && !heads[1].contains("x-amz-tagging"), "{}", heads[1]);
}

#[test]
fn credentials_near_their_end_are_used_on_where_no_others_are_found() {
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    fn lookup(_: &S3Settings, _: &Stop) -> Result<Identity> {
        let soon = Timestamp::now() + jiff::SignedDuration::from_secs(60);
        match LOOKUPS.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Identity::of("KEY0", "s").until(Some(soon))),
            _ => Err(Error::new(ErrorKind::Credentials, "no answer")),
        }
    }
    let (endpoint, requests) = serve(vec![stored(), stored(), stored()]);
    let settings = S3Settings { credentials: S3Credentials::Default, ..settings(Some(&endpoint)) };
    let store = S3Store::with_lookup(settings, lookup).unwrap();
    put(&store).unwrap();
    store.client.look_up_now();
    put(&store).unwrap();
    put(&store).unwrap();
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 2, "a failed one is not repeated for each request");
    assert!(requests.join().unwrap().iter().all(|head| head.contains("KEY0")));
}

#[test]
fn put_is_sent_once_whatever_is_answered() {
    for (status, expected) in [
        ("412 X", "Exists"),
        ("409 X", "Conflict"),
        ("501 X", "Refused"),
        ("500 X", "failed"),
        ("403 X", "failed"),
        ("302 X", "failed"),
    ] {
        let (store, requests) = store(vec![refused(status, "Any")]);
        let answered = put(&store).map_or_else(|_| "failed".to_owned(), |answer| format!("{answer:?}"));
        assert!(answered.starts_with(expected), "{status}: {answered}");
        assert_eq!(requests.join().unwrap().len(), 1);
    }
}

#[test]
fn passing_failure_of_a_look_is_tried_again() {
    let found = "etag: \"e\"\r\nx-amz-meta-etl-sha256: 5a\r\n";
    let script = vec![refused("503 Slow Down", "SlowDown"), "not_s3\r\n\r\n".into(), answer("200 OK", found, "")];
    let script = [script, vec![listed(&["p/k"], None)]].concat();
    let (store, requests) = store(script);
    let info = store.head("p/k").unwrap().unwrap();
    assert_eq!(info, ObjectInfo { size: 0, etag: Some("e".into()), meta: None });
    assert_eq!(requests.join().unwrap().len(), 4, "what is no part of ours is looked for in a listing too");
}

#[test]
fn absence_is_believed_once_the_bucket_is_known_to_exist() {
    let not_found = || answer("404 Not Found", "", "");
    let (store, requests) = store(vec![not_found(), listed(&[], None), not_found()]);
    assert_eq!((store.head("p/k").unwrap(), store.head("p/k").unwrap()), (None, None));
    assert_eq!(requests.join().unwrap().len(), 3);

    let (store, _requests) = self::store(vec![not_found(), refused("404 Not Found", "NoSuchBucket")]);
    assert_eq!(store.head("p/k").unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn look_that_is_forbidden_is_unknown_and_names_the_permission() {
    let forbidden = || answer("403 Forbidden", "", "");
    let (store, _requests) = store(vec![forbidden(), refused("403 Forbidden", "AccessDenied")]);
    let error = store.head("p/k").unwrap_err();
    assert!(!error.concerns_one_object());
    assert_eq!(error.to_string(), "cannot look at s3://bbb/p/k: HTTP 403 AccessDenied");
    assert!(error.next_step().unwrap().contains("s3:ListBucket"), "{error:?}");

    let (store, _requests) = self::store(vec![forbidden(), listed(&[], None), forbidden()]);
    let error = store.head("p/k").unwrap_err();
    assert_eq!((error.kind(), error.concerns_one_object()), (ErrorKind::Credentials, true));
    assert!(error.next_step().unwrap().contains("s3:GetObject"), "{error:?}");
}

#[test]
fn skewed_clock_shows_through_a_look() {
    let (store, _requests) = store(vec![answer("403 X", "", ""), refused("403 X", "RequestTimeTooSkewed")]);
    let error = store.head("p/k").unwrap_err();
    assert_eq!((error.kind(), error.next_step().unwrap().contains("clock")), (ErrorKind::Config, true));
}

#[test]
fn expired_credentials_are_looked_up_again_once() {
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    fn lookup(_: &S3Settings, _: &Stop) -> Result<Identity> {
        Ok(Identity::of(&format!("KEY{}", LOOKUPS.fetch_add(1, Ordering::Relaxed)), "s"))
    }
    let expired = || refused("400 Bad Request", "ExpiredToken");
    let (endpoint, requests) = serve(vec![expired(), stored(), expired(), expired()]);
    let profile = S3Credentials::Profile("x".into());
    let settings = S3Settings { credentials: profile, ..settings(Some(&endpoint)) };
    let store = S3Store::with_lookup(settings, lookup).unwrap();
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 0, "nothing is looked up before the first request");
    assert!(matches!(put(&store).unwrap(), PutAnswer::Created { .. }));
    assert_eq!(put(&store).unwrap_err().kind(), ErrorKind::Credentials);
    let keys: Vec<_> =
        requests.join().unwrap().iter().map(|head| ["KEY0", "KEY1", "KEY2"].map(|key| head.contains(key))).collect();
    let [first, second, third] = [[true, false, false], [false, true, false], [false, false, true]];
    assert_eq!(keys, [first, second, second, third]);
}

#[test]
fn credentials_whose_end_has_passed_are_looked_up_before_a_request() {
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);
    fn lookup(_: &S3Settings, _: &Stop) -> Result<Identity> {
        let n = LOOKUPS.fetch_add(1, Ordering::Relaxed);
        let end = [Timestamp::UNIX_EPOCH, Timestamp::MAX][n as usize];
        Ok(Identity::of(&format!("KEY{n}"), "s").until(Some(end)))
    }
    let (endpoint, requests) = serve(vec![stored(), stored(), stored()]);
    let settings = S3Settings { credentials: S3Credentials::Default, ..settings(Some(&endpoint)) };
    let store = S3Store::with_lookup(settings, lookup).unwrap();
    for _ in 0..3 {
        put(&store).unwrap();
    }
    let keys: Vec<bool> = requests.join().unwrap().iter().map(|head| head.contains("KEY1")).collect();
    assert_eq!(keys, [false, true, true]);
}

#[test]
fn configured_keys_that_expired_are_refused_at_once() {
    let (store, requests) = store(vec![refused("403 Forbidden", "ExpiredToken")]);
    assert_eq!(put(&store).unwrap_err().kind(), ErrorKind::Credentials);
    assert_eq!(requests.join().unwrap().len(), 1);
}

#[test]
fn no_request_follows_a_redirect() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let moved = format!("location: http://localhost:{}/bbb/p/k\r\n", elsewhere.local_addr().unwrap().port());
    for status in ["301 X", "302 X", "303 X", "307 X", "308 X"] {
        let here = || answer(status, &moved, "");
        let (store, _requests) = store(vec![here(), here(), here(), here(), here()]);
        let free = store.put_free("p/k", tempfile::NamedTempFile::new().unwrap().path(), &meta()).map(drop);
        let asked = [put(&store).map(drop), free, store.get("p/k").map(drop), store.list("p/", &mut |_, _| Ok(()))];
        for error in asked.map(Result::unwrap_err) {
            let named = error.to_string().contains("redirect to localhost, which is not followed");
            assert!(named && error.kind() == ErrorKind::Unavailable, "{status}: {error:?}");
        }
        let error = elsewhere.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{status}: somebody connected");
    }
}

#[test]
fn only_the_md5_of_what_was_sent_is_a_proof() {
    for (tag, proven) in [
        (format!("etag: \"{MD5}\"\r\n"), true),
        (format!("etag: {}\r\n", MD5.to_uppercase()), true),
        ("etag: \"64f0c9a1-1c\"\r\n".to_owned(), false),
        ("etag: \"\"\r\n".to_owned(), false),
        (String::new(), false),
        (format!("etag: W/\"{MD5}\"\r\n"), false),
        (format!("etag: \"{MD5}-2\"\r\n"), false),
    ] {
        let (store, _requests) = store(vec![answer("200 OK", &tag, "<html/>")]);
        let answered = put(&store).unwrap();
        assert_eq!(matches!(answered, PutAnswer::Created { .. }), proven, "{tag}: {answered:?}");
        assert!(proven || matches!(answered, PutAnswer::Unproven { .. }), "{tag}: {answered:?}");
    }
}

#[test]
fn put_without_the_condition_is_the_same_but_for_the_header() {
    let (store, requests) = store(vec![stored(), refused("501 X", "NotImplemented")]);
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), b"bytes").unwrap();
    let answered = store.put_free("p/k", body.path(), &meta());
    assert!(matches!(answered.unwrap(), PutAnswer::Created { .. }));
    assert_eq!(store.put_free("p/k", body.path(), &meta()).unwrap_err().kind(), ErrorKind::Config);
    let head = requests.join().unwrap().remove(0).to_lowercase();
    assert!(!head.contains("if-none-match") && head.contains("x-amz-meta-etl-rows: 3"), "{head}");
}

#[test]
fn bodies_without_end_end() {
    let began = std::time::Instant::now();
    for (status, kind) in [("200 OK", ErrorKind::Unavailable), ("403 X", ErrorKind::Credentials)] {
        let store = S3Store::new(settings(Some(&serve_without_end(status)))).unwrap();
        let asked = [store.list("p/", &mut |_, _| Ok(())), store.head("p/k").map(drop)];
        for answered in asked {
            assert_eq!(answered.unwrap_err().kind(), kind, "{status}");
        }
        match put(&store) {
            Ok(answered) => assert!(matches!(answered, PutAnswer::Unproven { .. }) && status == "200 OK"),
            Err(error) => assert_eq!(error.kind(), kind),
        }
    }
    let store = S3Store::new(settings(Some(&serve_without_end("500 X")))).unwrap();
    assert_eq!(store.get("p/k").unwrap_err().kind(), ErrorKind::Unavailable);
    let larger = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\nhead", LARGEST + 1);
    let (store, _requests) = self::store(vec![larger, listed(&["p/k"], None)]);
    let error = store.get("p/k").unwrap_err();
    assert_eq!((error.kind(), error.concerns_one_object()), (ErrorKind::Mismatch, true));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn login_page_that_says_200_to_everything_is_no_store() {
    let page = || answer("200 OK", "content-type: text/html\r\netag: \"x\"\r\n", "<html>please log in</html>");
    let (store, _requests) = store(vec![page(); 20]);
    for error in [store.head("p/k").unwrap_err(), store.get("p/k").unwrap_err()] {
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Unavailable && text.contains("does not speak S3"), "{text}");
    }
    // Who may read and not list is believed.
    let (store, _requests) = self::store(vec![answer("200 OK", "", "x"), refused("403 X", "AccessDenied")]);
    assert_eq!(store.get("p/k").unwrap(), b"x");
}

#[test]
fn refusal_that_comes_before_the_body_was_read_is_heard() {
    // As nginx does it: refuses by the length, and reads on for a while.
    let endpoint = serve_all(|stream| {
        let mut rest = read_head(stream).1;
        let mut writer = stream;
        writer.write_all(answer("413 X", "content-type: text/html\r\n", "<html>413</html>").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut rest, &mut std::io::sink());
    });
    let store = S3Store::new(settings(Some(&endpoint))).unwrap();
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![7; 20 << 20]).unwrap();
    for _ in 0..5 {
        let error = store.put_new("p/k", body.path(), &meta()).unwrap_err();
        assert!(error.concerns_one_object() && error.to_string().contains("HTTP 413"), "{error:?}");
    }
}

#[test]
fn connection_that_the_store_closed_costs_no_try() {
    // Keeps each open, as far as it says, and closes it after the first answer.
    let (endpoint, requests) = serve(vec![stored().replace("connection: close\r\n", ""); 6]);
    let store = S3Store::new(settings(Some(&endpoint))).unwrap();
    for n in 0..6 {
        assert!(matches!(put(&store), Ok(PutAnswer::Created { .. })), "{n}");
    }
    assert_eq!(requests.join().unwrap().len(), 6);
}

#[test]
fn download_cut_short_is_no_object() {
    let cut = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nshort".to_owned();
    let (store, requests) = store(vec![cut, answer("200 OK", "", "all of it"), listed(&["p/k"], None)]);
    assert_eq!(store.get("p/k").unwrap(), b"all of it");
    assert_eq!(requests.join().unwrap().len(), 3);
}

#[test]
fn list_follows_the_pages_and_refuses_half_an_answer() {
    let token = Some("<NextContinuationToken>t1</NextContinuationToken>");
    let script = vec![listed(&["p/1", "p/2"], token), listed(&["p/3"], None), listed(&["p/1"], Some(""))];
    let (store, requests) = store(script);
    let keys = || {
        let mut keys = Vec::new();
        let each = &mut |key: &str, size| {
            keys.push((key.to_owned(), size));
            Ok(())
        };
        store.list("p/", each).map(|()| keys)
    };
    assert_eq!(keys().unwrap(), ["p/1", "p/2", "p/3"].map(|key| (key.to_owned(), 7)));
    assert_eq!(keys().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(requests.join().unwrap()[1].contains("continuation-token=t1"));
}

#[test]
fn errors_name_the_host_that_gave_no_answer_and_the_owner_that_was_expected() {
    let nobody = S3Store::new(settings(Some("http://127.0.0.1:1"))).unwrap();
    let error = put(&nobody).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("cannot put s3://bbb/p/k: no answer from 127.0.0.1:1: "), "{said}");
    assert!(said.contains("refused") && error.next_step().unwrap().contains("load.endpoint"), "{error:?}");
    let unknown = S3Store::new(settings(Some("http://nobody.invalid"))).unwrap();
    let said = put(&unknown).unwrap_err().to_string();
    assert!(
        said.contains("from nobody.invalid: ") && said.contains("the name nobody.invalid cannot be resolved"),
        "{said}"
    );

    let (endpoint, _requests) = serve(vec![refused("403 Forbidden", "AccessDenied")]);
    let options = ObjectOptions { expected_owner: Some("111122223333".to_owned()), ..ObjectOptions::default() };
    let store = S3Store::new(S3Settings { options, ..settings(Some(&endpoint)) }).unwrap();
    assert!(put(&store).unwrap_err().next_step().unwrap().contains("load.expected_owner"));
}

#[test]
fn secrets_are_in_no_text() {
    let (store, _requests) = store(vec![refused("403 X", "InvalidAccessKeyId")]);
    let error = put(&store).unwrap_err();
    let texts = [format!("{store:?} {:?}", settings(None)), format!("{error:?} {}", error.chain())];
    assert!(texts.iter().all(|text| !text.contains("SECRET") && !text.contains("TOKEN")), "{texts:?}");
}

#[test]
fn endpoints_that_are_no_addresses_are_refused_without_being_quoted() {
    for endpoint in ["s3.example.org", "ftp://x", "http://", "https://user:PASSWORD@host", "https://h/?x=1"] {
        let error = S3Store::new(settings(Some(endpoint))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{endpoint}");
        assert!(!error.chain().contains("PASSWORD"));
    }
}

#[test]
fn aws_is_asked_at_the_regions_host() {
    let at = |region: &str| S3Settings { region: region.into(), ..settings(Some("")) };
    assert_eq!(at("ap-northeast-2").endpoint_or_aws(), "https://s3.ap-northeast-2.amazonaws.com");
    assert_eq!(at("cn-north-1").endpoint_or_aws(), "https://s3.cn-north-1.amazonaws.com.cn");
    assert!(!at("x").by_path());
    assert!(S3Settings { bucket: "my.logs".into(), ..at("x") }.by_path());
    assert!(settings(Some("http://h")).by_path());
}
