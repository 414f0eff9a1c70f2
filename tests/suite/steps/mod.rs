//! The crash table as a fact: the manual and the code say the same, and a crash around any step changes nothing in the end.
//!
//! The table is checked in each test run; the crashes need the crash points: `cargo test --features failpoints steps`.

use etl::state::files::step::Step;

#[cfg(feature = "failpoints")]
mod bench;
#[cfg(feature = "failpoints")]
mod lake;
#[cfg(feature = "failpoints")]
mod scenario;
#[cfg(feature = "failpoints")]
mod store;

/// "PageJournaled" → "page journaled".
fn words(step: Step) -> String {
    let mut words = String::new();
    for letter in format!("{step:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[test]
fn manual_has_the_crash_table_row_by_row() {
    let page = include_str!("../../../src/docs/guarantees.md");
    let (_, section) = page.split_once("## What a crash leaves\n").unwrap();
    let mut lines = section.lines().skip_while(|line| !line.starts_with('|'));
    assert_eq!(lines.next(), Some("| crash after | on disk | in S3 | the next run |"));
    assert_eq!(lines.next(), Some("|---|---|---|---|"));
    let rows: Vec<&str> = lines.take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = Step::ALL
        .into_iter()
        .map(|step| {
            let row = step.after_a_crash();
            format!("| {} | {} | {} | {} |", words(step), row.on_disk, row.in_store, row.next_run)
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn each_step_is_listed_once_in_its_order() {
    let places: Vec<usize> = Step::ALL.into_iter().map(|step| step as usize).collect();
    assert_eq!(places, (0..Step::ALL.len()).collect::<Vec<_>>());
}
