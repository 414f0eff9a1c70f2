//! Faults on the wire to the source: whatever comes, the run ends in time and in bounded memory with the right exit
//! code, keeps what is good, and the next run goes on.
//!
//! Planted bug that turns one red: redirects followed to any host (`redirect…`).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::service::Service;
use crate::support::tally;
use crate::support::tls::{pem, serve as tls};

const AT: &str = "2023-03-10T01:00:00.000Z";
const MIB: u64 = 1 << 20;
/// What a tick may take (design: 48 MB), and what the unoptimised build and its tables add.
const TICK: u64 = 64 * MIB;
/// What a page at `max_page_bytes` may take beyond that: its size above 8 MiB, for it is received into memory.
const PAGE: u64 = 56 * MIB;

/// Answers each connection with `answer`, after the request's head, which it gets.
fn source(answer: impl Fn(&TcpStream, &str) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/data/log", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(&stream);
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
                // What the client thinks of it is its own business.
                drop(answer(&stream, &head));
            });
        }
    });
    url
}

fn config(url: &str) -> String {
    format!(
        "[source]\nurl = \"{url}\"\ntimeout = \"1s\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n"
    )
}

/// A run that ends in time, and how much memory it took at most.
#[track_caller]
fn run(place: &Place, what: &str) -> (Ran, u64) {
    let began = Instant::now();
    let mut command = place.command(&["run", "--json", "--max-runtime", "20s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        // Gone once the process is: the last value is the highest.
        while let Some(kilobytes) = std::fs::read_to_string(&status).ok().and_then(|text| high_water(&text)) {
            peak = kilobytes * 1024;
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(began.elapsed() < Duration::from_secs(25), "{what}: {:?}", began.elapsed());
    assert!([0, 65, 75, 77].contains(&ran.code) && !ran.err.contains("panicked"), "{what}: {ran:#?}");
    (ran, watching.join().unwrap())
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The run after a fault: the source is well again, and its records are kept once.
#[track_caller]
fn check(place: &Place, what: &str, already: u64) {
    let origin = Origin::start(vec![Answer::Page(page(&place.key, &[record(1, AT), record(2, AT)]))]);
    place.configure(&config(&origin.url));
    place.etl(&["run", "--drain"]).exits(0);
    let status = place.status();
    let totals = &status["totals"];
    tally::add("wire", "at the source", 1);
    tally::found(usize::from(totals["uploaded"] != 2 + already), 0, 0);
    assert_eq!((&totals["uploaded"], &totals["pending"]), (&(2 + already).into(), &0.into()), "{what}: {status}");
    let unfinished = glob::glob(&format!("{}/etl-state/**/*.tmp", place.path("").display())).unwrap();
    assert_eq!((unfinished.count(), &status["journal"]["pages"]), (0, &0.into()), "{what}");
}

/// Answers with these bytes, head and all.
fn raw(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    source(move |mut stream, _| stream.write_all(&bytes))
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

#[test]
fn answer_that_is_no_page_is_75_and_costs_nothing_else() {
    let place = Place::new("");
    let good = page(&place.key, &[record(1, AT)]);
    let (good, length) = (good.as_bytes(), good.len());
    let sized = |body: &[u8]| ok(&format!("Content-Length: {}\r\n", body.len()), body);
    let chunked = |rest: &[u8]| {
        let first = [format!("{length:x}\r\n").as_bytes(), good, b"\r\n", rest].concat();
        ok("Transfer-Encoding: chunked\r\n", &first)
    };
    let html = b"<!doctype html><html><body>Down for maintenance</body></html>";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTML", sized(html)),
        ("an object", sized(b"{\"data\": []}")),
        ("null", sized(b"null")),
        ("nothing", sized(b"")),
        ("white space", sized(b" \r\n\t ")),
        ("two byte-order marks", sized(&[&b"\xef\xbb\xbf\xef\xbb\xbf"[..], good].concat())),
        ("half a byte-order mark", sized(&[&b"\xef\xbb"[..], good].concat())),
        ("invalid UTF-8 in front", sized(&[&b"\xff\xfe"[..], good].concat())),
        ("invalid UTF-8 within", sized(b"[{\"data\": \"gAAA\xc3\x28\"}]")),
        ("a surrogate in UTF-8", sized(b"[{\"data\": \"\xed\xa0\x80\"}]")),
        ("UTF-16", sized(b"[\0{\0\"\0]\0")),
        ("no array at the second look", sized(b"[{\"data\": \"x\"}, [1]")),
        ("two arrays", sized(b"[][]")),
        ("an array of numbers", sized(b"[1, 2, 3]")),
        ("NaN", sized(b"[NaN]")),
        ("more than promised is missing", ok(&format!("Content-Length: {}\r\n", length + 1), good)),
        ("less promised than sent", ok(&format!("Content-Length: {}\r\n", length - 1), good)),
        ("two lengths", ok(&format!("Content-Length: {length}\r\nContent-Length: 1\r\n"), good)),
        ("a negative length", ok("Content-Length: -1\r\n", good)),
        ("an endless length", ok("Content-Length: 99999999999999999999999999\r\n", good)),
        ("a length that is none", ok("Content-Length: many\r\n", good)),
        ("chunks without their end", chunked(b"")),
        ("a chunk cut short", chunked(b"ffff\r\nabc")),
        ("a chunk's size that is none", chunked(b"zz\r\n")),
        ("a chunk's size that is endless", chunked(b"ffffffffffffffffffff\r\n")),
        ("gzip that is none", ok(&format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n"), good)),
        ("a coding that nobody asked for", ok(&format!("Content-Encoding: br\r\nContent-Length: {length}\r\n"), good)),
        ("205", b"HTTP/1.1 205 Reset Content\r\n\r\n".to_vec()),
        ("206", b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\n[]".to_vec()),
        ("304 that was not asked for", b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        ("404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("418", b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 2\r\n\r\n[]".to_vec()),
        ("599", b"HTTP/1.1 599 What\r\nContent-Length: 2\r\n\r\n[]".to_vec()),
        ("a status that is none", b"HTTP/1.1 999999 OK\r\n\r\n[]".to_vec()),
        ("no HTTP", b"220 smtp.example ESMTP ready\r\n".to_vec()),
        ("HTTP of the future", b"HTTP/7.0 200 OK\r\n\r\n[]".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("a header that never ends", [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 3_000_000]].concat()),
        ("very many headers", [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(100_000)].concat()),
        ("interim answers without end", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000)),
        ("an upgrade", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n".to_vec()),
        ("a redirect to nowhere", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("a redirect to a file", redirect("302", "file:///etc/passwd")),
        ("a redirect to no address", redirect("301", "http://[::")),
    ];
    for (what, answer) in cases {
        place.configure(&config(&raw(answer)));
        let (ran, peak) = run(&place, what);
        assert_eq!(ran.code, 75, "{what}: {ran:#?}");
        assert!(ran.err.contains("hint") && peak < TICK, "{what}: {peak} bytes: {ran:#?}");
        tally::add("wire", "at the source", 1);
    }
    check(&place, "all of them", 0);
}

fn redirect(status: &str, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[test]
fn connection_that_breaks_at_any_byte_of_the_answer_is_75() {
    let place = Place::new("");
    let answer = {
        let body = page(&place.key, &[record(1, AT)]);
        ok(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()), body.as_bytes())
    };
    let step = tally::scale(97, 7);
    for (at, by_reset) in (0..answer.len()).step_by(step).flat_map(|at| [(at, false), (at, true)]) {
        let part = answer[..at].to_vec();
        let url = source(move |mut stream, _| {
            stream.write_all(&part)?;
            if by_reset {
                std::thread::sleep(Duration::from_millis(5));
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &at_once)?;
            }
            Ok(())
        });
        place.configure(&config(&url));
        assert_eq!(run(&place, "a cut").0.code, 75, "at byte {at} of {}, reset: {by_reset}", answer.len());
        tally::add("wire", "at the source", 1);
    }
    check(&place, "cuts", 0);
}

/// Writes `bytes` again and again, until the client has enough.
fn pour(mut stream: &TcpStream, bytes: &[u8], times: u64) -> std::io::Result<()> {
    (0..times).try_for_each(|_| stream.write_all(bytes))
}

#[test]
fn body_of_two_gigabytes_is_refused_in_the_memory_of_one_page() {
    let two = 2 * 1024;
    let size = two * MIB;
    let bombs: Vec<(&str, String)> = vec![
        ("of a known length", format!("Content-Length: {size}\r\n")),
        ("of an unknown length", String::new()),
        ("that lies", "Content-Length: 1000000\r\n".to_owned()),
    ];
    for (what, headers) in bombs {
        let place = Place::new("");
        let known = what == "that lies";
        place.configure(&config(&source(move |mut stream, _| {
            stream.write_all(&ok(&headers, b"["))?;
            pour(stream, &vec![b' '; usize::try_from(MIB).unwrap()], two)
        })));
        let (ran, peak) = run(&place, what);
        assert_eq!(ran.code, 75, "{what}: {ran:#?}");
        assert!(known || ran.err.contains("max_page_bytes"), "{what}: {ran:#?}");
        assert!(peak < TICK + PAGE, "{what}: {peak} bytes");
        check(&place, what, 0);
    }
}

#[test]
fn decompression_bomb_is_refused_in_the_memory_of_one_page() {
    let member = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let spaces = member(&vec![b' '; 16 * 1024 * 1024]);
    // 2 GiB of white space in 2 MB.
    let bomb = [member(b"["), spaces.repeat(128), member(b"]")].concat();
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let place = Place::new("");
    place.configure(&config(&raw(ok(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", bomb.len()), &bomb))));
    let (ran, peak) = run(&place, "a bomb");
    assert!(ran.code == 75 && ran.err.contains("max_page_bytes") && peak < TICK + PAGE, "{peak} bytes: {ran:#?}");
    check(&place, "a bomb", 0);
}

#[test]
fn depth_of_a_million_and_repeated_members_cost_only_their_element() {
    let place = Place::new("");
    let deep = |open: &str, close: &str| open.repeat(1_000_000) + &close.repeat(1_000_000);
    let good = page(&place.key, &[record(8, AT)]);
    let nested = page(
        &place.key,
        &[
            format!("{{'record_id': 1, 'inDate': '{AT}', 'x': {}}}", deep("[", "]")),
            format!("{{\"record_id\": 2, \"inDate\": \"{AT}\", \"x\": {}}}", deep("{\"a\":", "}").replace(":}", ":1}")),
            format!("{{'record_id': 3, 'inDate': '{AT}', 'x': {}}}", deep("(", ",)")),
            format!("{{'record_id': 4, 'inDate': '{AT}', 'x': {}1}}", "-".repeat(1_000_000)),
        ],
    );
    let inner = |page: &str| page[1..page.len() - 1].to_owned();
    let cases = [
        ("deep tokens", format!("[{},{}]", inner(&good), inner(&nested)), 65, 4),
        ("deep elements", format!("[{},{},{{\"data\":{}}}]", inner(&good), deep("[", "]"), deep("[", "]")), 65, 2),
        ("deep beside the token", good.replace("{\"data\"", &format!("{{\"x\":{},\"data\"", deep("[", "]"))), 0, 0),
        ("members twice", good.replace("{\"data\"", "{\"data\":\"gAAA\",\"data\":1,\"data\""), 0, 0),
        ("the last member is none", format!("[{},{}]", inner(&good), inner(&good).replace('}', ",\"data\":1}")), 65, 1),
    ];
    let mut quarantined = 0;
    for (what, body, code, odd) in cases {
        place.configure(&config(&raw(ok(&format!("Content-Length: {}\r\n", body.len()), body.as_bytes()))));
        let (ran, _) = run(&place, what);
        assert_eq!((ran.code, &ran.json()["quarantined"]), (code, &odd.into()), "{what}: {ran:#?}");
        quarantined += odd;
        tally::add("wire", "at the source", 1);
    }
    assert_eq!(place.status()["quarantine"]["count"], quarantined);
    check(&place, "depth", 1);
}

#[test]
fn body_that_drips_and_answer_that_never_ends_are_given_up_in_time() {
    let place = Place::new("");
    let drip = |byte: &'static [u8], before: Vec<u8>| {
        source(move |mut stream, _| {
            stream.set_nodelay(true)?;
            stream.write_all(&before)?;
            loop {
                std::thread::sleep(Duration::from_millis(100));
                stream.write_all(byte)?;
            }
        })
    };
    for (what, url) in [
        ("a body", drip(b" ", ok("", b"["))),
        ("a head", drip(b"x", b"HTTP/1.1 200 OK\r\nX: ".to_vec())),
        ("interim answers", drip(b"HTTP/1.1 100 Continue\r\n\r\n", Vec::new())),
    ] {
        place.configure(&config(&url));
        assert_eq!(run(&place, what).0.code, 75, "{what}");
        tally::add("wire", "at the source", 1);
    }
    // The deadline beats every patience, and a wait that the source asked for.
    let slow = config(&drip(b" ", ok("", b"["))).replace("\"1s\"", "\"300s\"");
    let busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n";
    let asked = config(&raw(*busy)).replace("retries = 0", "retries = 9");
    for (what, text) in [("a patient client", slow), ("a client that is asked to wait", asked)] {
        place.configure(&text);
        let began = Instant::now();
        let ran = place.etl(&["run", "--max-runtime", "1s"]);
        assert!(began.elapsed() < Duration::from_secs(4), "{what}: {:?}", began.elapsed());
        assert_eq!(ran.code, 75, "{what}: {ran:#?}");
        tally::add("wire", "at the source", 1);
    }
    check(&place, "drips", 0);
}

#[test]
fn redirect_to_another_host_is_not_followed_and_gets_no_credentials() {
    let heard = Arc::new(Mutex::new(String::new()));
    let hearing = Arc::clone(&heard);
    let evil = source(move |mut stream, head| {
        hearing.lock().unwrap().push_str(head);
        stream.write_all(&ok("Content-Length: 2\r\n", b"[]"))
    });
    let mut place = Place::new("");
    place.set("API_TOKEN", "Bearer tokenSECRET");
    let with_token = |url: &str| {
        let url = url.replace("http://", "http://user:passwordSECRET@");
        config(&url).replace("retries", "headers = { Authorization = \"env:API_TOKEN\" }\nretries")
    };
    for status in ["301", "302", "303", "307", "308"] {
        for target in [evil.clone(), evil.replace("http:", ""), evil.replace("http:", "https:")] {
            place.configure(&with_token(&raw(redirect(status, &target))));
            let (ran, _) = run(&place, status);
            assert!(ran.code == 75 && ran.err.contains("another host"), "{ran:#?}");
            assert!(!ran.err.contains("SECRET"), "{ran:#?}");
            tally::add("wire", "at the source", 1);
        }
    }
    assert_eq!(*heard.lock().unwrap(), "", "the other host was asked");
    check(&place, "redirects", 0);
}

#[test]
fn redirect_on_the_host_is_followed_and_one_that_goes_round_is_not_for_long() {
    let place = Place::new("");
    let good = page(&place.key, &[record(3, AT)]);
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let url = source(move |mut stream, head| {
        counter.fetch_add(1, Ordering::SeqCst);
        match head.split(' ').nth(1) {
            Some("/api/data/log") => stream.write_all(&redirect("307", "/new")),
            Some("/new") => stream.write_all(&ok(&format!("Content-Length: {}\r\n", good.len()), good.as_bytes())),
            _ => stream.write_all(&redirect("302", "/round")),
        }
    });
    place.configure(&config(&url));
    assert_eq!(run(&place, "a redirect").0.code, 0);
    assert_eq!(asked.swap(0, Ordering::SeqCst), 2);
    place.configure(&config(&url.replace("/api/data/log", "/round")));
    assert_eq!(run(&place, "a circle").0.code, 75);
    assert!(asked.load(Ordering::SeqCst) < 10, "{asked:?}");
    check(&place, "a circle", 1);
}

#[test]
fn links_to_pages_without_end_stop_at_the_deadline_and_what_came_is_kept() {
    let place = Place::new("");
    let count = AtomicU32::new(0);
    let key = place.key.clone();
    let url = source(move |mut stream, _| {
        let n = u64::from(count.fetch_add(1, Ordering::SeqCst));
        let body = page(&key, &[record(1000 + n, AT)]);
        let headers = format!("Content-Length: {}\r\nLink: <?page={n}>; rel=\"next\"\r\n", body.len());
        stream.write_all(&ok(&headers, body.as_bytes()))
    });
    place.configure(&config(&url));
    let began = Instant::now();
    let ran = place.etl(&["run", "--json", "--max-runtime", "1s"]).exits(0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let pages = ran.json()["pages"].as_u64().unwrap();
    assert!(pages > 1, "{ran:#?}");
    check(&place, "endless links", pages);
}

#[test]
fn certificate_that_nobody_vouches_for_is_refused_unless_it_is_named() {
    let mut place = Place::new("");
    let body = page(&place.key, &[record(5, AT)]);
    let answer = ok(&format!("Content-Length: {}\r\n", body.len()), body.as_bytes());
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let cases = [
        ("self-signed", tls(&["localhost"], answer.clone(), |_| {}), 0),
        ("of another host", tls(&["elsewhere.example"], answer.clone(), |_| {}), 75),
        ("expired", tls(&["localhost"], answer.clone(), |params| params.not_after = year(2001)), 75),
        ("of the future", tls(&["localhost"], answer, |params| params.not_before = year(3000)), 75),
    ];
    for (what, (url, certificate), once_named) in cases {
        place.configure(&config(&url));
        place.env.retain(|(name, _)| name != "SSL_CERT_FILE");
        let (ran, _) = run(&place, what);
        assert!(ran.code == 75 && ran.err.contains("certificate"), "{what}: {ran:#?}");
        std::fs::write(place.path("ca.pem"), pem(&certificate)).unwrap();
        place.set("SSL_CERT_FILE", place.path("ca.pem").to_str().unwrap());
        let (ran, _) = run(&place, what);
        assert_eq!(ran.code, once_named, "{what}: {ran:#?}");
        tally::add("wire", "at the source", 2);
    }
    // No TLS where it is expected, and the other way round.
    let plain = raw(ok("Content-Length: 2\r\n", b"[]"));
    place.configure(&config(&plain.replace("http:", "https:")));
    assert_eq!(run(&place, "no TLS").0.code, 75);
    let (url, _) = tls(&["localhost"], Vec::new(), |_| {});
    place.configure(&config(&url.replace("https:", "http:")));
    assert_eq!(run(&place, "unexpected TLS").0.code, 75);
    check(&place, "certificates", 1);
}

#[test]
fn everything_that_the_simulator_does_wrong_loses_and_repeats_nothing() {
    let seed = tally::seed("the simulated source at its worst", 21);
    let service = Service::start(seed, |options| {
        (options.errors, options.cut, options.stall) = (15.0, 15.0, 5.0);
        (options.late, options.duplicates, options.garbage) = (10.0, 10.0, 10.0);
        (options.odd, options.json_plain, options.wrong_key) = (20.0, 30.0, 5.0);
        options.stall_for = Duration::from_millis(1500);
    });
    let mut place = Place::in_memory(&config(&service.url));
    place.set("FERNET_KEY", &service.key);
    let rounds = tally::scale(40, 1000);
    let mut failed = 0;
    for _ in 0..rounds {
        let ran = place.etl(&["run"]);
        assert!([0, 65, 75].contains(&ran.code) && !ran.err.contains("panicked"), "ETL_TEST_SEED={seed}: {ran:#?}");
        failed += u64::from(ran.code == 75);
    }
    tally::add("wire", "at the source", failed);
    assert!(failed > rounds / 10, "only {failed} of {rounds} runs met a fault");
    let ran = place.etl(&["run", "--drain"]);
    assert!([0, 65, 75].contains(&ran.code), "ETL_TEST_SEED={seed}: {ran:#?}");
    let restored = place.etl(&["restore"]).exits(0).out;
    let mut seen: Vec<String> =
        restored.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap().to_string()).collect();
    seen.sort_unstable();
    let twice = seen.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let lost = service.truth().into_iter().filter(|record| seen.binary_search(record).is_err()).count();
    tally::found(lost, twice, 0);
    assert_eq!((lost, twice), (0, 0), "ETL_TEST_SEED={seed}");
    place.etl(&["verify", "--deep"]).exits(0);
}
