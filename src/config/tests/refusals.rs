//! What is refused, and that the refusal names the place and never a secret.

use super::*;

#[test]
fn impossible_value_names_line_key_and_reason() {
    for (text, expected) in [
        ("[source]\ntimeout = 30\n", "line 2: source.timeout: a duration needs a unit: \"30s\""),
        ("[source]\ntimeout = \"0s\"\n", "source.timeout: cannot be zero"),
        ("[source]\nretries = -1\n", "source.retries: -1 is not between 0 and 100"),
        ("[source]\nsequence = 1\n", "source.sequence: expected a string, found a number"),
        ("[source]\nmax_page_bytes = \"0\"\n", "source.max_page_bytes: cannot be zero"),
        ("[source]\nurl = \"ftp://x/y\"\n", "source.url: not a URL"),
        ("[source]\nurl = \"file:\"\n", "source.url: \"file:\" names no path"),
        ("[source]\nurl = \"file://pages/*.json\"\n", "source.url: \"file://\" needs a full path"),
        ("[source]\nurl = \"file:***\"\n", "source.url: not a glob pattern"),
        ("[source]\nurl = 5\n", "source.url: expected a string, found a number"),
        (
            "[source]\nkeys_env = \"A\"\nkeys_file = \"b\"\n",
            "line 3: source.keys_file: the keys are given in two places",
        ),
        (
            "[source]\nurl = \"http://h/\"\nkeys = []\n",
            "line 3: source.keys: keys may be in the file only for \"file:\" sources",
        ),
        ("[source]\nheaders = { \"a b\" = \"x\" }\n", "line 2: source.headers.a b: not a header's name"),
        (
            "[source.headers]\n\nAuthorization = \"Bearer s3cret\"\n",
            "line 3: source.headers.Authorization: a secret does not belong in the file",
        ),
        ("[source]\nkeys = [\"s3cret\", 5]\n", "line 2: source.keys: expected a string, found a number"),
        ("[source]\nkeys = \"s3cret\"\n", "line 2: source.keys: expected an array, found a string"),
        ("[source]\n\nheaders = { A = 1.5 }\n", "line 3: source.headers.A: expected a string, found a fraction"),
        ("[source]\n[source.paging]\nstyle = \"s3cret\"\n", "line 3: source.paging.style: not a paging style"),
        ("[source]\npaging = { stile = \"link\" }\n", "line 2: unknown key \"stile\" in [source.paging]; the nearest"),
        ("hours = \"s3cret\"\n", "line 1: hours: expected a table, found a string"),
        ("\n[[hours]]\ngrace = \"1m\"\n", "line 2: hours: expected a table, found an array"),
        ("[hours]\ngrace = 1.5\n", "line 2: hours.grace: expected a duration as in \"30s\", found a fraction"),
        ("[hours]\ntimezone = \"Berlin\"\n", "hours.timezone: not a time zone"),
        ("[hours]\ngrace = \"soon\"\n", "hours.grace: not a duration"),
        ("[compact]\nmethod = { GET = 1, PUT = 1 }\n", "line 2: compact.method.PUT: the code 1 is used twice"),
        ("[compact]\nmethod = { GET = 0 }\n", "line 2: compact.method.GET: 0 is the code of everything"),
        ("[compact.url]\n\"/a\" = \"1\"\n", "line 2: compact.url./a: expected a whole number, found a string"),
        ("hours.grace = \"5m\"\ncompact.method.PUT = true\n", "line 2: compact.method.PUT: expected a whole number"),
        ("[load]\nmanifest = 0\n", "line 2: load.manifest: expected true or false, found a number"),
        (
            "[load]\npart_max_records = 9223372036854775808\n",
            "line 2: load.part_max_records: invalid value: integer `9223372036854775808`, expected i64",
        ),
        ("[load]\npart_max_records = 4294967296\n", "4294967296 is not between 0 and 4294967295"),
        ("[load]\nto = \"lake\"\n", "load.to: not a place"),
        ("[load]\nto = \"s3://\"\n", "load.to: \"\" is not the name of an S3 bucket"),
        ("[load]\nto = \"s3://My-Logs/\"\n", "\"My-Logs\" is not the name of an S3 bucket: these are in lower case"),
        ("[load]\nto = \"s3://my_logs/\"\n", "load.to: \"my_logs\" is not the name of a bucket at AWS"),
        (
            "[load]\nto = \"s3://logs/\"\nendpoint = \"https://logs.s3.eu-west-1.amazonaws.com\"\n",
            "load.endpoint: the endpoint has the S3 bucket \"logs\" in it",
        ),
        ("[load]\nsse = \"KMS\"\n", "load.sse: not an encryption that is known"),
        ("[load]\nkms_key = \"k\"\n", "line 2: load.kms_key: a key of KMS without load.sse"),
        ("[load]\nstorage_class = \"GLACIER\"\n", "objects of this class cannot be read"),
        ("[load]\nstorage_class = \"cold storage\"\n", "load.storage_class: not a storage class"),
        ("[load]\nacl = \"public-read-write\"\n", "load.acl: not an ACL that is sent"),
        ("[load]\nexpected_owner = \"me\"\n", "load.expected_owner: not the id of an account"),
        ("[load]\ntags = { \"aws:x\" = \"y\" }\n", "line 2: load.tags.aws:x: names that begin with"),
        ("[load]\ntags = { team = \"a&b\" }\n", "line 2: load.tags.team: a tag has letters, digits"),
        ("[load]\nto = \"s3://b/../x\"\n", "load.to: the prefix has an empty segment"),
        ("[load]\nto = \"s3://b/a?b\"\n", "load.to: the prefix has a '?'"),
        ("[load]\nto = \"file:~/lake\"\n", "load.to: \"~\" is not expanded"),
        ("[load]\nendpoint = \"localhost:8333\"\n", "load.endpoint: not a URL"),
        ("[load]\nendpoint = \"http://u:p@h\"\n", "load.endpoint: an endpoint has no query and no user"),
        ("[load]\nregion = \"\"\n", "load.region: not a region"),
        ("[load]\nlayout = \"{year}/{month}/{day}\"\n", "{hour} is there 0 times, not once"),
        ("[load]\nlayout = \"{year}/{month}/{day}/{hour}/{hour}\"\n", "{hour} is there 2 times, not once"),
        ("[load]\nlayout = \"{year}/{month}/{day}/{hour}/{minute}\"\n", "{minute}"),
        ("[load]\nlayout = \"{year}/{month}/{day}/{hour}(\"\n", "'('"),
        ("[load]\nlayout = \"/{year}/{month}/{day}/{hour}\"\n", "a folder's name is empty or made of dots"),
        ("[load]\nlayout = \"{year}/{month}/../{day}/{hour}\"\n", "a folder's name is empty or made of dots"),
        ("[load]\nlayout = \"{year}/{month}/{day}/{hour}/\"\n", "a folder's name is empty or made of dots"),
        ("[load]\nto = \"file:etl-state/lake\"\n", "load.to is within the state directory"),
        ("[archive]\ndir = \"etl-state\"\n", "archive.dir is within the state directory"),
        ("[state]\ndir = \"\"\n", "state.dir: cannot be empty"),
        ("[state]\nmin_free = \"64M\"\n", "state.min_free: not a size"),
    ] {
        let message = Place::with_file(text).refusal();
        assert!(message.contains(expected), "{text}\n{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn unknown_key_names_the_nearest_its_table_and_the_line() {
    for (text, expected) in [
        (
            "[hours]\ngrace = \"1m\"\ntimezon = \"UTC\"\n",
            r#"line 3: unknown key "timezon" in [hours]; the nearest known one is "timezone""#,
        ),
        ("[hours]\nlate-hold = 1\n", r#""late-hold" in [hours]; the nearest known one is "late_hold""#),
        ("[source]\ntimezone = 1\n", r#""timezone" in [source]; the nearest known one is "timezone" in [hours]"#),
        ("[state]\nkeys_file = 1\n", r#""keys_file" in [state]; the nearest known one is "keys_file" in [source]"#),
        ("\n[sorce]\nurl = \"x\"\n", r#"line 2: unknown key "sorce"; the nearest known one is [source]"#),
        ("grace = \"x\"\n", r#"line 1: unknown key "grace"; the nearest known one is "grace" in [hours]"#),
        ("file = \"x\"\n", r#"line 1: unknown key "file"; the nearest known one is ["#),
        ("[run]\nping = \"x\"\n", r#"unknown key "ping" in [run]; the nearest known one is "ping_env""#),
    ] {
        let message = Place::with_file(text).refusal();
        assert!(message.contains(expected), "{text}\n{message}");
    }
}

#[test]
fn broken_toml_names_the_line_and_does_not_quote_it() {
    for (text, line) in [("[source]\nkeys = [\"s3cret]\n", 2), ("\u{feff}[state]\ndir = \"a\"\ndir = \"s3cret\"\n", 3)]
    {
        let message = Place::with_file(text).refusal();
        assert!(message.contains(&format!("etl.toml, line {line}: ")) && !message.contains("s3cret"), "{message}");
    }
}

#[test]
fn shadowed_value_of_the_file_is_not_looked_at() {
    let place = Place::with_file("[source]\nurl = \"later\"\n[state]\ndir = \"~\"\n");
    assert!(place.load().is_err());
    let config = place.var("API_URL", "https://h/").var("ETL_STATE_DIR", "here").config();
    assert_eq!(url(&config), "https://h/");
    let mut place = Place::with_file("[state]\ndir = \"\"\n");
    place.flags.state_dir = Some("~".into());
    assert_eq!(place.config().state.dir.file_name().unwrap(), "~", "a shell would have expanded it");
}

#[test]
fn impossible_variable_is_named_as_one() {
    let place = Place::new().var("API_URL", "user:s3cret@host");
    assert_eq!(place.refusal(), "API_URL in the environment: source.url: not a URL");
    let place = Place::new().file(".env", "AWS_S3_BUCKETNAME=s3://logs\n");
    assert!(place.refusal().contains("/.env: load.to: \"s3://logs\" is not the name"));
}

#[test]
fn key_in_the_place_of_a_variable_name_is_not_repeated() {
    let no_padding = KEY.trim_end_matches('=').replace('-', "_");
    for key in [KEY, &no_padding] {
        let message = Place::with_file(&format!("[source]\nkeys_env = \"{key}\"\n")).refusal();
        assert!(message.contains("source.keys_env: not the name of an environment variable"), "{message}");
        assert!(!message.contains(key));
    }
}

#[test]
fn header_of_a_variable_that_is_not_set_names_both() {
    let place = Place::with_file("[source]\nheaders = { Accept = \"*/*\", X-Token = \"env:API_TOKEN\" }\n");
    let error = place.config().source.headers().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.chain().ends_with("line 2: source.headers.X-Token: API_TOKEN is not set"), "{error}");
    let config = place.var("API_TOKEN", "x").config();
    let accept = ("Accept".to_owned(), Secret::new("*/*"));
    assert!(config.source.headers().unwrap().contains(&accept));
}

#[test]
fn secrets_are_not_in_the_debug_output() {
    let text = "[source]\nurl = \"https://u:s3cret@h/x?k=s3cret\"\nheaders = { A = \"env:API_TOKEN\" }\n";
    let place = Place::with_file(text)
        .var("API_TOKEN", "s3cret")
        .var("FERNET_KEY", "s3cret")
        .var("AWS_ACCESS_KEY_ID", "s3cret")
        .var("AWS_SECRET_ACCESS_KEY", "s3cret");
    let config = place.config();
    assert!(!format!("{config:?} {:?}", config.load.s3()).contains("s3cret"));
    assert_eq!(
        format!("{}", config.source.keys().unwrap_err()),
        "FERNET_KEY in the environment: entry 1 is not a Fernet key"
    );
}

#[cfg(not(feature = "kafka"))]
#[test]
fn build_without_kafka_says_how_to_get_one_that_knows_clusters() {
    let place = Place::with_file("[cluster]\nbrokers = \"localhost:9092\"\nname = \"logs\"\n");
    let error = place.load().unwrap_err();
    assert!(error.chain().contains("this build of etl cannot work in a cluster"), "{error:?}");
    assert!(error.next_step().unwrap().contains("--features kafka"), "{error:?}");
}
