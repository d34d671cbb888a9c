//! See `cairn_fuzz_store::model` for strategy and invariants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz_store::model(data));
