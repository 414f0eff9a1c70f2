//! Holes in the source's counter: found, reported, closed by late records, and the same after every crash.

use etl::simulate::{Generator, Options};
use serde_json::{Value, json};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// When the log with this place in the stream happened: one a second.
fn at(second: u64) -> String {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("2023-03-10T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// The logs with these ids, the first of which happened at the second `from`.
fn logs(ids: impl Iterator<Item = u64>, from: u64) -> Vec<String> {
    ids.map(|id| record(id, &at(from + id))).collect()
}

fn gaps(place: &Place) -> Value {
    place.status()["gaps"].clone()
}

fn is_in_a_hole(id: u64) -> bool {
    matches!(id, 2001..=2005 | 5000 | 7990..=8110)
}

/// 10 000 logs but for three holes, in pages of 100.
fn write_pages(place: &Place) {
    for n in 0..100 {
        let ids = (n * 100 + 1..=n * 100 + 100).filter(|id| !is_in_a_hole(*id));
        place.page(&format!("pages/{n:03}.json"), &logs(ids, 0));
    }
}

#[test]
fn three_holes_of_ten_thousand_are_exactly_known_until_they_are_filled() {
    let place = Place::new(FILES);
    write_pages(&place);
    let three = json!([{"from": 2001, "to": 2005}, {"from": 5000, "to": 5000}, {"from": 7990, "to": 8110}]);
    let ran = place.etl(&["run", "--json"]).exits(0);
    assert_eq!((&ran.json()["gaps"], &ran.json()["missing"]), (&json!(3), &json!(127)));
    assert_eq!(ran.err, "", "a gap is in the summary, not on stderr");
    assert_eq!(gaps(&place), three);

    // Duplicates count as seen, and change nothing.
    let again = place.etl(&["run"]).exits(0);
    assert!(again.out.contains("3 gaps, 127 ids never seen: 7990–8110, 5000, 2001–2005"), "{}", again.out);
    assert_eq!(gaps(&place), three);

    // The counter starts again: what came before keeps its holes, what comes has holes of its own.
    place.page("pages/a.json", &logs((1..=60).filter(|id| *id != 33), 10_000));
    place.etl(&["run"]).exits(0);
    let mut with_new = three.as_array().unwrap().clone();
    with_new.push(json!({"from": 33, "to": 33}));
    assert_eq!(gaps(&place), Value::from(with_new));

    // Late logs of the first epoch fill its holes.
    place.page("pages/b.json", &logs(2001..=2005, 0));
    place.page("pages/c.json", &logs(8000..=8110, 0));
    place.etl(&["run"]).exits(0);
    let left = json!([{"from": 5000, "to": 5000}, {"from": 7990, "to": 7999}, {"from": 33, "to": 33}]);
    assert_eq!(gaps(&place), left);
    let text = place.etl(&["status"]).exits(0).out;
    assert!(text.contains("gaps        3 gaps, 12 ids never seen: 33, 7990–7999, 5000\n"), "{text}");
    let check = place.etl(&["status", "--check"]);
    assert!(check.code == 1 && check.out.starts_with("WARNING") && check.out.contains("gaps=3"), "{check:?}");

    let last = [5000, 7990, 7991, 7992, 7993, 7994, 7995, 7996, 7997, 7998, 7999];
    place.page("pages/d.json", &logs(last.into_iter(), 0));
    place.page("pages/e.json", &logs(33..=33, 10_000));
    place.etl(&["run"]).exits(0);
    assert_eq!(gaps(&place), json!([]));
    place.etl(&["status", "--check"]).exits(0);
}

/// What is missing of these places of a simulated stream that starts again at `restart`, as ranges.
fn missing(generator: &Generator, places: u64, restart: u64) -> Value {
    let mut came: Vec<u64> = generator.handed_out(0..places).collect();
    came.sort_unstable();
    let holes = came.windows(2).filter(|pair| pair[1] > pair[0] + 1 && (pair[0] < restart) == (pair[1] < restart));
    let id = |index: u64| if index < restart { index + 1 } else { index - restart + 1 };
    holes.map(|pair| json!({"from": id(pair[0]) + 1, "to": id(pair[1]) - 1})).collect()
}

#[test]
fn simulated_holes_late_fills_and_a_restart_are_exactly_known_at_each_moment() {
    let mut place = Place::new(&FILES.replace("[load]", "keys_env = \"SIMULATED\"\n[load]"));
    let (restart, pages) = (6_000, 165);
    let options =
        Options { holes: 1.0, delayed: 2.0, late: 2.0, restart_at: Some(restart), seed: 5, ..Options::default() };
    let generator = Generator::new(&options).unwrap();
    place.set("SIMULATED", &options.key().to_text());
    std::fs::create_dir(place.path("pages")).unwrap();
    for page in 1..=pages {
        let end = 100 + 60 * (page - 1);
        std::fs::write(place.path(format!("pages/{page:03}.json")), generator.page(end, page)).unwrap();
        if page % 33 == 0 {
            place.etl(&["run"]).exits(0);
            let found = gaps(&place);
            assert_eq!(found, missing(&generator, end, restart), "after page {page}");
            assert!(found.as_array().unwrap().len() > 8, "{found}");
        }
    }
}

#[test]
fn killed_runs_know_the_same_gaps_in_the_end() {
    let expected = json!([
        {"from": 2001, "to": 2005}, {"from": 5000, "to": 5000}, {"from": 7990, "to": 8110}, {"from": 33, "to": 33}
    ]);
    // Each killed once: a page at which two runs died is read last, and where the counter starts again is told by the order.
    for wait in [5, 20, 40, 80, 160, 320] {
        let place = Place::new(FILES);
        write_pages(&place);
        place.page("pages/a.json", &logs((1..=60).filter(|id| *id != 33), 10_000));
        let mut run = place.spawn(&["run"]);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        run.kill().unwrap();
        run.wait().unwrap();
        place.etl(&["replay"]).exits(0);
        place.etl(&["run"]).exits(0);
        assert_eq!(gaps(&place), expected, "killed after {wait} ms");
    }
}

/// Hours that stay open: nothing has a receipt, so all is in the write-ahead log and the journal.
fn poll_config(origin: &Origin, late_hold: &str) -> String {
    let url = &origin.url;
    format!(
        "[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"{late_hold}\"\n[load]\nto = \"file:lake\"\n"
    )
}

#[test]
fn log_that_is_damaged_is_filled_anew_with_the_same_gaps() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&poll_config(&origin, "0s"));
    let poll = |ids: std::ops::RangeInclusive<u64>, hole: u64, config: &str| {
        place.configure(config);
        origin.script(vec![Answer::Page(page(&place.key, &logs(ids.filter(|id| *id != hole), 0)))]);
        place.etl(&["run"]).exits(0);
    };
    // The first two have receipts and left the journal, the others are pending.
    poll(1..=100, 50, &poll_config(&origin, "0s"));
    poll(90..=190, 150, &poll_config(&origin, "0s"));
    poll(180..=280, 250, &poll_config(&origin, "100d"));
    poll(270..=300, 299, &poll_config(&origin, "100d"));
    let before = gaps(&place);
    let of = |id: u64| json!({"from": id, "to": id});
    assert_eq!(before, json!([of(50), of(150), of(250), of(299)]));
    let wal = std::fs::read_dir(place.path("etl-state/wal")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(wal.join("conf"), [0xff; 64]).unwrap();
    let replayed = place.etl(&["replay"]).exits(0);
    assert!(replayed.err.contains("is damaged: set aside"), "{replayed:?}");
    assert_eq!(gaps(&place), before);
    poll(285..=310, 0, &poll_config(&origin, "100d"));
    assert_eq!(gaps(&place), json!([of(50), of(150), of(250)]), "and goes on from there");
}

#[test]
fn poll_that_does_not_overlap_with_the_last_one_is_told_to_come_more_often() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&poll_config(&origin, "0s"));
    let poll = |ids: std::ops::RangeInclusive<u64>| {
        origin.script(vec![Answer::Page(page(&place.key, &logs(ids, 0)))]);
        place.etl(&["run"]).exits(0)
    };
    assert!(!poll(1..=100).out.contains("polled too rarely"), "nothing to compare with");
    assert!(!poll(51..=150).out.contains("polled too rarely"));
    assert!(!poll(151..=250).out.contains("polled too rarely"), "side by side: nothing is lost");
    let ran = poll(288..=387);
    let says = "polled too rarely: 37 logs may be lost between 2023-03-10T00:04:10Z and 2023-03-10T00:04:48Z \
                (ids 251–287): run more often\n";
    assert!(ran.out.contains(says) && ran.err.is_empty(), "{ran:?}");
    assert!(!poll(288..=387).out.contains("polled too rarely"), "said once");
    origin.script(vec![Answer::Page(page(&place.key, &logs(500..=510, 0)))]);
    let summary = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!(summary["polled_too_rarely"]["lost"], 112);
    assert_eq!((&summary["polled_too_rarely"]["from"], &summary["gaps"]), (&json!(388), &json!(2)));
}

#[test]
fn sequence_can_be_another_field_or_none() {
    let place = Place::new(&FILES.replace("[load]", "sequence = \"\"\n[load]"));
    place.page("pages/1.json", &logs([1, 2, 9].into_iter(), 0));
    let ran = place.etl(&["run"]).exits(0);
    assert!(!ran.out.contains("gap"), "{}", ran.out);
    assert_eq!(gaps(&place), json!([]));
    place.configure(&FILES.replace("[load]", "sequence = \"n\"\n[load]"));
    let logs: Vec<String> =
        [4, 6].iter().map(|n| format!("{{'n': {n}, 'record_id': 'x', 'inDate': '{}'}}", at(*n))).collect();
    place.page("pages/2.json", &logs);
    place.etl(&["run"]).exits(0);
    assert_eq!(gaps(&place), json!([{"from": 5, "to": 5}]));
}
