//! The Lua scripts, each loaded when a server does not know it yet.

use once_cell::sync::Lazy;
use redis::Script;

/// `NAME = "file";` or, for a script that begins with parts it shares with others, `NAME = "lib/functions" + "file";`.
macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal $(+ $rest:literal)*;)*) => {
        $($(#[$doc])* pub(in crate::store) static $name: Lazy<Script> =
            Lazy::new(|| script(&[
                ($file, include_str!(concat!("lua/", $file, ".lua")))
                $(, ($rest, include_str!(concat!("lua/", $rest, ".lua"))))*
            ]));)*
    };
}

/// Joins the parts of a script, each with its name.
fn script(parts: &[(&str, &'static str)]) -> Script {
    Script::new(&checked(parts.iter().map(|(name, text)| text_of(name, text)).collect()))
}

#[cfg(not(test))]
fn checked(text: String) -> String {
    text
}

/// In the unit tests a script fails where a command names a key that it does not declare: some servers and proxies refuse such a command.
#[cfg(test)]
fn checked(mut text: String) -> String {
    let flags = if text.starts_with("#!") { text.find('\n').map_or(text.len(), |end| end + 1) } else { 0 };
    text.insert_str(flags, include_str!("script_tests/declared.lua"));
    text
}

#[cfg(not(all(debug_assertions, any(test, feature = "testing"))))]
fn text_of(_name: &str, text: &'static str) -> std::borrow::Cow<'static, str> {
    text.into()
}

/// For `bin/mutate`, in debug builds for tests alone: returns `NAME.lua` of the directory that `FERROKIQ_SCRIPTS` names, where there is one, and
/// records in `NAME.used` that a test loads this script.
#[cfg(all(debug_assertions, any(test, feature = "testing")))]
fn text_of(name: &str, text: &'static str) -> std::borrow::Cow<'static, str> {
    let Some(dir) = std::env::var_os("FERROKIQ_SCRIPTS").map(std::path::PathBuf::from) else { return text.into() };
    // Fails where a test runs elsewhere; then the test counts as one that does not load the script.
    let _ = std::fs::write(dir.join(format!("{name}.used")), "");
    std::fs::read_to_string(dir.join(format!("{name}.lua"))).map_or(text.into(), Into::into)
}

scripts! {
    /// Pushes to several queues, or to none.
    PUSH = "push";
    /// The same, passing over jobs that were pushed before.
    PUSH_ONCE = "push_once";
    /// Moves jobs of the schedule to scores that no other has.
    APART = "lib/score" + "apart";
    /// Adds to the schedule, each job at a score of its own, passing over jobs that were added before.
    SCHEDULE_ONCE = "lib/score" + "schedule_once";
    /// Marks a deploy.
    MARK_DEPLOY = "mark_deploy";
}

#[cfg(any(feature = "api", feature = "server"))]
mod server {
    use super::*;

    /// The text of [`SETTLE`] for jobs with riders, whose fragments are numbered from 1.
    pub(in crate::store) fn settle_with(fragments: &[&'static str]) -> String {
        let numbered =
            |(at, text): (usize, &&str)| format!("fragments[{}] = function(KEYS, ARGV)\n{text}\nend\n", at + 1);
        let fragments: String = fragments.iter().enumerate().map(numbered).collect();
        let part = |name, text| text_of(name, text).into_owned();
        checked(
            [
                part("lib/allow_oom", include_str!("lua/lib/allow_oom.lua")),
                "local fragments = {}\n".to_owned(),
                fragments,
                part("lib/riders", include_str!("lua/lib/riders.lua")),
                part("settle", include_str!("lua/settle.lua")),
            ]
            .concat(),
        )
    }

    scripts! {
        /// Moves one large due member, as [`PROMOTE`] does, as bytes that Redis makes from those it holds.
        PROMOTE_IN_PLACE = "lib/allow_oom" + "lib/score" + "lib/dead" + "lib/pieces" + "lib/due_in_place" + "promote";
        /// Moves jobs from queues into private lists.
        CLAIM = "claim";
        /// The same from queues that sidekiq-limit_fetch limits.
        CLAIM_LIMITED = "claim_limited";
        /// Corrects the entries of a process in the lists of sidekiq-limit_fetch.
        HOLD_PERMITS = "hold_permits";
        /// Removes the entries of dead processes from the lists of sidekiq-limit_fetch.
        FREE_PERMITS = "free_permits";
        /// Moves jobs from private lists into a sorted set or a queue, as new bytes.
        SETTLE = "lib/allow_oom" + "lib/no_riders" + "settle";
        /// Moves one large job out of a private list, as [`SETTLE`] does, as bytes that Redis makes from those it holds.
        SETTLE_IN_PLACE = "lib/allow_oom" + "lib/pieces" + "lib/in_place" + "lib/no_riders" + "settle";
        /// Removes what is no hash in the place of a process's settlements.
        MEND_SETTLEMENTS = "mend_settlements";
        /// Moves jobs from a private list back to their queue.
        REQUEUE = "requeue";
        /// Moves all jobs of a private list back to their queue.
        REQUEUE_LIST = "requeue_list";
        /// Looks how large the next jobs of queues are.
        SIZES = "sizes";
        /// Reads jobs of a private list by bytes.
        WINDOW = "window";
        /// Reads due members of a sorted set by Redis's own clock.
        DUE = "due";
        /// Reads members that became due a short time ago.
        JUST_DUE = "just_due";
        /// Moves due members that are too large to the dead set.
        BURY_LARGER = "lib/allow_oom" + "lib/score" + "lib/dead" + "bury_larger";
        /// Moves due members out of a sorted set.
        PROMOTE = "lib/allow_oom" + "lib/score" + "lib/dead" + "promote";
        /// Moves jobs from a queue back into a sorted set.
        PUT_BACK = "lib/list" + "put_back";
        /// Reads the job that is next in each of some queues.
        NEXT_JOBS = "next_jobs";
        /// Deletes a job from a queue.
        DELETE_FROM_LIST = "lib/list" + "delete_from_list";
        /// Deletes the jobs of a queue that were counted.
        CLEAR_QUEUE = "lib/list" + "clear_queue";
        /// Enters a process into the registry.
        REGISTER = "register";
        /// Writes a forgotten private list anew.
        HOLD_AGAIN = "hold_again";
        /// Renews a process's sign of life.
        STAY_ALIVE = "stay_alive";
        /// Finds processes that are missing, and fenced ones to check for private lists.
        LOOK = "look";
        /// Finds fenced processes that have private lists.
        LEFT_BEHIND = "left_behind";
        /// Decides whether a process is dead, and fences it.
        FENCE = "fence";
        /// Reads which jobs are next in a private list.
        FINGERPRINTS = "fingerprints";
        /// Puts back the jobs of a dead process.
        RECOVER = "recover";
        /// Looks up which payloads are suspects.
        SUSPECTS = "suspects";
        /// Takes empty private lists of a dead process off its index.
        FORGET = "forget";
        /// Takes a process off the registry if it holds nothing.
        BYE = "bye";
        /// Puts other bytes in the place of a job in a queue.
        REPLACE_IN_LIST = "lib/list" + "replace_in_list";
        /// Puts other bytes in the place of a job in a sorted set.
        REPLACE_IN_SET = "replace_in_set";
        /// Adds a queue that holds jobs to the set of queue names.
        ANNOUNCE = "announce";
        /// Takes or renews the lease of a leader.
        CAMPAIGN = "campaign";
        /// Gives the lease of a leader back.
        RESIGN = "resign";
    }

    /// Makes a script that runs `body` only if a lease is the current one.
    pub(in crate::store) fn fenced(body: &str) -> Script {
        let check = text_of("lib/fenced", include_str!("lua/lib/fenced.lua"));
        Script::new(&format!("local function fenced(KEYS, ARGV)\n{body}\nend\n{check}"))
    }
}
#[cfg(any(feature = "api", feature = "server"))]
pub(super) use server::*;
