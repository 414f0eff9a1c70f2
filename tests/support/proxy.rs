//! A proxy in front of a store: it counts the PUTs that the store took, by path, and does to a request what a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::origin::Door;
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// An answer that is not the store's.
#[derive(Debug, PartialEq, Eq)]
pub struct Canned {
    pub name: &'static str,
    pub status: &'static str,
    pub headers: &'static str,
    pub body: &'static str,
}

/// The answers of stores, and of machines before them, that a client has to live with.
pub const CANNED: [Canned; 17] = [
    canned("500", "500 Internal Server Error", "", "<Error><Code>InternalError</Code></Error>"),
    canned("503", "503 Slow Down", "Retry-After: 1\r\n", "<Error><Code>SlowDown</Code></Error>"),
    canned("502 in HTML", "502 Bad Gateway", "Content-Type: text/html\r\n", "<html><body>502</body></html>"),
    canned("409", "409 Conflict", "", "<Error><Code>ConditionalRequestConflict</Code></Error>"),
    canned("403", "403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>"),
    canned("expired token", "403 Forbidden", "", "<Error><Code>ExpiredToken</Code></Error>"),
    canned("400 timeout", "400 Bad Request", "", "<Error><Code>RequestTimeout</Code></Error>"),
    canned("429", "429 Too Many Requests", "Retry-After: 1\r\n", ""),
    canned("200 in HTML", "200 OK", "Content-Type: text/html\r\n", "<html><body>Welcome, please log in</body></html>"),
    canned("204", "204 No Content", "", ""),
    canned(
        "200 with a tag",
        "200 OK",
        "Content-Type: text/html\r\nETag: \"64f0c9a1-1c\"\r\n",
        "<html>please log in</html>",
    ),
    canned("302", "302 Found", "Location: http://localhost:9/login\r\n", ""),
    canned("413", "413 Too Large", "Content-Type: text/html\r\n", "<html>413 Request Entity Too Large</html>"),
    canned("400", "400 Bad Request", "", "<Error><Code>EntityTooLarge</Code><Message>Too big.</Message></Error>"),
    canned("archived", "403 Forbidden", "", "<Error><Code>InvalidObjectState</Code></Error>"),
    canned("quota", "403 Forbidden", "", "<Error><Code>QuotaExceeded</Code></Error>"),
    canned("404", "404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
];

const fn canned(name: &'static str, status: &'static str, headers: &'static str, body: &'static str) -> Canned {
    Canned { name, status, headers, body }
}

/// Faults after which a client cannot tell whether its request was carried out.
pub const LOST: [Fault; 7] = [
    Fault::ResetInHead,
    Fault::BodyCut,
    Fault::AnswerDropped,
    Fault::AnswerReset,
    Fault::ResetInAnswerHead,
    Fault::AnswerCut,
    Fault::Drip,
];

/// The canned answer of that name.
#[track_caller]
pub fn named(name: &str) -> &'static Canned {
    CANNED.iter().find(|canned| canned.name == name).unwrap()
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reset in the middle of the request's head. The store sees nothing.
    ResetInHead,
    /// The store gets half of the request's body, and the client a reset.
    BodyCut,
    /// The store does it; the connection ends without an answer.
    AnswerDropped,
    /// The store does it; the connection is reset without an answer.
    AnswerReset,
    /// The store does it; the connection is reset in the middle of the answer's head.
    ResetInAnswerHead,
    /// The connection ends in the middle of the answer's body; of one without, before its head does.
    AnswerCut,
    /// The connection is reset there.
    ResetInAnswerBody,
    /// The answer comes slowly, and whole.
    Drip,
    /// The answer comes so slowly that nobody waits for its end.
    EndlessDrip,
    /// The store never hears of it, and no answer comes.
    HungBefore,
    /// The store does it, and no answer comes.
    HungAfter,
    /// The store hears of it when the test says so: see `Proxy::let_go`.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "for what takes two machines"))]
    Held,
    /// The store does it; the answer is no HTTP.
    Gibberish,
    /// The store never hears of it; this is the answer.
    Instead(&'static Canned),
    /// The store does it; this is the answer.
    Afterwards(&'static Canned),
    /// The store never hears of it; the answer sends the client to that port of `localhost`.
    Redirect(&'static str, u16),
    /// The store never hears of it; the answer has this status, and a body without end.
    Endless(&'static str),
    /// The store never hears of it where the request has a condition; the answer has this status and code.
    NoCondition(&'static str, &'static str),
    /// The same where the request has none, as a bucket policy that demands it does.
    NeedsCondition(&'static str, &'static str),
}

/// A faulty and counting proxy on loopback.
pub struct Proxy {
    /// Its address, in the place of the store's.
    pub endpoint: String,
    shared: Arc<Shared>,
    _door: Door,
}

#[derive(Default)]
struct Shared {
    created: Mutex<BTreeMap<String, u32>>,
    plan: Mutex<Plan>,
    requests: Mutex<Vec<String>>,
    /// Requests that wait, and whether they are let go.
    held: AtomicU64,
    is_let_go: AtomicBool,
    /// Bytes of bodies without end.
    endless: AtomicU64,
}

#[derive(Default)]
struct Plan {
    script: VecDeque<(&'static str, Fault)>,
    always: Option<(&'static str, Fault)>,
    at_keys: Option<(&'static str, Vec<String>, Fault)>,
    at_key_once: Option<(&'static str, String, Fault)>,
    random: Option<Random>,
    happened: Vec<Fault>,
}

struct Random {
    seed: u64,
    percent: u64,
    drawn: u64,
    of: Vec<Fault>,
}

impl Proxy {
    /// Starts one before the server at `endpoint` (`http://host:port`). It does no harm until told to.
    pub fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = endpoint.strip_prefix("http://").unwrap().to_owned();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        // A connection that breaks is its client's business.
        let door = Door::open(listener, move |client| drop(forward(&client, &address, &served)));
        Self { endpoint, shared, _door: door }
    }

    /// How often the store created each path below `prefix`.
    pub fn created(&self, prefix: &str) -> BTreeMap<String, u32> {
        let counts = self.shared.created.lock().unwrap();
        counts.iter().filter(|(path, _)| path.contains(prefix)).map(|(path, n)| (path.clone(), *n)).collect()
    }

    /// One fault after the other, each for the next request that begins so (`"PUT "`; `""`: any).
    pub fn script(&self, faults: &[(&'static str, Fault)]) {
        self.shared.plan.lock().unwrap().script = faults.iter().copied().collect();
    }

    /// The same fault for each request that begins so, from now on.
    pub fn always(&self, verb: &'static str, fault: Fault) {
        self.shared.plan.lock().unwrap().always = Some((verb, fault));
    }

    /// The same fault for each request that begins so and names one of these, from now on.
    pub fn at_keys(&self, verb: &'static str, keys: &[&str], fault: Fault) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.shared.plan.lock().unwrap().at_keys = Some((verb, keys, fault));
    }

    /// The requests so far that begin so: their first lines, and whether they have a condition.
    pub fn requests(&self, verb: &str) -> Vec<(String, bool)> {
        let heads = self.shared.requests.lock().unwrap();
        let those = heads.iter().filter(|head| head.starts_with(verb));
        those.map(|head| (head.lines().next().unwrap().to_owned(), has_condition(head))).collect()
    }

    /// How many requests are held, or were.
    #[cfg(feature = "kafka")]
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Lets the store hear of what is held.
    #[cfg(feature = "kafka")]
    pub fn let_go(&self) {
        self.shared.is_let_go.store(true, Ordering::SeqCst);
    }

    /// The next request that begins so and names this key is held.
    #[cfg(feature = "kafka")]
    pub fn hold(&self, verb: &'static str, key: &str) {
        self.shared.is_let_go.store(false, Ordering::SeqCst);
        self.shared.plan.lock().unwrap().at_key_once = Some((verb, key.to_owned(), Fault::Held));
    }

    /// Forgets the requests so far, and the bytes of bodies without end. Gives those.
    pub fn forget(&self) -> u64 {
        self.shared.requests.lock().unwrap().clear();
        self.shared.endless.swap(0, Ordering::Relaxed)
    }

    /// From now on so many of a hundred requests meet one of these faults.
    pub fn at_random(&self, seed: u64, percent: u64, of: Vec<Fault>) {
        self.shared.plan.lock().unwrap().random = Some(Random { seed, percent, drawn: 0, of });
    }

    /// No more faults. Gives those that happened.
    pub fn calm(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.shared.plan.lock().unwrap()).happened
    }
}

impl Plan {
    fn next(&mut self, request: &str) -> Option<Fault> {
        let fault = self.draw(request)?;
        self.happened.push(fault);
        Some(fault)
    }

    fn draw(&mut self, request: &str) -> Option<Fault> {
        if self.script.front().is_some_and(|(verb, _)| request.starts_with(verb)) {
            return self.script.pop_front().map(|(_, fault)| fault);
        }
        let is_it = |(verb, key, _): &mut (&str, String, Fault)| request.starts_with(*verb) && request.contains(&*key);
        if let Some((.., fault)) = self.at_key_once.take_if(is_it) {
            return Some(fault);
        }
        let named = |keys: &[String]| keys.iter().any(|key| request.contains(key));
        if let Some((verb, keys, fault)) = &self.at_keys
            && request.starts_with(verb)
            && named(keys)
        {
            return Some(*fault);
        }
        if let Some((_, fault)) = self.always.filter(|(verb, _)| request.starts_with(verb)) {
            return Some(fault);
        }
        let random = self.random.as_mut()?;
        random.drawn += 1;
        let digest = blake3::hash(&[random.seed.to_le_bytes(), random.drawn.to_le_bytes()].concat());
        let number = |at: usize| u64::from_le_bytes(digest.as_bytes()[at..at + 8].try_into().unwrap());
        let which = usize::try_from(number(8) % random.of.len() as u64).unwrap();
        (number(0) % 100 < random.percent).then(|| random.of[which])
    }
}

/// One connection: requests and answers, one after the other, until one side closes.
fn forward(client: &TcpStream, address: &str, shared: &Shared) -> std::io::Result<()> {
    let server = TcpStream::connect(address)?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(&server));
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let fault = shared.plan.lock().unwrap().next(&line);
        if fault == Some(Fault::ResetInHead) {
            return reset(client);
        }
        let request = head(line, &mut requests)?;
        shared.requests.lock().unwrap().push(request.clone());
        match fault {
            Some(Fault::HungBefore) => return wait_for_the_end(client),
            Some(Fault::Held) => {
                // All of it has left its sender, who may end meanwhile.
                let mut body = Vec::new();
                requests.by_ref().take(length(&request).unwrap_or(0)).read_to_end(&mut body)?;
                shared.held.fetch_add(1, Ordering::SeqCst);
                while !shared.is_let_go.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                (&server).write_all(request.as_bytes())?;
                (&server).write_all(&body)?;
            }
            Some(Fault::Instead(canned)) => {
                skip(length(&request), &mut requests)?;
                say(canned, &request, client)?;
                continue;
            }
            Some(Fault::Redirect(status, port)) => {
                skip(length(&request), &mut requests)?;
                let head = format!(
                    "HTTP/1.1 {status}\r\nLocation: http://localhost:{port}/login\r\nContent-Length: 0\r\n\r\n"
                );
                (&mut &*client).write_all(head.as_bytes())?;
                continue;
            }
            Some(Fault::Endless(status)) => {
                skip(length(&request), &mut requests)?;
                return say_without_end(status, client, &shared.endless);
            }
            Some(Fault::NoCondition(status, code)) if has_condition(&request) => {
                skip(length(&request), &mut requests)?;
                refuse(client, status, code)?;
                continue;
            }
            Some(Fault::NeedsCondition(status, code)) if !has_condition(&request) => {
                skip(length(&request), &mut requests)?;
                refuse(client, status, code)?;
                continue;
            }
            Some(Fault::BodyCut) => {
                let half = length(&request).map(|length| length / 2);
                pass(&request, half, &mut requests, &server)?;
                reset(&server)?;
                return reset(client);
            }
            _ => pass(&request, length(&request), &mut requests, &server)?,
        }
        let answer = head(String::new(), &mut answers)?;
        if answer.starts_with("HTTP/1.1 200") && request.starts_with("PUT ") {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            *shared.created.lock().unwrap().entry(path).or_default() += 1;
        }
        let bodiless = request.starts_with("HEAD ") || answer.contains(" 204 ") || answer.contains(" 304 ");
        let body = if bodiless { Some(0) } else { length(&answer) };
        if !give_back(client, &request, &answer, body, &mut answers, fault)? {
            return Ok(());
        }
    }
}

/// Gives the store's answer to the client, or what the fault makes of it. `false`: that was the connection's end.
fn give_back(
    mut client: &TcpStream,
    request: &str,
    answer: &str,
    length: Option<u64>,
    body: &mut impl BufRead,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    let half_head = &answer.as_bytes()[..answer.len() / 2];
    let in_body = |mut client: &TcpStream, body: &mut dyn BufRead| match length {
        Some(0) => client.write_all(half_head),
        Some(length) => {
            client.write_all(answer.as_bytes())?;
            std::io::copy(&mut body.take(length / 2), &mut client).map(drop)
        }
        None => client.write_all(answer.as_bytes()),
    };
    match fault {
        Some(Fault::AnswerDropped) => {}
        Some(Fault::AnswerReset) => reset(client)?,
        Some(Fault::ResetInAnswerHead) => {
            client.write_all(half_head)?;
            reset_soon(client)?;
        }
        Some(Fault::AnswerCut) => in_body(client, body)?,
        Some(Fault::ResetInAnswerBody) => {
            in_body(client, body)?;
            reset_soon(client)?;
        }
        Some(Fault::HungAfter) => wait_for_the_end(client)?,
        Some(Fault::Gibberish) => client.write_all(b"220 smtp.example ESMTP ready\r\n\r\n")?,
        Some(Fault::Afterwards(canned)) => {
            skip(length, body)?;
            say(canned, request, client)?;
            return Ok(true);
        }
        Some(Fault::Drip) => {
            drip(client, answer.as_bytes(), Duration::from_millis(1))?;
            pass("", length, body, client)?;
            return Ok(true);
        }
        Some(Fault::EndlessDrip) => drip(client, answer.as_bytes(), Duration::from_millis(700))?,
        _ => {
            pass(answer, length, body, client)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Closes with a reset instead of an end, once the connection is dropped.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    Ok(setsockopt(stream, Linger, &at_once)?)
}

/// A reset that lets the client read what came before it.
fn reset_soon(stream: &TcpStream) -> std::io::Result<()> {
    std::thread::sleep(Duration::from_millis(20));
    reset(stream)
}

fn has_condition(head: &str) -> bool {
    head.to_ascii_lowercase().contains("\r\nif-none-match: *\r\n")
}

fn refuse(mut client: &TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>A header is missing or not known.</Message></Error>");
    write!(client, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn say_without_end(status: &str, mut client: &TcpStream, sent: &AtomicU64) -> std::io::Result<()> {
    client.write_all(format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
    let chunk = format!("10000\r\n{}\r\n", "A".repeat(0x10000));
    loop {
        client.write_all(chunk.as_bytes())?;
        sent.fetch_add(0x10000, Ordering::Relaxed);
    }
}

/// Says nothing until the client gives up.
fn wait_for_the_end(mut client: &TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    while client.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

fn drip(mut to: &TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    to.set_nodelay(true)?;
    bytes.iter().try_for_each(|byte| {
        std::thread::sleep(pause);
        to.write_all(&[*byte])
    })
}

fn say(canned: &Canned, request: &str, mut client: &TcpStream) -> std::io::Result<()> {
    let Canned { status, headers, body, .. } = canned;
    let framing = match *status {
        "204 No Content" => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let body = if request.starts_with("HEAD ") { "" } else { body };
    client.write_all(format!("HTTP/1.1 {status}\r\n{framing}{headers}\r\n{body}").as_bytes())
}

/// A head up to its empty line, after what was read of it; empty where the connection ended.
fn head(mut head: String, from: &mut impl BufRead) -> std::io::Result<String> {
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}

/// What the head says of the body's length. `None`: it comes in chunks.
fn length(head: &str) -> Option<u64> {
    let lower = head.to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return None;
    }
    let value = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(value.unwrap_or(0))
}

/// Reads a body to its end, for nobody.
fn skip(length: Option<u64>, body: &mut impl BufRead) -> std::io::Result<()> {
    match length {
        Some(length) => std::io::copy(&mut body.take(length), &mut std::io::sink()).map(drop),
        None => pass_chunks(body, std::io::sink()),
    }
}

fn pass(head: &str, length: Option<u64>, body: &mut impl BufRead, mut to: &TcpStream) -> std::io::Result<()> {
    to.write_all(head.as_bytes())?;
    match length {
        Some(length) => std::io::copy(&mut body.take(length), &mut to).map(drop),
        None => pass_chunks(body, to),
    }
}

fn pass_chunks(body: &mut impl BufRead, mut to: impl Write) -> std::io::Result<()> {
    loop {
        let mut size = String::new();
        body.read_line(&mut size)?;
        to.write_all(size.as_bytes())?;
        let length = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
        // The chunk and the line end behind it; the last chunk is empty.
        std::io::copy(&mut body.take(length + 2), &mut to)?;
        if length == 0 {
            return Ok(());
        }
    }
}
