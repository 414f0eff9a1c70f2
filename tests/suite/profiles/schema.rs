//! Records of a random schema: what their time and number are called and how they are spelled, and what else is in them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// A small generator of numbers: splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).for_each(|at| items.swap(at, self.below(at + 1)));
    }
}

/// How a time is spelled in records, and what says so in the configuration.
const TIMES: [(&str, &str); 10] = [
    ("rfc3339", "auto"),
    ("seoul", "auto"),
    ("comma", "auto"),
    ("s", "auto"),
    ("ms", "auto"),
    ("s", "epoch-s"),
    ("ms", "epoch-ms"),
    ("us", "epoch-us"),
    ("ns", "epoch-ns"),
    ("clf", "%d/%b/%Y:%H:%M:%S %z"),
];
/// Places of the time and of the number: names with what a pointer has to escape among them.
const PLACES: [&str; 5] = ["at", "/meta/at", "/a~1b/t~0/at", "/list/0/at", "/when of it"];
const IDS: [&str; 5] = ["", "seq", "/meta/seq", "/a~1b/seq", "/list/1"];

/// What the records of a seed look like.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    seed: u64,
    time: (&'static str, &'static str),
    time_at: &'static str,
    id_at: &'static str,
    first_id: u64,
    drops: bool,
    codecs: bool,
    pub(super) zone: &'static str,
}

impl Schema {
    pub(super) fn drawn(seed: u64, numbers: &mut Numbers) -> Self {
        Self {
            seed,
            time: numbers.of(&TIMES),
            time_at: numbers.of(&PLACES),
            id_at: numbers.of(&IDS),
            first_id: numbers.of(&[1, 1_000, 1_000_000_000_000]),
            drops: numbers.below(3) == 0,
            codecs: numbers.below(2) == 0,
            zone: numbers.of(&["UTC", "Asia/Seoul", "Asia/Kolkata"]),
        }
    }

    pub(super) fn config(&self) -> String {
        let drop = if self.drops { "drop = [\"/noise/x\"]\n" } else { "" };
        let codecs = "[compact]\ntrace = \"hex\"\nuser = \"uuid-pair\"\nkind = { view = 1, click = 2 }\n";
        format!(
            "[record]\ntime = {:?}\ntime_format = {:?}\nid = {:?}\n{drop}{}[hours]\nlate_hold = \"0s\"\ntimezone = {:?}\n",
            self.time_at,
            self.time.1,
            self.id_at,
            if self.codecs { codecs } else { "" },
            self.zone
        )
    }

    /// Whether gaps are counted.
    pub(super) const fn has_ids(&self) -> bool {
        !self.id_at.is_empty()
    }

    pub(super) const fn id(&self, n: u64) -> u64 {
        self.first_id + n
    }

    /// The record number `n` of the time `at`, as it is kept.
    pub(super) fn record(&self, n: u64, at: Timestamp) -> Value {
        let mut numbers = Numbers(self.seed ^ n.wrapping_mul(0x1234_5678_9abc_def1));
        let mut record = json!({"list": [{}, 0, "x"]});
        for name in ["kind", "trace", "user", "note", "größe", "meta"] {
            if numbers.below(3) > 0 {
                record[name] = self.value(name, &mut numbers);
            }
        }
        put(&mut record, self.time_at, self.spelled(at));
        if self.has_ids() {
            put(&mut record, self.id_at, json!(self.id(n)));
        }
        // What would date or number a record of the origin is a field like any other.
        if numbers.below(4) == 0 {
            record["inDate"] = json!("no time at all");
            record["record_id"] = json!({"no": "number"});
        }
        if self.drops {
            record["noise"] = json!({"y": 1});
        }
        if numbers.below(2) == 0 {
            reverse(&mut record);
        }
        record
    }

    /// The same as a source sends it: with what is dropped, which is something else each time.
    pub(super) fn sent(&self, record: &Value, noise: u64) -> Value {
        let mut sent = record.clone();
        if self.drops {
            sent["noise"]["x"] = json!(noise);
        }
        sent
    }

    fn value(&self, name: &str, numbers: &mut Numbers) -> Value {
        match name {
            "meta" => json!({"deep": [[{"er": null}], {"e": ""}]}),
            "kind" => json!(numbers.of(&["view", "click", "other", ""])),
            "trace" => json!(format!("{:032x}", numbers.below(usize::MAX))),
            "user" => json!(format!("{:064x}", numbers.below(usize::MAX))),
            _ => numbers.of(&[
                || json!(null),
                || json!(-0.25),
                || json!(true),
                || json!("it's \"ü\" \\ \n €"),
                || json!([]),
                || json!(18_446_744_073_709_551_615_u64),
            ])(),
        }
    }

    fn spelled(&self, at: Timestamp) -> Value {
        let within = |zone: &str| at.to_zoned(TimeZone::get(zone).unwrap());
        match self.time.0 {
            "rfc3339" => json!(at.to_string()),
            "seoul" => json!(within("Asia/Seoul").strftime("%Y-%m-%dT%H:%M:%S.500%z").to_string()),
            "comma" => json!(within("UTC").strftime("%Y-%m-%d %H:%M:%S,250Z").to_string()),
            "clf" => json!(within("Asia/Kolkata").strftime("%d/%b/%Y:%H:%M:%S %z").to_string()),
            "s" => json!(at.as_second()),
            "ms" => json!(at.as_millisecond()),
            "us" => json!(at.as_microsecond()),
            _ => json!(i64::try_from(at.as_nanosecond()).unwrap()),
        }
    }
}

/// The fields of a record in the other order.
fn reverse(record: &mut Value) {
    let fields = std::mem::take(record.as_object_mut().unwrap());
    *record = fields.into_iter().rev().collect::<Map<_, _>>().into();
}

/// Puts a value at a place, making objects on the way.
fn put(record: &mut Value, place: &str, value: Value) {
    let names =
        place.strip_prefix('/').map_or_else(|| vec![place.to_owned()], |path| path.split('/').map(unescaped).collect());
    let there = names.iter().fold(record, |at, name| match at {
        Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
        at => &mut at[name.as_str()],
    });
    *there = value;
}

fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
