//! The form of parts is no part of what they are: the same records have the same identities, certificates and verdicts in each of them.
//!
//! Planted bugs that turn these red: the digest of the object taken for that of its lines (`…same_identities…`), a line made again with
//! the dictionaries of today (`…gained_an_entry…`).

use serde_json::Value;

use crate::support::cli::{Place, page, record};
use crate::support::form::{FORMS, PARQUET, in_form};
use crate::support::origin::{Answer, Origin};

const CONFIG: &str =
    "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\nmanifest = true\npart_max_records = 40\n";
/// A line each: what is odd about it, and the record.
const ODD: &str = include_str!("../fixtures/odd-records.txt");

/// Clean and odd records of some hours, with late ones.
fn records() -> [Vec<String>; 2] {
    let odd = ODD.lines().filter_map(|line| Some(line.split_once('\t')?.1.to_owned()));
    let clean = (0..150).map(|n| record(n, &format!("2023-03-10T{:02}:{:02}:{:02}.000Z", 16 + n % 4, n % 60, n % 7)));
    let late = (150..160).map(|n| record(n, &format!("2023-03-10T18:{:02}:30.000Z", n % 60)));
    [odd.chain(clean).collect(), late.collect()]
}

/// What must not depend on the form: without the object's own name, digest and size.
fn without_the_object(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for name in [
                "key",
                "bytes",
                "sha256",
                "frozen_at",
                "uploaded_at",
                "closed_at",
                "as_of",
                "etag",
                "sealed_at",
                "last_received",
            ] {
                members.remove(name);
            }
            members.values_mut().for_each(|member| *member = without_the_object(member.take()));
        }
        Value::Array(all) => all.iter_mut().for_each(|one| *one = without_the_object(one.take())),
        _ => {}
    }
    value
}

/// The manifests of all parts, by their names.
fn manifests(place: &Place) -> Vec<(String, Value)> {
    let pattern = place.path("lake/manifest/**/*.json");
    let paths = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    let manifest = |path: std::path::PathBuf| {
        let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path.strip_prefix(place.path("lake")).unwrap().display().to_string(), without_the_object(value))
    };
    paths.map(manifest).collect()
}

/// What there is to know of a place once its runs are over.
fn known(place: &Place) -> (Vec<(String, Value)>, Value, String) {
    let verified = place.etl(&["verify", "--deep", "--digests", "--json"]).exits(0).json();
    (manifests(place), without_the_object(verified), place.etl(&["restore"]).exits(0).out)
}

#[test]
fn same_records_have_the_same_identities_certificates_and_verdicts_in_each_form() {
    let all = FORMS.map(|form| {
        in_form(form, || {
            let place = Place::new(CONFIG);
            let [first, late] = records();
            place.page("pages/1.json", &first);
            place.etl(&["run"]);
            place.page("pages/2.json", &late);
            place.etl(&["run"]);
            let before = known(&place);
            let lines: Vec<Vec<String>> = place.lake("lake").into_iter().map(|(_, lines)| lines).collect();
            // All of it is in the store: a state that knows nothing comes to the same.
            std::fs::remove_dir_all(place.path("etl-state")).unwrap();
            place.etl(&["replay", "--from-s3"]).exits(0);
            assert_eq!(known(&place).2, before.2, "{}", form.name);
            (before, lines)
        })
    });
    let [gzip, others @ ..] = &all;
    assert!(gzip.0.0.len() > 5 && gzip.0.2.lines().count() > 190, "{} parts", gzip.0.0.len());
    for (other, form) in others.iter().zip(&FORMS[1..]) {
        assert_eq!(other.0.0, gzip.0.0, "manifests in {}", form.name);
        assert_eq!(other.0.1, gzip.0.1, "verified in {}", form.name);
        assert!(other.0.2 == gzip.0.2, "originals in {}", form.name);
        assert!(other.1 == gzip.1, "lines in {}", form.name);
    }
}

#[test]
fn rows_from_before_a_dictionary_gained_an_entry_come_back_as_they_were() {
    in_form(PARQUET, || {
        let origin = Origin::start(vec![]);
        let config = |url: &str| {
            format!(
                "[source]\nurl = \"{}\"\nretries = 0\n[compact]\nurl = {{ {url} }}\n[load]\nto = \"file:lake\"\n",
                origin.url
            )
        };
        let now = jiff::Timestamp::now();
        let log = |id| record(id, &now.to_string());
        let place = Place::new(&config("\"/nowhere/\" = 7"));
        origin.script(vec![Answer::Page(page(&place.key, &[log(1), log(2)]))]);
        place.etl(&["run"]).exits(0);
        assert_eq!(place.status()["totals"]["pending"], 2, "the hour is open");
        place.configure(&config("\"/nowhere/\" = 7, \"/api/products/product/\" = 8"));
        origin.script(vec![Answer::Page(page(&place.key, &[log(2), log(3)]))]);
        place.etl(&["run", "--drain"]).exits(0);
        let lines: Vec<String> = place.lake("lake").into_iter().flat_map(|(_, lines)| lines).collect();
        assert!(
            lines.iter().any(|line| line.contains("/api/products/product/")),
            "as it was compacted first: {lines:?}"
        );
        assert!(lines.iter().any(|line| line.contains(":8")), "and as it is compacted now: {lines:?}");
        place.etl(&["verify", "--deep"]).exits(0);
        assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 3);
        std::fs::remove_dir_all(place.path("etl-state")).unwrap();
        place.etl(&["replay", "--from-s3"]).exits(0);
        place.etl(&["verify", "--deep"]).exits(0);
        origin.script(vec![Answer::Page(page(&place.key, &[log(1), log(2), log(3)]))]);
        assert_eq!(place.etl(&["run", "--drain", "--json"]).exits(0).json()["new"], 0);
    });
}
