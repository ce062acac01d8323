//! Floats go from Ruby through Rust and back without a change: typed arguments, `Value` and arguments of ActiveJob.

use std::path::Path;

use ferrokiq::Args;
use ferrokiq::job::{RawArgs, Variadic};
use serde::Deserialize;
use serde_json::Value;

/// A float as Ruby wrote it; recorded by `ruby-fixtures/generate.rb`.
#[derive(Deserialize)]
struct Recorded(String, String, String);

/// Reads JSON from Ruby in every way a job can and writes it again: what Ruby gets back.
fn handed_back(raw: &str) -> Vec<(&'static str, String)> {
    let raw = format!("[{raw}]");
    let typed = <(f64,)>::from_json(&raw).unwrap();
    let value = Variadic::<Value>::from_json(&raw).unwrap();
    vec![
        ("typed", typed.to_json().unwrap()),
        ("Value", value.to_json().unwrap()),
        ("raw", RawArgs::from_json(&raw).unwrap().to_json().unwrap()),
        #[cfg(feature = "active-job")]
        ("ActiveJob", {
            let argument = <(f64,) as ferrokiq::active_job::Arguments>::from_json(&raw).unwrap();
            ferrokiq::active_job::Arguments::into_json(argument).unwrap()
        }),
    ]
}

/// The float that JSON means, to the last bit, as `strtod` reads it and so Ruby.
fn bits(raw: &str) -> u64 {
    raw.trim_matches(['[', ']']).parse::<f64>().unwrap().to_bits()
}

/// Whether Ruby reads a `Float` and not an `Integer`.
fn is_float(raw: &str) -> bool {
    raw.contains(['.', 'e', 'E'])
}

fn check(kind: &str, expected: u64, raw: &str) {
    assert_eq!(bits(raw), expected, "{kind}: {raw}");
    for (way, back) in handed_back(raw) {
        assert!(bits(&back) == expected && is_float(&back), "{kind}, {way}: {raw} became {back}");
    }
}

#[test]
fn floats_that_ruby_wrote_come_back_as_the_same_floats() {
    for major in super::MAJORS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ruby-fixtures/sidekiq-{major}/floats.json"));
        let recorded: Vec<Recorded> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(recorded.len() > 500);
        for Recorded(kind, hex, raw) in recorded {
            check(&kind, u64::from_str_radix(&hex, 16).unwrap(), &raw);
            let (_, kept) = handed_back(&raw).remove(2);
            assert_eq!(kept, format!("[{raw}]"), "what is not changed stays the same bytes");
        }
    }
}

/// A sequence of 64-bit numbers that is the same each time: `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> f64 {
        (self.bits() % limit) as f64
    }
}

type Draw = fn(&mut Dice) -> f64;

#[test]
fn twenty_thousand_floats_of_each_kind_come_back_as_the_same_floats() {
    let kinds: [(&str, Draw); 6] = [
        ("random bits", |dice| f64::from_bits(dice.bits())),
        ("thirds", |dice| dice.below(1_000_000) / 3.0),
        ("decimals", |dice| dice.below(1_000_000) / 10_f64.powi((dice.bits() % 7) as i32)),
        ("extremes", |dice| match dice.bits() {
            bits if bits % 2 == 0 => f64::from_bits(bits >> 12),
            bits => f64::from_bits((2046 << 52) + (bits >> 12)),
        }),
        ("integers", |dice| dice.below(1 << 60) - (1_u64 << 59) as f64),
        ("money", |dice| dice.below(100_000_000) / 100.0 * 1.19),
    ];
    let mut dice = Dice(1_795_408_404);
    for (kind, draw) in kinds {
        let floats: Vec<f64> =
            std::iter::repeat_with(|| draw(&mut dice)).filter(|f| f.is_finite()).take(20_000).collect();
        for float in floats {
            // Shortest digits that read back the same, as Ruby prints them.
            check(kind, float.to_bits(), &format!("{float:?}"));
        }
    }
}
