//! The page of `etl status --html`: in a browser, at the width of a phone and of a desk, light and dark.

use std::path::Path;

use serde_json::Value;

use crate::support::chromium::{Scheme, chromium};
use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const WIDTHS: [u32; 2] = [390, 1280];

/// Measures the page in a frame of each width: the elements that stick out, the least contrast of a text to what is behind it,
/// and what the heat map and the figures say.
const MEASURE: &str = r##"<!doctype html><meta charset="utf-8"><body><script>
const page = PAGE, widths = WIDTHS, out = [];
const channels = text => text.match(/[\d.]+/g).map(Number);
const luminance = text => channels(text).slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0) return colour;
  }
};
const contrast = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
};
const right = element => {
  const range = element.ownerDocument.createRange();
  range.selectNodeContents(element);
  return range.getBoundingClientRect().right;
};
let left = widths.length;
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:4000px;border:0`;
  frame.onload = () => {
    const root = frame.contentDocument.documentElement, all = [...root.querySelectorAll("body *")];
    const texts = all.filter(e => e.offsetParent && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    const sums = texts.map(e => [contrast(getComputedStyle(e).color, behind(e)), e.outerHTML.slice(0, 80)]);
    out.push({
      width,
      scroll: root.scrollWidth,
      outside: all.filter(e => e.offsetParent && e.getBoundingClientRect().right > width + 0.5).map(e => e.outerHTML.slice(0, 80)),
      spilt: texts.filter(e => !e.closest("thead") && right(e) > e.getBoundingClientRect().right + 1).map(e => e.outerHTML.slice(0, 80)),
      texts: texts.length,
      palest: sums.sort((a, b) => a[0] - b[0])[0],
      back: getComputedStyle(root.querySelector("body")).backgroundColor,
      figures: [...root.querySelectorAll(".figures strong")].map(e => e.textContent),
      cells: [...root.querySelectorAll(".heat td")].map(e => e.title),
      visible: [...root.querySelectorAll(".heat td")].every(e => e.getBoundingClientRect().width > 8),
    });
    if (--left === 0) document.body.innerHTML = "<pre>" + btoa(unescape(encodeURIComponent(JSON.stringify(out)))) + "</pre>";
  };
  frame.srcdoc = page;
  document.body.append(frame);
}
</script></body>"##;

/// Three days with holes in them, late records, an odd token, ids that never came and an hour that is still open.
fn place() -> Place {
    let now = jiff::Timestamp::now();
    let hour = |back: i64| now - jiff::SignedDuration::from_hours(back);
    let origin = Origin::start(vec![]);
    let config = format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
        origin.url
    );
    let place = Place::new(&config);
    let at = |back: i64, id: u64| record(id, &format!("{:.3}", hour(back)));
    let backs = [70, 69, 68, 60, 50, 49, 48, 47, 30, 29, 10, 9, 8];
    let some = (1..).zip(backs).flat_map(|(n, back)| (0..n * 3).map(move |m| (back, 100 * n + m)));
    let records: Vec<String> = some.map(|(back, id)| at(back, id)).collect();
    origin.script(vec![Answer::Page(page(&place.key, &records))]);
    place.etl(&["run"]).exits(0);
    let more = [at(50, 9_001), at(9, 9_002), at(0, 9_003), "{'a': '<b>no record</b>'}".to_owned()];
    origin.script(vec![Answer::Page(page(&place.key, &more))]);
    place.etl(&["run"]).exits(65);
    place
}

fn measured(place: &Place, scheme: Scheme) -> Option<Vec<Value>> {
    let page = std::fs::read_to_string(place.path("status.html")).unwrap();
    // In a script, so that no tag of it ends the script.
    let page = serde_json::to_string(&page).unwrap().replace('<', "\\u003c");
    let widths = format!("{WIDTHS:?}");
    let measure = MEASURE.replace("WIDTHS, out", &format!("{widths}, out")).replace("PAGE,", &format!("{page},"));
    std::fs::write(place.path("measure.html"), measure).unwrap();
    let dom = chromium()?.dom(&place.path("measure.html"), scheme);
    let found =
        dom.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_else(|| panic!("{dom}"));
    let text = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, found).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

fn grouped(n: &Value) -> String {
    etl::output::numbers::count(n.as_u64().unwrap())
}

/// What the heat map has to say of each hour with records, by its label.
fn expected_cells(status: &Value) -> Vec<String> {
    let mut cells = Vec::new();
    for day in status["days"].as_array().unwrap() {
        for hour in 0..24 {
            let of = |name: &str| day[name][hour].as_u64().unwrap();
            let (records, pending, late) = (of("uploaded") + of("pending"), of("pending"), of("late"));
            let noun = if records == 1 { "record" } else { "records" };
            let mut text = format!("{}T{hour:02}: {records} {noun}", day["day"].as_str().unwrap());
            if pending > 0 {
                text += &format!(", {pending} pending");
            }
            if late > 0 {
                text += &format!(", {late} late");
            }
            cells.extend((records > 0).then_some(text));
        }
    }
    cells.sort();
    cells
}

#[test]
fn page_fits_a_phone_and_a_desk_in_light_and_dark_and_says_what_the_status_says() {
    let place = place();
    place.etl(&["status", "--html", "status.html"]).exits(0);
    let status = place.status();
    for scheme in [Scheme::Light, Scheme::Dark] {
        let Some(frames) = measured(&place, scheme) else { return };
        assert_eq!(frames.len(), WIDTHS.len());
        for found in &frames {
            let width = found["width"].as_u64().unwrap();
            assert!(found["scroll"].as_u64().unwrap() <= width, "{scheme:?}: {found:#}");
            assert_eq!(found["outside"], serde_json::json!([]), "{scheme:?} at {width}");
            assert_eq!(found["spilt"], serde_json::json!([]), "{scheme:?} at {width}: text over its edge");
            assert!(found["texts"].as_u64().unwrap() > 50, "{found:#}");
            assert!(found["palest"][0].as_f64().unwrap() >= 4.5, "{scheme:?} at {width}: {}", found["palest"]);
            assert!(found["visible"].as_bool().unwrap(), "{found:#}");
            let back = if scheme == Scheme::Dark { "rgb(14, 17, 22)" } else { "rgb(244, 245, 247)" };
            assert_eq!(found["back"], back);
            let totals = &status["totals"];
            let missing: u64 = ids_in_gaps(&status);
            let expected = [
                grouped(&totals["records"]),
                grouped(&totals["uploaded"]),
                grouped(&totals["pending"]),
                grouped(&status["quarantine"]["count"]),
                grouped(&missing.into()),
            ];
            assert_eq!(found["figures"], serde_json::json!(expected));
            let cells = found["cells"].as_array().unwrap();
            let mut said: Vec<String> = cells.iter().map(|cell| cell.as_str().unwrap().to_owned()).collect();
            assert!(said.iter().any(|cell| cell.ends_with(": no records")));
            said.retain(|cell| cell.contains(" record") && !cell.contains("no records"));
            said.sort();
            assert_eq!(said, expected_cells(&status));
            assert!(said.iter().any(|cell| cell.contains("late")) && said.iter().any(|cell| cell.contains("pending")));
        }
    }
    screenshots(&place);
}

#[test]
fn page_that_nothing_writes_any_more_says_so_by_itself() {
    let place = place();
    let Some(browser) = chromium() else { return };
    place.configure("[source]\nurl = \"file:none\"\n[load]\nto = \"file:lake\"\n[run]\nname = \"shop & logs\"\n");
    place.etl(&["status", "--html", "status.html", "--warn-age", "1h"]).exits(0);
    let page = std::fs::read_to_string(place.path("status.html")).unwrap();
    assert!(page.contains("<title>shop &amp; logs: etl status</title>"), "{page}");
    assert!(page.contains("http-equiv=\"refresh\" content=\"60\""), "{page}");
    let tell = "<script>document.write('<' + 'pre>' + document.body.className + '|' + \
                document.getElementById('stale').textContent + '</' + 'pre>')</script></body>";
    let (before, rest) = page.split_once("data-made=\"").unwrap();
    let (made, after) = rest.split_once('"').unwrap();
    let made: jiff::Timestamp = made.parse().unwrap();
    for (minutes, shown) in
        [(0, "|"), (59, "|"), (61, "stale|This page is 61 min old"), (60 * 50, "stale|This page is 50 h old")]
    {
        let made = made - jiff::SignedDuration::from_mins(minutes);
        let aged = format!("{before}data-made=\"{made}\"{after}").replace("</body>", tell);
        std::fs::write(place.path("aged.html"), aged).unwrap();
        let dom = browser.dom(&place.path("aged.html"), Scheme::Light);
        let found = dom.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
        assert!(found.starts_with(shown) && found.len() >= shown.len(), "{minutes}: {found}");
        assert_eq!(shown == "|", found == "|", "{minutes}: {found}");
    }
}

fn ids_in_gaps(status: &Value) -> u64 {
    let gaps = status["gaps"].as_array().unwrap();
    gaps.iter().map(|gap| gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap() + 1).sum()
}

/// Saves pictures for people to look at.
fn screenshots(place: &Place) {
    let Some(browser) = chromium() else { return };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&dir).unwrap();
    for (width, scheme, name) in [
        (390, Scheme::Light, "phone-light.png"),
        (390, Scheme::Dark, "phone-dark.png"),
        (1280, Scheme::Light, "desk-light.png"),
        (1280, Scheme::Dark, "desk-dark.png"),
    ] {
        let png = dir.join(name);
        let size = browser.screenshot(&place.path("status.html"), scheme, (width, 1600), &png);
        assert_eq!(size, (width, 1600));
        assert!(std::fs::metadata(&png).unwrap().len() > 20_000, "{name} shows something");
    }
}
