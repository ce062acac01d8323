use super::*;
use crate::store::CLAIM_BYTES;
use crate::store::error::failed;
use crate::store::registration::Registration;
use crate::testing::Redis;

struct Process {
    store: Store,
    _redis: Redis,
}

impl Process {
    async fn start() -> Self {
        let redis = Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        store.register(&Registration::of("me"), Duration::from_secs(60), false).await.unwrap();
        Self { store, _redis: redis }
    }

    async fn call<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut call = cmd(words.next().unwrap());
        words.for_each(|word| {
            call.arg(word);
        });
        self.store.link.query("test", &call).await.unwrap()
    }

    async fn push(&self, queue: &str, jobs: impl IntoIterator<Item = Vec<u8>>) {
        let jobs: Vec<Vec<u8>> = jobs.into_iter().collect();
        self.store.link.query::<()>("test", cmd("LPUSH").arg(format!("queue:{queue}")).arg(jobs)).await.unwrap();
    }

    async fn claim(&self, claim: (u64, bool), n: usize, queues: &[&str]) -> Vec<Vec<u8>> {
        let keys: Vec<String> = queues.iter().map(|queue| format!("queue:{queue}")).collect();
        let queues: Vec<(&str, &str)> = queues.iter().copied().zip(keys.iter().map(String::as_str)).collect();
        let claimed = self.store.claim(&Private::of("me"), claim, n, &queues).await.unwrap().unwrap();
        claimed.lists.into_iter().flat_map(|list| list.jobs).collect()
    }

    /// Bytes of the jobs in private lists.
    async fn private_bytes(&self) -> usize {
        let mut bytes = 0;
        for list in self.call::<Vec<String>>("SMEMBERS ferrokiq:batches:me").await {
            let jobs: Vec<Vec<u8>> = self.call(&format!("LRANGE {list} 0 -1")).await;
            assert!(!jobs.is_empty(), "{list} is on the index, and there is nothing in it");
            bytes += jobs.iter().map(Vec::len).sum::<usize>();
        }
        bytes
    }
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(|number| number.to_string().into_bytes()).collect()
}

#[tokio::test]
async fn a_claim_of_large_jobs_moves_no_more_than_its_bytes() {
    let process = Process::start().await;
    // Fewer than wanted, as many as wanted, and more: the three ways a script can move them.
    for (number, there) in [(1, 20), (2, 100), (3, 300)] {
        process.call::<()>("FLUSHALL").await;
        process.store.register(&Registration::of("me"), Duration::from_secs(60), false).await.unwrap();
        process.push("large", (0..there).map(|at: u32| vec![b'0' + (at % 10) as u8; 300_000])).await;
        process.push("small", [b"small".to_vec()]).await;
        let jobs = process.claim((number, false), 100, &["large", "small"]).await;
        let firsts: Vec<u8> = jobs.iter().map(|job| job[0]).collect();
        assert_eq!(firsts, b"012", "three of {there} jobs of 300 KB, the oldest first");
        assert_eq!(process.private_bytes().await, 900_000);
        assert_eq!(process.call::<u32>("LLEN queue:large").await, there - 3);
    }
}

#[tokio::test]
async fn a_claim_that_finds_large_jobs_among_small_ones_ends_before_them() {
    let process = Process::start().await;
    for (number, there) in [(1, 150), (2, 900)] {
        process.call::<()>("FLUSHALL").await;
        process.store.register(&Registration::of("me"), Duration::from_secs(60), false).await.unwrap();
        // Where nobody looks for them.
        let mut jobs = numbered(0..there);
        jobs[40..43].fill(vec![b'x'; 600_000]);
        process.push("mixed", jobs.clone()).await;
        let mut seen = Vec::new();
        for claim in 0.. {
            let some = process.claim((number * 100 + claim, false), 200, &["mixed"]).await;
            if some.is_empty() {
                break;
            }
            let bytes: usize = some.iter().map(Vec::len).sum();
            assert!(bytes <= CLAIM_BYTES, "{bytes} bytes in one claim");
            seen.extend(some);
        }
        assert_eq!(seen, jobs, "each once, in order");
    }
}

#[tokio::test]
async fn a_claim_of_small_jobs_takes_what_is_wanted_and_copies_it_at_once() {
    let process = Process::start().await;
    process.push("a", numbered(0..50)).await;
    process.push("b", numbered(50..2_000)).await;
    let jobs = process.claim((1, false), 1_600, &["a", "b"]).await;
    assert_eq!(jobs, numbered(0..1_600));
    let said: String = process.call("INFO commandstats").await;
    assert!(!said.contains("cmdstat_lmove"), "the script held every job");
}

#[tokio::test]
async fn one_job_is_claimed_however_large_and_alone() {
    let process = Process::start().await;
    process.push("a", (0..3).map(|_| vec![b'x'; 5_000_000])).await;
    assert_eq!(process.claim((1, false), 10, &["a"]).await.len(), 1);
    // Behind a small one it waits for the next claim, and leaves no trace of this one.
    process.push("b", [b"small".to_vec()]).await;
    assert_eq!(process.claim((2, false), 10, &["b", "a"]).await, [b"small"]);
    assert_eq!(process.private_bytes().await, 5_000_005);
    assert_eq!(process.call::<u32>("LLEN queue:a").await, 2);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_read_window_by_window() {
    let process = Process::start().await;
    let jobs: Vec<Vec<u8>> = (0..100_u8).map(|at| vec![at; 1_000]).collect();
    process.push("a", jobs.clone()).await;
    process.claim((1, false), 100, &["a"]).await;
    for _ in 0..5 {
        let timed_out = failed(
            "read",
            crate::store::error::Applied::Unknown,
            std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        );
        process.store.window.learn::<()>(&Err(timed_out));
    }
    assert_eq!(process.store.window.bytes(), 32 << 10);
    process.call::<()>("CONFIG RESETSTAT").await;
    assert_eq!(process.claim((1, true), 100, &["a"]).await, jobs);
    let said: String = process.call("INFO commandstats").await;
    // The claim, four windows, and one that is empty. The first call of each script only finds that Redis does not know it.
    assert!(said.contains("cmdstat_evalsha:calls=7,") && !said.contains("cmdstat_lrange"), "{said}");
}

#[tokio::test]
async fn a_window_holds_no_more_than_its_bytes_but_one_job() {
    let process = Process::start().await;
    let sizes = [10, 20, 700_000, 300_000, 100_000, 2_000_000, 30];
    process.push("x", sizes.iter().map(|size| vec![b'x'; *size])).await;
    let mut windows = Vec::new();
    loop {
        let seen: usize = windows.iter().map(Vec::len).sum();
        let script = window_script("queue:x", seen, usize::MAX, CLAIM_BYTES);
        let jobs: Vec<Vec<u8>> = process.store.link.eval("test", &script).await.unwrap();
        if jobs.is_empty() {
            break;
        }
        windows.push(jobs.iter().map(Vec::len).collect::<Vec<_>>());
    }
    assert_eq!(windows, [vec![10, 20, 700_000, 300_000], vec![100_000], vec![2_000_000], vec![30]]);
    let jobs = process.store.all_private_jobs("queue:x").await.unwrap();
    assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
    assert_eq!(process.store.private_jobs("queue:x", 2).await.unwrap().len(), 2);
    assert!(process.store.all_private_jobs("none").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_private_list_goes_back_in_order_some_bytes_at_a_time() {
    let process = Process::start().await;
    let list = Private::of("me").list(1, "a");
    let mut jobs = numbered(0..20);
    jobs.extend((0..5_u8).map(|at| vec![at; 600_000]));
    process.store.link.query::<()>("test", cmd("LPUSH").arg(&list).arg(&jobs)).await.unwrap();
    process.push("a", [b"newer".to_vec()]).await;
    process.call::<()>("CONFIG RESETSTAT").await;
    assert_eq!(process.store.requeue_list(&list, "a").await.unwrap(), jobs.len());
    let said: String = process.call("INFO commandstats").await;
    assert!(
        said.contains("cmdstat_evalsha:calls=5,"),
        "three with two large ones at most, and one that finds nothing: {said}"
    );
    let mut queue: Vec<Vec<u8>> = process.call("LRANGE queue:a 0 -1").await;
    queue.reverse();
    jobs.push(b"newer".to_vec());
    assert_eq!(queue, jobs);
    assert_eq!(process.store.requeue_list(&list, "a").await.unwrap(), 0);
}

#[tokio::test]
async fn a_private_list_stays_where_it_is_if_its_queue_is_none() {
    let process = Process::start().await;
    let list = Private::of("me").list(1, "a");
    process.store.link.query::<()>("test", cmd("LPUSH").arg(&list).arg("1").arg("2")).await.unwrap();
    process.call::<()>("SET queue:a text").await;
    assert!(process.store.requeue_list(&list, "a").await.is_err());
    assert_eq!(process.call::<Vec<String>>(&format!("LRANGE {list} 0 -1")).await, ["2", "1"]);
}

#[tokio::test]
async fn a_pop_reports_how_large_the_next_jobs_are() {
    let process = Process::start().await;
    process.push("a", [10, 900, 900, 70_000, 70_000, 70_000].map(|size| vec![b'x'; size])).await;
    let mut wire = process.store.blocking().await.unwrap();
    for (count, at_least, at_most) in [(1, 900, 70_000), (2, 70_000, 90_000), (1, 70_000, 90_000)] {
        let (popped, next) = wire.pop(count, &["queue:none", "queue:a"]).await.unwrap();
        assert_eq!(popped.unwrap().1.len(), count);
        assert!(next.is_some_and(|next| (at_least..at_most).contains(&next)), "{next:?}");
    }
    let (popped, next) = wire.pop(5, &["queue:none", "queue:a"]).await.unwrap();
    assert_eq!((popped.unwrap().1.len(), next), (2, None));
}

#[tokio::test]
async fn a_claim_that_is_full_takes_nothing_of_the_queues_behind() {
    let process = Process::start().await;
    process.push("first", (0..3).map(|_| vec![b'x'; 600_000])).await;
    process.push("second", [b"small".to_vec()]).await;
    for number in 1..=3 {
        let expected = if number < 3 { vec![600_000] } else { vec![600_000, 5] };
        let jobs = process.claim((number, false), 10, &["first", "second"]).await;
        assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), expected, "claim {number}");
    }
}
