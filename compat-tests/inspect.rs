//! What the Data API says of a Redis, as JSON, for the suite to compare with Ruby's answer; and its operations, one a time:
//! `inspect`, `inspect retry JID`, `inspect kill SET JID`, ... `inspect arguments` has nothing to do with Redis: it reads arguments of ActiveJob, one
//! array in each line of its input, and writes each as it would enqueue it, or `!` and why it cannot read or write it.

#![expect(clippy::print_stdout, reason = "its answer is its purpose")]

use std::error::Error;

use ferrokiq::Client;
use ferrokiq::api::{Api, JobMetrics, Metrics, SortedSet, Span, Totals};
use ferrokiq::time::EpochSecs;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    #[cfg(feature = "active-job")]
    if words == ["arguments"] {
        return again();
    }
    let api = Api::new(&Client::from_env()?);
    match words.as_slice() {
        [] => println!("{}", all(&api).await?),
        ["queue", "delete", name, jid] => {
            let queue = api.queue(name);
            let record = queue.find_job(jid).await?.ok_or("no such job")?;
            println!("{}", queue.delete(&record).await?);
        }
        ["queue", "clear", name] => api.queue(name).clear().await?,
        ["process", what, identity] => {
            let processes = api.processes().await?;
            let process = processes.iter().find(|process| process.identity == *identity).ok_or("no such process")?;
            match *what {
                "quiet" => process.quiet().await?,
                "stop" => process.stop().await?,
                _ => process.dump().await?,
            }
        }
        ["metrics", "minutes", count] => println!("{}", top(&api, Span::Minutes(count.parse()?)).await?),
        ["metrics", "hours", count] => println!("{}", top(&api, Span::Hours(count.parse()?)).await?),
        ["metrics", class, "minutes", count] => {
            println!("{}", described(&api.job_metrics(class, Span::Minutes(count.parse()?)).await?));
        }
        ["iterable", jids @ ..] => {
            let states = api.iterable_states(jids).await?.into_iter().map(|state| {
                let state = state?;
                let cursor: Value = serde_json::from_str(&state.cursor).ok()?;
                let cancelled = state.cancelled.map(|at| at.secs());
                Some(json!([state.jid, state.executions, state.runtime.as_secs_f64(), cursor, cancelled]))
            });
            println!("{}", json!(states.collect::<Vec<_>>()));
        }
        ["stats", "reset"] => {
            api.reset_processed().await?;
            api.reset_failed().await?;
        }
        ["work", jid] => println!("{}", api.find_work(jid).await?.map_or(String::new(), |work| work.queue)),
        ["leader"] => println!("{}", api.leader().await?.unwrap_or_default()),
        ["shown", queue] => {
            let mut pages = api.queue(queue).pages();
            while let Some(page) = pages.next().await? {
                for record in page {
                    println!("{}", json!([record.display_class(), record.display_args()]));
                }
            }
        }
        [set, "fetch", from, to] => {
            let (from, to) = (EpochSecs(from.parse()?), EpochSecs(to.parse()?));
            let found = named(&api, set).fetch(from, to).await?;
            println!("{}", json!(found.iter().map(|entry| entry.record.jid()).collect::<Vec<_>>()));
        }
        [set, "retry_all"] => println!("{}", named(&api, set).retry_all().await?),
        [set, "kill_all"] => println!("{}", named(&api, set).kill_all().await?),
        [set, "clear"] => drop(named(&api, set).clear().await?),
        [name, what, jid] => {
            let set = named(&api, name);
            let entry = set.find_job(jid).await?.ok_or("no such job")?;
            let done = match *what {
                "retry" => set.retry(&entry).await?,
                "kill" => set.kill(&entry).await?,
                "delete" => set.delete(&entry).await?,
                "add_to_queue" => set.add_to_queue(&entry).await?,
                "later" => set.reschedule(&entry, EpochSecs(2_000_000_000.5)).await?,
                other => return Err(format!("what is {other}?").into()),
            };
            println!("{done}");
        }
        other => return Err(format!("what is {other:?}?").into()),
    }
    Ok(())
}

#[cfg(feature = "active-job")]
fn again() -> Result<(), Box<dyn Error>> {
    use ferrokiq::active_job::Argument;
    for line in std::io::stdin().lines() {
        let line = line?;
        let written = Argument::parse_all(&line).map_err(|error| error.to_string());
        let written = written.and_then(|read| Argument::write_all(&read).map_err(|error| error.to_string()));
        println!("{}", written.unwrap_or_else(|why| format!("!{why}")));
    }
    Ok(())
}

async fn top(api: &Api, span: Span) -> ferrokiq::Result<Value> {
    Ok(described(&api.top_jobs(span).await?))
}

fn described(metrics: &Metrics) -> Value {
    let totals = |totals: &Totals| json!([totals.processed, totals.failed, totals.ms]);
    let job = |job: &JobMetrics| {
        json!({
            "totals": totals(&job.totals),
            "series": job.series.iter().map(|(bucket, of_bucket)| json!([bucket, totals(of_bucket)])).collect::<Vec<_>>(),
            "histogram": job.histogram.values().fold([0; 26], |sum, runs| std::array::from_fn(|at| sum[at] + runs[at])),
        })
    };
    json!({
        "jobs": metrics.jobs.iter().map(|(class, of_class)| (class.clone(), job(of_class))).collect::<serde_json::Map<_, _>>(),
        "marks": metrics.marks.iter().map(|mark| json!([mark.at.secs(), mark.label, mark.bucket])).collect::<Vec<_>>(),
    })
}

fn named(api: &Api, name: &str) -> SortedSet {
    match name {
        "retry" => api.retries(),
        "dead" => api.dead(),
        _ => api.scheduled(),
    }
}

async fn all(api: &Api) -> ferrokiq::Result<Value> {
    let stats = api.stats().await?;
    let mut queues = Vec::new();
    for summary in api.queues().await? {
        let (queue, mut jids) = (api.queue(&summary.name), Vec::new());
        let mut pages = queue.pages();
        while let Some(page) = pages.next().await? {
            jids.extend(page.iter().map(|record| record.jid().to_owned()));
        }
        queues.push(json!({"name": summary.name, "size": summary.size, "paused": summary.paused, "jids": jids,
            "waited": summary.latency.as_secs_f64()}));
    }
    let history = api.history(2).await?;
    let processes = api.processes().await?;
    let work = api.work().await?;
    Ok(json!({
        "stats": [stats.processed, stats.failed, stats.scheduled, stats.retries, stats.dead, stats.processes, stats.busy, stats.enqueued],
        "queues": queues,
        "schedule": entries(&api.scheduled()).await?,
        "retry": entries(&api.retries()).await?,
        "dead": entries(&api.dead()).await?,
        "history": history.iter().map(|day| json!([day.date, day.processed, day.failed])).collect::<Vec<_>>(),
        "processes": processes.iter()
            .map(|process| json!([process.identity, process.concurrency, process.busy, process.quiet, process.info["pid"]]))
            .collect::<Vec<_>>(),
        "work": work.iter().map(|work| json!([work.identity, work.tid, work.queue, work.record.jid(), work.run_at.secs()])).collect::<Vec<_>>(),
    }))
}

async fn entries(set: &SortedSet) -> ferrokiq::Result<Value> {
    let (mut pages, mut all) = (set.pages(), Vec::new());
    while let Some(page) = pages.next().await? {
        for entry in page {
            let record = &entry.record;
            all.push(json!([record.jid(), record.class(), entry.score.0, record.error_backtrace().len()]));
        }
    }
    assert_eq!(all.len(), set.size().await?);
    Ok(all.into())
}
