#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferrokiq::fuzzing::key_name(data));
