//! Several pipelines on one machine: a configuration and a state each, one status over all of them. One that is broken costs its own
//! row.

use serde_json::Value;

use crate::support::cli::{Place, record};

/// A place with two pipelines that ran, one whose configuration is broken, and one that is not there.
fn place() -> Place {
    let place = Place::new("");
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T01:00:01.000Z")]);
    for name in ["orders", "clicks"] {
        let text = format!(
            "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake-{name}\"\n[state]\ndir = \"state-{name}\"\n\
             [run]\nmetrics_file = \"{name}.prom\"\n"
        );
        std::fs::write(place.path(format!("{name}.toml")), text).unwrap();
        place.etl(&["--config", &format!("{name}.toml"), "run"]).exits(0);
    }
    std::fs::write(place.path("broken.toml"), "[source]\nurl = \"nowhere\"\n").unwrap();
    place
}

fn args<'a>(files: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let configs = files.iter().flat_map(|file| ["--config", file]);
    ["status"].into_iter().chain(configs).chain(more.iter().copied()).collect()
}

#[test]
fn status_has_a_row_for_each_and_a_broken_one_costs_its_own() {
    let place = place();
    let good = place.etl(&args(&["orders.toml", "clicks.toml"], &[])).exits(0).out;
    let lines: Vec<&str> = good.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("orders ") && lines[2].starts_with("clicks "), "{good}");
    assert!(lines[1].contains(" 2 ") && lines[1].contains("last run"), "{good}");
    let bad = place.etl(&args(&["broken.toml", "orders.toml", "gone.toml"], &[])).exits(78).out;
    for expected in ["broken", "orders", "gone"] {
        assert!(bad.lines().any(|line| line.starts_with(&format!("{expected} "))), "{expected}: {bad}");
    }
    assert!(bad.contains("source.url: not a URL") && bad.contains("broken: write it as"), "{bad}");
    assert!(bad.contains("no configuration file"), "{bad}");
}

#[test]
fn programs_get_an_array_with_the_name_of_each() {
    let place = place();
    let all = place.etl(&args(&["orders.toml", "broken.toml"], &["--json"])).exits(78).json();
    let rows = all.as_array().unwrap();
    assert_eq!((&rows[0]["name"], &rows[1]["name"]), (&Value::from("orders"), &Value::from("broken")));
    assert_eq!((&rows[0]["status"]["totals"]["records"], &rows[0]["exit"]), (&Value::from(2), &Value::from(0)));
    assert!(rows[1]["status"].is_null() && rows[1]["error"].as_str().unwrap().contains("source.url"), "{all}");
    assert_eq!(rows[1]["exit"], 78);
    let alone = place.etl(&["--config", "orders.toml", "status", "--json"]).exits(0).json();
    assert_eq!(alone["totals"], rows[0]["status"]["totals"], "one alone is what it was");
}

#[test]
fn page_shows_them_all() {
    let place = place();
    place.etl(&args(&["orders.toml", "clicks.toml", "broken.toml"], &["--html", "all.html"])).exits(78);
    let page = std::fs::read_to_string(place.path("all.html")).unwrap();
    for expected in ["<h2>orders ", "<h2>clicks ", "<h2>broken ", "class=\"heat\"", "source.url: not a URL"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert_eq!(page.matches("class=\"heat\"").count(), 2);
}

#[test]
fn line_for_monitoring_is_the_worst_and_names_each() {
    let place = place();
    let fine = place.etl(&args(&["orders.toml", "clicks.toml"], &["--check"]));
    assert!(
        fine.out.lines().count() == 1 && fine.out.contains("orders: ") && fine.out.contains("clicks: "),
        "{fine:?}"
    );
    let alone = place.etl(&["--config", "orders.toml", "status", "--check"]);
    assert_eq!(fine.code, alone.code);
    let bad = place.etl(&args(&["orders.toml", "gone.toml"], &["--check"]));
    assert_eq!(bad.code, 3, "{bad:?}");
    assert!(bad.out.starts_with("UNKNOWN - gone: UNKNOWN ") && bad.out.contains("orders: "), "{bad:?}");
    assert!(bad.out.contains("'orders.pending'=0"), "{bad:?}");
}

#[test]
fn pipelines_of_one_name_are_told_apart_by_their_files() {
    let place = place();
    for folder in ["a", "b"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        std::fs::write(place.path(format!("{folder}/same.toml")), "[load]\nto = \"file:lake\"\n").unwrap();
    }
    let all = place.etl(&args(&["a/same.toml", "b/same.toml"], &["--json"])).exits(0).json();
    assert_eq!((&all[0]["name"], &all[1]["name"]), (&Value::from("a/same.toml"), &Value::from("b/same.toml")));
}

#[test]
fn only_the_status_takes_several() {
    let place = place();
    for more in [&["run"][..], &["hours"], &["verify"], &["config", "show"]] {
        let all = [&["--config", "orders.toml", "--config", "clicks.toml"], more].concat();
        let ran = place.etl(&all).exits(2);
        assert!(ran.err.contains("only `etl status` takes") && ran.err.contains("once for each"), "{}", ran.err);
    }
    let split = place.etl(&["--config", "orders.toml", "status", "--config=clicks.toml"]).exits(2);
    assert!(split.err.contains("before and after the command"), "{}", split.err);
    for more in [&["--runs"][..], &["--hour", "2023-03-10T01"], &["--state-dir", "x"]] {
        place.etl(&args(&["orders.toml", "clicks.toml"], more)).exits(2);
    }
}

#[test]
fn metrics_of_several_do_not_collide_in_one_collector() {
    let place = place();
    let figures = |name: &str| {
        let text = std::fs::read_to_string(place.path(format!("{name}.prom"))).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let (orders, clicks) = (figures("orders"), figures("clicks"));
    assert!(orders.contains(&"etl_records_total{pipeline=\"orders\"}".to_owned()), "{orders:?}");
    assert!(!orders.is_empty() && orders.iter().all(|figure| !clicks.contains(figure)));
}
