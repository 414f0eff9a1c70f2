//! See `targets.rs`.
#![no_main]

#[expect(dead_code, reason = "one target of several")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::parquet(input));
