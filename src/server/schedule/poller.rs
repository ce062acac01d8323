//! Moves due jobs of `retry` and `schedule` to their queues.

use std::sync::Arc;
use std::time::Duration;

use crate::error::RedisFault;
use crate::server::control::supervisor::Part;
use crate::server::run::Runner;
use crate::server::schedule::beside_ruby::Neighbours;
use crate::server::schedule::sweep::Sweeper;
use crate::server::settings::config::Promote;
use crate::store::is_refusal;
use crate::store::sets::WaitingSet;

/// Looks at both sets at random intervals, so that all processes together look as often as one should.
pub(crate) struct Poller(pub(crate) Arc<Runner>);

impl Part for Poller {
    fn name(&self) -> &'static str {
        "poller"
    }

    async fn run(&mut self) {
        run(&self.0).await;
    }

    fn may_end(&self) -> bool {
        self.0.shared.handle.is_quiet()
    }
}

async fn run(runner: &Runner) {
    let mut outage = runner.shared.stats.outages.part();
    let configured = runner.shared.config.poll_interval_average.is_some();
    // Processes of one deploy start together; they should not look together.
    let head_start = if configured { Duration::ZERO } else { Duration::from_secs(10) };
    let first = head_start + Duration::from_secs(5).mul_f64(rand::random());
    if !pause(runner, first).await {
        return;
    }
    let mut sweepers = [WaitingSet::Retry, WaitingSet::Schedule].map(|set| Sweeper::new(runner, set));
    let promote = runner.shared.config.promote.unwrap_or_default();
    let mut neighbours = Neighbours::default();
    let mut is_clean = false;
    loop {
        if !is_clean {
            match runner.shared.store.clean_up_processes().await {
                // Redis refuses it for good, by its rights or the type of a key.
                Err(error) if is_refusal(&error) && error.redis_fault() != Some(RedisFault::Unwilling) => {
                    tracing::error!(%error, "cleaning up dead processes failed");
                    is_clean = true;
                }
                Err(error) => outage.note("cleaning up dead processes failed", &error),
                Ok(()) => {
                    outage.over();
                    is_clean = true;
                }
            }
        }
        if promote == Promote::Own {
            neighbours.look(runner).await;
        }
        if promote != Promote::Off {
            for sweeper in &mut sweepers {
                sweeper.run(runner, neighbours.polled()).await;
            }
        }
        // During an outage no more often than the other parts try.
        if !pause(runner, interval(runner).await.max(outage.pause())).await {
            return;
        }
    }
}

/// `false` when the server was quieted meanwhile.
async fn pause(runner: &Runner, span: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(span) => !runner.shared.handle.is_quiet(),
        () = runner.shared.handle.quieted() => false,
    }
}

async fn interval(runner: &Runner) -> Duration {
    let processes = runner.shared.store.process_count().await.unwrap_or(1).max(1);
    let average = runner.shared.config.poll_interval_average.unwrap_or_else(|| {
        let count = u32::try_from(processes).unwrap_or(u32::MAX);
        runner.shared.config.average_scheduled_poll_interval.saturating_mul(count)
    });
    spread(average, processes, rand::random()).max(SHORTEST)
}

/// Shortest interval between two polls, whatever the settings are: with an interval of 0 the poller would query Redis without a pause.
const SHORTEST: Duration = Duration::from_millis(10);

/// A few processes look at half to one and a half of the average; many at anything up to twice of it. `dice` is below 1.
fn spread(average: Duration, processes: usize, dice: f64) -> Duration {
    let factor = if processes < 10 { dice + 0.5 } else { dice * 2.0 };
    Duration::try_from_secs_f64(average.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_interval_can_be_waited_for() {
        for average in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
            for processes in [0, 1, 10, usize::MAX] {
                for dice in [0.0, 0.5, 1.0 - f64::EPSILON] {
                    let span = spread(average, processes, dice);
                    assert!(span <= average || span.as_secs_f64() <= average.as_secs_f64() * 2.0, "{span:?}");
                }
            }
        }
    }

    #[test]
    fn waits_as_long_as_sidekiq() {
        for (major, recorded) in [
            (6, include_str!("../../../ruby-fixtures/sidekiq-6/poll.json")),
            (7, include_str!("../../../ruby-fixtures/sidekiq-7/poll.json")),
            (8, include_str!("../../../ruby-fixtures/sidekiq-8/poll.json")),
        ] {
            let rows: Vec<(usize, Option<f64>, f64, f64)> = serde_json::from_str(recorded).unwrap();
            assert!(rows.len() > 50);
            for (processes, configured, dice, secs) in rows {
                // From ten processes on, Sidekiq 6 and 7 look twice as often as they mean to; 8 mended that.
                let secs = if major < 8 && processes >= 10 { secs * 2.0 } else { secs };
                // Five seconds for each process by default.
                let average = Duration::from_secs_f64(configured.unwrap_or(5.0 * processes as f64));
                let span = spread(average, processes, dice).as_secs_f64();
                assert!(
                    (span - secs).abs() < 1e-5,
                    "{processes} processes, {configured:?}, {dice}: {span}, not {secs}"
                );
            }
        }
    }
}
