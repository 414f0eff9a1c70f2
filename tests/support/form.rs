//! The form of parts that a test runs with: what it finds in the lake does not depend on it.
//!
//! A test that is written for the default form runs in another one by [`in_form`]: every [`Place`](super::cli::Place) of its thread is then
//! configured with it.

use std::cell::Cell;
use std::io::Read;

/// A form of parts, as it is configured and named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub name: &'static str,
    keys: &'static str,
    pub root: &'static str,
    pub suffix: &'static str,
    /// What its files end in where all are parts.
    pub extension: &'static str,
}

pub const GZIP: Form = Form { name: "ndjson-gzip", keys: "", root: "data", suffix: ".ndjson.gz", extension: "gz" };
pub const ZSTD: Form = Form {
    name: "ndjson-zstd",
    keys: "compression = \"zstd\"\n",
    root: "data",
    suffix: ".ndjson.zst",
    extension: "zst",
};

thread_local! {
    static FORM: Cell<Form> = const { Cell::new(GZIP) };
}

/// The form that this thread's test runs with.
pub fn form() -> Form {
    FORM.get()
}

/// Runs a test in this form.
pub fn in_form(form: Form, test: impl FnOnce()) {
    let before = FORM.replace(form);
    test();
    FORM.set(before);
}

impl Form {
    /// A configuration that makes parts so.
    pub fn configured(self, config: &str) -> String {
        let with = format!("[load]\n{}", self.keys);
        assert!(
            self.keys.is_empty() || config.is_empty() || config.contains("[load]\n"),
            "there is no [load] in {config}"
        );
        config.replacen("[load]\n", &with, 1)
    }

    /// The key of a part below `data/` as this form has it: `key` is that of the default form.
    pub fn key(self, key: &str) -> String {
        let key = key.strip_suffix(GZIP.suffix).map_or_else(|| key.to_owned(), |name| format!("{name}{}", self.suffix));
        key.replacen("data/", &format!("{}/", self.root), 1)
    }
}

/// The lines of a part, whatever its form.
pub fn lines(object: &[u8]) -> Vec<String> {
    let mut text = String::new();
    if object.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(object).read_to_string(&mut text).unwrap();
    } else {
        zstd::stream::read::Decoder::with_buffer(object).unwrap().read_to_string(&mut text).unwrap();
    }
    assert!(text.ends_with('\n'), "the last line ends too");
    text.lines().map(str::to_owned).collect()
}
