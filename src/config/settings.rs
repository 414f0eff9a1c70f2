//! The table of settings: which keys there are, which environment names stand above them, and the one place of defaults.
//!
//! Invariant: a key that is not in [`SETTINGS`] is refused with the nearest that is; [`DEFAULTS`] is read by the same
//! reader as the user's file.

/// A key of the configuration file.
pub(super) struct Setting {
    /// Its table.
    pub table: &'static str,
    /// Its name in the table.
    pub key: &'static str,
    /// The environment names whose value goes before the file's, the first that is set.
    pub environment: &'static [&'static str],
}

const fn setting(table: &'static str, key: &'static str) -> Setting {
    Setting { table, key, environment: &[] }
}

const fn above(table: &'static str, key: &'static str, environment: &'static [&'static str]) -> Setting {
    Setting { table, key, environment }
}

/// Every key there is.
pub(super) const SETTINGS: [Setting; 30] = [
    above("source", "url", &["API_URL"]),
    setting("source", "keys_env"),
    setting("source", "keys_file"),
    setting("source", "keys"),
    setting("source", "headers"),
    setting("source", "timeout"),
    setting("source", "retries"),
    setting("source", "max_page_bytes"),
    setting("source", "paging"),
    setting("source", "sequence"),
    setting("hours", "timezone"),
    setting("hours", "grace"),
    setting("hours", "late_hold"),
    setting("hours", "max_future"),
    setting("hours", "dedup_window"),
    setting("compact", "url"),
    setting("compact", "method"),
    setting("load", "to"),
    above("load", "endpoint", &["AWS_ENDPOINT_URL"]),
    above("load", "region", &["AWS_REGION"]),
    setting("load", "part_max_records"),
    setting("load", "layout"),
    setting("load", "manifest"),
    setting("archive", "dir"),
    setting("archive", "keep"),
    setting("run", "metrics_file"),
    setting("run", "ping_env"),
    above("state", "dir", &["ETL_STATE_DIR"]),
    setting("state", "min_free"),
    setting("quarantine", "max_bytes"),
];

/// The environment names of an S3 bucket, for [`load.to`](super::load).
pub(super) const BUCKET_NAMES: [&str; 2] = ["ETL_S3_BUCKET", "AWS_S3_BUCKETNAME"];

/// The values of the settings that nobody gave.
pub(super) const DEFAULTS: &str = r#"
[source]
keys_env = "FERNET_KEY"
timeout = "30s"
retries = 5
max_page_bytes = "64MiB"
paging = { style = "link" }
sequence = "record_id"
[hours]
timezone = "UTC"
grace = "10m"
late_hold = "1h"
max_future = "1h"
dedup_window = "30d"
[compact]
url = { "/api/products/product/" = 1 }
method = { GET = 1, POST = 2 }
[load]
endpoint = ""
region = "ap-northeast-2"
part_max_records = 0
layout = "{year}_y/{month}_m/{day}_d/{hour}_h"
manifest = false
[archive]
dir = ""
keep = "30d"
[run]
metrics_file = ""
ping_env = "ETL_PING_URL"
[state]
dir = "etl-state"
min_free = "64MiB"
[quarantine]
max_bytes = 0
"#;

/// The setting `key` of `table`.
pub(super) fn find(table: &str, key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.table == table && setting.key == key)
}

/// Whether there is a table of this name.
pub(super) fn is_table(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.table == name)
}

/// The known key nearest to an unknown one, for the error: the same key in another table (`"timezone" in [hours]`), else
/// the most alike of its own.
pub(super) fn nearest_key(table: &str, key: &str) -> String {
    if let Some(elsewhere) = SETTINGS.iter().find(|setting| setting.key == key) {
        return format!("{key:?} in [{}]", elsewhere.table);
    }
    let own = SETTINGS.iter().filter(|setting| setting.table == table);
    own.min_by_key(|setting| strsim::damerau_levenshtein(setting.key, key))
        .map_or_else(String::new, |nearest| format!("{:?}", nearest.key))
}

/// What stands nearest to an unknown name at the top level: a table, or a key that belongs into one.
pub(super) fn nearest_at_top(name: &str) -> String {
    if SETTINGS.iter().any(|setting| setting.key == name) {
        return nearest_key("", name);
    }
    let distance = |setting: &&Setting| strsim::damerau_levenshtein(setting.table, name);
    SETTINGS.iter().min_by_key(distance).map_or_else(String::new, |setting| format!("[{}]", setting.table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_key_is_of_the_same_table_where_it_can_be() {
        assert_eq!(nearest_key("hours", "timezon"), r#""timezone""#);
        assert_eq!(nearest_key("hours", "late-hold"), r#""late_hold""#);
        assert_eq!(nearest_key("source", "timezone"), r#""timezone" in [hours]"#);
        assert_eq!(nearest_key("state", "path"), r#""dir""#);
        assert_eq!(nearest_key("compact", "urls"), r#""url""#);
        assert_eq!(nearest_key("archive", "directory"), r#""dir""#);
    }

    #[test]
    fn nearest_at_top_is_a_table_or_where_the_key_belongs() {
        assert_eq!(nearest_at_top("sources"), "[source]");
        assert_eq!(nearest_at_top("hour"), "[hours]");
        assert_eq!(nearest_at_top("grace"), r#""grace" in [hours]"#);
    }
}
