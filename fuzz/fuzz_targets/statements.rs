//! See `cairn_fuzz::statements` for strategy and invariants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::statements(data));
