//! Processes, killers and outside kills in a model: the real policy, with time and chance of its own.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::server::fetch::isolation::policy::{Budget, FEW, Test};
use crate::server::fetch::isolation::slots::{Seat, SuspectSlots};
use crate::server::unit::{Batch, UnitOfWork};

const TICK: Duration = Duration::from_millis(50);
/// A killer that ran alone is dead with its third death, as `recover.lua` has it.
const CONVICTS: usize = 3;

/// One job, and what became of it.
struct Job {
    /// Runs so long.
    takes: Duration,
    /// Kills its process so long after it began.
    kills_after: Option<Duration>,
    /// The processes that died with it since it was last acquitted, by number.
    deaths: HashSet<usize>,
    /// Processes that it killed.
    killed: usize,
    done: Option<Duration>,
    convicted: bool,
}

struct Running {
    job: usize,
    began: Duration,
    /// For a suspect: the company it allows.
    suspect: Option<usize>,
    alone: bool,
    _seat: Option<Seat>,
}

struct Process {
    number: usize,
    starts: Duration,
    running: Vec<Running>,
    /// Suspects that have a seat, in their turn.
    waiting: VecDeque<(usize, Seat)>,
    slots: std::sync::Arc<SuspectSlots>,
    budget: Budget,
    /// Nothing else begins: since when, until when it may drain, and until when the suspect is alone once it is.
    held: Option<(Duration, Duration)>,
    idle_for: Duration,
}

struct World {
    seed: u64,
    rng: StdRng,
    epoch: Instant,
    now: Duration,
    jobs: Vec<Job>,
    queue: VecDeque<usize>,
    /// A process is out of its place while it moves on.
    processes: Vec<Option<Process>>,
    processors: usize,
    lives: usize,
    /// Chance of a kill from outside, of each process and tick.
    outside: f64,
    /// Innocent jobs that were convicted though a job killed the process.
    wronged: usize,
}

impl World {
    fn new(seed: u64, processes: usize, processors: usize) -> Self {
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            epoch: Instant::now(),
            now: Duration::ZERO,
            jobs: Vec::new(),
            queue: VecDeque::new(),
            processes: Vec::new(),
            processors,
            lives: 0,
            outside: 0.0,
            wronged: 0,
        };
        for _ in 0..processes {
            let process = world.start();
            world.processes.push(Some(process));
        }
        world
    }

    fn start(&mut self) -> Process {
        self.lives += 1;
        Process {
            number: self.lives,
            starts: self.now,
            running: Vec::new(),
            waiting: VecDeque::new(),
            slots: SuspectSlots::new(self.processors),
            budget: Budget::new(self.epoch + self.now),
            held: None,
            idle_for: Duration::ZERO,
        }
    }

    fn push(&mut self, takes: Duration, kills_after: Option<Duration>, deaths: usize) {
        self.queue.push_back(self.jobs.len());
        // Processes of before this model: the same for all.
        let deaths = (usize::MAX - deaths..usize::MAX).collect();
        self.jobs.push(Job { takes, kills_after, deaths, killed: 0, done: None, convicted: false });
    }

    fn is_suspect(&self, job: usize) -> bool {
        self.jobs[job].deaths.len() >= 2
    }

    /// Until every job is done or convicted.
    fn run(&mut self, within: Duration) {
        while self.jobs.iter().any(|job| job.done.is_none() && !job.convicted) {
            assert!(self.now < within, "seed {}: jobs are left after {within:?}", self.seed);
            for at in 0..self.processes.len() {
                let process = self.processes[at].take().expect("every process is in its place");
                let next = if process.starts <= self.now { self.tick(process) } else { process };
                self.processes[at] = Some(next);
            }
            self.now += TICK;
        }
    }

    fn tick(&mut self, mut process: Process) -> Process {
        let kills = |run: &&Running| self.jobs[run.job].kills_after.is_some_and(|after| run.began + after <= self.now);
        let killer = process.running.iter().find(kills).map(|run| run.job);
        if killer.is_some() || (self.outside > 0.0 && self.rng.random_bool(self.outside)) {
            self.die(&process, killer);
            return Process { starts: self.now + Duration::from_secs(1), ..self.start() };
        }
        self.end_jobs(&mut process);
        self.begin_suspect(&mut process);
        self.fetch(&mut process);
        process
    }

    /// What `recover.lua` does with the jobs of a dead process.
    fn die(&mut self, process: &Process, killer: Option<usize>) {
        if let Some(killer) = killer {
            self.jobs[killer].killed += 1;
        }
        let waiting =
            process.waiting.iter().map(|(job, _)| *job).chain(process.slots.close().into_iter().map(|unit| id(&unit)));
        for job in waiting.collect::<Vec<_>>().into_iter().rev() {
            self.queue.push_front(job);
        }
        for run in process.running.iter().rev() {
            let died = &mut self.jobs[run.job];
            died.deaths.insert(process.number);
            if run.alone && died.deaths.len() >= CONVICTS {
                died.convicted = true;
                self.wronged += usize::from(killer.is_some() && died.kills_after.is_none());
            } else {
                self.queue.push_front(run.job);
            }
        }
    }

    fn end_jobs(&mut self, process: &mut Process) {
        let (now, jobs) = (self.now, &mut self.jobs);
        let mut released = false;
        process.running.retain(|run| {
            let job = &mut jobs[run.job];
            let ends = run.began + job.takes <= now;
            if ends {
                job.done = Some(now);
                if run.suspect.is_some() {
                    job.deaths.clear();
                }
                released |= run.alone;
            }
            !ends
        });
        if let Some((since, until)) = process.held {
            let alone = process.running.iter_mut().find(|run| run.alone);
            let over = released || (alone.is_some() && until <= now);
            if let Some(run) = alone.filter(|_| over) {
                run.alone = false;
            }
            if over {
                process.held = None;
                process.budget.spend(now - since, self.epoch + now);
            }
        }
    }

    /// The next suspect in turn begins, if it may: `Core::prepare`.
    fn begin_suspect(&mut self, process: &mut Process) {
        let Some((job, _)) = process.waiting.front() else { return };
        if process.running.iter().any(|run| run.alone) {
            return;
        }
        let few =
            self.jobs.iter().filter(|job| job.deaths.len() >= 2 && job.done.is_none() && !job.convicted).count() <= FEW;
        let test = Test::of(self.jobs[*job].deaths.len() as u32, few, self.processors);
        let companies: Vec<usize> = process.running.iter().filter_map(|run| run.suspect).collect();
        if companies.len() >= companies.iter().copied().fold(test.company, usize::min) {
            return;
        }
        let mut alone = false;
        if let Some(solitude) = test.alone.filter(|_| companies.is_empty()) {
            let at = self.epoch + self.now;
            let (since, drained_by) = match process.held {
                Some(held) => held,
                None if process.budget.wait(at).is_zero() => (self.now, self.now + solitude.drain),
                None => return,
            };
            process.held = Some((since, drained_by));
            alone = process.running.is_empty();
            if alone {
                process.held = Some((since, self.now + solitude.hold));
            } else if self.now < drained_by {
                return;
            } else {
                process.held = None;
                process.budget.spend(self.now - since, at);
            }
        }
        let (job, seat) = process.waiting.pop_front().expect("there is one");
        process.running.push(Running { job, began: self.now, suspect: Some(test.company), alone, _seat: Some(seat) });
    }

    fn fetch(&mut self, process: &mut Process) {
        let mut free = self.processors - process.running.len() - process.waiting.len();
        process.idle_for += TICK;
        while free > 0 {
            let idle = process.idle_for > Duration::from_millis(250);
            let aside = process.slots.take(idle && (self.queue.is_empty() || process.held.is_some()));
            let Some(job) = aside.as_ref().map(id).or_else(|| {
                let next = *self.queue.front()?;
                (self.is_suspect(next) || process.held.is_none()).then(|| self.queue.pop_front()).flatten()
            }) else {
                return;
            };
            if !self.is_suspect(job) {
                process.slots.see_ordinary();
                process.idle_for = Duration::ZERO;
                process.running.push(Running { job, began: self.now, suspect: None, alone: false, _seat: None });
                free -= 1;
            } else if let Some(seat) = process.slots.seat() {
                process.waiting.push_back((job, seat));
                free -= 1;
            } else if !process.slots.keep(&unit(job)) {
                self.queue.push_back(job);
                return;
            }
        }
    }

    fn killers(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.kills_after.is_some())
    }
}

fn unit(job: usize) -> UnitOfWork {
    Batch::new("l".into(), "q".into(), vec![job.to_string().into_bytes()]).units().next().expect("there is one")
}

fn id(unit: &UnitOfWork) -> usize {
    std::str::from_utf8(unit.bytes()).expect("a number").parse().expect("a number")
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn killers_are_convicted_and_nobody_for_the_deaths_they_cause() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world =
            World::new(seed, rng.random_range(1..4), *[1, 2, 5, 10, 40, 100].get(seed as usize % 6).unwrap());
        let killers = rng.random_range(1..12);
        for number in 0..400 {
            let killer = rng.random_range(0..400) < killers || number == 200;
            let kills_after = killer.then(|| seconds(rng.random_range(0.0..3.0)));
            let takes = if killer { seconds(10.0) } else { seconds(rng.random_range(0.05..4.0)) };
            world.push(takes, kills_after, 0);
        }
        world.run(Duration::from_secs(3 * 3_600));
        assert_eq!(world.wronged, 0, "seed {seed}");
        assert!(world.killers().all(|job| job.convicted && job.killed <= 5), "seed {seed}");
        assert!(world.jobs.iter().all(|job| job.convicted == job.kills_after.is_some()), "seed {seed}");
    }
}

#[test]
fn kills_from_outside_hide_no_killer() {
    for seed in 1_000..1_030 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed, 3, 20);
        world.outside = 0.000_5;
        for number in 0..300 {
            let kills_after = (number % 60 == 0).then(|| seconds(rng.random_range(0.0..1.0)));
            world.push(seconds(rng.random_range(0.1..5.0)), kills_after, 0);
        }
        world.run(Duration::from_secs(3 * 3_600));
        // One that ran alone when its process was killed from outside for the third time may be convicted: nobody can tell.
        assert_eq!(world.wronged, 0, "seed {seed}");
        assert!(world.killers().all(|job| (job.convicted || job.done.is_some()) && job.killed <= 5), "seed {seed}");
    }
}

#[test]
fn a_killer_among_few_is_dead_after_three_deaths() {
    for seed in 2_000..2_030 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed, 1, 5);
        for number in 0..80 {
            let kills_after = (number == 40).then(|| seconds(rng.random_range(0.0..1.5)));
            world.push(seconds(if kills_after.is_some() { 5.0 } else { 0.7 }), kills_after, 0);
        }
        world.run(Duration::from_secs(120));
        assert_eq!(world.killers().map(|job| job.killed).collect::<Vec<_>>(), [3], "seed {seed}");
        assert_eq!(world.jobs.iter().filter(|job| job.convicted).count(), 1, "seed {seed}");
    }
}

#[test]
fn two_kills_of_a_large_worker_delay_its_jobs_by_their_own_length() {
    let mut world = World::new(0, 1, 100);
    (0..98).for_each(|_| world.push(seconds(20.0), None, 2));
    world.run(Duration::from_secs(60));
    assert!(world.jobs.iter().all(|job| job.done.is_some()));
}

#[test]
fn ordinary_jobs_keep_three_quarters_beside_suspects() {
    let mut world = World::new(0, 1, 8);
    (0..20).for_each(|_| world.push(seconds(4.0), None, 2));
    (0..1_600).for_each(|_| world.push(TICK, None, 0));
    world.run(Duration::from_secs(60));
    let done = world.jobs[20..].iter().filter_map(|job| job.done).max().unwrap();
    // Eight processors would have done them in 10 s.
    assert!(done < seconds(10.0 / 0.75 + 1.0), "{done:?}");
}
