#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferrokiq::fuzzing::active_job(data));
