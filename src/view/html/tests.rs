//! That the page says what the status says, escapes all of it, and has colours that can be read. Keeps nothing on the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::super::heat::tests::{rules, status as with_records};
use super::*;
use crate::state::status::{Command, LastRun, RunSoFar};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The relative luminance of `#rrggbb`, as WCAG defines it.
fn luminance(colour: &str) -> f64 {
    let channel = |range: std::ops::Range<usize>| {
        let value = f64::from(u8::from_str_radix(&colour[range], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126f64.mul_add(channel(1..3), 0.7152f64.mul_add(channel(3..5), 0.0722 * channel(5..7)))
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

const STYLE: &str = include_str!("style.css");

/// The colours of the style sheet by name: those of light, or of dark.
fn colours(dark: bool) -> BTreeMap<&'static str, &'static str> {
    let (light, rest) = STYLE.split_once("@media (prefers-color-scheme:dark)").unwrap();
    let block = if dark { rest.split_once("}\n}").unwrap().0 } else { light };
    block.lines().filter_map(|line| line.strip_prefix("--")?.strip_suffix(';')?.split_once(':')).collect()
}

fn colour(name: &str, dark: bool) -> &'static str {
    colours(dark).get(name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn text_and_graphics_stand_out_in_light_and_dark() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    let text = [("text", "page"), ("text", "card"), ("quiet", "page"), ("quiet", "card")]
        .into_iter()
        .chain([("good", "good-back"), ("warn", "warn-back"), ("bad", "bad-back"), ("info", "info-back")])
        .map(|pair| (pair, 4.5));
    let graphics = ["s1", "s2", "s3", "s4", "bad", "wait", "late", "quiet"].map(|name| ((name, "card"), 3.0));
    for ((front, back), least) in text.chain(graphics) {
        for dark in [false, true] {
            let found = contrast(colour(front, dark), colour(back, dark));
            assert!(found >= least, "{front} on {back}, dark: {dark}: {found:.2}");
        }
    }
}

#[test]
fn shades_rise_from_one_to_the_next() {
    for dark in [false, true] {
        let shades = ["s1", "s2", "s3", "s4"].map(|name| contrast(colour(name, dark), colour("card", dark)));
        assert!(shades.windows(2).all(|pair| pair[1] > pair[0] * 1.3), "dark: {dark}: {shades:.1?}");
    }
}

#[test]
fn every_colour_that_the_style_names_is_there_and_every_one_there_is_used() {
    let used: BTreeSet<&str> = STYLE.split("var(--").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    for dark in [false, true] {
        assert_eq!(used, colours(dark).into_keys().collect());
    }
}

#[test]
fn page_asks_for_nothing_and_escapes_what_comes_from_outside() {
    let mut status = with_records(&[("2023-03-10T01", 2000)]);
    status.last_run = Some(LastRun {
        started: at("2023-03-10T02:00:00Z"),
        ended: None,
        exit: Some(75),
        command: Command::Run,
        so_far: RunSoFar::default(),
        problems: vec!["<script src='http://x'>\"&".to_owned()],
        hint: Some("mend <b> it".to_owned()),
    });
    let now = at("2023-03-10T02:00:00Z");
    let name = "</title><script src='http://x'>";
    let shown = Shown { name, ..Shown::default() };
    let page = page(&status, &Heat::of(&status, &rules("UTC"), now, 7), &shown, now);
    assert!(page.contains("<li>&lt;script src=&#39;http://x&#39;&gt;&quot;&amp; – mend &lt;b&gt; it</li>"));
    assert_eq!(page.matches("<script").count(), 1, "its own, which asks for nothing");
    for outside in ["XMLHttp", "fetch(", "src=", "href=", "url(", "@import", "<link", "<img"] {
        let page = page.replace("&lt;script src=&#39;", "");
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn page_of_nothing_says_so() {
    let now = at("2023-03-10T02:00:00Z");
    let page = page(&Status::empty(now), &Heat::default(), &Shown::default(), now);
    assert!(page.contains("no run yet") && page.contains("none yet") && !page.contains("<table"));
}
