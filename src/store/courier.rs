//! Acknowledgements on their way to Redis, and which of them no longer need this process.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use redis::{Pipeline, Value, cmd};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Store;
use super::claims::{Acknowledgement, Private, add_answers, without_answer};
use super::link::Link;
use super::meter::Meter;
use super::wire::{Request, Wire};
use crate::contain::Contained;
use crate::error::Result;

/// Is told what became of jobs on their way.
pub(crate) trait Tally: Send + Sync + 'static {
    /// So many more are out of this process's hands: Redis gets them even if the process is killed now.
    fn handed_over(&self, jobs: u64);

    /// So many that were handed over may not have arrived.
    fn taken_back(&self, jobs: u64);

    /// The attempt to connect panicked.
    fn panicked(&self, message: &str);
}

/// Carries acknowledgements on a connection of their own.
///
/// The system delivers what it has taken, whatever becomes of the process, so jobs count as acknowledged from then on and not only once Redis
/// has answered. The connection is made in the background when there is first something to carry; until then, and while it is broken, nothing
/// is carried.
///
/// The kernel delivers these bytes after the process has died, unless an answer arrives for the closed socket: then the kernel drops the bytes
/// that it still holds, and Redis closes the connection and drops the commands that it has not read. Therefore Redis answers only one
/// acknowledgement of [`TOGETHER`], and that answer stands for those before it, too. Acknowledgements that are sent while an answer is under
/// way count once it has arrived.
pub(crate) struct Courier {
    link: Link,
    tally: Arc<dyn Tally>,
    line: Option<Line>,
    connecting: Option<JoinHandle<std::result::Result<Result<Line>, String>>>,
    /// No connection is tried before.
    not_before: Instant,
}

struct Line {
    wire: Wire,
    parcels: Arc<Parcels>,
    /// Whether jobs count once they are written, not only once they are answered.
    counts: bool,
    /// The bytes that will have been written once all that was sent is.
    sent: u64,
}

/// Acknowledgements that were sent and not answered yet.
struct Parcels {
    way: Mutex<Way>,
    tally: Arc<dyn Tally>,
    /// Whether one failed.
    broken: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Way {
    /// Up to which byte the system took them.
    written: u64,
    /// Those that do not count yet: up to which byte each reaches, and of how many jobs it is.
    waiting: VecDeque<(u64, u64)>,
    /// Up to which byte those reach whose answers are under way.
    asked: Option<u64>,
    /// Silent ones since Redis was last asked.
    silent: usize,
}

/// What became of an acknowledgement.
pub(crate) enum Arrived {
    /// So many of the lists to take away were there.
    Counted(usize),
    /// Nothing is known but that it arrived.
    Silently,
    /// Redis may not have heard of it.
    Unknown,
}

/// An acknowledgement under way.
pub(crate) struct Carrying {
    answer: Pin<Box<dyn Future<Output = Arrived> + Send>>,
    over: Option<Arrived>,
}

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// Acknowledgements that are answered together.
pub(crate) const TOGETHER: usize = 128;

impl Store {
    /// Carries acknowledgements, and tells `tally` of them.
    pub(crate) fn courier(&self, tally: impl Tally) -> Courier {
        Courier {
            link: self.link.clone(),
            tally: Arc::new(tally),
            line: None,
            connecting: None,
            not_before: Instant::now(),
        }
    }
}

impl Courier {
    /// Whether what is handed over is counted as it is written, not only as it is answered.
    pub(crate) fn counts(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.counts)
    }

    /// Sends an acknowledgement of so many jobs; those sent before arrive before. `alone`: there are none that wait for their answers, so this
    /// one is to be answered at once. `None` if it was not sent. Never waits.
    pub(crate) async fn carry(
        &mut self,
        private: &Private,
        done: &Acknowledgement<'_>,
        jobs: u64,
        alone: bool,
    ) -> Option<Carrying> {
        self.connect().await;
        let line = self.line.as_mut()?;
        let answers = if line.counts { line.parcels.answers(alone) } else { 1 };
        let pipeline = done.answering(private, answers);
        Some(line.send(pipeline, answers > 0, jobs).await)
    }

    /// Whether silent acknowledgements have no answer, and none is under way.
    pub(crate) fn owes(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.parcels.way().owes())
    }

    /// Asks for the answers of silent acknowledgements, if there are any and nothing is under way that brings them.
    pub(crate) async fn ask(&mut self, private: &Private) -> Option<Carrying> {
        let line = self.line.as_mut()?;
        let answers = line.parcels.owed()?;
        let mut pipeline = Pipeline::with_capacity(answers);
        add_answers(&mut pipeline, private, answers);
        Some(line.send(pipeline, true, 0).await)
    }

    /// Looks after the connection.
    async fn connect(&mut self) {
        if self.line.as_ref().is_some_and(|line| line.wire.has_ended() || *line.parcels.broken.borrow()) {
            self.line = None;
        }
        if self.line.is_some() {
            return;
        }
        match self.connecting.take_if(|connecting| connecting.is_finished()) {
            Some(connected) => match connected.await {
                Ok(Ok(Ok(line))) => self.line = Some(line),
                Ok(Ok(Err(error))) => {
                    tracing::debug!(%error, "no connection for acknowledgements; they go with everything else");
                    self.not_before = Instant::now() + PAUSE;
                }
                Ok(Err(panic)) => {
                    self.tally.panicked(&panic);
                    self.not_before = Instant::now() + PAUSE;
                }
                // The runtime is on its way down.
                Err(_) => {}
            },
            None if self.connecting.is_none() && Instant::now() >= self.not_before => {
                self.connecting = Some(self.start_connecting());
            }
            None => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the next `connect` looks how it ended")]
    fn start_connecting(&self) -> JoinHandle<std::result::Result<Result<Line>, String>> {
        tokio::spawn(Contained::new(Box::pin(Line::open(self.link.clone(), Arc::clone(&self.tally)))))
    }
}

impl Line {
    async fn open(link: Link, tally: Arc<dyn Tally>) -> Result<Self> {
        let parcels = Arc::new(Parcels { way: Mutex::default(), tally, broken: watch::Sender::new(false) });
        let written = Arc::clone(&parcels);
        let meter = Meter::new(move |bytes| written.written(bytes));
        let mut wire = link.metered(&meter).await?;
        let mut counts = meter.written() > 0;
        if counts && !may_be_silent(&mut wire).await {
            // It may have answered more often than was expected, so it is of no use.
            (wire, counts) = (link.metered(&Meter::default()).await?, false);
        }
        let sent = meter.written();
        Ok(Self { wire, parcels, counts, sent })
    }

    async fn send(&mut self, pipeline: Pipeline, asks: bool, jobs: u64) -> Carrying {
        self.sent += pipeline.get_packed_pipeline().len() as u64;
        let Self { wire, parcels, sent, .. } = self;
        let mut answer: Pin<Box<dyn Future<Output = Arrived> + Send>> =
            Box::pin(send(wire.clone(), pipeline, Arc::clone(parcels), *sent, jobs, asks));
        parcels.sent(*sent, asks, jobs);
        // Polled once it is in line behind those before it; the budget of this task is not to be in the way.
        let first = std::future::poll_fn(|cx| {
            Poll::Ready(std::pin::pin!(tokio::task::unconstrained(answer.as_mut())).poll(cx))
        });
        let over = match first.await {
            Poll::Ready(arrived) => Some(arrived),
            Poll::Pending => None,
        };
        Carrying { answer, over }
    }
}

impl Carrying {
    /// Waits until it is known what became of it.
    pub(crate) async fn arrived(self) -> Arrived {
        match self.over {
            Some(arrived) => arrived,
            None => self.answer.await,
        }
    }
}

/// Whether Redis leaves out the answer of a command when asked to. Some proxies do not know how, and a user may not be allowed to ask.
async fn may_be_silent(wire: &mut Wire) -> bool {
    let mut probe = Pipeline::new();
    probe.add_command(without_answer());
    probe.add_command(cmd("PING").arg("silent").take()).add_command(cmd("PING"));
    wire.send::<Value>(Request::AnsweredOnce(&probe))
        .await
        .is_ok_and(|answer| answer == Value::SimpleString("PONG".to_owned()))
}

async fn send(mut wire: Wire, pipeline: Pipeline, parcels: Arc<Parcels>, end: u64, jobs: u64, asks: bool) -> Arrived {
    let mut broken = parcels.broken.subscribe();
    let answer = tokio::select! {
        biased;
        answer = wire.send::<Value>(Request::AnsweredOnce(&pipeline)) => Some(answer),
        _ = broken.wait_for(|broken| *broken) => None,
    };
    match answer {
        Some(Ok(answer)) => {
            parcels.answered(end, asks);
            match answer {
                _ if !asks => Arrived::Silently,
                Value::Int(there) => Arrived::Counted(usize::try_from(there).unwrap_or_default()),
                _ => Arrived::Counted(0),
            }
        }
        failed => {
            if let Some(Err(error)) = failed {
                tracing::debug!(%error, "an acknowledgement was not answered");
            }
            parcels.lost(end, jobs);
            Arrived::Unknown
        }
    }
}

impl Way {
    fn owes(&self) -> bool {
        self.asked.is_none() && self.silent > 0
    }
}

impl Parcels {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many answers the next one asks for: none while one is under way, or few would be answered.
    fn answers(&self, alone: bool) -> usize {
        let mut way = self.way();
        way.silent += 1;
        if way.asked.is_some() || (way.silent < TOGETHER && !alone) {
            return 0;
        }
        std::mem::take(&mut way.silent)
    }

    /// How many answers somebody has to ask for: those of the silent ones, and of the question itself.
    fn owed(&self) -> Option<usize> {
        let mut way = self.way();
        if !way.owes() {
            return None;
        }
        Some(std::mem::take(&mut way.silent) + 1)
    }

    /// One is about to be sent, up to a byte.
    fn sent(&self, end: u64, asks: bool, jobs: u64) {
        let mut way = self.way();
        if asks {
            way.asked = Some(end);
        }
        way.waiting.push_back((end, jobs));
    }

    /// The system took everything up to a byte.
    fn written(&self, until: u64) {
        let mut way = self.way();
        way.written = way.written.max(until);
        self.count(way);
    }

    /// Redis read everything up to a byte.
    fn answered(&self, until: u64, asked: bool) {
        let mut way = self.way();
        way.written = way.written.max(until);
        if asked {
            way.asked = None;
        }
        self.count(way);
    }

    fn count(&self, mut way: MutexGuard<'_, Way>) {
        let until = way.asked.map_or(way.written, |end| end.min(way.written));
        let mut jobs = 0;
        while let Some((_, of)) = way.waiting.front().copied().filter(|(end, _)| *end <= until) {
            way.waiting.pop_front();
            jobs += of;
        }
        drop(way);
        if jobs > 0 {
            self.tally.handed_over(jobs);
        }
    }

    /// One was not answered, or refused.
    fn lost(&self, end: u64, jobs: u64) {
        self.broken.send_replace(true);
        let mut way = self.way();
        match way.waiting.iter().position(|(at, _)| *at == end) {
            Some(at) => drop(way.waiting.remove(at)),
            None => {
                drop(way);
                self.tally.taken_back(jobs);
            }
        }
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("line", &self.line.as_ref().map(|line| &line.wire)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Redis;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Clone, Default)]
    struct Count(Arc<AtomicI64>);

    impl Tally for Count {
        fn handed_over(&self, jobs: u64) {
            self.0.fetch_add(jobs.cast_signed(), Ordering::Relaxed);
        }

        fn taken_back(&self, jobs: u64) {
            self.0.fetch_sub(jobs.cast_signed(), Ordering::Relaxed);
        }

        fn panicked(&self, _: &str) {}
    }

    fn parcels(of: &[(u64, u64)]) -> (Parcels, Count) {
        let count = Count::default();
        let tally = Arc::new(count.clone());
        let way = Way { waiting: of.iter().copied().collect(), ..Way::default() };
        (Parcels { way: Mutex::new(way), tally, broken: watch::Sender::new(false) }, count)
    }

    #[test]
    fn counts_what_is_written_whole() {
        let (parcels, count) = parcels(&[(100, 3), (150, 5), (300, 7)]);
        for (written, handed_over) in [(99, 0), (100, 3), (149, 3), (299, 8), (301, 15), (400, 15)] {
            parcels.written(written);
            assert_eq!(count.0.load(Ordering::Relaxed), handed_over, "{written} bytes");
        }
    }

    #[test]
    fn counts_nothing_that_is_sent_while_an_answer_is_under_way() {
        let (parcels, count) = parcels(&[(100, 3)]);
        parcels.sent(150, true, 5);
        parcels.sent(200, false, 7);
        parcels.written(200);
        assert_eq!(count.0.load(Ordering::Relaxed), 8, "the question itself counts, and what is before it");
        parcels.answered(100, false);
        assert_eq!(count.0.load(Ordering::Relaxed), 8);
        parcels.answered(150, true);
        assert_eq!(count.0.load(Ordering::Relaxed), 15);
        parcels.sent(300, false, 9);
        assert_eq!(count.0.load(Ordering::Relaxed), 15);
        parcels.written(300);
        assert_eq!(count.0.load(Ordering::Relaxed), 24);
    }

    #[test]
    fn takes_back_what_was_written_and_not_answered() {
        let (parcels, count) = parcels(&[(100, 3), (150, 5)]);
        parcels.written(100);
        parcels.lost(100, 3);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        parcels.lost(150, 5);
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "it was never counted");
        parcels.written(200);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(*parcels.broken.borrow());
    }

    fn trims<'a>(list: &'a str, to: usize) -> Acknowledgement<'a> {
        Acknowledgement { lists: Vec::new(), trims: vec![(list, to)], jobs: Vec::new() }
    }

    async fn connected(courier: &mut Courier) {
        let connecting = async {
            while courier.line.is_none() {
                courier.connect().await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), connecting).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_sent_silently_arrives() {
        let redis = Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let _: usize = cmd("RPUSH").arg("list").arg(&["a", "b", "c", "d"]).query(&mut connection).unwrap();
        let (private, count) = (Private::of("me"), Count::default());
        let mut courier = store.courier(count.clone());
        connected(&mut courier).await;
        assert!(courier.counts());
        let lists = Acknowledgement { lists: vec!["list"], trims: Vec::new(), jobs: Vec::new() };
        let mut carried = Vec::new();
        for to in [3, 2] {
            carried.push(courier.carry(&private, &trims("list", to), 1, false).await.unwrap());
        }
        carried.push(courier.carry(&private, &lists, 2, false).await.unwrap());
        carried.push(courier.ask(&private).await.unwrap());
        assert!(courier.ask(&private).await.is_none(), "that is under way");
        for carried in carried {
            let arrived = tokio::time::timeout(Duration::from_secs(10), carried.arrived()).await.unwrap();
            assert!(matches!(arrived, Arrived::Silently | Arrived::Counted(0)));
        }
        assert!(courier.ask(&private).await.is_none());
        assert_eq!(count.0.load(Ordering::Relaxed), 4);
        assert!(!cmd("EXISTS").arg("list").query::<bool>(&mut connection).unwrap());
        let _: usize = cmd("RPUSH").arg("list").arg("a").query(&mut connection).unwrap();
        let mut carried = tokio::task::JoinSet::new();
        for _ in 0..TOGETHER {
            carried.spawn(courier.carry(&private, &trims("other", 1), 1, false).await.unwrap().arrived());
        }
        let arrived = tokio::time::timeout(Duration::from_secs(10), carried.join_all()).await.unwrap();
        assert_eq!(arrived.iter().filter(|arrived| matches!(arrived, Arrived::Silently)).count(), TOGETHER - 1);
        assert_eq!(
            arrived.iter().filter(|arrived| matches!(arrived, Arrived::Counted(0))).count(),
            1,
            "it asked for all"
        );
        assert!(!courier.owes());
    }

    #[tokio::test]
    async fn each_is_answered_where_silence_is_refused() {
        let redis = Redis::start().unwrap();
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let _: () = cmd("ACL").arg(&["SETUSER", "default", "-client|reply"]).query(&mut connection).unwrap();
        let private = Private::of("me");
        let count = Count::default();
        let mut courier = Store::new(redis.options().unwrap()).courier(count.clone());
        connected(&mut courier).await;
        assert!(!courier.counts());
        let first = courier.carry(&private, &trims("list", 3), 1, false).await.unwrap();
        let second = courier.carry(&private, &trims("list", 2), 1, false).await.unwrap();
        for carried in [first, second] {
            assert!(matches!(carried.arrived().await, Arrived::Counted(0)));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_silent_one_does_not_outlast_the_failure_of_another() {
        let redis = Redis::start().unwrap();
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let (private, count) = (Private::of("me"), Count::default());
        let mut courier = Store::new(redis.options().unwrap()).courier(count.clone());
        connected(&mut courier).await;
        let _: () = cmd("ACL").arg(&["SETUSER", "default", "-srem"]).query(&mut connection).unwrap();
        let first = courier.carry(&private, &trims("list", 3), 1, false).await.unwrap();
        let asking = courier.ask(&private).await.unwrap();
        let second = courier.carry(&private, &trims("list", 2), 1, false).await.unwrap();
        for carried in [first, asking, second] {
            let arrived = tokio::time::timeout(Duration::from_secs(2), carried.arrived()).await.unwrap();
            assert!(matches!(arrived, Arrived::Unknown));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn has_one_answer_under_way() {
        let (parcels, _) = parcels(&[]);
        assert_eq!(parcels.owed(), None, "nothing was sent");
        assert_eq!(parcels.answers(true), 1);
        parcels.sent(5, true, 1);
        parcels.answered(5, true);
        for _ in 1..TOGETHER {
            assert_eq!(parcels.answers(false), 0);
        }
        assert_eq!(parcels.answers(false), TOGETHER);
        parcels.sent(10, true, 1);
        for _ in 0..2 * TOGETHER {
            assert_eq!(parcels.answers(false), 0, "one is under way");
        }
        assert_eq!(parcels.owed(), None);
        parcels.answered(9, false);
        assert_eq!(parcels.owed(), None, "that was the answer of a silent one");
        parcels.answered(10, true);
        assert_eq!(parcels.answers(false), 2 * TOGETHER + 1, "with those of the silent ones");
        parcels.sent(30, true, 1);
        parcels.answered(30, true);
        assert_eq!(parcels.answers(false), 0);
        assert_eq!(parcels.owed(), Some(2));
    }
}
