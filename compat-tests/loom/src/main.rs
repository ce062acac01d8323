//! Tries every order in which threads can run through the lock-free protocols of `Batch` and `Idle`, and what the memory of a machine may
//! reorder. Ends with a panic at the first order that breaks a promise, or in which all threads wait.

#![expect(dead_code, reason = "the models use a part of the files under test")]
#![expect(clippy::print_stdout, reason = "it is a program")]

mod batches;
mod idling;
mod stubs;
mod sync;

use stubs::payload;

mod server {
    pub(crate) mod unit {
        pub(crate) mod batch {
            include!(concat!(env!("OUT_DIR"), "/batch.rs"));
        }
        pub(crate) use crate::stubs::memory;
    }
}

mod store {
    pub(crate) use crate::stubs::{in_place, settle};
}

/// The models by name.
const MODELS: [(&str, fn()); 7] = [
    ("two jobs end while their batch closes", batches::two_jobs_end_while_their_batch_closes),
    ("two jobs end while a third one runs", batches::two_jobs_end_while_a_third_runs),
    ("a job ends while the stop puts it back", batches::a_job_ends_while_the_stop_puts_it_back),
    ("a list is trimmed while a job leaves it", batches::a_list_is_trimmed_while_a_job_leaves_it),
    ("a failed move ends while others end", batches::a_failed_move_ends_while_others_end),
    ("a job comes while its capsule goes idle", idling::a_job_comes_while_its_capsule_goes_idle),
    ("a fetcher is woken while its waiter begins to wait", idling::a_fetcher_is_woken_while_its_waiter_begins_to_wait),
];

fn main() {
    for (name, model) in MODELS {
        let began = std::time::Instant::now();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
        println!("ok  {name}: {:.1} s", began.elapsed().as_secs_f64());
    }
}
