//! No secret is printed, logged or stored: not by any command, and not by any failure.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use etl::store::ObjectStore;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::{s3, unique_prefix};

const TOKEN: &str = "tokenSECRETtoken";
const USER: &str = "userSECRETuser";
const PASSWORD: &str = "passwordSECRETpassword";
const QUERY: &str = "querySECRETquery";
const AT: &str = "2023-03-10T01:00:00.000Z";

/// Looks for secrets wherever a person or a backup could find them.
struct Watch {
    secrets: Vec<String>,
    looked_at: u64,
}

impl Watch {
    fn new(more: &[&str]) -> Self {
        let known = [TOKEN, USER, PASSWORD, QUERY].iter().chain(more);
        let secrets: Vec<String> = known.map(|secret| (*secret).to_owned()).collect();
        Self { secrets, looked_at: 0 }
    }

    #[track_caller]
    fn look(&mut self, what: &str, bytes: &[u8]) {
        self.looked_at += 1;
        let text = String::from_utf8_lossy(bytes);
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "{what} gives {secret} away: {text}");
        }
    }

    #[track_caller]
    fn look_at(&mut self, what: &str, ran: &Ran) {
        self.look(&format!("stdout of {what}"), ran.out.as_bytes());
        self.look(&format!("stderr of {what}"), ran.err.as_bytes());
    }

    #[track_caller]
    fn look_below(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            self.look("a name", path.file_name().unwrap().as_encoded_bytes());
            if path.is_dir() {
                self.look_below(&path);
            } else {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }
}

/// The origin's address with a user, a password and a secret query.
fn address(origin: &Origin) -> String {
    origin.url.replace("http://", &format!("http://{USER}:{PASSWORD}@")) + &format!("?key={QUERY}")
}

fn config(url: &str, load: &str) -> String {
    format!(
        "[source]\nurl = \"{url}\"\ntimeout = \"1s\"\nretries = 1\nheaders = {{ Authorization = \"env:API_TOKEN\" }}\n\
         [hours]\nlate_hold = \"0s\"\n[load]\n{load}\n"
    )
}

/// Answers of every kind, some with a link to the next page that holds the secret too.
fn answers(key: &str) -> Vec<Answer> {
    let good = page(key, &[record(1, AT), record(2, AT)]);
    let linked = |link: &str| {
        let length = good.len();
        Answer::Raw(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"x\"\r\nLink: <{link}>; rel=\"next\"\r\n\r\n{good}")
                .into_bytes(),
        )
    };
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?key={QUERY}\r\nContent-Length: 0\r\n\r\n");
    vec![
        Answer::Status(502, "<html>bad gateway</html>".into()),
        Answer::Status(401, String::new()),
        Answer::Status(404, String::new()),
        Answer::Page("<html>".into()),
        Answer::Cut(good.clone()),
        Answer::Stall(std::time::Duration::from_millis(1500)),
        Answer::Raw(moved.into_bytes()),
        Answer::Raw(b"garbage".to_vec()),
        Answer::Page("[{\"x\":1}]".into()),
        linked(&format!("?key={QUERY}&page=2")),
        linked(&format!("http://{USER}:{PASSWORD}@127.0.0.1:1/?key={QUERY}")),
        linked(&format!("ftp://{USER}:{PASSWORD}@127.0.0.1/?key={QUERY}")),
        Answer::Page(good),
    ]
}

#[test]
fn no_command_and_no_failure_gives_a_secret_away() {
    let origin = Origin::start(vec![]);
    let mut place = Place::new(&config(&address(&origin), "to = \"file:lake\""));
    place.set("API_TOKEN", TOKEN);
    let key = place.key.clone();
    let wrong = fernet::Fernet::generate_key();
    let mut watch = Watch::new(&[&key, &wrong]);
    for answer in answers(&key) {
        for args in [&["run", "-vv"][..], &["run", "--dry-run", "-v", "--log-format", "text"]] {
            origin.script(vec![answer.clone(), Answer::Page("[]".into())]);
            watch.look_at(&format!("{args:?} after {answer:?}"), &place.etl(args));
        }
    }
    // The wrong key; keys that are none; a token that is missing.
    origin.script(vec![Answer::Page(page(&key, &[record(3, AT)]))]);
    for (name, value) in [("FERNET_KEY", wrong.as_str()), ("FERNET_KEY", &format!("{key}x")), ("FERNET_KEY", &key[1..])]
    {
        place.set(name, value);
        watch.secrets.push(value.to_owned());
        watch.look_at("another key", &place.etl(&["run", "-vv"]));
    }
    place.set("FERNET_KEY", &key);
    for args in [
        &["replay", "-vv"][..],
        &["replay", "--from-s3", "-vv"],
        &["status"],
        &["status", "--json"],
        &["verify", "--deep", "-vv"],
        &["restore", "-vv"],
        &["run", "--help"],
        &["run", "--no-such-flag"],
    ] {
        watch.look_at(&format!("{args:?}"), &place.etl(args));
    }
    // Damage, and a configuration that cannot be used.
    fs::write(place.path("etl-state/ledger/head"), "x").unwrap();
    watch.look_at("a damaged ledger", &place.etl(&["run", "-vv"]));
    watch.look_at("a damaged ledger", &place.etl(&["replay", "--from-s3", "-vv"]));
    watch.look_below(&place.path("etl-state"));
    watch.look_below(&place.path("lake"));
    for broken in [
        format!("[source]\nurl = \"http://{USER}:{PASSWORD}@/?key={QUERY}\"\n[load]\nto = \"file:lake\"\n"),
        format!("[source]\nurl = \"gopher://{USER}:{PASSWORD}@x/?key={QUERY}\"\n[load]\nto = \"file:lake\"\n"),
        format!("[source]\nurl = \"http://x/\"\nkeys = [\"{wrong}\"]\n[load]\nto = \"file:lake\"\n"),
        format!("[source]\nurl = \"http://x/\"\npassword = \"{PASSWORD}\"\n"),
        format!(
            "[source]\nurl = \"http://x/\"\nheaders = {{ Authorization = \"{TOKEN}\\n\" }}\n[load]\nto = \"file:lake\"\n"
        ),
        format!("[load]\nto = \"s3://b/\"\nsecret = \"{PASSWORD}\"\n"),
    ] {
        place.configure(&broken);
        for args in [&["run", "-vv"][..], &["status"], &["verify"]] {
            watch.look_at(&format!("{args:?} with a broken configuration"), &place.etl(args));
        }
    }
    assert!(watch.looked_at > 100, "only {} things were looked at", watch.looked_at);
}

/// The commands that the help lists.
fn commands(place: &Place) -> Vec<String> {
    let help = place.etl(&["--help"]).exits(0).out;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with(' '));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    names.map(str::to_owned).collect()
}

/// A command's end, or what it said until it was stopped.
fn briefly(place: &Place, args: &[&str]) -> Ran {
    let mut command = place.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        // It serves until it is told to stop.
        if Instant::now() > deadline || args[0] == "simulate" {
            std::thread::sleep(Duration::from_millis(100));
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap().into()
}

#[test]
fn no_command_that_the_help_lists_gives_a_secret_away() {
    let origin = Origin::start(vec![]);
    let mut place = Place::new(&config(&address(&origin), "to = \"file:lake\""));
    place.set("API_TOKEN", TOKEN);
    place.set("AWS_ACCESS_KEY_ID", USER);
    place.set("AWS_SECRET_ACCESS_KEY", PASSWORD);
    let key = place.key.clone();
    origin.script(vec![Answer::Page(page(&key, &[record(1, AT), record(2, AT)]))]);
    place.etl(&["run"]).exits(0);
    let mut watch = Watch::new(&[&key]);
    let commands = commands(&place);
    assert!(["run", "status", "verify", "restore", "simulate"].iter().all(|name| commands.iter().any(|c| c == name)));
    // A source that fails, and one that does not.
    for answer in [Answer::Status(401, String::new()), Answer::Page(page(&key, &[record(3, AT)]))] {
        origin.script(vec![answer]);
        for command in &commands {
            for more in [&[][..], &["-vv"], &["--json"], &["--help"], &["--html", "status.html"], &["--no-such-flag"]] {
                let args: Vec<&str> = [command.as_str()].into_iter().chain(more.iter().copied()).collect();
                let ran = briefly(&place, &args);
                watch.look_at(&format!("{args:?}"), &ran);
            }
        }
    }
    place.configure("");
    watch.look_below(&place.path(""));
    assert!(watch.looked_at > 100, "only {} things were looked at", watch.looked_at);
}

#[test]
fn credentials_of_the_store_are_neither_said_nor_stored() {
    let Some(at) = s3() else { return };
    let secret = "secretSECRETsecret0000000000000000000000";
    let origin = Origin::start(vec![]);
    let prefix = unique_prefix("secrets");
    let mut place = Place::new(&config(&address(&origin), &at.load(&prefix)));
    place.set("API_TOKEN", TOKEN);
    let key = place.key.clone();
    let mut watch = Watch::new(&[&key, secret, &at.secret]);
    origin.script(vec![Answer::Page(page(&key, &[record(1, AT)]))]);
    place.set("AWS_ACCESS_KEY_ID", &at.key);
    place.set("AWS_SESSION_TOKEN", "");
    // A wrong secret, a closed port, then the right one.
    place.set("AWS_SECRET_ACCESS_KEY", secret);
    let refused = place.etl(&["run", "-vv"]).exits(77);
    watch.look_at("a wrong secret", &refused);
    for args in [&["verify", "-vv"][..], &["restore", "-vv"], &["replay", "--from-s3", "-vv"]] {
        watch.look_at("a wrong secret", &place.etl(args));
    }
    place.configure(&config(&address(&origin), &at.behind("http://127.0.0.1:1").load(&prefix)));
    watch.look_at("a closed port", &place.etl(&["run", "-vv"]));
    place.configure(&config(&address(&origin), &at.load(&prefix)));
    place.set("AWS_SECRET_ACCESS_KEY", &at.secret);
    for args in [&["run", "-vv"][..], &["verify", "--deep", "-vv"], &["restore", "-vv"], &["status", "--json"]] {
        watch.look_at(&format!("{args:?}"), &place.etl(args).exits(0));
    }
    watch.look_below(&place.path("etl-state"));
    let (store, keys) = (at.store(), at.keys(&prefix));
    assert_eq!(keys.len(), 3, "a part, its dictionaries, and the settings");
    for key in keys {
        watch.look("metadata", format!("{:?}", store.head(&key).unwrap()).as_bytes());
        watch.look("an object", &store.get(&key).unwrap());
    }
}
