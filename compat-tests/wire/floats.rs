//! Floats go from Ruby through Rust and back without a change: typed arguments, `Value` and arguments of ActiveJob.

use std::path::Path;

use ferrokiq::Args;
use ferrokiq::job::{RawArgs, Variadic};
use serde::Deserialize;
use serde_json::Value;

/// A float as Ruby wrote it; recorded by `ruby-fixtures/generate.rb`.
#[derive(Deserialize)]
struct Recorded(#[expect(dead_code, reason = "for people who read the file")] String, String, String);

/// Reads an array from Ruby in every way a job can and writes it again: what Ruby gets back.
fn handed_back(raw: &str) -> Vec<(&'static str, String)> {
    vec![
        ("typed", Variadic::<f64>::from_json(raw).unwrap().to_json().unwrap()),
        ("Value", Variadic::<Value>::from_json(raw).unwrap().to_json().unwrap()),
        ("raw", RawArgs::from_json(raw).unwrap().to_json().unwrap()),
        #[cfg(feature = "active-job")]
        ("ActiveJob", {
            use ferrokiq::active_job::{Argument, FromArgument, IntoArgument};
            let arguments = Argument::parse_all(raw).unwrap().into_iter();
            let floats = arguments.map(|argument| f64::from_argument(argument).unwrap().into_argument());
            Argument::write_all(&floats.collect::<Vec<_>>()).unwrap()
        }),
    ]
}

/// The float that JSON means, to the last bit, as `strtod` reads it and so Ruby; `None` for what Ruby reads as an `Integer`.
fn bits(raw: &str) -> Option<u64> {
    raw.contains(['.', 'e', 'E']).then(|| raw.parse::<f64>().unwrap().to_bits())
}

/// Hands floats, with what they mean, through every way.
fn check(kind: &str, floats: &[(u64, String)]) {
    let raw = format!("[{}]", floats.iter().map(|(_, raw)| raw.as_str()).collect::<Vec<_>>().join(","));
    for (way, back) in handed_back(&raw) {
        let back: Vec<&str> = back.trim_matches(['[', ']']).split(',').collect();
        assert_eq!(back.len(), floats.len());
        for ((expected, raw), back) in floats.iter().zip(back) {
            assert_eq!(bits(raw), Some(*expected), "{kind}: {raw}");
            assert_eq!(bits(back), Some(*expected), "{kind}, {way}: {raw} became {back}");
            assert!(way != "raw" || raw == back, "what is not changed stays the same bytes: {raw} became {back}");
        }
    }
}

#[test]
fn floats_that_ruby_wrote_come_back_as_the_same_floats() {
    for major in super::MAJORS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ruby-fixtures/sidekiq-{major}/floats.json"));
        let recorded: Vec<Recorded> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(recorded.len() > 500);
        let recorded = recorded.into_iter().map(|Recorded(_, hex, raw)| (u64::from_str_radix(&hex, 16).unwrap(), raw));
        check(&format!("Sidekiq {major}"), &recorded.collect::<Vec<_>>());
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
        let floats = std::iter::repeat_with(|| draw(&mut dice)).filter(|float| float.is_finite()).take(20_000);
        // Shortest digits that read back the same, as Ruby prints them.
        check(kind, &floats.map(|float| (float.to_bits(), format!("{float:?}"))).collect::<Vec<_>>());
    }
}
