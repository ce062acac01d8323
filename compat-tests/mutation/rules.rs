//! Makes mutants of scripts: one change each.

use std::fmt;
use std::ops::Range;

use crate::lua::{Kind, Line, Token, classify, tokens};

/// One change of one script.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    /// `fence`, `lib/dead`.
    pub(crate) script: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    /// The line before and after, without its indent; after a swap or a drop, what happened to it.
    pub(crate) before: String,
    pub(crate) after: String,
    /// Counted from 1 among those of the script that look the same.
    pub(crate) copy: usize,
    /// The whole script after the change.
    pub(crate) text: String,
}

impl Mutant {
    /// The same as long as neither the line nor the rule changes, wherever the line is.
    pub(crate) fn id(&self) -> String {
        let copy = if self.copy > 1 { format!(" [{}]", self.copy) } else { String::new() };
        format!("{} | {} | {} | {}{copy}", self.script, self.rule, self.before, self.after)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.lua:{} | {} | {} | {}", self.script, self.line, self.rule, self.before, self.after)
    }
}

/// Constants from here on are bounds: one more or less shows nowhere, so they become 1.
const BOUND: u64 = 64;

/// Returns all mutants of a script, those of its first lines first.
pub(crate) fn mutants(script: &str, text: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut previous: Option<usize> = None;
    for (number, line) in lines.iter().enumerate() {
        let tokens = tokens(line);
        if tokens.is_empty() {
            continue;
        }
        let mut add = |rule, after: String, replaced: Vec<String>, range: Range<usize>| {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines.splice(range, replaced);
            let before = line.trim().to_owned();
            let alike = |mutant: &&Mutant| (mutant.rule, &mutant.before, &mutant.after) == (rule, &before, &after);
            let copy = 1 + mutants.iter().filter(alike).count();
            mutants.push(Mutant {
                copy,
                script: script.to_owned(),
                line: number + 1,
                rule,
                before,
                after,
                text: lines.join("\n"),
            });
        };
        let kind = classify(line, &tokens);
        if kind == Line::Statement {
            let rule = if line.contains("'EXPIRE'") { "ttl" } else { "drop" };
            add(rule, "(dropped)".to_owned(), vec![], number..number + 1);
        }
        if let Some(above) = previous.filter(|above| may_swap(lines[*above], line)) {
            let mut swapped: Vec<String> = lines[above..=number].iter().map(|line| (*line).to_owned()).collect();
            let last = swapped.len() - 1;
            swapped.swap(0, last);
            add("swap", "(before the line above)".to_owned(), swapped, above..number + 1);
        }
        for (rule, changed) in changes(line, &tokens, kind) {
            add(rule, changed.trim().to_owned(), vec![changed], number..number + 1);
        }
        previous = (kind != Line::Other).then_some(number);
    }
    mutants
}

/// Whether two statements can change places and each still finds its names, and both are commands: the order of anything else shows nowhere.
fn may_swap(above: &str, below: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let words = |line: &str| -> Vec<String> {
        let tokens = tokens(line).into_iter().filter(|token| token.kind == Kind::Word);
        tokens.map(|token| line[token.span].to_owned()).collect()
    };
    let names = |line: &str| -> Vec<String> {
        if !line.trim_start().starts_with("local ") {
            return Vec::new();
        }
        words(line.split('=').next().unwrap_or_default()).split_off(1)
    };
    let is_command = |line: &str| {
        let tokens = tokens(line);
        line.contains("call(")
            || (tokens.len() > 1 && tokens[0].kind == Kind::Word && &line[tokens[1].span.clone()] == "(")
    };
    let jumps = |line: &str| ["return", "break"].iter().any(|word| line.trim_start().starts_with(word));
    let below_words = words(below);
    indent(above) == indent(below)
        && is_command(above)
        && is_command(below)
        && !jumps(above)
        && !jumps(below)
        && !names(above).iter().any(|name| below_words.contains(name))
}

/// Returns the changes of a single line, each with its rule.
fn changes(line: &str, tokens: &[Token], kind: Line) -> Vec<(&'static str, String)> {
    let text = |token: &Token| &line[token.span.clone()];
    let with = |span: &Range<usize>, new: &str| format!("{}{new}{}", &line[..span.start], &line[span.end..]);
    let mut changes = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let span = &token.span;
        let neighbour = |step: isize| at.checked_add_signed(step).and_then(|at| tokens.get(at)).map_or("", text);
        match (token.kind, text(token)) {
            (Kind::Sign | Kind::Word, sign) => {
                let negated = match sign {
                    "==" => "~=",
                    "~=" => "==",
                    "<" => ">=",
                    ">=" => "<",
                    ">" => "<=",
                    "<=" => ">",
                    "and" => "or",
                    "or" => "and",
                    "not" => "",
                    _ => continue,
                };
                changes.push(("negate", with(span, negated)));
                let shifted = match sign {
                    "<" => "<=",
                    "<=" => "<",
                    ">" => ">=",
                    ">=" => ">",
                    _ => continue,
                };
                changes.push(("boundary", with(span, shifted)));
            }
            (Kind::Number, number) => {
                // `KEYS[1]` names the key; another index makes another script.
                let is_index = neighbour(-1) == "[" && neighbour(1) == "]";
                let Some(number) = number.parse::<u64>().ok().filter(|_| !is_index) else { continue };
                let other = if number < BOUND { number + 1 } else { 1 };
                changes.push(("constant", with(span, &other.to_string())));
            }
            (Kind::Text, word) => match word {
                "'LPUSH'" => changes.push(("end", with(span, "'RPUSH'"))),
                "'RPUSH'" => changes.push(("end", with(span, "'LPUSH'"))),
                "'LPOP'" => changes.push(("end", with(span, "'RPOP'"))),
                "'RPOP'" => changes.push(("end", with(span, "'LPOP'"))),
                "'LEFT'" => changes.push(("end", with(span, "'RIGHT'"))),
                "'RIGHT'" => changes.push(("end", with(span, "'LEFT'"))),
                "'EXPIRE'" if kind != Line::Statement => changes.push(("ttl", with(span, "'EXISTS'"))),
                "'NX'" | "'XX'" | "'REV'" => changes.push(("flag", with(&(tokens[at - 1].span.start..span.end), ""))),
                "'EX'" | "'PX'" => {
                    let end = tokens[at + 2..].iter().find(|token| [",", ")"].contains(&text(token)));
                    let end = end.map_or(line.len(), |token| token.span.start);
                    changes.push(("ttl", with(&(tokens[at - 1].span.start..end), "")));
                }
                _ => {}
            },
        }
    }
    changes.extend(negated_condition(line, tokens).map(|line| ("negate", line)));
    changes
}

/// Negates the condition of `if`, `elseif` or `while` where no operator in it can be negated.
fn negated_condition(line: &str, tokens: &[Token]) -> Option<String> {
    let text = |token: &Token| &line[token.span.clone()];
    let from = tokens.iter().position(|token| ["if", "elseif", "while"].contains(&text(token)))?;
    let to = tokens.iter().position(|token| ["then", "do"].contains(&text(token)))?;
    let condition = &tokens[from + 1..to];
    let operators = ["==", "~=", "<", "<=", ">", ">=", "and", "or", "not"];
    if condition.iter().any(|token| operators.contains(&text(token))) {
        return None;
    }
    let span = condition.first()?.span.start..condition.last()?.span.end;
    Some(format!("{}not ({}){}", &line[..span.start], &line[span.clone()], &line[span.end..]))
}
