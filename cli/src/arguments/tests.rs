use super::*;

/// All commands that do something, with what stands before them.
fn leaves(command: &clap::Command, before: &str) -> Vec<(String, clap::Command)> {
    let name = format!("{before}{}", command.get_name());
    let below: Vec<_> =
        command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()).collect();
    match below.as_slice() {
        [] => vec![(name, command.clone())],
        below => below.iter().flat_map(|sub| leaves(sub, &format!("{name} "))).collect(),
    }
}

/// Words as a shell divides them, up to a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.chars() {
        let last = words.last_mut().expect("there is one");
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), c) => last.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, c) => last.push(c),
        }
    }
    words.into_iter().take_while(|word| !matches!(word.as_str(), "|" | ">" | "<" | "#")).collect()
}

#[test]
fn makes_sense_to_clap() {
    cli().debug_assert();
}

#[test]
fn every_command_says_what_it_does_and_has_examples_that_parse() {
    let all = leaves(&cli(), "");
    assert!(all.len() > 5, "{all:?}");
    for (name, command) in all {
        assert!(command.get_about().is_some(), "{name}");
        let help = command.get_after_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
        let examples: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once("ferrokiq "))
            .map(|(_, line)| line)
            .collect();
        assert!(!examples.is_empty(), "{name}: {help}");
        for example in &examples {
            let mut said = words(example);
            said.retain(|word| !word.is_empty());
            said.insert(0, "ferrokiq".to_owned());
            if let Err(error) = cli().try_get_matches_from(said) {
                panic!("{name}: {example}: {error}");
            }
        }
        let own = name.split_once(' ').map_or("", |(_, rest)| rest);
        assert!(examples.iter().any(|example| example.starts_with(own)), "{name}: {help}");
    }
}

#[test]
fn every_argument_is_explained() {
    for (name, command) in leaves(&cli(), "") {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
        }
    }
}

/// The guide names every command and exit code, and what it shows makes sense.
#[test]
fn the_guide_is_complete() {
    let guide = include_str!("../../../docs/guide/operating.md");
    for (name, _) in leaves(&cli(), "") {
        let own = name.split_once(' ').map_or("", |(_, rest)| rest);
        assert!(guide.contains(&format!("`{own}`")), "{own}");
    }
    for (code, meaning) in Code::ALL {
        let row = format!("| {} | {meaning} |", code as u8);
        assert!(guide.contains(&row), "{row}");
    }
    let blocks = guide.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown = blocks.flat_map(str::lines).filter(|line| !line.starts_with("cargo "));
    let mut count = 0;
    for example in shown.filter_map(|line| Some(line.split_once("ferrokiq ")?.1)) {
        let mut said = words(example);
        said.insert(0, "ferrokiq".to_owned());
        if let Err(error) = cli().try_get_matches_from(&said) {
            panic!("{example}: {error}");
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
