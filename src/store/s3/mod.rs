//! The S3 destination: the object store over HTTP.
//!
//! It keeps nothing on disk; a crash in the middle of a PUT leaves the object there or not there, which [`crate::store::once`] finds
//! out. Invariants: one part is one PUT (never multipart); it carries `If-None-Match: *` but for [`ObjectStore::put_free`]; nothing
//! overwrites or deletes; nothing goes to a host that the configuration does not name, so no redirect is followed; of no answer
//! more is read than it may have; nothing (TLS, runtime, credentials) is set up before the first call; no message holds a
//! credential, a header or a query.
//!
//! Calls block. Several threads may call at once; none of them from within an asynchronous runtime.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use self::client::{Client, Failure};
use self::listing::{Page, Progress};
use self::refusal::{Refusal, Verb};
use self::wire::{Answer, Ask};
use super::{LARGEST, ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use crate::config::S3Credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

mod client;
mod listing;
mod refusal;
mod signing;
mod wire;

/// How long a request without a body worth mentioning may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The slowest upload that is still waited for, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// How long a download may take in all; it is given up after [`PATIENCE`] without a byte.
const DOWNLOAD: Duration = Duration::from_secs(3600);
/// Nothing longer can be a page of a listing: 1000 keys of 1024 bytes, each of which may need five more.
const LONGEST_PAGE: usize = 8 << 20;
/// The SHA-256 of nothing.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where the objects go.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The S3 bucket.
    pub bucket: String,
    /// What all keys begin with: empty, or ending with `/`. Only for [`ObjectStore::place`]: keys come with it.
    pub prefix: String,
    /// `http://` or `https://` and a host, for S3-compatible stores; path-style then. `None` or empty: AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Who asks.
    pub credentials: S3Credentials,
}

/// An S3 bucket as an object store.
pub struct S3Store {
    client: Client,
    place: String,
    /// Whether an answer has shown that the S3 bucket exists.
    bucket_exists: AtomicBool,
}

impl S3Store {
    /// The store that `settings` describe. Nothing is asked or looked up yet.
    ///
    /// # Errors
    /// `Config` where the endpoint is no plain `http://` or `https://` address.
    pub fn new(settings: S3Settings) -> Result<Self> {
        Self::with_lookup(settings, signing::find)
    }

    /// Gives up waiting at a stop: soon after it for an answer, at once between two tries.
    #[must_use]
    pub fn until(mut self, stop: &Stop) -> Self {
        self.client.stop = stop.clone();
        self
    }

    fn with_lookup(settings: S3Settings, lookup: client::Lookup) -> Result<Self> {
        settings.check()?;
        let place = format!("s3://{}/{}", settings.bucket, settings.prefix);
        Ok(Self { client: Client::new(settings, lookup), place, bucket_exists: AtomicBool::new(false) })
    }

    fn list_page(&self, prefix: &str, most: Option<usize>, from: Option<&str>) -> Result<Page, Failure> {
        let mut query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
        query.extend(from.map(|token| ("continuation-token", token.to_owned())));
        query.extend(most.map(|most| ("max-keys", most.to_string())));
        let ask = Ask { query, most: LONGEST_PAGE, ..asking(Verb::List, "") };
        let page = self.client.patiently(|| {
            let answer = self.client.send(&ask)?;
            Page::read(&answer.body).filter(|_| !answer.cut).ok_or_else(|| Failure::gibberish("no listing"))
        })?;
        self.bucket_exists.store(true, Ordering::Relaxed);
        Ok(page)
    }

    /// `Ok(None)`: 404, which for HEAD is also the answer about an absent S3 bucket.
    fn look(&self, key: &str) -> Result<Option<Answer>, Failure> {
        let answer = self.client.patiently(|| match self.client.send(&asking(Verb::Head, key))? {
            found @ Answer { status: 200, .. } => Ok(found),
            Answer { status, .. } => Err(Failure::gibberish(&format!("HTTP {status} to HEAD"))),
        });
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Refused(Refusal { status: 404, .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A look that knows why it is refused: the answer to HEAD has no body that could say so, the one to LIST has.
    fn look_well(&self, key: &str) -> Result<Option<Answer>, Failure> {
        match self.look(key) {
            Ok(None) if !self.bucket_exists.load(Ordering::Relaxed) => {
                self.list_page(key, Some(1), None).map_err(Failure::of_all)?;
                Ok(None)
            }
            Ok(Some(found)) if part_meta(&found).is_none() => self.confirm(key).map(|()| Some(found)),
            Err(Failure::Refused(refusal)) if !refusal.is_passing() => {
                self.list_page(key, Some(1), None).map_err(Failure::of_all)?;
                // Listing works, perhaps with fresh credentials by now. If not, it is this object they may not read.
                self.look(key)
            }
            answer => answer,
        }
    }

    /// Something answered for the store, and not with a part of ours: a page that wants a login says 200 to everything, but is no
    /// listing. Who may not list is not kept from reading.
    fn confirm(&self, key: &str) -> Result<(), Failure> {
        match self.list_page(key, Some(1), None) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.is_about_rights() => Ok(()),
            Err(failure) => Err(failure.of_all()),
        }
    }

    fn put(&self, key: &str, body: &Path, meta: &PartMeta, condition: bool) -> Result<PutAnswer> {
        let bytes = Bytes::from(std::fs::read(body).map_err(|error| Error::disk("read", body, error))?);
        let patience = PATIENCE + Duration::from_secs(u64::try_from(bytes.len()).unwrap_or(u64::MAX) / SLOWEST);
        let md5 = md5::compute(&bytes);
        let headers = put_headers(meta, &md5.0, condition).map_err(|cause| {
            Error::new(ErrorKind::Bug, format!("cannot describe {key} in a header")).caused_by(cause)
        })?;
        let sending =
            Ask { headers, body: bytes, sha256: &meta.sha256, patience, whole: patience, ..asking(Verb::Put, key) };
        // What is stored twice in a row under a condition is stored once.
        match self.client.send(&Ask { repeatable: condition, ..sending }) {
            Ok(answer) => {
                let etag = answer.header("etag").and_then(plain_etag);
                let is_ours = etag.as_ref().is_some_and(|etag| etag.eq_ignore_ascii_case(&format!("{md5:x}")));
                Ok(if is_ours { PutAnswer::Created { etag } } else { PutAnswer::Unproven { etag } })
            }
            Err(Failure::Refused(Refusal { status: 412, .. })) => Ok(PutAnswer::Exists),
            Err(Failure::Refused(Refusal { status: 409, .. })) => Ok(PutAnswer::Conflict),
            Err(Failure::Refused(refusal)) if condition && refusal.may_be_the_condition() => {
                Ok(PutAnswer::Refused(refusal.into_error(Verb::Put, &self.client.address(key))))
            }
            Err(failure) => Err(failure.into_error(Verb::Put, &self.client.address(key))),
        }
    }

    /// The object, if it is no longer than a part may be.
    fn download(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let most = usize::try_from(LARGEST).unwrap_or(usize::MAX);
        let ask = Ask { whole: DOWNLOAD, most, ..asking(Verb::Get, key) };
        let answer = self.client.patiently(|| match self.client.send(&ask)? {
            found @ Answer { status: 200, .. } => Ok(found),
            Answer { status, .. } => Err(Failure::gibberish(&format!("HTTP {status} to GET"))),
        })?;
        // A lake that was copied may have lost its metadata; its parts are gzip all the same.
        if part_meta(&answer).is_none() && !answer.body.starts_with(&[0x1f, 0x8b]) {
            self.confirm(key)?;
        }
        Ok((!answer.cut).then_some(answer.body))
    }
}

impl ObjectStore for S3Store {
    fn place(&self) -> &str {
        &self.place
    }

    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.put(key, body, meta, true)
    }

    fn put_free(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.put(key, body, meta, false)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.look_well(key).map_err(|failure| failure.into_error(Verb::Head, &self.client.address(key)))?;
        let Some(found) = found else { return Ok(None) };
        let Some(size) = found.header("content-length").and_then(|size| size.parse().ok()) else {
            let what = format!("cannot look at {}: the answer names no size", self.client.address(key));
            return Err(Error::new(ErrorKind::Unavailable, what));
        };
        Ok(Some(ObjectInfo { size, etag: found.header("etag").and_then(plain_etag), meta: part_meta(&found) }))
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let address = self.client.address(key);
        let mismatch = |what: &str| Error::new(ErrorKind::Mismatch, format!("{address} {what}"));
        match self.download(key) {
            Ok(bytes) => bytes.ok_or_else(|| mismatch("is larger than any part")),
            Err(Failure::Refused(refusal)) if refusal.is_absence() => Err(mismatch("is not there")),
            Err(failure) => Err(failure.into_error(Verb::Get, &address)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let cannot = |why: &str| {
            let what = format!("cannot list {}: {why}", self.client.address(prefix));
            Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost")
        };
        let (mut progress, mut from) = (Progress::new(), None);
        loop {
            let page = self.list_page(prefix, None, from.as_deref());
            let page = page.map_err(|failure| failure.into_error(Verb::List, &self.client.address(prefix)))?;
            for object in &page.contents {
                progress.saw(&object.key).map_err(cannot)?;
                each(&object.key, object.size)?;
            }
            from = progress.next(&page).map_err(cannot)?;
            if from.is_none() {
                return Ok(());
            }
            if self.client.stop.is_requested() {
                return Err(cannot("the run was to stop"));
            }
        }
    }

    fn create_only_is_certain(&self) -> bool {
        false
    }
}

impl S3Settings {
    fn check(&self) -> Result<()> {
        let Some(endpoint) = self.endpoint() else { return Ok(()) };
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' '])) {
            return Ok(());
        }
        // Not quoted: it may hold a password.
        Err(Error::new(ErrorKind::Config, "load.endpoint is not the address of an S3 store")
            .hint("write it as in \"https://s3.example.org\", without user, password and query"))
    }

    fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    fn endpoint_or_aws(&self) -> String {
        self.endpoint().map_or_else(|| aws_endpoint(&self.region), str::to_owned)
    }

    /// Whether the S3 bucket is named in the path instead of the host. A dot in its name would not match AWS's
    /// certificate, which is for `*.s3.<region>.amazonaws.com`.
    fn by_path(&self) -> bool {
        self.endpoint().is_some() || self.bucket.contains('.')
    }
}

/// The address of AWS's S3 in `region`; China's regions have a domain of their own.
#[must_use]
pub fn aws_endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{suffix}")
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A request that changes nothing, with an answer of no length.
fn asking(verb: Verb, key: &str) -> Ask<'_> {
    Ask {
        verb,
        key,
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        sha256: OF_NOTHING,
        patience: PATIENCE,
        whole: PATIENCE,
        most: 0,
        repeatable: true,
    }
}

fn put_headers(meta: &PartMeta, md5: &[u8], condition: bool) -> Result<HeaderMap, reqwest::header::InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5);
    headers.insert(HeaderName::from_static("content-md5"), HeaderValue::from_str(&md5)?);
    if condition {
        headers.insert(reqwest::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    for (name, value) in [
        ("x-amz-meta-etl-sha256", &meta.sha256),
        ("x-amz-meta-etl-content-sha256", &meta.content_sha256),
        ("x-amz-meta-etl-rows", &meta.rows.to_string()),
        ("x-amz-meta-etl-hour", &meta.hour),
        ("x-amz-meta-etl-dict", &meta.dict),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    Ok(headers)
}

fn plain_etag(quoted: &str) -> Option<String> {
    let plain = quoted.trim_matches('"');
    (!plain.is_empty()).then(|| plain.to_owned())
}

fn part_meta(found: &Answer) -> Option<PartMeta> {
    let text = |name: &str| found.header(name).map(str::to_owned);
    Some(PartMeta {
        sha256: text("x-amz-meta-etl-sha256")?,
        content_sha256: text("x-amz-meta-etl-content-sha256")?,
        rows: text("x-amz-meta-etl-rows")?.parse().ok()?,
        hour: text("x-amz-meta-etl-hour")?,
        dict: text("x-amz-meta-etl-dict")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicU32;

    use super::signing::Identity;
    use super::*;

    /// Answers requests on loopback, each with the next of a script; returns the heads of the requests.
    fn serve(script: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answering = move |answer: String| answer_one(&listener.accept().unwrap().0, &answer);
        (endpoint, std::thread::spawn(move || script.into_iter().map(answering).collect()))
    }

    fn answer_one(stream: &TcpStream, answer: &str) -> String {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
        let mut writer = stream;
        writer.write_all(answer.as_bytes()).unwrap();
        head
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
    }

    /// Of the bytes that [`put`] sends.
    const MD5: &str = "4b3a6218bb3e3a7303e8a171a60fcf92";

    fn stored() -> String {
        answer("200 OK", &format!("etag: \"{MD5}\"\r\n"), "")
    }

    fn refused(status: &str, code: &str) -> String {
        answer(status, "", &format!("<Error><Code>{code}</Code></Error>"))
    }

    fn listed(keys: &[&str], next: Option<&str>) -> String {
        let of =
            |key: &&str| format!("<Contents><Key>{key}</Key><LastModified>x</LastModified><Size>7</Size></Contents>");
        let contents: String = keys.iter().map(of).collect();
        let next = next.map(|token| format!("<IsTruncated>true</IsTruncated>{token}")).unwrap_or_default();
        answer("200 OK", "", &format!("<ListBucketResult><Name>b</Name>{contents}{next}</ListBucketResult>"))
    }

    fn settings(endpoint: Option<&str>) -> S3Settings {
        let keys = S3Credentials::Keys { id: "ID".into(), secret: "SECRET".into(), token: Some("TOKEN".into()) };
        let endpoint = endpoint.map(str::to_owned);
        S3Settings { bucket: "b".into(), prefix: "p/".into(), endpoint, region: "r-1".into(), credentials: keys }
    }

    fn store(script: Vec<String>) -> (S3Store, std::thread::JoinHandle<Vec<String>>) {
        let (endpoint, requests) = serve(script);
        (S3Store::new(settings(Some(&endpoint))).unwrap(), requests)
    }

    fn meta() -> PartMeta {
        let hour = "2023-03-10T01".to_owned();
        PartMeta { sha256: "5a".into(), content_sha256: "c5".into(), rows: 3, hour, dict: "d1".into() }
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
            "put /b/p/k http/1.1",
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
        let script =
            vec![refused("503 Slow Down", "SlowDown"), "gibberish\r\n\r\n".into(), answer("200 OK", found, "")];
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
        assert_eq!(error.to_string(), "cannot look at s3://b/p/k: HTTP 403 AccessDenied");
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
        fn lookup(_: &S3Credentials) -> Result<Identity> {
            Ok(Identity::new(&format!("KEY{}", LOOKUPS.fetch_add(1, Ordering::Relaxed)), "s", None))
        }
        let expired = || refused("400 Bad Request", "ExpiredToken");
        let (endpoint, requests) = serve(vec![expired(), stored(), expired(), expired()]);
        let profile = S3Credentials::Profile("x".into());
        let settings = S3Settings { credentials: profile, ..settings(Some(&endpoint)) };
        let store = S3Store::with_lookup(settings, lookup).unwrap();
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 0, "nothing is looked up before the first request");
        assert!(matches!(put(&store).unwrap(), PutAnswer::Created { .. }));
        assert_eq!(put(&store).unwrap_err().kind(), ErrorKind::Credentials);
        let keys: Vec<_> = requests
            .join()
            .unwrap()
            .iter()
            .map(|head| ["KEY0", "KEY1", "KEY2"].map(|key| head.contains(key)))
            .collect();
        let [first, second, third] = [[true, false, false], [false, true, false], [false, false, true]];
        assert_eq!(keys, [first, second, second, third]);
    }

    #[test]
    fn credentials_whose_end_has_passed_are_looked_up_before_a_request() {
        static LOOKUPS: AtomicU32 = AtomicU32::new(0);
        fn lookup(_: &S3Credentials) -> Result<Identity> {
            let n = LOOKUPS.fetch_add(1, Ordering::Relaxed);
            Ok(Identity::new(&format!("KEY{n}"), "s", Some([0, i64::MAX][n as usize])))
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
        let moved = format!("location: http://localhost:{}/b/p/k\r\n", elsewhere.local_addr().unwrap().port());
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

    /// Bodies without end, each in chunks, until the client has had enough.
    fn serve_without_end(status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while head.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                let chunk = format!("10000\r\n{}\r\n", "A".repeat(0x10000));
                let start = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
                let mut sent = stream.write_all(start.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(chunk.as_bytes());
                }
            }
        });
        endpoint
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // As nginx does it: refuses by the length, and reads on for a while.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while head.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                stream
                    .write_all(answer("413 X", "content-type: text/html\r\n", "<html>413</html>").as_bytes())
                    .unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = std::io::copy(&mut head, &mut std::io::sink());
            }
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // Keeps each open, as far as it says, and closes it after the first answer.
        let serving = std::thread::spawn(move || {
            for _ in 0..6 {
                let stream = listener.accept().unwrap().0;
                answer_one(&stream, &stored().replace("connection: close\r\n", ""));
            }
        });
        let store = S3Store::new(settings(Some(&endpoint))).unwrap();
        for n in 0..6 {
            assert!(matches!(put(&store), Ok(PutAnswer::Created { .. })), "{n}");
        }
        serving.join().unwrap();
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
}
