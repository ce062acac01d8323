//! What is shipped in `packaging/` agrees with the code, and each file with itself.

use std::path::Path;

use clap::Parser;
use saphyr::{LoadableYamlNode, Yaml};

use super::args::{Command, Flags};
use super::settings::Health;
use super::size::parse_size;
use super::{OVER_MEMORY, notify};
use crate::server::{DEFAULT_HEALTH, MaxRss};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
    std::fs::read_to_string(path).expect("it is shipped")
}

/// What a worker makes of a command line.
fn flags<S: AsRef<str>>(words: &[S]) -> Flags {
    Flags::try_parse_from(words.iter().map(AsRef::as_ref)).unwrap_or_else(|error| panic!("{error}"))
}

/// The timeout of running jobs in seconds, the health port and the memory limit of a command line.
fn settings_of(flags: &Flags) -> (u64, Option<u16>, Option<MaxRss>) {
    let settings = flags.settings().expect("they make sense");
    (
        settings.timeout.map_or(25, |timeout| timeout.as_secs()),
        settings.health.and_then(Health::address).map(|at| at.port()),
        settings.max_rss,
    )
}

/// Whether a worker stops itself before it is killed for using so many bytes.
fn stops_below(max_rss: Option<MaxRss>, bytes: u64) -> bool {
    match max_rss {
        // By that limit itself.
        Some(MaxRss::Auto) => true,
        Some(MaxRss::Bytes(max)) => max < bytes,
        None => false,
    }
}

/// So much longer than the jobs a stop may take.
fn beyond() -> u64 {
    notify::BEYOND.as_secs()
}

#[test]
fn the_unit_agrees_with_the_worker() {
    let unit = read("systemd/ferrokiq-worker.service");
    let value = |key: &str| {
        let found = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{key} is said")).trim().to_owned()
    };
    let secs = |key| value(key).parse::<u64>().expect("it is a number of seconds");
    let command = value("ExecStart");
    let flags = flags(&command.split(' ').collect::<Vec<_>>());
    let (timeout, port, max_rss) = settings_of(&flags);
    assert_eq!((value("Type").as_str(), value("Restart").as_str()), ("notify", "always"));
    assert!(secs("TimeoutStopSec") >= timeout + beyond(), "jobs that do not end in time have to be put back");
    assert_eq!(port, Some(DEFAULT_HEALTH.port()));
    assert_eq!(value("SuccessExitStatus"), OVER_MEMORY.to_string());
    assert!(
        secs("WatchdogSec") >= 60,
        "a process counts as hung after 20 s, and the watchdog is fed every half of its time"
    );
    let max = parse_size(&value("MemoryMax")).expect("it is a size");
    assert!(stops_below(max_rss, max), "the worker must stop before it is killed");
}

#[test]
fn the_image_agrees_with_the_worker() {
    let dockerfile = read("Dockerfile");
    let list = |after: &str| -> Vec<String> {
        let (_, list) = dockerfile.split_once(after).unwrap_or_else(|| panic!("{after}"));
        serde_json::from_str(list.lines().next().unwrap_or_default()).expect("it is a list")
    };
    let (_, port, _) = settings_of(&flags(&list("\nENTRYPOINT ")));
    assert_eq!(port, Some(DEFAULT_HEALTH.port()));
    assert!(dockerfile.contains(&format!("\nEXPOSE {}\n", DEFAULT_HEALTH.port())));
    assert!(matches!(flags(&list(" CMD ")).command, Some(Command::Health(_))), "the image has no shell and no curl");
    assert!(dockerfile.contains(&format!("FROM rust:{}-slim-", env!("CARGO_PKG_RUST_VERSION"))));
    assert!(!dockerfile.contains("alpine"), "musl's allocator halves the throughput");
    let (_, last) = dockerfile.rsplit_once("\nFROM ").expect("there are stages");
    assert!(last.starts_with("scratch\n") && last.contains("\nUSER 10001:10001\n"), "nobody is root");
    assert!(last.contains("\nSTOPSIGNAL SIGTERM\n"));
}

#[test]
fn the_procfile_agrees_with_the_worker() {
    let procfile = read("Procfile");
    let line = procfile.lines().find_map(|line| line.strip_prefix("rust: ")).expect("there is a worker");
    let (timeout, _, max_rss) = settings_of(&flags(&line.split(' ').collect::<Vec<_>>()));
    assert!(timeout + beyond() > 30 || timeout <= 25, "Heroku kills after 30 s");
    assert!(stops_below(max_rss, 512 << 20), "a dyno has 512 MB");
}

/// What stands at a path of keys and, in lists, numbers.
fn at<'a>(mut yaml: &'a Yaml<'a>, path: &str) -> &'a Yaml<'a> {
    for key in path.split('.') {
        yaml = match key.parse::<usize>() {
            Ok(place) => yaml.as_sequence().and_then(|list| list.get(place)),
            Err(_) => yaml.as_mapping_get(key),
        }
        .unwrap_or_else(|| panic!("{path}: {key} is said"));
    }
    yaml
}

fn number(yaml: &Yaml<'_>, path: &str) -> u64 {
    let found = at(yaml, path).as_integer().and_then(|number| u64::try_from(number).ok());
    found.unwrap_or_else(|| panic!("{path} is a number"))
}

#[test]
fn the_kubernetes_example_agrees_with_the_worker() {
    let text = read("kubernetes/worker.yaml");
    let documents = Yaml::load_from_str(&text).expect("it is YAML");
    let pod = at(&documents[0], "spec.template.spec");
    let container = at(pod, "containers.0");
    let args = at(container, "args").as_sequence().expect("they are a list");
    let words: Vec<&str> = args.iter().map(|word| word.as_str().expect("it is text")).collect();
    let (timeout, port, max_rss) = settings_of(&flags(&[&["worker"], words.as_slice()].concat()));

    let grace = number(pod, "terminationGracePeriodSeconds");
    let pre_stop = number(container, "lifecycle.preStop.sleep.seconds");
    assert!(grace >= pre_stop + timeout + beyond(), "jobs that do not end in time have to be put back");
    assert_eq!(port.map(u64::from), Some(number(container, "ports.0.containerPort")));
    let annotated = at(&documents[0], "spec.template.metadata.annotations").as_mapping_get("prometheus.io/port");
    assert_eq!(annotated.and_then(|port| port.as_str()), Some(DEFAULT_HEALTH.port().to_string().as_str()));
    for (probe, path) in [("startupProbe", "/ready"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")] {
        assert_eq!(
            at(container, probe).as_mapping_get("httpGet").map(|get| at(get, "path").as_str()),
            Some(Some(path))
        );
    }
    let limit =
        parse_size(at(container, "resources.limits.memory").as_str().expect("it is text")).expect("it is a size");
    assert!(stops_below(max_rss, limit), "the worker must stop before it is killed");
    assert_eq!(at(container, "securityContext.readOnlyRootFilesystem").as_bool(), Some(true));
    assert_eq!(at(pod, "securityContext.runAsNonRoot").as_bool(), Some(true));

    let scaled_by = at(&documents[2], "spec.metrics.0.external.metric.name").as_str();
    assert_eq!(scaled_by, Some(crate::server::stats::catalog::QUEUE_LATENCY.name));
}

#[test]
fn the_guide_shows_what_is_shipped() {
    let guide = include_str!("../../docs/guide/deployment.md");
    for file in [
        "systemd/ferrokiq-worker.service",
        "Dockerfile",
        "Dockerfile.dockerignore",
        "kubernetes/worker.yaml",
        "Procfile",
    ] {
        assert!(guide.contains(&format!("packaging/{file}")), "{file}");
    }
}

#[test]
fn the_workflows_name_actions_by_hash_and_publish_before_they_release() {
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let mut actions = 0;
    for file in std::fs::read_dir(&workflows).expect("they are in the checkout") {
        let text = std::fs::read_to_string(file.expect("it can be read").path()).expect("it is text");
        for action in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let (_, hash) = action.split_once('@').expect("it has a version");
            let (hash, tag) = hash.split_once(" # v").expect("its tag is named beside the hash");
            assert!(
                hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && !tag.is_empty(),
                "{action}"
            );
            actions += 1;
        }
    }
    assert!(actions > 0);
    let release = std::fs::read_to_string(workflows.join("release.yml")).expect("it is there");
    let (publish, announce) = (release.rfind("cargo publish"), release.find("gh release create"));
    assert!(publish.is_some() && publish < announce, "a version that is announced can be had");
}
