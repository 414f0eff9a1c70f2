//! A Trino with the Hive connector, which is Athena's engine: from Maven Central, unpacked once below the target directory.
//!
//! It runs below a shell that waits for the end of its stdin, which comes when this process ends in whatever way; the shell then
//! kills it and removes its data.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::java::java;
use super::python::{self, run, skip};

const VERSION: &str = "476";
/// The Java that this version is built for, and those after it.
const JAVA: std::ops::RangeInclusive<u32> = 24..=99;
/// Compiled once and not twice: the server lives for seconds.
const FLAGS: [&str; 5] = [
    "-Xmx2G",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dfile.encoding=UTF-8",
    "-Djdk.attach.allowAttachSelf=true",
];

/// A running server; it ends with this value.
pub struct Trino {
    port: u16,
    shell: Child,
    /// Its data and the metastore's.
    pub dir: PathBuf,
}

impl Trino {
    /// Where it listens.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Trino {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Starts a Trino. `None`, said loudly, where it is not to be had; a failure instead where `ETL_TEST_REQUIRE_TRINO=1`.
pub fn trino() -> Option<Trino> {
    match java(JAVA).and_then(|home| installed().and_then(|server| start(&home.join("bin/java"), &server))) {
        Ok(trino) => Some(trino),
        Err(why) => {
            let how = format!(
                "SKIPPED (needs Trino): {why}. How to get it: install Maven, make Maven Central reachable, so that \
                 io.trino:trino-server:{VERSION} can be fetched, and a Java {} or newer, or name one with ETL_TEST_JAVA_HOME",
                JAVA.start()
            );
            skip("ETL_TEST_REQUIRE_TRINO", &how);
            None
        }
    }
}

/// The unpacked server, with no plugin but Hive's.
fn installed() -> Result<PathBuf, String> {
    let archive = format!("trino-server-{VERSION}.tar.gz");
    let dir = python::once("trino", VERSION, |dir| {
        run(Command::new("mvn").args(["-q", "-B", "dependency:copy", "-Dmdep.useBaseVersion=true"]).args([
            format!("-Dartifact=io.trino:trino-server:{VERSION}:tar.gz"),
            format!("-DoutputDirectory={}", dir.display()),
        ]))?;
        // Plugins share files by hard links, so one alone cannot be unpacked.
        run(Command::new("tar").arg("-xzf").arg(dir.join(&archive)).arg("-C").arg(dir).arg("--strip-components=1"))?;
        let failed = |error: std::io::Error| error.to_string();
        fs::remove_file(dir.join(&archive)).map_err(failed)?;
        for plugin in fs::read_dir(dir.join("plugin")).map_err(failed)?.flatten() {
            if plugin.file_name() != "hive" {
                fs::remove_dir_all(plugin.path()).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    Ok(dir)
}

fn start(java: &Path, server: &Path) -> Result<Trino, String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|error| error.to_string())?.port();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trino-run-{}-{port}", std::process::id()));
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    fs::create_dir_all(&dir).map_err(failed)?;
    fs::write(dir.join("config.properties"), config(port)).map_err(failed)?;
    fs::write(dir.join("log.properties"), "io.trino=WARN\n").map_err(failed)?;
    let property = |name: &str, value: &Path| format!("-D{name}={}", value.display());
    let shell = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .arg(&dir)
        .arg(java)
        .args(["-cp", &format!("{}/*", server.join("lib").display())])
        .args(FLAGS)
        .args(["--add-modules=jdk.incubator.vector", "-Dnode.environment=test", "-Dnode.id=test"])
        .args(["-Dnode.bind-ip=127.0.0.1", "-Dnode.internal-address=127.0.0.1"])
        .arg(property("config", &dir.join("config.properties")))
        .arg(property("log.levels-file", &dir.join("log.properties")))
        .arg(property("node.data-dir", &dir.join("data")))
        .arg(property("plugin.dir", &server.join("plugin")))
        .arg("io.trino.server.TrinoServer")
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start sh: {error}"))?;
    let mut trino = Trino { port, shell, dir };
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        if is_ready(port) {
            return Ok(trino);
        }
        if trino.shell.try_wait().map_err(|error| error.to_string())?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let log = fs::read_to_string(trino.dir.join("out.log")).unwrap_or_default();
    let end: Vec<&str> = log.lines().rev().take(5).collect();
    Err(format!("Trino did not become ready at port {port}: {end:?}"))
}

fn config(port: u16) -> String {
    format!(
        "coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={port}\n\
         discovery.uri=http://127.0.0.1:{port}\nquery.max-memory=512MB\nquery.max-memory-per-node=512MB\n\
         memory.heap-headroom-per-node=512MB\ncatalog.management=dynamic\ncatalog.store=memory\nhttp-server.log.enabled=false\n"
    )
}

/// Arguments: the directory, the command. Ends when the command ends or stdin does.
const WATCH: &str = r#"
dir=$1
shift
trap : INT TERM HUP
(
  "$@" </dev/null >"$dir/out.log" 2>&1 &
  echo $! >"$dir/pid"
  wait $!
  kill "$$" 2>/dev/null
) </dev/null &
while read -r _; do :; done
kill -9 "$(cat "$dir/pid")" 2>/dev/null
wait
rm -rf "$dir"
"#;

/// Whether it says that it has started.
fn is_ready(port: u16) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v1/info HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    answer().is_ok_and(|answer| answer.contains("\"starting\":false"))
}
