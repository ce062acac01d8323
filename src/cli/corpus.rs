//! Reads every file of `ruby-fixtures/sidekiq_yml/` and compares with what Ruby's `Sidekiq::CLI#parse` made of it, as
//! `ruby-fixtures/sidekiq_yml.rb` recorded for three major versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::asked_to_debug;
use super::config_file::ConfigFile;
use super::settings::{Settings, Variables};
use crate::server::ServerBuilder;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ruby-fixtures/sidekiq_yml");

/// Where this worker differs on purpose: the file, the major versions of Sidekiq, and why.
const DIFFERENCES: &[(&str, &[u8], &str)] = &[
    // This worker does not start; Ruby starts and does what nobody meant.
    ("queues_empty_list", &[8, 7, 6], "a worker that serves no queue is a mistake; Sidekiq 6 serves default"),
    ("queues_with_a_map_in_the_list", &[8, 7, 6], "`- critical: 5` serves a queue named `{\"critical\"=>5}` in Ruby"),
    ("queues_with_an_empty_item", &[8, 7], "an empty item serves a queue without a name in Ruby"),
    ("symbol_with_comma", &[8, 7, 6], "`:\"low,2\"` serves a queue named `low,2` in Ruby"),
    ("negative_weight", &[8, 7, 6], "Ruby counts a negative weight as 1 and shows it as it is"),
    ("capsule_without_queues", &[8, 7, 6], "a capsule that serves no queue is a mistake; Sidekiq 6 has no capsules"),
    // Ruby code.
    ("erb_ruby", &[8, 7, 6], "needs Ruby"),
    ("erb_statement", &[8, 7, 6], "needs Ruby"),
    ("erb_statement_in_a_comment", &[8, 7, 6], "Ruby runs a statement in a comment of the YAML"),
    ("erb_unclosed", &[8, 7, 6], "Ruby takes the rest of the file for the tag"),
    // This worker starts; Ruby does not, or not with all of the file.
    ("byte_order_mark", &[8, 7, 6], "libyaml ends the map after its first key, without an error"),
    ("weights_as_a_flow_map", &[8, 7, 6], "libyaml takes no `:symbol` inside of brackets"),
    ("capsule_without_concurrency", &[8, 7], "5 jobs at a time, as for the default capsule; Ruby fails to compare nil"),
    // Sidekiq 6 differs from Sidekiq 7 and 8, which this worker follows.
    ("capsule_concurrency_is_text", &[6], "no capsules"),
    ("capsule_default", &[6], "no capsules"),
    ("capsule_empty", &[6], "no capsules"),
    ("capsules_as_a_list", &[6], "no capsules"),
    ("erb_percent_close", &[6], "no `-%>`"),
    ("queue_twice", &[6], "a queue cannot be given twice"),
    ("queues_inline", &[6], "no weight in a string"),
    ("weights_in_strings", &[6], "no weight in a string"),
    ("weights_odd_strings", &[6], "no weight in a string"),
    ("weights_odd_pairs", &[6], "no third item"),
    ("queues_one_number", &[6], "queues are a list or a map"),
    ("queues_one_word", &[6], "queues are a list or a map"),
    ("queues_one_word_with_weight", &[6], "queues are a list or a map"),
    ("debug_invocation", &[7, 6], "since Sidekiq 8.1"),
    ("quoted_keys", &[6], "10 jobs at a time by default"),
];

/// What is compared: `capsules`, `timeout`, `tag`, `verbose`; `null` if the worker does not start.
fn ours(path: &Path, text: &str) -> (Value, String) {
    let mut variables = BTreeMap::from([("APP_ENV", "production")]);
    variables.extend(text.lines().map_while(|line| line.strip_prefix("# with ")?.split_once('=')));
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let environment = ["APP_ENV", "RAILS_ENV"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let read = || {
        let file = ConfigFile::parse(path, text, &environment.unwrap_or_default(), &variable)?;
        let (settings, remarks) = Settings::from_file(&file)?;
        let tag = settings.tag.clone();
        let verbose = settings.verbose.unwrap_or(false) || asked_to_debug(variable("DEBUG_INVOCATION"));
        let variables = Variables { max_threads: variable("RAILS_MAX_THREADS"), ..Variables::default() };
        let config = settings.apply(ServerBuilder::default(), variables)?.config;
        let capsules: serde_json::Map<String, Value> = config
            .build_capsules()?
            .iter()
            .map(|capsule| {
                let mode = capsule.mode().as_str();
                let shown = json!({"concurrency": capsule.concurrency(), "mode": mode, "weights": capsule.weights()});
                (capsule.name().to_owned(), shown)
            })
            .collect();
        let timeout = config.timeout.as_secs_f64();
        crate::Result::Ok((
            json!({"capsules": capsules, "timeout": timeout, "tag": tag, "verbose": verbose}),
            remarks.join("\n"),
        ))
    };
    read().unwrap_or_else(|error: crate::Error| (Value::Null, error.to_string()))
}

/// What Sidekiq 6 shows of the same: one capsule, weights of 1 at least, and no difference between random and weighted.
fn as_sidekiq_6(value: &Value) -> Value {
    let mut value = value.clone();
    let Some(capsules) = value.get_mut("capsules").and_then(Value::as_object_mut) else { return value };
    capsules.retain(|name, _| name == "default");
    let capsule = &mut capsules["default"];
    if capsule["mode"] == "random" {
        capsule["mode"] = json!("weighted");
    }
    for weight in capsule["weights"].as_array_mut().into_iter().flatten() {
        weight[1] = json!(weight[1].as_i64().unwrap_or_default().max(1));
    }
    value
}

fn recorded(major: u8) -> BTreeMap<String, Value> {
    let path = Path::new(DIR).join(format!("sidekiq-{major}.json"));
    let recorded: BTreeMap<String, Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let refused_is_null = |value: Value| if value.get("refused").is_some() { Value::Null } else { value };
    recorded.into_iter().map(|(name, value)| (name, refused_is_null(value))).collect()
}

fn files() -> BTreeMap<String, PathBuf> {
    let paths = std::fs::read_dir(DIR).unwrap().map(|entry| entry.unwrap().path());
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yml");
    paths.filter(is_yaml).map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

#[test]
fn every_file_means_what_it_means_in_ruby() {
    let files = files();
    assert!(files.len() >= 150, "{}", files.len());
    let mut listed: BTreeSet<(&str, u8)> =
        DIFFERENCES.iter().flat_map(|(name, majors, _)| majors.iter().map(move |major| (*name, *major))).collect();
    let mut wrong = Vec::new();
    for major in [8, 7, 6] {
        let recorded = recorded(major);
        assert!(recorded.keys().eq(files.keys()), "record again: ruby-fixtures/sidekiq_yml.rb");
        for (name, path) in &files {
            let (ours, said) = ours(path, &std::fs::read_to_string(path).unwrap());
            let ours = if major == 6 { as_sidekiq_6(&ours) } else { ours };
            let is_listed = listed.remove(&(name.as_str(), major));
            if (ours != recorded[name]) != is_listed {
                wrong.push(format!("{name} on {major}:\n  ruby {}\n  ours {ours} {said}", recorded[name]));
            }
        }
    }
    assert!(wrong.is_empty() && listed.is_empty(), "{} wrong\n{}\n{listed:?}", wrong.len(), wrong.join("\n"));
}

/// Each section that is not served gets a line of the log.
#[test]
fn nothing_is_passed_over_without_a_word() {
    for (name, keys) in [
        ("gem_limit_fetch", &["limits ", "process_limits ", "blocking ", "dynamic "][..]),
        ("gem_scheduler", &["scheduler "]),
        ("gem_schedule", &["schedule ", "dynamic "]),
        ("gem_cron", &["cron ", "cron_poll_interval "]),
        ("redis_section", &["redis ", "namespace "]),
        ("capsule_mistyped", &["capsule is no setting of ferrokiq and is ignored; did you mean capsules?"]),
        ("capsule_with_further_keys", &["mode of capsule one "]),
        ("quoted_keys", &[":concurrency is no setting of ferrokiq and is ignored; did you mean concurrency?"]),
        ("old_keys", &["daemon "]),
        ("section_over_defaults", &[]),
        ("merge_two", &[]),
    ] {
        let path = Path::new(DIR).join(format!("{name}.yml"));
        let (read, said) = ours(&path, &std::fs::read_to_string(&path).unwrap());
        assert!(read.is_object(), "{said}");
        assert_eq!(said.lines().count(), keys.len(), "{said}");
        for key in keys {
            assert!(said.lines().any(|line| line.contains(&format!("{name}.yml: {key}"))), "{key}: {said}");
        }
    }
}
