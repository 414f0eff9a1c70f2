//! Credentials, region and endpoint as companies have them: which identity signs, and what is said where there is none.
//!
//! Planted bugs that turn one red each: empty variables that count (`…_empty_…`), a metadata service that is asked through the proxy
//! (`…_proxy_…`), a region of a profile that goes before the file (`…_region_…`).

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::cli::{Place, record};
use crate::support::{TestS3, s3, unique_prefix};

const AT: &str = "2023-03-10T01:00:00.000Z";

/// A place with a page, a home folder, and no credentials.
fn place(load: &str) -> Place {
    let mut place = Place::new("");
    let key = place.key.clone();
    place.configure(&format!("[source]\nurl = \"file:pages/*.json\"\nkeys = [\"{key}\"]\n[load]\n{load}"));
    place.page("pages/1.json", &[record(1, AT)]);
    let home = place.path("home");
    fs::create_dir_all(home.join(".aws")).unwrap();
    place.set("HOME", home.to_str().unwrap());
    place.set("AWS_EC2_METADATA_DISABLED", "true");
    place
}

fn profile(at: &TestS3, name: &str) -> String {
    format!("[{name}]\naws_access_key_id = {}\naws_secret_access_key = {}\n", at.key, at.secret)
}

#[test]
fn empty_variables_are_not_set_for_credentials_either() {
    let Some(at) = s3() else { return };
    let mut place = place(&at.load(&unique_prefix("empty")));
    fs::write(place.path("home/.aws/credentials"), profile(&at, "default")).unwrap();
    for name in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "WEB_IDENTITY_TOKEN_FILE"]
    {
        place.set(&format!("AWS_{name}"), "");
    }
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 1);
}

#[test]
fn profile_of_the_configuration_file_works_and_one_that_signs_in_is_named_with_the_way_out() {
    let Some(at) = s3() else { return };
    let mut place = place(&at.load(&unique_prefix("profile")));
    let sso = "[profile sso]\nsso_session = s\n[sso-session s]\nsso_region = r\n";
    fs::write(place.path("home/.aws/config"), profile(&at, "profile static") + sso).unwrap();
    place.set("AWS_PROFILE", "sso");
    let ran = place.etl(&["run", "--drain"]).exits(77);
    assert!(ran.err.contains("aws configure export-credentials --profile sso --format env"), "{}", ran.err);
    assert!(ran.err.contains(".aws/config") && !ran.err.contains(&at.secret), "{}", ran.err);
    let printed = format!("{{\"Version\":1,\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"{}\"}}", at.key, at.secret);
    fs::write(place.path("printed.json"), printed).unwrap();
    let process = format!("[process]\ncredential_process = cat {:?}\n", place.path("printed.json"));
    fs::write(place.path("home/.aws/credentials"), process).unwrap();
    for name in ["static", "process"] {
        place.set("AWS_PROFILE", name);
        let checked = place.etl(&["check", "--read-only"]).exits(0);
        assert!(checked.out.contains("credentials and region are accepted"), "{}", checked.out);
    }
    place.etl(&["run", "--drain"]).exits(0);
}

/// A server on loopback that answers all with what `answer` makes of a request, and the first lines that it was asked.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let length = stream.read(&mut request).unwrap_or(0);
            let head = String::from_utf8_lossy(&request[..length]).into_owned();
            let body = answer(&head);
            log.lock().unwrap().push(head);
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    (at, asked)
}

const LISTING: &str = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";

#[test]
fn metadata_is_never_asked_through_a_proxy_and_the_store_is() {
    let role = "{\"AccessKeyId\":\"ROLEKEY\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"2999-01-01T00:00:00Z\"}";
    let (metadata, asked) = server(move |head| match head.split(' ').nth(1) {
        Some(path) if path.ends_with("/role") || path == "/agent" => role.to_owned(),
        Some(path) if path.ends_with("/token") => "imds".to_owned(),
        _ => "role".to_owned(),
    });
    let (proxy, passed) = server(|_| LISTING.to_owned());
    let instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.clone());
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{metadata}/agent"));
    for (name, value) in [instance, container] {
        let mut place = place("to = \"s3://logs/x/\"\nendpoint = \"http://store.example.net\"\n");
        place.set("AWS_EC2_METADATA_DISABLED", "");
        place.set(name, &value);
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
            place.set(name, &proxy);
        }
        let checked = place.etl(&["check", "--read-only"]);
        assert!(checked.out.contains("credentials and region are accepted"), "{name}: {checked:#?}");
    }
    assert_eq!(asked.lock().unwrap().len(), 4, "a token, a role and its credentials; and the agent");
    let passed = passed.lock().unwrap();
    assert!(!passed.is_empty() && passed.iter().all(|head| head.contains("store.example.net")), "{passed:?}");
    assert!(passed.iter().any(|head| head.contains("ROLEKEY")), "{passed:?}");
}

#[test]
fn region_and_endpoint_come_from_where_aws_s_tools_have_them_and_the_file_goes_before_a_default() {
    let (store, asked) = server(|_| LISTING.to_owned());
    let region_of = |load: &str, variables: &[(&str, &str)]| {
        let mut place = place(&format!("to = \"s3://logs/x/\"\n{load}"));
        fs::write(place.path("home/.aws/config"), "[default]\nregion = of-default\n[profile p]\nregion = of-profile\n")
            .unwrap();
        fs::write(place.path("home/.aws/credentials"), "[p]\naws_access_key_id = a\naws_secret_access_key = b\n")
            .unwrap();
        let keys =
            [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_ENDPOINT_URL_S3", store.as_str())];
        for (name, value) in keys.iter().chain(variables) {
            place.set(name, value);
        }
        place.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let checked = place.etl(&["check", "--read-only"]).exits(0);
        assert!(checked.out.contains("credentials and region are accepted"), "{checked:#?}");
        let last = asked.lock().unwrap().iter().rfind(|head| head.contains("list-type")).cloned().unwrap();
        last.split_once("Credential=").unwrap().1.split('/').nth(2).unwrap().to_owned()
    };
    let of_file = "region = \"of-file\"\n";
    assert_eq!(region_of("", &[]), "of-default");
    assert_eq!(region_of("", &[("AWS_PROFILE", "p")]), "of-profile");
    assert_eq!(region_of("", &[("AWS_PROFILE", "p"), ("AWS_DEFAULT_REGION", "of-variable")]), "of-variable");
    assert_eq!(region_of(of_file, &[("AWS_PROFILE", "p"), ("AWS_DEFAULT_REGION", "of-variable")]), "of-file");
    assert_eq!(region_of(of_file, &[("AWS_REGION", "of-region"), ("AWS_DEFAULT_REGION", "x")]), "of-region");
}

#[test]
fn what_a_policy_demands_can_be_set_and_is_asked_for_in_its_own_words_until_then() {
    let mut place = place("");
    let key = place.key.clone();
    let (asked, log) = (Arc::new(Mutex::new(Vec::<String>::new())), TcpListener::bind("127.0.0.1:0").unwrap());
    let endpoint = format!("http://{}", log.local_addr().unwrap());
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in log.incoming().flatten() {
            let mut request = [0; 16384];
            let length = stream.read(&mut request).unwrap_or(0);
            let head = String::from_utf8_lossy(&request[..length]).into_owned();
            let said = "not authorized: explicit deny in a resource-based policy";
            let refused = format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>");
            let (status, body) = if head.starts_with("PUT") { ("403 Forbidden", &*refused) } else { ("404 No", "") };
            let (status, body) = if head.contains("list-type") { ("200 OK", LISTING) } else { (status, body) };
            seen.lock().unwrap().push(head);
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    place.set("AWS_ACCESS_KEY_ID", "id");
    place.set("AWS_SECRET_ACCESS_KEY", "s");
    let config = |more: &str| {
        let source = format!("[source]\nurl = \"file:pages/*.json\"\nkeys = [\"{key}\"]\n");
        format!("{source}[load]\nto = \"s3://logs/x/\"\nendpoint = \"{endpoint}\"\nregion = \"r\"\n{more}")
    };
    place.configure(&config(""));
    let ran = place.etl(&["run", "--drain"]).exits(77);
    for words in ["HTTP 403 AccessDenied: not authorized: explicit deny", "load.sse", "load.kms_key"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    place.configure(&config("sse = \"aws:kms\"\nkms_key = \"alias/logs\"\ntags = { team = \"logs\" }\n"));
    asked.lock().unwrap().clear();
    place.etl(&["run", "--drain"]).exits(77);
    let asked = asked.lock().unwrap();
    let puts: Vec<_> = asked.iter().filter(|head| head.starts_with("PUT")).map(|head| head.to_lowercase()).collect();
    assert!(!puts.is_empty(), "{asked:?}");
    for header in ["x-amz-server-side-encryption: aws:kms", "aws-kms-key-id: alias/logs", "x-amz-tagging: team=logs"] {
        assert!(puts.iter().all(|head| head.contains(header)), "{header}: {puts:?}");
    }
}
