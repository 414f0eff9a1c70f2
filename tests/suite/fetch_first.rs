//! The source is asked before anything else: what it has now is durable whatever hangs, waits or is damaged behind it; and a
//! validator or a note of an interrupted trail never hides what the source has.
//!
//! Planted bugs that turn these red: settling before the fetch (`…asked_at_once…`); a tag noted for a list of several pages
//! (`…list…`); a tag kept for a page that is damaged (`…damaged…`); no inbox (`…beside…`).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::cli::{Place, page, record};
use crate::support::origin::Door;
use crate::support::state_dir::in_lake;

const AT: &str = "2023-03-10T01:00:00.000Z";

/// A request: its target, and the tag that it asked with.
type Asked = (String, Option<String>);

/// An API that answers by the request's target.
struct Api {
    url: String,
    asked: Arc<Mutex<Vec<(Instant, Asked)>>>,
    _door: Door,
}

impl Api {
    fn start(answer: impl Fn(&str, Option<&str>) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/log", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let door = Door::open(listener, move |stream| {
            let Some((target, tag)) = request(&stream) else { return };
            log.lock().unwrap().push((Instant::now(), (target.clone(), tag.clone())));
            let text = answer(&target, tag.as_deref());
            drop((&stream).write_all(text.as_bytes()));
        });
        Self { url, asked, _door: door }
    }

    fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(|(_, asked)| asked).collect()
    }

    fn first_asked_at(&self) -> Option<Instant> {
        self.asked.lock().unwrap().first().map(|(at, _)| *at)
    }
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut tag) = (String::new(), None);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("if-none-match")
        {
            tag = Some(value.trim().to_owned());
        }
    }
    Some((first.split(' ').nth(1)?.to_owned(), tag))
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

fn link(to: &str) -> String {
    format!("Link: <{to}>; rel=\"next\"\r\n")
}

fn ids(place: &Place) -> Vec<u64> {
    let found = in_lake(place);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    found.into_keys().collect()
}

fn config(url: &str, more: &str) -> String {
    format!(
        "[source]\nurl = \"{url}\"\nretries = 0\ntimeout = \"5s\"\n{more}[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n"
    )
}

const ONE_PAGE: &str = "paging = { style = \"none\" }\n";

/// Pages as the test fills them: each is a list of ids.
type Pages = Arc<Mutex<Vec<Vec<u64>>>>;

fn body(key: &str, ids: &[u64]) -> String {
    page(key, &ids.iter().map(|id| record(*id, AT)).collect::<Vec<_>>())
}

fn number(target: &str) -> usize {
    target.split_once("page=").map_or(1, |(_, number)| number.parse().unwrap())
}

/// A list of pages, each with a tag and a link to the next; the answer for page `n` can be taken over.
fn list(key: &str, pages: &Pages, other: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Api {
    let (key, pages) = (key.to_owned(), Arc::clone(pages));
    Api::start(move |target, tag| {
        let number = number(target);
        if let Some(answer) = other(number) {
            return answer;
        }
        let pages = pages.lock().unwrap();
        let text = body(&key, &pages[number - 1]);
        let etag = format!("\"{number}-{:?}\"", pages[number - 1]).replace(' ', "");
        if tag == Some(etag.as_str()) {
            return reply("304 Not Modified", "", "");
        }
        let next = if number < pages.len() { link(&format!("/log?page={}", number + 1)) } else { String::new() };
        reply("200 OK", &format!("ETag: {etag}\r\n{next}"), &text)
    })
}

#[test]
fn list_that_grows_behind_a_first_page_that_never_changes_is_read_to_its_end() {
    let place = Place::new("");
    let pages: Pages = Arc::new(Mutex::new(vec![vec![1, 2], vec![3]]));
    let api = list(&place.key, &pages, |_| None);
    place.configure(&config(&api.url, ""));
    place.etl(&["run", "--drain"]).exits(0);
    *pages.lock().unwrap() = vec![vec![1, 2], vec![3, 4], vec![5]];
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(ids(&place), [1, 2, 3, 4, 5]);
    assert!(api.take_asked().iter().all(|(_, tag)| tag.is_none()), "a tag says nothing of the pages behind its own");
}

#[test]
fn trail_that_was_interrupted_goes_on_where_it_was_and_a_page_that_is_gone_costs_no_other() {
    for (what, broken) in [
        ("an error", reply("500 X", "", "")),
        ("a body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n[{".to_owned()),
        ("no array", reply("200 OK", "", "<html>")),
    ] {
        let place = Place::new("");
        let pages: Pages = Arc::new(Mutex::new(vec![vec![1], vec![2], vec![3]]));
        let fails = Arc::new(Mutex::new(Some((2, broken))));
        let script = Arc::clone(&fails);
        let api = list(&place.key, &pages, move |number| {
            script.lock().unwrap().as_ref().filter(|(at, _)| *at == number).map(|(_, answer)| answer.clone())
        });
        place.configure(&config(&api.url, ""));
        place.etl(&["run", "--drain"]).exits(75);
        assert_eq!(ids(&place), [1], "{what}");
        // The page to go on with is still broken: the first page is asked for again, for it may have more by now.
        pages.lock().unwrap()[0].push(10);
        api.take_asked();
        place.etl(&["run", "--drain"]).exits(75);
        let asked: Vec<usize> = api.take_asked().iter().map(|(target, _)| number(target)).collect();
        assert_eq!((asked, ids(&place)), (vec![2, 1, 2], vec![1, 10]), "{what}");
        *fails.lock().unwrap() = None;
        place.etl(&["run", "--drain"]).exits(0);
        let asked: Vec<usize> = api.take_asked().iter().map(|(target, _)| number(target)).collect();
        assert_eq!((asked, ids(&place)), (vec![2, 3], vec![1, 2, 3, 10]), "{what}: it goes on at page 2");
        place.etl(&["run", "--drain"]).exits(0);
        assert_eq!(api.take_asked().len(), 3, "{what}: and then begins with the first page");
    }
}

#[test]
fn run_that_is_killed_between_pages_loses_none_of_them() {
    for signal in ["-KILL", "-TERM"] {
        let place = Place::new("");
        let pages: Pages = Arc::new(Mutex::new(vec![vec![1], vec![2], vec![3]]));
        let hangs = Arc::new(Mutex::new(true));
        let script = Arc::clone(&hangs);
        let api = list(&place.key, &pages, move |number| {
            if number == 2 && *script.lock().unwrap() {
                std::thread::sleep(Duration::from_secs(3));
            }
            None
        });
        place.configure(&config(&api.url, ""));
        let mut child = place.command(&["run", "--drain"]).spawn().unwrap();
        while api.asked.lock().unwrap().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }

        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        *hangs.lock().unwrap() = false;
        place.etl(&["run", "--drain"]).exits(0);
        assert_eq!(ids(&place), [1, 2, 3], "{signal}");
    }
}

/// A source of one page with a tag: the ids of it.
fn tagged(key: &str, first: &[u64]) -> (Api, Arc<Mutex<Vec<u64>>>) {
    let now = Arc::new(Mutex::new(first.to_vec()));
    let (key, ids) = (key.to_owned(), Arc::clone(&now));
    let api = Api::start(move |target, tag| {
        let ids = ids.lock().unwrap();
        let etag = format!("\"{:?}\"", *ids).replace(' ', "");
        if tag == Some(etag.as_str()) {
            return reply("304 Not Modified", "", "");
        }
        assert!(target.starts_with("/log"));
        reply("200 OK", &format!("ETag: {etag}\r\n"), &body(&key, &ids))
    });
    (api, now)
}

#[test]
fn source_of_one_page_is_asked_with_its_tag_while_that_page_is_safe() {
    let place = Place::new("");
    let (api, _) = tagged(&place.key, &[1, 2]);
    place.configure(&config(&api.url, ONE_PAGE));
    place.etl(&["run", "--drain"]).exits(0);
    place.etl(&["run", "--drain"]).exits(0);
    let tags: Vec<Option<String>> = api.take_asked().into_iter().map(|(_, tag)| tag).collect();
    assert_eq!(tags, [None, Some("\"[1,2]\"".to_owned())]);
    // Another query is another page.
    place.configure(&config(&format!("{}?user=2", api.url), ONE_PAGE));
    place.etl(&["run"]).exits(0);
    assert_eq!(api.take_asked(), [("/log?user=2".to_owned(), None)]);
}

#[test]
fn tag_of_a_page_that_is_damaged_or_lost_or_no_page_is_not_used() {
    for what in ["damaged", "lost", "cut"] {
        let place = Place::new("");
        let (api, _) = tagged(&place.key, &[1, 2]);
        // The key is wrong: the page waits.
        let good = config(&api.url, ONE_PAGE);
        place.configure(&good);
        let mut wrong = place.command(&["run"]);
        wrong.env("FERNET_KEY", fernet::Fernet::generate_key());
        assert_eq!(wrong.output().unwrap().status.code(), Some(77));
        wrong.output().unwrap();
        let pattern = format!("{}/*.page", place.path("etl-state/journal").display());
        for path in glob::glob(&pattern).unwrap() {
            let path = path.unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            match what {
                "damaged" => bytes[30] ^= 1,
                "cut" => bytes.truncate(25),
                _ => {
                    std::fs::remove_file(&path).unwrap();
                    continue;
                }
            }
            std::fs::write(&path, bytes).unwrap();
        }
        api.take_asked();
        place.etl(&["run", "--drain"]);
        assert_eq!(api.take_asked(), [("/log".to_owned(), None)], "{what}");
        assert_eq!(ids(&place), [1, 2], "{what}: the page came once more");
    }
    let place = Place::new("");
    let api = Api::start(|_, tag| match tag {
        Some(_) => reply("304 Not Modified", "", ""),
        None => reply("200 OK", "ETag: \"x\"\r\n", "[1, 2]"),
    });
    place.configure(&config(&api.url, ONE_PAGE));
    place.etl(&["run"]).exits(75);
    place.etl(&["run"]).exits(75);
    assert!(api.take_asked().iter().all(|(_, tag)| tag.is_none()), "what was no page is asked for again");
}

/// A store that takes connections and never answers.
fn hanging_store() -> (String, Door) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let door = Door::open(listener, |stream| {
        std::thread::sleep(Duration::from_secs(120));
        drop(stream);
    });
    (endpoint, door)
}

fn to_s3(url: &str, endpoint: &str) -> String {
    format!(
        "[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n\
         [load]\nto = \"s3://b/p/\"\nendpoint = \"{endpoint}\"\nregion = \"r\"\n"
    )
}

/// A place whose store hangs, and whose source has a new record at each request.
fn before_a_hanging_store() -> (Place, Api, Door) {
    let mut place = Place::new("");
    for (name, value) in [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")] {
        place.set(name, value);
    }
    let key = place.key.clone();
    let next = Arc::new(Mutex::new(0));
    let api = Api::start(move |_, _| {
        let mut next = next.lock().unwrap();
        *next += 1;
        reply("200 OK", "", &body(&key, &[*next]))
    });
    let (endpoint, door) = hanging_store();
    place.configure(&to_s3(&api.url, &endpoint));
    (place, api, door)
}

/// A run's life until it has asked the source, or is given up.
fn asked_within(place: &Place, api: &Api, limit: Duration) -> Duration {
    api.take_asked();
    let began = Instant::now();
    let mut child = place.command(&["run", "--max-runtime", "6s"]).spawn().unwrap();
    while api.first_asked_at().is_none() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = api.first_asked_at().map_or(Duration::MAX, |at| at.duration_since(began));
    child.wait().unwrap();
    assert!(asked < limit, "the source was asked after {asked:?}");
    asked
}

#[test]
fn source_is_asked_at_once_whatever_waits_or_is_damaged_behind_it() {
    let (place, api, _door) = before_a_hanging_store();
    // The first run seals a part, and the store does not answer.
    let limit = Duration::from_secs(2);
    asked_within(&place, &api, limit);
    asked_within(&place, &api, limit);
    let state = place.path("etl-state");
    let before = std::fs::read_dir(state.join("journal")).unwrap().count();
    std::fs::write(state.join("wal/000001/conf"), [0xff; 64]).unwrap();
    asked_within(&place, &api, limit);
    std::fs::write(state.join("ledger/head"), "damaged").unwrap();
    asked_within(&place, &api, limit);
    let after = std::fs::read_dir(state.join("journal")).unwrap().count();
    assert_eq!(after, before + 2, "what came is durable, though the state cannot be opened");
}

#[test]
fn page_that_comes_beside_a_run_that_waits_for_its_store_is_kept() {
    let (place, api, _door) = before_a_hanging_store();
    place.etl(&["run", "--max-runtime", "2s"]);
    let mut waiting = place.command(&["run", "--max-runtime", "40s"]).spawn().unwrap();
    while place.status()["running"] != true {
        std::thread::sleep(Duration::from_millis(20));
    }
    // A run that started a moment ago asks the source itself.
    let asked = api.take_asked().len();
    place.etl(&["run"]).exits(11);
    assert!(api.take_asked().len() + asked <= 2);
    std::thread::sleep(Duration::from_secs(11));
    for _ in 0..3 {
        let beside = place.etl(&["run"]).exits(11);
        assert_eq!(beside.out, "");
    }
    assert_eq!(api.take_asked().len(), 3, "each asked the source");
    let inbox = std::fs::read_dir(place.path("etl-state/inbox")).unwrap();
    let pages = inbox.filter(|entry| entry.as_ref().unwrap().path().extension() == Some("page".as_ref()));
    assert_eq!(pages.count(), 3);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // All of them are committed by the next run.
    place.etl(&["run", "--max-runtime", "2s"]);
    let status = place.status();
    assert_eq!(status["totals"]["records"], status["totals"]["pending"]);
    assert!(status["totals"]["records"].as_u64().unwrap() >= 5, "{status}");
    assert_eq!(std::fs::read_dir(place.path("etl-state/inbox")).unwrap().count(), 1, "nothing but its lock");
}
