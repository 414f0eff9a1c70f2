//! How a source lets requests in: user and password, tokens, OAuth 2.0, certificates. Secrets stand in variables and files, and nowhere
//! else.
//!
//! Planted bugs that turn one red each: a token that is not asked for again after a 401 (`…_expires_…`), one that is asked for at each
//! page (`…_for_its_lifetime`), headers of the source that go to the server of tokens (`…_strangers`), a secret that is read once in a
//! process (`…_anew_…`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::Door;
use crate::support::tls::Authority;

const AT: &str = "2023-03-10T01:00:00.000Z";

/// A request: its head, and its body.
#[derive(Debug, Clone)]
struct Asked {
    head: String,
    body: String,
}

impl Asked {
    fn authorization(&self) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"))?;
        line.split_once(' ').map(|(_, value)| value)
    }

    /// The user and the password of a header `Basic`.
    fn basic(&self) -> Option<String> {
        let pair = STANDARD.decode(self.authorization()?.strip_prefix("Basic ")?).ok()?;
        String::from_utf8(pair).ok()
    }
}

/// A server that answers what the test makes of a request and of how many came before, and keeps them all.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _door: Door,
}

impl Server {
    fn start(answer: impl Fn(&Asked, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let door = Door::open(listener, move |stream| {
            let Some(one) = read(&stream) else { return };
            let before = {
                let mut log = log.lock().unwrap();
                log.push(one.clone());
                log.len() - 1
            };
            drop((&stream).write_all(answer(&one, before).as_bytes()));
        });
        Self { address, asked, _door: door }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let (mut reader, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|n| *n > 0)?;
    }
    let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body: String::from_utf8(body).unwrap() })
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn config(source: &str, auth: &str) -> String {
    format!(
        "[source]\nurl = \"{source}/log\"\ntimeout = \"5s\"\nretries = 2\n[source.auth]\n{auth}\n[hours]\nlate_hold = \"0s\"\n\
         [load]\nto = \"file:lake\"\n"
    )
}

fn oauth2(tokens: &str, more: &str) -> String {
    format!(
        "style = \"oauth2\"\ntoken_url = \"{tokens}/token\"\nclient_id = \"etl\"\nclient_secret = \"env:CLIENT_SECRET\"\n{more}"
    )
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// The records in the lake of a place.
fn stored(place: &Place) -> usize {
    place.lake("lake").iter().map(|(_, lines)| lines.len()).sum()
}

/// A trail of three pages, a record each, for those who come with one of `accepted(token, page)`.
fn trail(key: &str, accepted: impl Fn(&str, u64) -> bool + Send + Sync + 'static) -> Server {
    let key = key.to_owned();
    Server::start(move |asked, _| {
        let at: u64 = asked.head.split("page=").nth(1).and_then(|rest| rest[..1].parse().ok()).unwrap_or(1);
        let token = asked.authorization().unwrap_or_default();
        if !accepted(token, at) {
            return answer("401 Unauthorized", "", &format!("{{\"error\":\"expired\",\"token\":\"{token}\"}}"));
        }
        let next = if at < 3 { format!("Link: </log?page={}>; rel=\"next\"\r\n", at + 1) } else { String::new() };
        answer("200 OK", &next, &page(&key, &[record(at, AT)]))
    })
}

/// A server of tokens `token-1`, `token-2`, …
fn tokens(lifetime: &'static str) -> Server {
    Server::start(move |_, before| {
        let token = format!("{{\"access_token\":\"token-{}\",\"token_type\":\"bearer\"{lifetime}}}", before + 1);
        answer("200 OK", "Content-Type: application/json\r\n", &token)
    })
}

fn no_secret(ran: &Ran) {
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains("SECRET") && !text.contains("token-1"), "{ran:#?}");
    }
}

#[test]
fn user_and_password_or_a_token_go_with_each_request_from_variables_and_files() {
    for (auth, expected) in [
        ("style = \"basic\"\nuser = \"me\"\npassword = \"env:PASSWORD\"", "Basic bWU6U0VDUkVU"),
        ("style = \"basic\"\nuser = \"env:PASSWORD\"", "Basic U0VDUkVUOg=="),
        ("style = \"bearer\"\ntoken = \"file:token\"", "Bearer SECRETtoken"),
        ("headers = { Authorization = \"file:token\" }", "SECRETtoken"),
        ("style = \"headers\"\nheaders = { authorization = \"env:PASSWORD\", X-A = \"b\" }", "SECRET"),
    ] {
        let mut place = Place::new("");
        let source = trail(&place.key, move |token, _| token == expected);
        place.configure(&config(&source.address, auth));
        place.set("PASSWORD", "SECRET");
        write_secret(&place.path("token"), "\u{feff}SECRETtoken\r\n");
        let ran = place.etl(&["run", "-vv"]).exits(0);
        no_secret(&ran);
        assert_eq!((stored(&place), source.asked().len()), (3, 3), "{auth}");
        assert_eq!(source.asked()[0].head.contains("x-a: b"), auth.contains("X-A"));
        place.etl(&["check", "--read-only"]).exits(0);
        no_secret(&place.etl(&["config", "show"]).exits(0));
    }
}

#[test]
fn secret_that_is_refused_is_77_and_never_repeated() {
    let mut place = Place::new("");
    let source = trail(&place.key, |_, _| false);
    for auth in [
        "style = \"basic\"\nuser = \"me\"\npassword = \"env:PASSWORD\"",
        "style = \"bearer\"\ntoken = \"env:PASSWORD\"",
    ] {
        place.configure(&config(&source.address, auth));
        place.set("PASSWORD", "SECRET");
        let ran = place.etl(&["run", "-vv"]).exits(77);
        assert!(ran.err.contains("refused the credentials") && ran.err.contains("source.auth"), "{}", ran.err);
        no_secret(&ran);
    }
}

#[test]
fn secret_in_the_file_or_in_the_clear_is_refused_with_what_to_write() {
    let place = Place::new("");
    let here = "http://127.0.0.1:1";
    let (id, url) = ("client_id = \"etl\"\n", "token_url = \"https://idp.example/t\"\n");
    for (source, auth, said, hint) in [
        (
            here,
            "style = \"bearer\"\ntoken = \"SECRET\"".to_owned(),
            "source.auth.token: a secret does not",
            "env:API_TOKEN",
        ),
        (
            here,
            "style = \"basic\"\nuser = \"me\"\npassword = \"SECRET\"".into(),
            "source.auth.password: a secret",
            "file:password",
        ),
        (
            here,
            format!("style = \"oauth2\"\n{id}{url}client_secret = \"SECRET\""),
            "source.auth.client_secret: a secret",
            "env:API_CLIENT_SECRET",
        ),
        (
            here,
            "headers = { X-Api-Key = \"SECRET\" }".into(),
            "source.auth.headers.X-Api-Key: a secret",
            "env:API_TOKEN",
        ),
        (
            here,
            "style = \"bearer\"\ntoken = \"env:SECRET-1\"".into(),
            "not the name of an environment variable",
            "variable",
        ),
        (here, "style = \"bearer\"".into(), "it needs source.auth.token", "token = "),
        (here, format!("style = \"oauth2\"\n{id}{url}"), "it needs source.auth.client_secret", "client_secret = "),
        (here, "token = \"env:T\"".into(), "the style \"headers\" does not use it", "style = \"bearer\""),
        (here, "style = \"client-cert\"\ncert = \"c\"".into(), "needs source.auth.key", "key = "),
        (
            here,
            "style = \"client-cert\"\nkey = \"-----BEGIN SECRET\"\ncert = \"c\"".into(),
            "not the name of a file",
            "file",
        ),
        (here, "style = \"baerer\"".into(), "not a style of authorisation", "\"bearer\""),
        (here, "style = \"bearer\"\ntokn = \"env:T\"".into(), "unknown key \"tokn\" in [source.auth]", "correct"),
        (
            here,
            "style = \"bearer\"\ntoken = \"env:T\"\nheaders = { authorization = \"env:T\" }".into(),
            "sends this header itself",
            "style = \"headers\"",
        ),
        ("http://h.example", "style = \"bearer\"\ntoken = \"env:T\"".into(), "needs https", "https:"),
        (
            "https://me:SECRET@h.example",
            "style = \"bearer\"\ntoken = \"env:T\"".into(),
            "exclude each other",
            "source.url",
        ),
        (here, oauth2("http://idp.example", ""), "asked without TLS", "https:"),
        (here, oauth2("https://me:SECRET@idp.example", ""), "an address with a user in it", "client_id"),
        (here, oauth2("idp.example", ""), "token_url: not a URL", "https://"),
    ] {
        place.configure(&config(source, &auth));
        for args in [&["run", "-vv", "--log-format", "text"][..], &["config", "check"]] {
            let ran = place.etl(args).exits(78);
            let text = format!("{}{}", ran.out, ran.err);
            assert!(text.contains(said) && text.contains(hint) && text.contains("etl.toml, line "), "{auth}: {text}");
            assert!(!text.contains("SECRET") || text.contains("API_CLIENT_SECRET"), "{auth}: {text}");
        }
    }
}

#[test]
fn secret_that_is_not_there_is_78_for_a_run_and_no_error_of_the_file() {
    let place = Place::new("");
    write_secret(&place.path("empty"), "\n");
    std::fs::write(place.path("open"), "SECRET").unwrap();
    std::fs::set_permissions(place.path("open"), PermissionsExt::from_mode(0o644)).unwrap();
    for (token, said, check) in [
        ("env:NOT_SET", "NOT_SET is not set", 0),
        ("file:nowhere", "nowhere", 0),
        ("file:empty", "is empty", 78),
        ("file:open", "others can read", 78),
    ] {
        place.configure(&config("https://127.0.0.1:1", &format!("style = \"bearer\"\ntoken = \"{token}\"")));
        let ran = place.etl(&["run"]).exits(78);
        assert!(ran.err.contains("source.auth.token") && ran.err.contains(said), "{}", ran.err);
        let checked = place.etl(&["config", "check"]).exits(check);
        assert!(checked.out.contains(said), "{}", checked.out);
        no_secret(&ran);
        place.etl(&["status"]).exits(0);
    }
}

#[test]
fn secrets_are_read_anew_at_each_tick() {
    let place = Place::new("");
    let source = trail(&place.key, |_, _| true);
    place.configure(&config(&source.address, "style = \"bearer\"\ntoken = \"file:token\""));
    write_secret(&place.path("token"), "old");
    let mut child = place.spawn(&["run", "--every", "200ms", "--max-runtime", "20s"]);
    let seen = |token: &str| {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !source.asked().iter().any(|asked| asked.authorization() == Some(token)) {
            assert!(Instant::now() < deadline, "nobody came with {token}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    seen("Bearer old");
    write_secret(&place.path("token"), "new");
    seen("Bearer new");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn token_is_asked_for_once_and_used_for_its_lifetime() {
    for (more, lifetime) in [("", ""), ("scope = \"read logs\"\naudience = \"https://api\"", ",\"expires_in\":3600")] {
        let mut place = Place::new("");
        place.set("CLIENT_SECRET", "a SECRET");
        let source = trail(&place.key, |token, _| token == "Bearer token-1");
        let idp = tokens(lifetime);
        place.configure(&config(&source.address, &oauth2(&idp.address, more)));
        no_secret(&place.etl(&["run", "-vv"]).exits(0));
        let asked = idp.asked();
        assert_eq!((stored(&place), source.asked().len(), asked.len()), (3, 3, 1));
        assert!(asked[0].head.starts_with("POST /token "), "{asked:?}");
        assert_eq!(asked[0].basic().as_deref(), Some("etl:a+SECRET"));
        let scope = if more.is_empty() { "" } else { "&scope=read+logs&audience=https%3A%2F%2Fapi" };
        assert_eq!(asked[0].body, format!("grant_type=client_credentials{scope}"));
    }
}

#[test]
fn token_serves_all_ticks_of_a_process_and_a_short_one_is_replaced() {
    for (lifetime, most) in [(",\"expires_in\":3600", 1), (",\"expires_in\":0", usize::MAX)] {
        let mut place = Place::new("");
        place.set("CLIENT_SECRET", "SECRET");
        let source = trail(&place.key, |token, _| token.starts_with("Bearer token-"));
        let idp = tokens(lifetime);
        place.configure(&config(&source.address, &oauth2(&idp.address, "")));
        let mut child = place.spawn(&["run", "--every", "100ms"]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while source.asked().len() < 9 {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let asked = idp.asked().len();
        assert!(asked <= most && (most == 1 || asked >= 9), "{lifetime}: {asked}");
    }
}

#[test]
fn token_that_expires_in_mid_trail_is_replaced_and_its_page_asked_for_again() {
    let mut place = Place::new("");
    place.set("CLIENT_SECRET", "SECRET");
    let source = trail(&place.key, |token, page| token == if page == 1 { "Bearer token-1" } else { "Bearer token-2" });
    let idp = tokens(",\"expires_in\":3600");
    place.configure(&config(&source.address, &oauth2(&idp.address, "client_auth = \"post\"")));
    let ran = place.etl(&["run", "-vv"]).exits(0);
    no_secret(&ran);
    assert_eq!((stored(&place), source.asked().len(), idp.asked().len()), (3, 4, 2), "{}", ran.err);
    let asked = &idp.asked()[1];
    assert_eq!(asked.authorization(), None);
    assert_eq!(asked.body, "grant_type=client_credentials&client_id=etl&client_secret=SECRET");
}

#[test]
fn token_that_is_refused_twice_is_the_usual_77() {
    let mut place = Place::new("");
    place.set("CLIENT_SECRET", "SECRET");
    let source = trail(&place.key, |_, _| false);
    let idp = tokens("");
    place.configure(&config(&source.address, &oauth2(&idp.address, "")));
    let ran = place.etl(&["run", "-vv"]).exits(77);
    assert!(ran.err.contains("/log refused the credentials: 401"), "{}", ran.err);
    no_secret(&ran);
    assert!(!ran.err.contains("token-2"), "{}", ran.err);
    assert_eq!((source.asked().len(), idp.asked().len()), (2, 2));
}

#[test]
fn server_of_tokens_that_fails_is_told_from_one_that_refuses() {
    let strange = "check source.auth.token_url";
    let echo = "{\"error\":\"invalid_client\",\"error_description\":\"SECRET\"}";
    for (answered, code, times, said) in [
        (answer("503 Busy", "", "SECRET"), 75, 3, "no token from http://127.0.0.1"),
        (answer("401 No", "", echo), 77, 1, "refused the client: 401 Unauthorized, invalid_client"),
        (answer("400 No", "", &echo.replace("_client", "_scope")), 77, 1, "correct source.auth.scope"),
        (answer("404 No", "", "SECRET"), 75, 1, strange),
        (answer("200 OK", "", "<html>SECRET"), 75, 1, strange),
        (answer("200 OK", "", &" ".repeat(1 << 20)), 75, 1, "far too long"),
        (answer("302 Found", "Location: /elsewhere\r\n", ""), 75, 1, "not followed"),
        (String::new(), 75, 3, "no token from"),
    ] {
        let mut place = Place::new("");
        place.set("CLIENT_SECRET", "SECRET");
        let source = trail(&place.key, |_, _| true);
        let script = answered.clone();
        let idp = Server::start(move |_, _| script.clone());
        place.configure(&config(&source.address, &oauth2(&idp.address, "")));
        let ran = place.etl(&["run", "-vv"]).exits(code);
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
        no_secret(&ran);
        assert_eq!((source.asked().len(), idp.asked().len()), (0, times), "{said}: {}", ran.err);
        let checked = place.etl(&["check", "--read-only"]);
        assert!(checked.code == code && checked.out.contains("token"), "{checked:?}");
        no_secret(&checked);
    }
}

#[test]
fn neither_server_learns_what_is_meant_for_the_other_nor_do_strangers() {
    let mut place = Place::new("");
    place.set("CLIENT_SECRET", "SECRET");
    place.set("SOURCE_KEY", "for the source");
    let stranger = Server::start(|_, _| answer("200 OK", "", "[]"));
    let away = stranger.address.clone();
    let source = Server::start(move |_, _| answer("302 Found", &format!("Location: {away}/log\r\n"), ""));
    let idp = tokens("");
    let headers = "headers = { X-Api-Key = \"env:SOURCE_KEY\" }";
    place.configure(&config(&source.address, &oauth2(&idp.address, headers)));
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("redirects to another host"), "{}", ran.err);
    assert!(stranger.asked().is_empty());
    assert!(!idp.asked()[0].head.contains("for the source"), "{:?}", idp.asked());
    let asked = &source.asked()[0];
    assert!(asked.head.contains("for the source") && !asked.head.contains("SECRET"), "{asked:?}");
}

#[test]
fn check_says_that_there_is_a_token_and_for_how_long() {
    let mut place = Place::new("");
    place.set("CLIENT_SECRET", "SECRET");
    let source = trail(&place.key, |_, _| true);
    let idp = tokens(",\"expires_in\":3600");
    place.configure(&config(&source.address, &oauth2(&idp.address, "")));
    let checked = place.etl(&["check", "--read-only"]).exits(0);
    assert!(checked.out.contains("token") && checked.out.contains("given, and used for 58 min"), "{}", checked.out);
    assert_eq!(idp.asked().len(), 1, "the page is asked for with the same token");
}

#[test]
fn client_is_known_by_its_certificate_and_the_server_by_an_authority_of_its_own() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let place = Place::new("");
    let body = page(&place.key, &[record(1, AT)]);
    let url = ours.serve_known(answer("200 OK", "", &body).into_bytes());
    let (source, _) = url.rsplit_once("/api").unwrap();
    let soon = ours.sign("etl", 10);
    for (name, (cert, key)) in [("good", ours.sign("etl", 60)), ("soon", soon), ("foreign", theirs.sign("etl", 60))] {
        std::fs::write(place.path(format!("{name}.pem")), cert).unwrap();
        write_secret(&place.path(format!("{name}-key.pem")), &key);
    }
    std::fs::write(place.path("ca.pem"), ours.pem()).unwrap();
    std::fs::write(place.path("other-ca.pem"), theirs.pem()).unwrap();
    let client = |name: &str, ca: &str| {
        let files = format!("cert = \"{name}.pem\"\nkey = \"file:{name}-key.pem\"\nca = \"{ca}\"");
        place.configure(&config(source, &format!("style = \"client-cert\"\n{files}")));
    };
    client("good", "ca.pem");
    place.etl(&["run"]).exits(0);
    assert_eq!(stored(&place), 1);
    let checked = place.etl(&["check", "--read-only"]).exits(0).out;
    assert!(checked.contains("certificate") && checked.contains("for 59 d"), "{checked}");
    client("soon", "ca.pem");
    let checked = place.etl(&["check", "--read-only"]).exits(0).out;
    assert!(checked.contains("for 9 d") && checked.contains("have it renewed"), "{checked}");
    client("foreign", "ca.pem");
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("[source.auth]"), "{}", ran.err);
    client("good", "other-ca.pem");
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("source.auth.ca"), "{}", ran.err);
    // The authority alone, without a certificate to show.
    place.configure(&config(source, "ca = \"ca.pem\""));
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("wants a certificate from its clients"), "{}", ran.err);
}

#[test]
fn file_that_is_no_certificate_is_named_with_what_is_wrong() {
    let authority = Authority::new();
    let place = Place::new("");
    let ((cert, key), (_, other)) = (authority.sign("etl", 60), authority.sign("etl", 60));
    std::fs::write(place.path("cert"), &cert).unwrap();
    write_secret(&place.path("key"), &key);
    write_secret(&place.path("other"), &other);
    std::fs::write(place.path("open"), &key).unwrap();
    std::fs::set_permissions(place.path("open"), PermissionsExt::from_mode(0o644)).unwrap();
    for (auth, said) in [
        ("cert = \"key\"\nkey = \"key\"", "key: has no certificate in it"),
        ("cert = \"cert\"\nkey = \"cert\"", "others can read"),
        ("cert = \"cert\"\nkey = \"other\"", "other: cannot be used"),
        ("cert = \"cert\"\nkey = \"open\"", "others can read"),
        ("cert = \"cert\"\nkey = \"nowhere\"", "cannot read"),
        ("ca = \"key\"", "key: has no certificate in it"),
    ] {
        place.configure(&config("https://127.0.0.1:1", auth));
        let ran = place.etl(&["run"]).exits(78);
        assert!(ran.err.contains(said) && ran.err.contains("source.auth."), "{auth}: {}", ran.err);
        assert!(!ran.err.contains(key.lines().nth(1).unwrap()), "{}", ran.err);
    }
}
