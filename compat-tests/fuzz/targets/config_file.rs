#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferrokiq::fuzzing::config_file(data));
