//! PostgreSQL archives that somebody else wrote.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trivault_sources::postgresql::exercise_archive(bytes));
