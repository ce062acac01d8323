use std::time::{Duration, Instant};

use ferrokiq::api::{JobRecord, QueueSummary, SortedEntry, Stats};
use ferrokiq::time::EpochSecs;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::keys::Key;
use super::model::Verb;
use super::model::{PAGE, Request, Row, Snapshot, Tab};
use super::state::{Effect, State};
use super::theme::Theme;
use super::view;

fn stats(processed: u64) -> Stats {
    Stats::of(processed, 2)
}

fn job(n: usize) -> Row {
    let json = format!(
        r#"{{"class":"Job{n}","args":[{n},"\u001b[2J"],"jid":"jid{n}","queue":"default","error_class":"Oops","error_message":"bad\nluck"}}"#
    );
    Row::Job(SortedEntry { record: JobRecord::of(json.as_bytes()), score: EpochSecs::now() })
}

fn snapshot(state: &State, rows: Vec<Row>, total: usize) -> Snapshot {
    Snapshot {
        of: state.request(),
        at: Instant::now(),
        stats: stats(1_000),
        rows,
        total,
        searched: None,
        server: None,
        work: Vec::new(),
        metrics: None,
    }
}

fn state() -> State {
    State::new("redis://127.0.0.1:6379/0".to_owned())
}

/// On a tab with rows.
fn at(tab: Tab, rows: usize, total: usize) -> State {
    let mut state = state();
    press(&mut state, &[Key::Char((b'1' + tab as u8) as char)]);
    let snapshot = snapshot(&state, (0..rows).map(job).collect(), total);
    state.on_loaded(Ok(snapshot));
    state
}

fn press(state: &mut State, keys: &[Key]) -> Effect {
    keys.iter().map(|key| state.on_key(*key)).last().unwrap()
}

fn letters(state: &mut State, text: &str) -> Effect {
    press(state, &text.chars().map(Key::Char).collect::<Vec<_>>())
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme { has_colour: false };
    terminal.draw(|frame| view::draw(frame, state, theme, Instant::now())).unwrap();
    terminal.backend().to_string()
}

#[test]
fn goes_round_the_tabs() {
    let mut state = state();
    for tab in [Tab::Busy, Tab::Queues, Tab::Scheduled, Tab::Retries, Tab::Dead, Tab::Metrics, Tab::Home] {
        assert!(matches!(state.on_key(Key::Right), Effect::Load));
        assert_eq!(state.tab, tab);
    }
    press(&mut state, &[Key::Left]);
    assert_eq!(state.tab, Tab::Metrics);
    assert!(matches!(letters(&mut state, "q"), Effect::Quit));
    assert!(matches!(press(&mut state, &[Key::Char('?'), Key::CtrlC]), Effect::Quit));
}

#[test]
fn does_things_to_the_row_it_is_at_or_to_what_is_selected() {
    let mut state = at(Tab::Retries, 3, 3);
    let Effect::Do(command) = letters(&mut state, "jR") else { panic!("nothing is done") };
    assert_eq!((command.verb, command.rows.len(), command.rows[0].name()), (Verb::Retry, 1, "Job1 jid1".to_owned()));
    let Effect::Do(command) = letters(&mut state, "xkxR") else { panic!("nothing is done") };
    assert_eq!(command.rows.iter().map(Row::name).collect::<Vec<_>>(), ["Job0 jid0", "Job1 jid1"]);
    assert!(state.selected.is_empty());
    letters(&mut state, "A");
    assert_eq!(state.selected.len(), 3);
    letters(&mut state, "A");
    assert!(state.selected.is_empty());
}

#[test]
fn asks_before_something_is_taken_away() {
    let mut state = at(Tab::Dead, 2, 2);
    assert!(matches!(letters(&mut state, "D"), Effect::None));
    assert!(screen(&state, 80, 24).contains("Delete Job0 jid0? y: yes, any other key: no"));
    assert!(matches!(letters(&mut state, "n"), Effect::None));
    assert!(matches!(letters(&mut state, "y"), Effect::None), "it was taken back");
    assert!(matches!(letters(&mut state, "Dy"), Effect::Do(command) if command.verb == Verb::Delete));
    assert!(matches!(letters(&mut state, "K"), Effect::None), "the dead cannot be killed");
    assert!(matches!(letters(&mut at(Tab::Retries, 0, 0), "R"), Effect::None), "there is nothing");
}

#[test]
fn turns_pages_and_comes_back_when_they_are_gone() {
    let mut state = at(Tab::Scheduled, PAGE, 2 * PAGE + 1);
    assert!(matches!(letters(&mut state, "h"), Effect::None));
    for page in [1, 2] {
        assert!(matches!(letters(&mut state, "l"), Effect::Load));
        assert_eq!(state.request(), Request { tab: Tab::Scheduled, page, filter: None });
        let snapshot = snapshot(&state, vec![job(page)], 2 * PAGE + 1);
        state.on_loaded(Ok(snapshot));
    }
    assert!(matches!(letters(&mut state, "l"), Effect::None), "there are no more");
    let snapshot = snapshot(&state, Vec::new(), PAGE);
    state.on_loaded(Ok(snapshot));
    assert_eq!(state.page, 0);
}

#[test]
fn filters_by_what_is_typed() {
    let mut state = at(Tab::Retries, 3, 3);
    assert!(matches!(letters(&mut state, "/qR"), Effect::Load), "letters are text");
    assert_eq!(state.request().filter.as_deref(), Some("qR"));
    press(&mut state, &[Key::Backspace, Key::Enter]);
    assert_eq!((state.request().filter.as_deref(), state.is_filtering), (Some("q"), false));
    assert!(screen(&state, 80, 24).contains("Filter: q"));
    assert!(matches!(press(&mut state, &[Key::Esc]), Effect::Load));
    assert_eq!(state.request().filter, None);
}

#[test]
fn an_answer_to_an_older_question_shows_no_rows() {
    let mut state = at(Tab::Retries, 3, 3);
    let late = snapshot(&state, vec![job(1)], 1);
    press(&mut state, &[Key::Right]);
    state.on_loaded(Ok(late));
    assert!(state.rows().is_empty());
}

#[test]
fn counts_jobs_a_second_however_far_apart_the_answers_are() {
    let mut state = state();
    let mut first = snapshot(&state, Vec::new(), 0);
    let began = first.at;
    for (secs, processed) in [(0, 1_000), (2, 1_100), (8, 1_400), (12, 1_600), (14, 0)] {
        first.at = began + Duration::from_secs(secs);
        first.stats = stats(processed);
        state.on_loaded(Ok(first.clone()));
    }
    assert_eq!(state.rates.iter().map(|rate| rate.processed).collect::<Vec<_>>(), [50.0, 50.0, 0.0]);
}

#[test]
fn an_idle_server_has_a_line_at_zero_and_each_empty_list_has_a_text() {
    let mut state = state();
    let mut idle = snapshot(&state, Vec::new(), 0);
    let began = idle.at;
    idle.stats = Stats::of(0, 0);
    for secs in [0, 2, 4, 6] {
        idle.at = began + Duration::from_secs(secs);
        state.on_loaded(Ok(idle.clone()));
    }
    let shown = screen(&state, 80, 24);
    let dots = shown.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
    assert!(dots > 60, "{shown}");
    for (tab, words) in [
        (Tab::Busy, "No processes"),
        (Tab::Queues, "No queues"),
        (Tab::Scheduled, "No jobs"),
        (Tab::Retries, "No jobs"),
        (Tab::Dead, "No jobs"),
    ] {
        let shown = screen(&at(tab, 0, 0), 80, 24);
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn trouble_is_told_and_the_data_stays() {
    let mut state = at(Tab::Retries, 3, 3);
    state.on_loaded(Err("Redis does not answer".to_owned()));
    let told = screen(&state, 100, 24);
    assert!(told.contains("trying again: Redis does not answer") && told.contains("Job2"), "{told}");
    let fresh = snapshot(&state, vec![job(7)], 1);
    state.on_loaded(Ok(fresh));
    let told = screen(&state, 100, 24);
    assert!(!told.contains("trying again") && told.contains("Job7"), "{told}");
}

#[test]
fn old_data_is_said_to_be_old() {
    let state = at(Tab::Retries, 1, 1);
    let later = Instant::now() + Duration::from_secs(30);
    assert_eq!(state.age(Instant::now()), None);
    assert!(state.age(later).is_some_and(|age| age.as_secs() >= 29));
}

#[test]
fn shows_text_of_others_escaped() {
    let told = screen(&at(Tab::Dead, 1, 1), 120, 30);
    assert!(told.contains(r"\u{1b}[2J") || told.contains(r"\u001b[2J"), "{told}");
    assert!(told.contains(r"Oops: bad\nluck"), "{told}");
    assert!(!told.contains('\u{1b}'));
    let mut queues = at(Tab::Queues, 0, 0);
    let mut hostile = snapshot(&queues, Vec::new(), 1);
    hostile.rows = vec![Row::Queue(QueueSummary::of("a\u{1b}]0;x\u{202e}", 3))];
    queues.on_loaded(Ok(hostile));
    let told = screen(&queues, 120, 30);
    assert!(told.contains(r"a\u{1b}]0;x\u{202e}"), "{told}");
}

#[test]
fn every_tab_fits_every_terminal() {
    for tab in Tab::ALL {
        let mut state = at(tab, 30, 1_000_000);
        for (width, height) in [(1, 1), (2, 3), (10, 5), (20, 10), (40, 17), (80, 24), (300, 100)] {
            screen(&state, width, height);
            letters(&mut state, "?");
            screen(&state, width, height);
            letters(&mut state, "?");
        }
        assert!(screen(&state, 80, 24).contains(tab.name()));
    }
}
