//! What a run is told, for tests and benches that call it without a configuration: UTC, 10 minutes of grace, an hour of late hold.

use std::path::PathBuf;
use std::sync::Arc;

use etl::hour::Clock;
use etl::hour::closing::ClosingRules;
use etl::hour::format::Format;
use etl::hour::key::Layout;
use etl::job::Setup;
use etl::page::decode::Decoder;
use etl::page::decrypt::KeyRing;
use etl::part::cut::{CutRules, PART_BYTES};
use etl::part::parquet::Columns;
use etl::record::row::{Codecs, Compactor};
use etl::record::{Profile, Schema};
use etl::secret::Secret;
use etl::state::Settings;
use etl::stop::Stop;
use etl::store::ObjectStore;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

/// What a state directory records of it.
pub fn settings(timezone: &str) -> Settings {
    Settings {
        timezone: timezone.into(),
        layout: "l".into(),
        format: Format::default(),
        columns: std::collections::BTreeMap::new(),
        destination: "file:lake".into(),
        record: Profile::default(),
        codecs: Codecs::default(),
        range: etl::hour::range::HashRange::ALL,
        lane: String::new(),
    }
}

/// A run in the state directory `state_dir` with the key `key`; callers replace what they need otherwise.
pub fn setup<'a>(
    state_dir: PathBuf,
    key: &str,
    store: Arc<dyn ObjectStore>,
    clock: &'a dyn Clock,
    stop: &'a Stop,
) -> Setup<'a> {
    let dictionaries = Codecs::default();
    let hour = SignedDuration::from_hours(1);
    Setup {
        archive: None,
        expire_after: None,
        manifest: false,
        signing: None,
        state_dir,
        status_file: None,
        settings: settings("UTC"),
        min_free: 0,
        quarantine_max_bytes: 0,
        decoder: Decoder {
            shape: etl::source::PageShape::default(),
            ring: KeyRing::new(&[Secret::new(key)]).unwrap(),
            schema: Schema::of_the_origin(TimeZone::UTC),
            compactor: Compactor::new(&dictionaries),
            dictionaries: dictionaries.fingerprint(),
            max_future: hour,
        },
        closing: ClosingRules { zone: TimeZone::UTC, grace: SignedDuration::from_mins(10), late_hold: hour },
        cut: CutRules { part_max_records: 0, part_bytes: PART_BYTES },
        dedup_window: hour * 24 * 30,
        columns: Columns::new(&[], &TimeZone::UTC).unwrap(),
        layout: Layout::parse("{year}_y/{month}_m/{day}_d/{hour}_h").unwrap(),
        prefix: String::new(),
        store,
        uploads: 1,
        clock,
        stop,
        progress: &|_| (),
    }
}
