//! The shape of a source's pages, drawn at random: where the elements and their tokens are, what encloses them, and how one page leads
//! to the next.

use serde_json::{Value, json};

use super::schema::Numbers;
use crate::support::api::{Request, reply};

/// Where the elements of a page are; `lines`: each is a line.
const ITEMS: [&str; 5] = ["", "lines", "/data", "/a~1b/c", "/0/items"];
const TOKENS: [&str; 4] = ["", "/data", "/log/token", "/_source"];

#[derive(Debug, Clone)]
pub(super) struct Shape {
    items: &'static str,
    token: &'static str,
    is_encrypted: bool,
    /// The record is a text, also where nothing is encrypted.
    is_text: bool,
    is_python: bool,
    style: &'static str,
    place: &'static str,
    size: usize,
    /// The configuration knows the size.
    knows_size: bool,
    start: usize,
}

impl Shape {
    pub(super) fn drawn(numbers: &mut Numbers) -> Self {
        let items = numbers.of(&ITEMS);
        let can_point = !["", "lines"].contains(&items);
        let styles: &[&str] = match can_point {
            true => &["link", "next-url", "cursor", "page", "offset", "none"],
            false => &["link", "page", "offset", "none"],
        };
        let style = numbers.of(styles);
        let is_encrypted = numbers.below(2) == 0;
        Self {
            items,
            token: numbers.of(&TOKENS),
            is_encrypted,
            is_text: is_encrypted || numbers.below(3) == 0,
            is_python: numbers.below(2) == 0,
            style,
            place: if ["cursor", "page", "offset"].contains(&style) {
                numbers.of(&["query", "body", "header"])
            } else {
                "query"
            },
            size: if style == "none" { 10_000 } else { 3 + numbers.below(15) },
            knows_size: numbers.below(2) == 0,
            start: if style == "page" { numbers.below(2) } else { 0 },
        }
    }

    /// `[source]` and `[source.paging]`.
    pub(super) fn config(&self, url: &str) -> String {
        let items = if self.items == "lines" { "" } else { self.items };
        let encryption = if self.is_encrypted { "fernet" } else { "none" };
        let method = if self.place == "body" { "method = \"POST\"\nbody = '{\"q\": {}}'\n" } else { "" };
        let next = if ["next-url", "cursor"].contains(&self.style) { "next = \"/0/meta/next~1\"\n" } else { "" };
        let next = if self.items == "/0/items" { next.to_owned() } else { next.replace("/0/", "/") };
        let size =
            if self.knows_size && self.style != "none" { format!("size = {}\n", self.size) } else { String::new() };
        let param = if self.place == "body" { "/q/p" } else { "x-p" };
        format!(
            "[source]\nurl = \"{url}\"\nretries = 0\ntimeout = \"5s\"\nitems = {items:?}\ntoken = {:?}\nencryption = \"{encryption}\"\n{method}\
             [source.paging]\nstyle = \"{}\"\nparam = \"{param}\"\nin = \"{}\"\nstart = {}\n{next}{size}",
            self.token, self.style, self.place, self.start
        )
    }

    /// Which elements a request asks for, by the first one.
    pub(super) fn first_asked(&self, request: &Request) -> usize {
        let sent = match self.place {
            "body" => {
                Some(request.json()["q"]["p"].clone()).filter(|sent| !sent.is_null()).map(|sent| sent.to_string())
            }
            "header" => request.headers.get("x-p").cloned(),
            _ => request.query("x-p"),
        };
        let number = sent.map(|sent| sent.trim_matches(['"', 'c']).parse::<usize>().unwrap());
        match (self.style, number) {
            ("page", number) => (number.unwrap() - self.start) * self.size,
            (_, number) => number.unwrap_or(0),
        }
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// The answer with these records, of `all` in the source, from the one at `first` on.
    pub(super) fn answer(&self, key: &fernet::Fernet, records: &[Value], first: usize, all: usize) -> String {
        let elements: Vec<Value> = records.iter().map(|record| self.element(key, record)).collect();
        let behind = first + records.len();
        let next = if behind < all && !records.is_empty() { self.next(behind) } else { Value::Null };
        let meta = json!({"next/": next, "items": [1], "data": []});
        let link = match (self.style, &next) {
            ("link", Value::String(next)) => format!("Link: <{next}>; rel=\"next\"\r\n"),
            _ => String::new(),
        };
        let (kind, body) = match self.items {
            "" => ("application/json", json!(elements).to_string()),
            "lines" => ("application/x-ndjson", elements.iter().map(|element| format!("{element}\n")).collect()),
            "/data" => ("application/json", json!({"meta": meta, "data": elements}).to_string()),
            "/0/items" => ("text/plain", json!([{"items": elements, "meta": meta}, {"items": []}]).to_string()),
            _ => ("text/html", json!({"data": [], "a/b": {"c": elements, "d": 1}, "meta": meta}).to_string()),
        };
        reply("200 OK", &format!("Content-Type: {kind}\r\n{link}"), &body)
    }

    fn next(&self, behind: usize) -> Value {
        match self.style {
            "link" | "next-url" => json!(format!("/log?x-p={behind}")),
            "cursor" if behind.is_multiple_of(2) => json!(behind),
            _ => json!(format!("c{behind}")),
        }
    }

    fn element(&self, key: &fernet::Fernet, record: &Value) -> Value {
        let text = if self.is_python { repr(record) } else { record.to_string() };
        let token = match (self.is_encrypted, self.is_text) {
            (true, _) => json!(key.encrypt(text.as_bytes())),
            (false, true) => json!(text),
            (false, false) => record.clone(),
        };
        match self.token {
            "" => token,
            "/data" => json!({"id": 1, "data": token}),
            "/log/token" => json!({"log": {"token": token, "data": "no"}}),
            _ => json!({"_id": "x", "_source": token, "data": {}}),
        }
    }
}

/// A value as Python writes it, but for the quotes.
fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}: {}", json!(name), repr(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
