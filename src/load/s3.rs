//! The S3 destination: the object store over HTTP.
//!
//! This file and those below `s3/` are the only ones that know rust-s3. It keeps nothing on disk; a crash in the middle
//! of a PUT leaves the object there or not there, which [`super::protocol`] finds out. Invariants: one part is one PUT
//! (never multipart) with `If-None-Match: *`; nothing overwrites or deletes; nothing (TLS, runtime, credentials) is set
//! up before the first call; no message holds a credential, a header or a query.
//!
//! Calls block. Several threads may call at once; none of them from within an asynchronous runtime.

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::s3::error::S3Error;
use ::s3::request::ResponseDataStream;
use ::s3::serde_types::{HeadObjectResult, ListBucketResult};
use tokio::io::AsyncReadExt;

use self::client::{Client, Failure};
use self::refusal::{Refusal, Verb};
use super::{LARGEST, ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

mod client;
mod refusal;

/// How long a request without a body worth mentioning may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The slowest upload that is still waited for, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// How long a download may take in all; it is given up after [`PATIENCE`] without a byte.
const DOWNLOAD: Duration = Duration::from_secs(3600);

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

/// Where the credentials come from. Neither its debug output nor its text shows a secret.
#[derive(Clone)]
pub enum S3Credentials {
    /// These.
    Keys {
        /// Access key id.
        id: String,
        /// Secret access key.
        secret: String,
        /// Session token, for temporary credentials.
        token: Option<String>,
    },
    /// That profile of the shared credentials file.
    Profile(String),
    /// What the environment offers: variables, the file's default profile, web identity, container, instance.
    Default,
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
        Self::with_lookup(settings, client::find)
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

    fn list_page(&self, prefix: &str, most: Option<usize>, from: Option<&str>) -> Result<ListBucketResult, Failure> {
        let page = self.client.send_patiently(PATIENCE, async |bucket| {
            let from = from.map(str::to_owned);
            Ok(bucket.list_page(prefix.to_owned(), None, from, None, most).await?.0)
        })?;
        self.bucket_exists.store(true, Ordering::Relaxed);
        Ok(page)
    }

    /// `Ok(None)`: 404, which for HEAD is also the answer about an absent S3 bucket.
    fn look(&self, key: &str) -> Result<Option<HeadObjectResult>, Failure> {
        let answer = self.client.send_patiently(PATIENCE, async |bucket| Ok(bucket.head_object(key).await?.0));
        match answer {
            Ok(found) => {
                self.bucket_exists.store(true, Ordering::Relaxed);
                Ok(Some(found))
            }
            Err(Failure::Refused(Refusal { status: 404, .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A look that knows why it is refused: the answer to HEAD has no body that could say so, the one to LIST has.
    fn look_well(&self, key: &str) -> Result<Option<HeadObjectResult>, Failure> {
        match self.look(key) {
            Ok(None) if !self.bucket_exists.load(Ordering::Relaxed) => {
                self.list_page(key, Some(1), None)?;
                Ok(None)
            }
            Err(Failure::Refused(refusal)) if !refusal.is_passing() => {
                self.list_page(key, Some(1), None)?;
                // Listing works, perhaps with fresh credentials by now. If not, it is this object they may not read.
                self.look(key)
            }
            answer => answer,
        }
    }
}

impl ObjectStore for S3Store {
    fn place(&self) -> &str {
        &self.place
    }

    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        let bytes = std::fs::read(body).map_err(|error| Error::disk("read", body, error))?;
        let patience = PATIENCE + Duration::from_secs(u64::try_from(bytes.len()).unwrap_or(u64::MAX) / SLOWEST);
        let bytes = Cell::new(Some(bytes));
        let answer = self.client.send(patience, async |bucket| {
            // Read again for a second try, and dropped before the request: rust-s3 makes two copies of its own.
            let bytes = bytes.take().map_or_else(|| std::fs::read(body), Ok)?;
            let request = bucket.put_object_builder(key, &bytes).with_content_type("application/x-ndjson");
            drop(bytes);
            let request = request
                .with_header("if-none-match", "*")?
                .with_metadata("etl-sha256", &meta.sha256)?
                .with_metadata("etl-content-sha256", &meta.content_sha256)?
                .with_metadata("etl-rows", meta.rows.to_string())?
                .with_metadata("etl-hour", &meta.hour)?
                .with_metadata("etl-dict", &meta.dict)?;
            Ok(request.execute().await?.as_str().map(plain_etag).unwrap_or_default())
        });
        match answer {
            Ok(etag) => Ok(PutAnswer::Created { etag }),
            Err(Failure::Refused(Refusal { status: 412, .. })) => Ok(PutAnswer::Exists),
            Err(Failure::Refused(Refusal { status: 409, .. })) => Ok(PutAnswer::Conflict),
            Err(failure) => Err(failure.into_error(Verb::Put, &self.client.address(key))),
        }
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.look_well(key).map_err(|failure| failure.into_error(Verb::Head, &self.client.address(key)))?;
        let Some(found) = found else { return Ok(None) };
        let Some(size) = found.content_length.and_then(|size| u64::try_from(size).ok()) else {
            let what = format!("cannot look at {}: the answer names no size", self.client.address(key));
            return Err(Error::new(ErrorKind::Unavailable, what));
        };
        Ok(Some(ObjectInfo { size, etag: found.e_tag.as_deref().and_then(plain_etag), meta: part_meta(&found) }))
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let address = self.client.address(key);
        let mismatch = |what: &str| Error::new(ErrorKind::Mismatch, format!("{address} {what}"));
        let answer = self.client.send_patiently(DOWNLOAD, async |bucket| {
            let mut stream = waited(bucket.get_object_stream(key)).await??;
            download(&mut stream).await
        });
        match answer {
            Ok(bytes) => bytes.ok_or_else(|| mismatch("is larger than any part")),
            Err(Failure::Refused(Refusal { status: 404, code, .. })) if code == "NoSuchKey" => {
                Err(mismatch("is not there"))
            }
            Err(failure) => Err(failure.into_error(Verb::Get, &address)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let mut from = None;
        loop {
            let page = self.list_page(prefix, None, from.as_deref());
            let page = page.map_err(|failure| failure.into_error(Verb::List, &self.client.address(prefix)))?;
            for object in &page.contents {
                each(&object.key, object.size)?;
            }
            if !page.is_truncated {
                return Ok(());
            }
            if page.next_continuation_token.is_none() || page.next_continuation_token == from {
                let what = format!("cannot list {}: the answer stops half way", self.client.address(prefix));
                return Err(Error::new(ErrorKind::Unavailable, what));
            }
            from = page.next_continuation_token;
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
        let suffix = if self.region.starts_with("cn-") { ".cn" } else { "" };
        let aws = || format!("https://s3.{}.amazonaws.com{suffix}", self.region);
        self.endpoint().map_or_else(aws, str::to_owned)
    }

    /// Whether the S3 bucket is named in the path instead of the host. A dot in its name would not match AWS's
    /// certificate, which is for `*.s3.<region>.amazonaws.com`.
    fn by_path(&self) -> bool {
        self.endpoint().is_some() || self.bucket.contains('.')
    }
}

impl S3Credentials {
    /// Whether looking them up again can give others.
    const fn can_be_renewed(&self) -> bool {
        !matches!(self, Self::Keys { .. })
    }
}

impl fmt::Display for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { .. } => f.write_str("the configured keys"),
            Self::Profile(name) => write!(f, "the profile {name:?}"),
            Self::Default => f.write_str("the environment"),
        }
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.place).finish_non_exhaustive()
    }
}

async fn waited<F: Future>(answer: F) -> Result<F::Output, S3Error> {
    let stalled = |_| S3Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the transfer stalled"));
    tokio::time::timeout(PATIENCE, answer).await.map_err(stalled)
}

/// The whole body; `None` where it is longer than [`LARGEST`].
async fn download(stream: &mut ResponseDataStream) -> Result<Option<Vec<u8>>, S3Error> {
    let mut bytes = Vec::new();
    while waited(stream.read_buf(&mut bytes)).await?? > 0 {
        if bytes.len() as u64 > LARGEST {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

fn plain_etag(quoted: &str) -> Option<String> {
    let plain = quoted.trim_matches('"');
    (!plain.is_empty()).then(|| plain.to_owned())
}

fn part_meta(found: &HeadObjectResult) -> Option<PartMeta> {
    let values = found.metadata.as_ref()?;
    let text = |name: &str| values.get(name).cloned();
    Some(PartMeta {
        sha256: text("etl-sha256")?,
        content_sha256: text("etl-content-sha256")?,
        rows: text("etl-rows")?.parse().ok()?,
        hour: text("etl-hour")?,
        dict: text("etl-dict")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicU32;

    use ::s3::creds::Credentials;

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
        let (store, requests) = store(vec![answer("200 OK", "etag: \"e1\"\r\n", "")]);
        assert_eq!(put(&store).unwrap(), PutAnswer::Created { etag: Some("e1".into()) });
        let head = requests.join().unwrap().remove(0).to_lowercase();
        for line in [
            "put /b/p/k http/1.1",
            "if-none-match: *",
            "content-type: application/x-ndjson",
            "content-length: 5",
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
        for (status, expected) in
            [("412 X", Ok(PutAnswer::Exists)), ("409 X", Ok(PutAnswer::Conflict)), ("500 X", Err(()))]
        {
            let (store, requests) = store(vec![refused(status, "Any")]);
            assert_eq!(put(&store).map_err(|error| assert_eq!(error.kind(), ErrorKind::Unavailable)), expected);
            assert_eq!(requests.join().unwrap().len(), 1);
        }
    }

    #[test]
    fn passing_failure_of_a_look_is_tried_again() {
        let found = "etag: \"e\"\r\nx-amz-meta-etl-sha256: 5a\r\n";
        let script =
            vec![refused("503 Slow Down", "SlowDown"), "gibberish\r\n\r\n".into(), answer("200 OK", found, "")];
        let (store, requests) = store(script);
        let info = store.head("p/k").unwrap().unwrap();
        assert_eq!(info, ObjectInfo { size: 0, etag: Some("e".into()), meta: None });
        assert_eq!(requests.join().unwrap().len(), 3);
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
        assert_eq!(error.to_string(), "cannot look at s3://b/p/k: HTTP 403 AccessDenied");
        assert!(error.next_step().unwrap().contains("s3:ListBucket"), "{error:?}");

        let (store, _requests) = self::store(vec![forbidden(), listed(&[], None), forbidden()]);
        let error = store.head("p/k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credentials);
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
        fn lookup(_: &S3Credentials) -> Result<Credentials> {
            let key = format!("KEY{}", LOOKUPS.fetch_add(1, Ordering::Relaxed));
            Ok(Credentials::new(Some(&key), Some("s"), None, None, None).unwrap())
        }
        let expired = || refused("400 Bad Request", "ExpiredToken");
        let (endpoint, requests) = serve(vec![expired(), answer("200 OK", "", ""), expired(), expired()]);
        let profile = S3Credentials::Profile("x".into());
        let settings = S3Settings { credentials: profile, ..settings(Some(&endpoint)) };
        let store = S3Store::with_lookup(settings, lookup).unwrap();
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 0, "nothing is looked up before the first request");
        assert_eq!(put(&store).unwrap(), PutAnswer::Created { etag: None });
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
    fn configured_keys_that_expired_are_refused_at_once() {
        let (store, requests) = store(vec![refused("403 Forbidden", "ExpiredToken")]);
        assert_eq!(put(&store).unwrap_err().kind(), ErrorKind::Credentials);
        assert_eq!(requests.join().unwrap().len(), 1);
    }

    #[test]
    fn signature_follows_no_redirect_to_another_host() {
        let (elsewhere, heard) = serve(vec![answer("200 OK", "", "")]);
        let moved = format!("location: {}/b/p/k\r\n", elsewhere.replace("127.0.0.1", "localhost"));
        let (store, _requests) = store(vec![answer("307 Temporary Redirect", &moved, "")]);
        assert_eq!(put(&store).unwrap(), PutAnswer::Created { etag: None }, "which is not believed without a look");
        let head = heard.join().unwrap().remove(0).to_lowercase();
        assert!(head.starts_with("put ") && !head.contains("authorization") && !head.contains("secret"), "{head}");
    }

    #[test]
    fn download_cut_short_is_no_object() {
        let cut = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nshort".to_owned();
        let (store, requests) = store(vec![cut, answer("200 OK", "", "all of it")]);
        assert_eq!(store.get("p/k").unwrap(), b"all of it");
        assert_eq!(requests.join().unwrap().len(), 2);
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
