//! Apache Kafka for tests: brokers from Maven Central, unpacked once below the target directory.
//!
//! Either brokers that run already, named by `ETL_TEST_KAFKA` (`host:port`, separated by commas; nobody can kill those), or brokers of this
//! process's own. Each writes its process id before it becomes Java. A shell waits for the end of its stdin, which comes when this process
//! ends in whatever way; it then kills them and removes their data.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::gate::Gates;
use super::java::java;
use super::python::{self, run, skip};
use super::tls::Authority;

const VERSION: &str = "4.4.0";
const JAVA: std::ops::RangeInclusive<u32> = 17..=99;
/// The beginning of a cluster's id, which is 16 bytes in base64: its first port follows.
const ID: &str = "ZXRsLXRlc3QtY2x1";
/// Ports of a broker: plaintext, controller, SCRAM over TLS, TLS, behind a gate, the gate.
const PORTS: u16 = 6;
/// So that the takeover of a dead machine's lanes can be waited for.
const SHORT_SESSIONS: &str = "group.min.session.timeout.ms=1000";
/// The user of the secured listener, and its password.
pub const USER: &str = "etl-test";
pub const PASSWORD: &str = "correct-horse-battery";
/// A server for seconds, and small.
const FLAGS: [&str; 5] =
    ["-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=128m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"];

/// A cluster of brokers; they end with this value, or with the process.
pub struct Kafka {
    /// The brokers for those who need no security.
    pub bootstrap: String,
    own: Option<Own>,
}

/// Brokers of this process's own.
struct Own {
    dir: PathBuf,
    java: PathBuf,
    jars: PathBuf,
    ports: Vec<u16>,
    authority: String,
    running: Mutex<Vec<Option<Child>>>,
    watch: Child,
}

/// Brokers that any number of tests share, each under a name of its own ([`unique_name`]). `None`, said loudly, where there are none to be
/// had; a failure instead where `ETL_TEST_REQUIRE_KAFKA=1`.
pub fn shared() -> Option<&'static Kafka> {
    static FOUND: OnceLock<Option<Kafka>> = OnceLock::new();
    FOUND
        .get_or_init(|| match std::env::var("ETL_TEST_KAFKA").ok().filter(|value| !value.is_empty()) {
            Some(bootstrap) => Some(Kafka { bootstrap, own: None }),
            None => kafka(1, SHORT_SESSIONS),
        })
        .as_ref()
}

/// A cluster of a test's own, to kill brokers of. `settings`: further lines of `server.properties`. As [`shared`] where it cannot be had.
pub fn kafka(brokers: u16, settings: &str) -> Option<Kafka> {
    let mut failure = String::new();
    // Ports that were free a moment ago may be taken when the brokers want them.
    for _ in 0..3 {
        match start(brokers, settings) {
            Ok(kafka) => return Some(kafka),
            Err(why) => failure = why,
        }
    }
    let how = format!(
        "SKIPPED (needs Kafka): {failure}. How to get it: install Maven and a Java {} or newer, make Maven Central reachable, so that \
         org.apache.kafka:kafka_2.13:{VERSION} can be fetched, or name running brokers with ETL_TEST_KAFKA",
        JAVA.start()
    );
    skip("ETL_TEST_REQUIRE_KAFKA", &how);
    None
}

/// A cluster's name that no other test uses, in this run or another.
pub fn unique_name(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{nanos:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Kafka {
    fn own(&self) -> &Own {
        assert!(self.is_own(), "brokers of ETL_TEST_KAFKA are not ours to end");
        self.own.as_ref().unwrap()
    }

    /// Whether the brokers are this process's own, so that they can be killed and have the secured listeners.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> usize {
        self.bootstrap.split(',').count()
    }

    /// The lines of a config's `[cluster]` that lead to these brokers.
    pub fn cluster(&self, name: &str, lanes: u32) -> String {
        format!(
            "[cluster]\nbrokers = \"{}\"\nname = \"{name}\"\nlanes = {lanes}\nsecurity = \"plaintext\"\n",
            self.bootstrap
        )
    }

    /// The brokers' listeners for [`USER`], over TLS.
    pub fn scram(&self) -> String {
        self.listeners(2)
    }

    /// The brokers' listeners for TLS.
    pub fn tls(&self) -> String {
        self.listeners(3)
    }

    /// Opens a gate before each broker. The way through them is [`Kafka::gated`].
    pub fn gates(&self) -> Gates {
        Gates::open(self.own().ports.iter().map(|port| (port + 5, port + 4)))
    }

    /// The brokers behind their gates.
    pub fn gated(&self) -> String {
        let each: Vec<String> = self.own().ports.iter().map(|port| format!("127.0.0.1:{}", port + 5)).collect();
        each.join(",")
    }

    /// The authority of their certificates, as the text of a file.
    pub fn authority(&self) -> &str {
        &self.own().authority
    }

    fn listeners(&self, which: u16) -> String {
        let each: Vec<String> = self.own().ports.iter().map(|port| format!("localhost:{}", port + which)).collect();
        each.join(",")
    }

    /// Kills broker `n`, from 0: its data stays.
    pub fn kill(&self, n: usize) {
        let mut running = self.own().running.lock().unwrap();
        if let Some(mut child) = running[n].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _ = fs::remove_file(self.own().home(n).join("pid"));
    }

    /// Stops broker `n` until [`Kafka::resume`].
    pub fn pause(&self, n: usize) {
        self.signal(n, "-STOP");
    }

    /// Lets a paused broker go on.
    pub fn resume(&self, n: usize) {
        self.signal(n, "-CONT");
    }

    fn signal(&self, n: usize, signal: &str) {
        let running = self.own().running.lock().unwrap();
        let pid = running[n].as_ref().unwrap().id().to_string();
        run(Command::new("kill").args([signal, &pid])).unwrap();
    }

    /// Starts broker `n` again and waits until it is back. With most brokers down, begin them all before waiting: [`Kafka::begin`].
    pub fn restart(&self, n: usize) {
        self.kill(n);
        self.begin(n);
        self.wait(n);
    }

    /// Starts broker `n`, which was killed, without waiting for it.
    pub fn begin(&self, n: usize) {
        let own = self.own();
        own.running.lock().unwrap()[n] = Some(own.launch(n).unwrap());
    }

    /// Waits until broker `n` is there.
    pub fn wait(&self, n: usize) {
        self.own().wait(n).unwrap();
    }

    /// Runs one of Kafka's own tools: `kafka.admin.ConfigCommand`, `org.apache.kafka.tools.TopicCommand`, …
    pub fn tool(&self, class: &str, args: &[&str]) {
        let mut command = self.own().java();
        run(command
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", class, "--bootstrap-server", &self.bootstrap])
            .args(args))
        .unwrap();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
        for mut child in self.running.lock().unwrap().drain(..).flatten() {
            let _ = child.wait();
        }
    }
}

/// Argument: the directory with a folder for each broker, which has its process id.
const WATCH: &str = r#"
trap : INT TERM HUP
while read -r _; do :; done
for pid in "$1"/*/pid; do [ -f "$pid" ] && kill -9 "$(cat "$pid")" 2>/dev/null; done
sleep 0.2
rm -rf "$1"
"#;

/// Arguments: the directory of a broker, its command.
const LAUNCH: &str = r#"
dir=$1
shift
echo $$ >"$dir/pid"
exec "$@" </dev/null >>"$dir/out.log" 2>&1
"#;

impl Own {
    fn home(&self, n: usize) -> PathBuf {
        self.dir.join(format!("broker-{n}"))
    }

    fn java(&self) -> Command {
        let mut command = Command::new(&self.java);
        command.arg("-cp").arg(format!("{}/*", self.jars.display())).stdin(Stdio::null());
        command
    }

    fn launch(&self, n: usize) -> Result<Child, String> {
        let home = self.home(n);
        fs::write(home.join("out.log"), "").map_err(|error| error.to_string())?;
        Command::new("sh")
            .args(["-c", LAUNCH, "sh"])
            .arg(&home)
            .arg(&self.java)
            .args(FLAGS)
            .arg("-cp")
            .arg(format!("{}/*", self.jars.display()))
            .arg("kafka.Kafka")
            .arg(home.join("server.properties"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start sh: {error}"))
    }

    /// A broker says so when the controller has let it in; then its port answers too.
    fn wait(&self, n: usize) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(120);
        let log = || fs::read_to_string(self.home(n).join("out.log")).unwrap_or_default();
        while Instant::now() < deadline {
            if log().contains("Kafka Server started") && TcpStream::connect(("127.0.0.1", self.ports[n])).is_ok() {
                return Ok(());
            }
            let ended =
                self.running.lock().unwrap()[n].as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = log();
        let end: Vec<&str> =
            log.lines().filter(|line| line.contains("ERROR") || line.contains("Exception")).take(5).collect();
        Err(format!("broker {n} did not become ready at port {}: {end:?}", self.ports[n]))
    }

    /// Writes what each broker is told, and prepares its data.
    fn configure(&self, settings: &str, authority: &Authority) -> Result<(), String> {
        let (certificate, key) = authority.sign("localhost", 30);
        for n in 0..self.ports.len() {
            let home = self.home(n);
            let failed = |error: std::io::Error| format!("{}: {error}", home.display());
            fs::create_dir_all(home.join("data")).map_err(failed)?;
            fs::write(home.join("server.pem"), format!("{key}{certificate}")).map_err(failed)?;
            fs::write(home.join("server.properties"), self.properties(n, settings)).map_err(failed)?;
            let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
            let id = format!("{ID}{:05}A", self.ports[0]);
            let mut format = self.java();
            run(format
                .args([
                    "-Xmx128m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                ])
                .args([
                    "kafka.tools.StorageTool",
                    "format",
                    "--ignore-formatted",
                    "-t",
                    &id,
                    "--add-scram",
                    &scram,
                    "-c",
                ])
                .arg(home.join("server.properties")))?;
        }
        Ok(())
    }

    fn properties(&self, n: usize, settings: &str) -> String {
        let (home, node, port) = (self.home(n), n + 1, self.ports[n]);
        let voters: Vec<String> =
            (1..).zip(&self.ports).map(|(id, port)| format!("{id}@127.0.0.1:{}", port + 1)).collect();
        let (replication, in_sync) = if self.ports.len() < 3 { (1, 1) } else { (3, 2) };
        let listeners = |gate: u16| {
            format!(
                "PLAINTEXT://127.0.0.1:{port},SCRAM://localhost:{},TLS://localhost:{},GATE://127.0.0.1:{gate}",
                port + 2,
                port + 3
            )
        };
        format!(
            "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={voters}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GATE:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,TLS:SSL\n\
             inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nlog.dirs={home}/data\nbroker.rack=r{node}\n\
             ssl.keystore.type=PEM\nssl.keystore.location={home}/server.pem\nsasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             default.replication.factor={replication}\nmin.insync.replicas={in_sync}\noffsets.topic.replication.factor={replication}\n\
             offsets.topic.num.partitions=6\ntransaction.state.log.replication.factor={replication}\n\
             transaction.state.log.min.isr={in_sync}\nshare.coordinator.state.topic.replication.factor={replication}\n\
             share.coordinator.state.topic.min.isr={in_sync}\nauto.create.topics.enable=false\ngroup.initial.rebalance.delay.ms=0\n\
             num.network.threads=2\nnum.io.threads=4\nlog.cleaner.dedupe.buffer.size=8388608\n{settings}\n",
            voters = voters.join(","),
            controller = port + 1,
            home = home.display(),
            listeners = listeners(port + 4),
            advertised = listeners(port + 5),
        )
    }
}

fn start(brokers: u16, settings: &str) -> Result<Kafka, String> {
    let java = java(JAVA)?.join("bin/java");
    let jars = installed()?;
    let ports = free_ports(brokers).ok_or("no free ports on loopback")?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-run-{}-{}", std::process::id(), ports[0]));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut watch = Command::new("sh");
    watch.args(["-c", WATCH, "sh"]).arg(&dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let watch = watch.spawn().map_err(|error| format!("cannot start sh: {error}"))?;
    let authority = Authority::new();
    let running = Mutex::new(ports.iter().map(|_| None).collect());
    let own = Own { dir, java, jars, ports, authority: authority.pem(), running, watch };
    own.configure(settings, &authority)?;
    for n in 0..own.ports.len() {
        let child = own.launch(n)?;
        own.running.lock().unwrap()[n] = Some(child);
    }
    for n in 0..own.ports.len() {
        own.wait(n)?;
    }
    let bootstrap: Vec<String> = own.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    Ok(Kafka { bootstrap: bootstrap.join(","), own: Some(own) })
}

/// The first of the free ports of each broker: below the ephemeral ports, and another start in each process. None is given twice: brokers take
/// theirs a while after they were found free.
fn free_ports(brokers: u16) -> Option<Vec<u16>> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = std::process::id() % 900;
    let bases = (0..900).map(|n| 4_000 + u16::try_from((first + n) % 900).unwrap_or(0) * PORTS);
    let free = bases.filter(|base| !given.contains(base) && (*base..base + PORTS).all(free));
    let free: Vec<u16> = free.take(usize::from(brokers)).collect();
    given.extend(&free);
    Some(free).filter(|ports| ports.len() == usize::from(brokers))
}

/// The folder with the brokers' jars.
fn installed() -> Result<PathBuf, String> {
    python::once("kafka", VERSION, |dir| {
        let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::create_dir_all(dir).map_err(failed)?;
        let dependency = |group: &str, artifact: &str, version: &str| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
            )
        };
        let pom = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>local</groupId>\
             <artifactId>kafka</artifactId><version>1</version><dependencies>{}{}{}</dependencies></project>\n",
            dependency("org.apache.kafka", "kafka_2.13", VERSION),
            dependency("org.apache.kafka", "kafka-tools", VERSION),
            dependency("org.slf4j", "slf4j-simple", "1.7.36"),
        );
        fs::write(dir.join("pom.xml"), pom).map_err(failed)?;
        let copy = || {
            run(Command::new("mvn").current_dir(dir).args([
                "-q",
                "-B",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                &format!("-DoutputDirectory={}", dir.display()),
            ]))
        };
        // Maven Central is far away at times.
        copy().or_else(|_| copy())
    })
}
