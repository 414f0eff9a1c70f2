//! What others on the machine must not reach: the state directory, and the files with keys.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const AT: &str = "2023-03-10T01:00:00.000Z";

fn config(origin: &Origin, source: &str) -> String {
    format!(
        "[source]\nurl = \"{}\"\nretries = 0\n{source}\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
        origin.url
    )
}

/// A place with one uploaded record, and a source that has a second one.
fn place() -> (Place, Origin) {
    let origin = Origin::start(vec![]);
    let place = Place::new(&config(&origin, ""));
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, AT)]))]);
    place.etl(&["run"]).exits(0);
    origin.script(vec![Answer::Page(page(&place.key, &[record(2, AT)]))]);
    (place, origin)
}

fn chmod(place: &Place, name: &str, mode: u32) {
    fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn everything_that_a_run_leaves_is_its_owners_alone() {
    let (place, _origin) = place();
    assert_eq!(fs::metadata(place.path("etl-state")).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(place.path("etl-state")).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.mode() & 0o777, expected, "{}", entry.path().display());
    }
}

#[test]
fn state_directory_that_others_can_write_is_refused_with_the_way_out() {
    let (place, _origin) = place();
    chmod(&place, "etl-state", 0o770);
    for command in ["run", "replay"] {
        let ran = place.etl(&[command]).exits(74);
        assert!(ran.err.contains("can be written by others") && ran.err.contains("chmod 700"), "{ran:#?}");
    }
    assert_eq!(place.status()["totals"]["records"], 1, "nothing was fetched");
    chmod(&place, "etl-state", 0o755);
    chmod(&place, "etl-state/journal", 0o777);
    place.etl(&["run"]).exits(74);
    chmod(&place, "etl-state/journal", 0o755);
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 2);
}

#[test]
fn symbolic_link_in_the_state_directory_is_refused_and_what_it_leads_to_is_left_alone() {
    for name in
        ["status.json.tmp", "lock", "ledger/head.tmp", "journal/0000000000000009.tmp", "spool/x.gz", "quarantine"]
    {
        let (place, _origin) = place();
        let (link, victim) = (place.path(format!("etl-state/{name}")), place.path("victim"));
        fs::write(&victim, "precious").unwrap();
        if link.is_dir() {
            fs::rename(&link, place.path("aside")).unwrap();
        } else {
            drop(fs::remove_file(&link));
        }
        symlink(&victim, &link).unwrap();
        let ran = place.etl(&["run"]).exits(74);
        assert!(ran.err.contains("symbolic link"), "{name}: {ran:#?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{name}");
        fs::remove_file(&link).unwrap();
        if place.path("aside").exists() {
            fs::rename(place.path("aside"), &link).unwrap();
        }
        place.etl(&["run"]).exits(0);
        assert_eq!(place.status()["totals"]["uploaded"], 2, "{name}");
    }
}

#[test]
fn check_refuses_the_state_directories_that_a_run_refuses_in_the_same_words() {
    let (place, _origin) = place();
    let state = place.path("etl-state");
    let link = |to: &str, name: &str| symlink(to, place.path(name)).unwrap();
    let cases: [(&str, &dyn Fn()); 5] = [
        ("etl-state can be written by others", &|| chmod(&place, "etl-state", 0o770)),
        ("journal can be written by others", &|| {
            chmod(&place, "etl-state", 0o755);
            chmod(&place, "etl-state/journal", 0o777);
        }),
        ("spool/x is a symbolic link", &|| link("/dev/null", "etl-state/spool/x")),
        ("etl-state is not a directory", &|| {
            fs::remove_dir_all(&state).unwrap();
            fs::write(&state, "").unwrap();
        }),
        ("etl-state is not a directory", &|| {
            fs::remove_file(&state).unwrap();
            link("nowhere", "etl-state");
        }),
    ];
    for (what, spoil) in cases {
        spoil();
        let (ran, checked) = (place.etl(&["run"]).exits(74), place.etl(&["check"]).exits(74));
        assert!(ran.err.contains(what), "{what}: {ran:#?}");
        assert!(checked.out.contains(what), "{what}: {checked:#?}");
        for path in ["etl-state", "etl-state/journal"].into_iter().filter(|path| place.path(path).is_dir()) {
            chmod(&place, path, 0o700);
        }
        let _ = fs::remove_file(place.path("etl-state/spool/x"));
    }
}

#[test]
fn folder_for_hours_may_be_one_that_others_write_too() {
    let (place, _origin) = place();
    chmod(&place, "lake", 0o775);
    place.etl(&["check"]).exits(0);
    place.etl(&["run"]).exits(0);
}

#[test]
fn state_directory_may_itself_be_a_link() {
    let (place, _origin) = place();
    fs::rename(place.path("etl-state"), place.path("elsewhere")).unwrap();
    symlink(place.path("elsewhere"), place.path("etl-state")).unwrap();
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 2);
}

#[test]
fn key_file_that_others_can_read_is_refused_with_the_way_out() {
    let (mut place, origin) = place();
    place.env.clear();
    fs::write(place.path("keys"), &place.key).unwrap();
    place.configure(&config(&origin, "keys_file = \"keys\""));
    chmod(&place, "keys", 0o644);
    let ran = place.etl(&["run"]).exits(78);
    assert!(ran.err.contains("chmod 600") && !ran.err.contains(&place.key), "{ran:#?}");
    chmod(&place, "keys", 0o600);
    place.etl(&["run"]).exits(0);
}

#[test]
fn secret_in_a_dotenv_that_others_can_read_is_named_and_used() {
    let (mut place, origin) = place();
    place.env.clear();
    fs::write(place.path(".env"), format!("FERNET_KEY={}\nAPI_URL={}\n", place.key, origin.url)).unwrap();
    chmod(&place, ".env", 0o644);
    let ran = place.etl(&["run"]).exits(0);
    assert!(ran.err.contains("FERNET_KEY") && ran.err.contains("chmod 600"), "{ran:#?}");
    assert!(!ran.err.contains(&place.key), "{ran:#?}");
    chmod(&place, ".env", 0o600);
    assert_eq!(place.etl(&["run"]).exits(0).err, "");
    // Nothing in it that others must not know.
    fs::write(place.path(".env"), "API_URL=http://127.0.0.1:1/\n").unwrap();
    chmod(&place, ".env", 0o644);
    assert_eq!(place.etl(&["status"]).exits(0).err, "");
}
