//! The configuration as a whole: precedence, relative paths, defaults, refusals.

mod record;
mod refusals;

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;
use crate::pointer::Pointer;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// A current directory with files in it, and an environment.
struct Place {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, OsString>,
    flags: Overrides,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, variables: BTreeMap::new(), flags: Overrides::default() }
    }

    fn with_file(text: &str) -> Self {
        Self::new().file("etl.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn load(&self) -> Result<Config> {
        Config::load(&self.flags, &|name| self.variables.get(name).cloned(), self.folder.path())
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{}", error.chain()))
    }

    fn refusal(&self) -> String {
        let error = self.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.chain()
    }
}

fn s3(bucket: &str, prefix: &str) -> Destination {
    Destination::S3 { bucket: bucket.into(), prefix: prefix.into() }
}

fn url(config: &Config) -> &str {
    match config.source.location().unwrap() {
        SourceLocation::Http(url) => url.expose(),
        SourceLocation::Files(pattern) => pattern,
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let place = Place::new();
    let config = place.config();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!(config.file, None);
    assert_eq!(config.source.timeout, Duration::from_secs(30));
    assert_eq!(config.source.retries, 5);
    assert_eq!(config.source.max_page_bytes, 64 << 20);
    assert_eq!(config.record.id(), Some(&Pointer::member("record_id")));
    assert_eq!(config.source.headers().unwrap(), []);
    let hours = &config.hours;
    assert_eq!((hours.timezone_name(), &hours.timezone), ("UTC", &TimeZone::UTC));
    assert_eq!((hours.grace, hours.late_hold, hours.max_future), (minutes(10), minutes(60), minutes(60)));
    assert_eq!(hours.dedup_window, minutes(30 * 24 * 60));
    let codes = |entries: &[(&str, i64)]| {
        CodecConfig::Dictionary(entries.iter().map(|(text, code)| ((*text).to_owned(), *code)).collect())
    };
    let expected = [
        ("inDate", CodecConfig::Digits),
        ("method", codes(&[("GET", 1), ("POST", 2)])),
        ("url", codes(&[("/api/products/product/", 1)])),
        ("user_id", CodecConfig::UuidPair),
    ];
    assert_eq!(config.compact.fields().collect::<Vec<_>>(), expected.each_ref().map(|(field, codec)| (*field, codec)));
    let access = config.load.s3().unwrap();
    assert_eq!((access.endpoint, access.region.as_str()), (None, "ap-northeast-2"));
    assert_eq!(access.credentials, S3Credentials::Default);
    assert_eq!(config.load.part_max_records, 0);
    assert_eq!(config.load.layout.template(), "{year}_y/{month}_m/{day}_d/{hour}_h");
    assert_eq!(config.archive, ArchiveConfig { dir: None, keep: minutes(30 * 24 * 60) });
    assert_eq!(config.state, StateConfig { dir: place.path("etl-state"), min_free: 64 << 20 });
    assert_eq!(config.quarantine.max_bytes, 0);
}

#[test]
fn every_setting_is_known_to_the_reader_of_the_file() {
    let text = r#"
[source]
url = "https://example.net/api/data/log"
keys_env = "MY_KEYS"
headers = { Authorization = "env:API_TOKEN" }
timeout = "20s"
retries = 3
max_page_bytes = "1MiB"
sequence = ""
[hours]
timezone = "Asia/Seoul"
grace = "1m"
late_hold = "2m"
max_future = "3m"
dedup_window = "4d"
[compact]
url = { "/a/" = 7 }
method = { PUT = 3 }
[load]
to = "s3://my-logs/prefix/"
endpoint = "http://127.0.0.1:8333/"
region = "eu-central-1"
part_max_records = 10
layout = "hive"
[archive]
dir = "originals"
keep = "5d"
[state]
dir = "state"
min_free = "1GiB"
[quarantine]
max_bytes = "2GiB"
"#;
    let place = Place::with_file(text).var("MY_KEYS", KEY).var("API_TOKEN", "Bearer x");
    let config = place.config();
    assert_eq!(config.source.keys().unwrap(), [Secret::new(KEY)]);
    assert_eq!(config.source.headers().unwrap(), [("Authorization".to_owned(), Secret::new("Bearer x"))]);
    assert_eq!((config.source.timeout, config.source.retries), (Duration::from_secs(20), 3));
    assert_eq!(config.record.id(), None, "an empty text turns it off");
    assert_eq!(config.hours.timezone_name(), "Asia/Seoul");
    assert_eq!(config.hours.dedup_window, Duration::from_secs(4 * 86_400));
    let url = config.compact.fields().find(|(field, _)| *field == "url").unwrap().1;
    assert_eq!(*url, CodecConfig::Dictionary(BTreeMap::from([("/a/".to_owned(), 7)])));
    assert_eq!(config.load.destination().unwrap(), &s3("my-logs", "prefix/"));
    assert_eq!(config.load.s3().unwrap().endpoint.as_deref(), Some("http://127.0.0.1:8333"));
    assert_eq!(config.load.layout.template(), "year={year}/month={month}/day={day}/hour={hour}");
    assert_eq!(config.archive.dir, Some(place.path("originals")));
    assert_eq!(config.state, StateConfig { dir: place.path("state"), min_free: 1 << 30 });
    assert_eq!(config.quarantine.max_bytes, 2 << 30);
}

#[test]
fn names_of_the_origin_work_without_a_file() {
    let place = Place::new()
        .var("API_URL", "http://127.0.0.1:9/api/data/log")
        .var("FERNET_KEY", KEY)
        .var("AWS_ACCESS_KEY_ID", "id")
        .var("AWS_SECRET_ACCESS_KEY", "secret")
        .var("AWS_REGION", "eu-west-1")
        .var("AWS_S3_BUCKETNAME", "logs")
        .var("ETL_STATE_DIR", "here")
        .var("AWS_ENDPOINT_URL", "http://127.0.0.1:8333");
    let config = place.config();
    assert_eq!(url(&config), "http://127.0.0.1:9/api/data/log");
    assert_eq!(config.source.keys().unwrap(), [Secret::new(KEY)]);
    assert_eq!(config.load.destination().unwrap(), &s3("logs", ""));
    let access = config.load.s3().unwrap();
    assert_eq!((access.endpoint.as_deref(), &*access.region), (Some("http://127.0.0.1:8333"), "eu-west-1"));
    let (id, secret) = (Secret::new("id"), Secret::new("secret"));
    assert_eq!(access.credentials, S3Credentials::Keys { id, secret, token: None });
    assert_eq!(config.state.dir, place.path("here"));
    let own = place.var("ETL_S3_BUCKET", "own").config();
    assert_eq!(own.load.destination().unwrap(), &s3("own", ""));
}

#[test]
fn flag_beats_environment_beats_dotenv_beats_file() {
    let mut place = Place::with_file("[state]\ndir = \"of-file\"\n");
    assert_eq!(place.config().state.dir, place.path("of-file"));
    place = place.file(".env", "ETL_STATE_DIR=of-dotenv\n");
    assert_eq!(place.config().state.dir, place.path("of-dotenv"));
    place = place.var("ETL_STATE_DIR", "of-environment");
    assert_eq!(place.config().state.dir, place.path("of-environment"));
    place.flags.state_dir = Some("of-flag".into());
    assert_eq!(place.config().state.dir, place.path("of-flag"));
}

#[test]
fn environment_goes_before_the_file_and_keeps_its_prefix() {
    let text = "[source]\nurl = \"https://file/\"\n[load]\nto = \"s3://file/prefix\"\nregion = \"r1\"\n";
    let place =
        Place::with_file(text).var("API_URL", "https://env/").var("AWS_S3_BUCKETNAME", "env").var("AWS_REGION", "r2");
    let config = place.config();
    assert_eq!(url(&config), "https://env/");
    assert_eq!(config.load.destination().unwrap(), &s3("env", "prefix/"));
    assert_eq!(config.load.s3().unwrap().region, "r2");
    let empty = Place::with_file(text).var("API_URL", "").var("AWS_S3_BUCKETNAME", " ").config();
    assert_eq!(url(&empty), "https://file/", "an empty variable gives nothing");
    assert_eq!(empty.load.destination().unwrap(), &s3("file", "prefix/"));
}

#[test]
fn demo_of_files_is_the_same_whatever_the_environment_holds() {
    let text = format!("[source]\nurl = \"file:pages/*.json\"\nkeys = [\"{KEY}\"]\n[load]\nto = \"file:lake\"\n");
    let place = Place::with_file(&text)
        .var("API_URL", "https://live/")
        .var("FERNET_KEY", "nonsense")
        .var("AWS_S3_BUCKETNAME", "live")
        .var("ETL_S3_BUCKET", "///")
        .var("AWS_ENDPOINT_URL", "not a url")
        .var("AWS_REGION", "no region")
        .var("AWS_ACCESS_KEY_ID", "half");
    let config = place.config();
    assert_eq!(url(&config), place.path("pages/*.json").to_str().unwrap());
    assert_eq!(config.load.destination().unwrap(), &Destination::Files(place.path("lake")));
    assert_eq!(config.source.keys().unwrap(), [Secret::new(KEY)]);
}

#[test]
fn status_loads_with_nothing_set_and_the_rest_fails_when_asked_for() {
    let config = Place::new().config();
    for (error, name) in [
        (config.source.location().unwrap_err(), "API_URL"),
        (config.source.keys().unwrap_err(), "FERNET_KEY"),
        (config.load.destination().unwrap_err(), "AWS_S3_BUCKETNAME"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.chain().contains(name) && error.next_step().is_some_and(|hint| hint.contains(name)), "{error:?}");
    }
}

#[test]
fn file_is_the_flag_then_the_variable_then_the_current_directory() {
    let mut place = Place::with_file("[source]\nretries = 1\n")
        .file("b.toml", "[source]\nretries = 2\n")
        .file("c/c.toml", "[source]\nretries = 3\n");
    assert_eq!(place.config().source.retries, 1);
    place = place.var("ETL_CONFIG", "b.toml");
    assert_eq!(place.config().source.retries, 2);
    place.flags.config = Some("c/c.toml".into());
    assert_eq!(place.config().source.retries, 3);
}

#[test]
fn named_file_that_is_not_there_is_an_error_that_names_it() {
    let mut place = Place::with_file("").var("ETL_CONFIG", "gone.toml");
    assert!(place.refusal().ends_with("gone.toml (named by ETL_CONFIG in the environment)"));
    place.flags.config = Some("lost.toml".into());
    assert!(place.refusal().ends_with("lost.toml (named by --config)"));
}

#[test]
fn paths_of_a_file_are_relative_to_its_folder() {
    let mut place = Place::new().file(
        "conf/my [logs].toml",
        "[source]\nurl = \"file:pages/*.json\"\nkeys_file = \"key\"\n[load]\nto = \"file:./lake/\"\n",
    );
    place.flags.config = Some("./conf/my [logs].toml".into());
    let config = place.config();
    assert_eq!(url(&config), place.path("conf/pages/*.json").to_str().unwrap());
    assert_eq!(config.load.destination().unwrap(), &Destination::Files(place.path("conf/lake")));
    assert_eq!(config.state.dir, place.path("conf/etl-state"), "the default too");
    assert!(config.source.keys().unwrap_err().chain().contains("conf/key"));
    let config = place.var("ETL_STATE_DIR", "state").config();
    assert_eq!(config.state.dir.file_name().unwrap(), "state");
    assert!(!config.state.dir.to_str().unwrap().contains("conf"), "a variable is relative to the current directory");
}

#[test]
fn folder_of_a_pattern_is_meant_literally() {
    let place = Place::new().file("a[1]/etl.toml", "[source]\nurl = \"file:*.json\"\n").file("a[1]/x.json", "[]");
    let place = place.var("ETL_CONFIG", "a[1]/etl.toml");
    let found: Vec<_> = glob::glob(url(&place.config())).unwrap().map(|path| path.unwrap()).collect();
    assert_eq!(found, [place.path("a[1]/x.json")]);
}

#[test]
fn half_of_the_credentials_names_the_other_half() {
    let place = Place::new().var("AWS_ACCESS_KEY_ID", "id");
    let error = place.config().load.s3().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let half = "AWS_ACCESS_KEY_ID in the environment is set, AWS_SECRET_ACCESS_KEY is not";
    assert_eq!(error.chain(), format!("half of the S3 credentials: {half}"));
    let error = Place::new().file(".env", "AWS_SECRET_ACCESS_KEY=x").config().load.s3().unwrap_err();
    assert!(error.chain().ends_with("/.env is set, AWS_ACCESS_KEY_ID is not"), "{}", error.chain());
}

#[test]
fn session_token_joins_only_the_key_it_lies_with() {
    let place = Place::new().file(".env", "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=old\n");
    let token = |place: &Place| match place.config().load.s3().unwrap().credentials {
        S3Credentials::Keys { token, .. } => token,
        other => panic!("{other:?}"),
    };
    assert_eq!(token(&place), Some(Secret::new("old")));
    let place = place.var("AWS_ACCESS_KEY_ID", "c").var("AWS_SECRET_ACCESS_KEY", "d");
    assert_eq!(token(&place), None);
}

#[test]
fn profile_counts_where_there_are_no_keys() {
    let place = Place::new().var("AWS_PROFILE", "logs");
    assert_eq!(place.config().load.s3().unwrap().credentials, S3Credentials::Profile("logs".into()));
    let place = place.var("AWS_ACCESS_KEY_ID", "c").var("AWS_SECRET_ACCESS_KEY", "d");
    assert!(matches!(place.config().load.s3().unwrap().credentials, S3Credentials::Keys { .. }));
}

#[test]
fn place_to_restore_from_is_a_url_or_a_folder() {
    let cwd = Path::new("/cwd");
    let parse = |text| Destination::from_argument(text, cwd);
    assert_eq!(parse("s3://b/p").unwrap(), s3("b", "p/"));
    assert_eq!(parse("file:lake").unwrap(), Destination::Files("/cwd/lake".into()));
    assert_eq!(parse("lake").unwrap(), Destination::Files("/cwd/lake".into()));
    assert_eq!(parse("/abs").unwrap(), Destination::Files("/abs".into()));
    for bad in ["", "https://host/x", "s3:b", "file:"] {
        assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
    }
    assert_eq!(parse("s3://b/p").unwrap().to_string(), "s3://b/p/");
    assert_eq!(parse("lake").unwrap().to_string(), "file:/cwd/lake");
}

#[test]
fn pipeline_is_called_after_its_file_or_its_folder() {
    let place = Place::with_file("[run]\nname = \"shop logs\"\n");
    assert_eq!(place.config().name(), "shop logs");
    let mut place = Place::new().file("shop/etl.toml", "").file("shop/orders.toml", "");
    for (file, name) in [("shop/etl.toml", "shop"), ("shop/orders.toml", "orders")] {
        place.flags.config = Some(file.into());
        assert_eq!(place.config().name(), name);
    }
}

#[test]
fn copy_of_the_status_lies_beside_the_file_and_not_in_the_state() {
    let place = Place::with_file("[run]\nstatus_file = \"watch/status.json\"\nstatus_mode = \"0640\"\n");
    let run = place.config().run;
    assert_eq!((run.status_file, run.status_mode), (Some(place.path("watch/status.json")), 0o640));
    let place = Place::with_file("[run]\nstatus_file = \"etl-state/copy.json\"\n");
    assert!(place.refusal().contains("run.status_file is within the state directory"));
    for mode in ["0777", "644 ", "0200", "rw-r--r--", "0o644", ""] {
        let place = Place::with_file(&format!("[run]\nstatus_mode = \"{mode}\"\n"));
        assert_eq!(place.load().is_ok(), mode.trim() == "644", "{mode}");
    }
}

#[test]
fn where_the_status_lies_is_found_however_wrong_the_rest_is_and_never_guessed() {
    let watched = |place: &Place| {
        let found = Watched::load(&place.flags, &|name| place.variables.get(name).cloned(), place.folder.path());
        (found.state_dir.ok(), found.broken.is_some())
    };
    for (text, dir, is_broken) in [
        ("", Some("etl-state"), false),
        ("[state]\ndir = \"s\"\nwrong = 1\n", Some("s"), false),
        ("[hours]\ntimezone = 5\n", Some("etl-state"), false),
        ("[load\nto = 1\n[state]\ndir = \"s\"\n", Some("s"), true),
        ("[load\nto = 1\n", Some("etl-state"), true),
        ("[state]\ndir = \n", None, true),
        ("[state]\ndir = 7\n", None, false),
        ("[state]\ndir = \"\"\n", None, false),
    ] {
        let place = Place::with_file(text);
        assert_eq!(watched(&place), (dir.map(|dir| place.path(dir)), is_broken), "{text}");
    }
    let mut place = Place::with_file("[state\n").var("ETL_STATE_DIR", "/elsewhere").file(".env", "no variable");
    assert_eq!(watched(&place).0, Some("/elsewhere".into()));
    place.flags.state_dir = Some("/named".into());
    assert_eq!(watched(&place).0, Some("/named".into()));
}
