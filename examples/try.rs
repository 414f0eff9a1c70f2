use etl::*; use jiff::{SignedDuration, Timestamp, tz::TimeZone}; use std::collections::BTreeMap;
fn main(){ let args: Vec<String>=std::env::args().collect(); let key=&args[1]; let pattern=&args[2]; let dir=&args[3]; let lake=&args[4];
 let stop=stop::Stop::new(); let clock=hour::SystemClock; let progress=|_:pipeline::Progress|{};
 let setup=pipeline::Setup{ state_dir: dir.into(), settings: state::Settings{timezone:"UTC".into(),layout:key::DEFAULT_LAYOUT.into(),destination:lake.clone(),url:BTreeMap::new(),method:BTreeMap::new()}, min_free:0,
  decoder: decode::Decoder{ring:decrypt::KeyRing(vec![fernet::Fernet::new(key).unwrap()]),zone:TimeZone::UTC,compactor:compact::Compactor,max_future:SignedDuration::from_hours(1)},
  closing: lifecycle::ClosingRules{zone:TimeZone::UTC,grace:SignedDuration::from_mins(10),late_hold:SignedDuration::from_hours(1)}, cut: seal::CutRules{part_max_records:0,part_bytes:seal::PART_BYTES}, dedup_window:SignedDuration::from_hours(720), layout:key::Layout::parse(key::DEFAULT_LAYOUT).unwrap(), prefix:String::new(), store:Box::new(load::file::FileStore::new(lake.clone())), uploads:2, clock:&clock, stop:&stop, progress:&progress };
 let out=pipeline::run(&setup, Some(pipeline::Source::Files{pattern:pattern.clone(),max_page_bytes:64<<20}), pipeline::Wish::default());
 println!("{}", serde_json::to_string(&out.summary).unwrap()); for p in &out.problems { println!("{:?}: {} / {:?}", p.kind(), p.chain(), p.next_step()); } println!("exit {}", out.exit_code()); let _=Timestamp::now(); }
