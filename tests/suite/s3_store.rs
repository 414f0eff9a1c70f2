//! The S3 destination against a real server.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use etl::config::{AwsVariables, ObjectOptions, S3Credentials};
use etl::error::ErrorKind;
use etl::hour::part::PartIdentity;
use etl::hour::range::HashRange;
use etl::stop::Stop;
use etl::store::once::{CreateOnly, How, Outcome, Sealed, probe_create_only, upload};
use etl::store::s3::{S3Settings, S3Store};
use etl::store::{ObjectStore, PartMeta, PutAnswer};

use crate::support::{s3, unique_prefix};

fn meta(sha256: &str, content: &str) -> PartMeta {
    let identity = PartIdentity { rows: 3, bytes: 5, sha256: sha256.into(), content_sha256: content.into() };
    PartMeta { identity, hour: "2023-03-10T01".into(), dict: "d1".into(), range: HashRange::ALL }
}

/// A file that holds `bytes`, and is removed when dropped.
fn body(bytes: &[u8]) -> tempfile::TempPath {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn put(store: &S3Store, key: &str, bytes: &[u8], meta: &PartMeta) -> PutAnswer {
    store.put_new(key, &body(bytes), meta).unwrap()
}

#[test]
fn object_is_created_once_and_keeps_its_identity() {
    let Some(at) = s3() else { return };
    let (store, key) = (at.store(), format!("{}a b+ü=1/part", unique_prefix("identity")));
    assert_eq!(store.head(&key).unwrap(), None);
    let PutAnswer::Created { etag } = put(&store, &key, b"bytes", &meta("5a", "c5")) else { panic!("not created") };
    assert!(etag.is_some_and(|etag| !etag.contains('"')));
    assert!(matches!(put(&store, &key, b"two", &meta("5b", "c6")), PutAnswer::Exists));
    let found = store.head(&key).unwrap().unwrap();
    assert_eq!((found.size, found.meta), (5, Some(meta("5a", "c5"))));
    assert_eq!(store.get(&key).unwrap(), b"bytes");
}

#[test]
fn body_of_megabytes_comes_back_whole() {
    let Some(at) = s3() else { return };
    let (store, key) = (at.store(), format!("{}big", unique_prefix("big")));
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    put(&store, &key, &bytes, &meta("5a", "c5"));
    assert!(store.get(&key).unwrap() == bytes);
}

#[test]
fn absent_object_is_a_mismatch_to_read() {
    let Some(at) = s3() else { return };
    assert_eq!(at.store().get("test/never/there").unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn list_gives_every_key_below_the_prefix_in_order() {
    let Some(at) = s3() else { return };
    let (store, prefix) = (&at.store(), &unique_prefix("list"));
    // More than one page of a thousand.
    let keys: Vec<_> = (0..1050).map(|n| format!("{prefix}data/part-{n:05}")).collect();
    let body = &body(b"seven b");
    std::thread::scope(|scope| {
        for some in keys.chunks(263) {
            scope.spawn(move || some.iter().for_each(|key| drop(store.put_new(key, body, &meta("5a", "c5")).unwrap())));
        }
    });
    put(store, &format!("{prefix}other"), b"x", &meta("5a", "c5"));
    let mut listed = Vec::new();
    let each = &mut |key: &str, size: u64| {
        assert_eq!(size, 7, "{key}");
        listed.push(key.to_owned());
        Ok(())
    };
    store.list(&format!("{prefix}data/"), each).unwrap();
    assert!(listed == keys, "{} keys listed", listed.len());
}

#[test]
fn of_eight_racing_uploads_exactly_one_creates() {
    let Some(at) = s3() else { return };
    let (store, key, barrier) = (&at.store(), &format!("{}raced", unique_prefix("race")), &Barrier::new(8));
    let put = |n: u8| {
        move || {
            let body = body(&[n; 100_000]);
            barrier.wait();
            store.put_new(key, &body, &meta(&n.to_string(), "c5")).unwrap()
        }
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(put(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let created: Vec<_> = (0..8_u8).filter(|n| matches!(answers[usize::from(*n)], PutAnswer::Created { .. })).collect();
    assert_eq!(created.len(), 1, "{answers:?}");
    assert_eq!(store.get(key).unwrap(), [created[0]; 100_000]);
    assert_eq!(store.head(key).unwrap().unwrap().meta.unwrap().identity.sha256, created[0].to_string());
}

#[test]
fn upload_again_is_our_earlier_success_and_others_are_foreign() {
    let Some(at) = s3() else { return };
    let (store, key, body) = (at.store(), format!("{}part", unique_prefix("again")), body(b"bytes"));
    let send = |meta: &PartMeta| {
        let part = Sealed { key: &key, body: &body, meta };
        upload(&store, &part, CreateOnly::Proven, &Stop::new()).unwrap()
    };
    let how = |outcome| match outcome {
        Outcome::Uploaded { how, sha256, size: 5, .. } if sha256 == "5a" => Some(how),
        _ => None,
    };
    assert_eq!(how(send(&meta("5a", "c5"))), Some(How::Now));
    assert_eq!(how(send(&meta("5a", "c5"))), Some(How::Earlier));
    // The same content, compressed by another build.
    assert_eq!(how(send(&meta("5b", "c5"))), Some(How::Earlier));
    let Outcome::Foreign { found } = send(&meta("5c", "c6")) else { panic!("taken for ours") };
    assert_eq!(found.meta, Some(meta("5a", "c5")));
}

#[test]
fn server_that_honours_create_only_is_found_to() {
    let Some(at) = s3() else { return };
    let (store, key, body) = (at.store(), format!("{}part", unique_prefix("probe")), body(b"bytes"));
    let meta = meta("5a", "c5");
    let part = Sealed { key: &key, body: &body, meta: &meta };
    assert_eq!(probe_create_only(&store, &part, false).unwrap(), CreateOnly::Unknown, "nothing is there yet");
    upload(&store, &part, CreateOnly::Unknown, &Stop::new()).unwrap();
    assert_eq!(probe_create_only(&store, &part, false).unwrap(), CreateOnly::Proven);
}

#[test]
fn wrong_credentials_are_told_apart() {
    let Some(at) = s3() else { return };
    for (id, secret, code) in
        [(at.key.as_str(), "wrong", "SignatureDoesNotMatch"), ("NOBODY", at.secret.as_str(), "InvalidAccessKeyId")]
    {
        let credentials = S3Credentials::Keys { id: id.into(), secret: secret.into(), token: None };
        let store = S3Store::new(S3Settings { credentials, ..at.settings() }).unwrap();
        let put = store.put_new("test/refused", &body(b"x"), &meta("5a", "c5")).unwrap_err();
        let list = store.list("test/", &mut |_, _| Ok(())).unwrap_err();
        for error in [put, store.head("test/refused").unwrap_err(), store.get("test/refused").unwrap_err(), list] {
            assert_eq!(error.kind(), ErrorKind::Credentials, "{error}");
            let text = format!("{} {:?}", error.chain(), error.next_step());
            assert!(text.contains(code) && text.contains("s3://"), "{text}");
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn absent_bucket_is_a_config_error_whatever_is_asked() {
    let Some(at) = s3() else { return };
    let ask = |what: fn(&S3Store) -> etl::error::Result<()>| {
        let absent = S3Settings { bucket: "no-such-bucket".to_owned(), ..at.settings() };
        let error = what(&S3Store::new(absent).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("no-such-bucket"), "{error}");
    };
    ask(|store| store.put_new("k", &body(b"x"), &meta("5a", "c5")).map(drop));
    ask(|store| store.head("k").map(drop));
    ask(|store| store.get("k").map(drop));
    ask(|store| store.list("k", &mut |_, _| Ok(())));
}

#[test]
fn refused_connection_is_unavailable_soon() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Some(format!("http://127.0.0.1:{port}"));
    let credentials = S3Credentials::Keys { id: "i".into(), secret: "s".into(), token: None };
    let nowhere = nowhere(endpoint, credentials);
    let (store, began) = (S3Store::new(nowhere).unwrap(), Instant::now());
    let (body, meta) = (body(b"x"), meta("5a", "c5"));
    let error = upload(&store, &Sealed { key: "k", body: &body, meta: &meta }, CreateOnly::Proven, &Stop::new());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("s3://b/k") && !error.to_string().contains("http"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn missing_body_is_a_local_error() {
    let credentials = S3Credentials::Keys { id: "i".into(), secret: "s".into(), token: None };
    let settings = nowhere(Some("http://127.0.0.1:1".into()), credentials);
    let error = S3Store::new(settings).unwrap().put_new("k", Path::new("/nowhere/at/all"), &meta("5a", "c5"));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::State);
}

fn nowhere(endpoint: Option<String>, credentials: S3Credentials) -> S3Settings {
    let (variables, options) = (AwsVariables::default(), ObjectOptions::default());
    let (bucket, prefix, region) = ("b".to_owned(), String::new(), "r".to_owned());
    S3Settings { bucket, prefix, endpoint, region, credentials, variables, options }
}
