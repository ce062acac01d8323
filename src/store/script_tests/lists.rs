//! `claim`, `requeue`, `requeue_list`, `sizes`, `next_jobs`, `clear_queue`: jobs of queues and private lists.

use super::{Base, owned, refusal, refused};
use crate::store::claims::{Claimed, Private};
use crate::store::scripts;

impl Base {
    async fn try_claim(&self, claim: (u64, bool), n: usize, queues: &[&str]) -> crate::error::Result<Option<Claimed>> {
        let keys: Vec<String> = queues.iter().map(|queue| format!("queue:{queue}")).collect();
        let queues: Vec<(&str, &str)> = queues.iter().copied().zip(keys.iter().map(String::as_str)).collect();
        self.store.claim(&Private::of("me"), claim, n, &queues).await
    }

    async fn claimed(&self, claim: (u64, bool), n: usize, queues: &[&str]) -> Claimed {
        self.try_claim(claim, n, queues).await.unwrap().unwrap()
    }
}

/// `a: 1 2, b: 3`.
fn shown(claimed: &Claimed) -> String {
    let lists = claimed.lists.iter().map(|list| {
        let jobs: Vec<String> = list.jobs.iter().map(|job| String::from_utf8_lossy(job).into_owned()).collect();
        format!("{}: {}", list.queue, jobs.join(" "))
    });
    lists.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_claim_takes_the_oldest_jobs_of_the_queues_in_order() {
    let base = Base::start().await;
    assert!(base.try_claim((1, false), 1, &["a"]).await.unwrap().is_none(), "not registered");
    base.run(&[
        "SADD ferrokiq:processes me",
        "LPUSH queue:a 1 2",
        "SET queue:text 1",
        "LPUSH queue:b 3 4 5",
        "LPUSH queue:c 6",
    ])
    .await;
    let claimed = base.claimed((1, false), 3, &["none", "text", "a", "b", "c"]).await;
    assert_eq!(shown(&claimed), "a: 1 2, b: 3");
    assert_eq!((refused(&claimed), claimed.is_full), (owned(&["queue:text"]), false));
    assert!(claimed.refused[0].1.starts_with("WRONGTYPE"), "{:?}", claimed.refused);
    assert_eq!(base.set("ferrokiq:batches:me").await, ["ferrokiq:batch:me|1.0|a", "ferrokiq:batch:me|1.0|b"]);
    assert_eq!(base.list("ferrokiq:batch:me|1.0|a").await, ["2", "1"]);
    assert_eq!(base.list("ferrokiq:batch:me|1.0|b").await, ["3"]);
    assert!(!base.has("queue:a").await);
    assert_eq!(base.list("queue:b").await, ["5", "4"]);
    assert_eq!(base.list("queue:c").await, ["6"]);
    // The answer was lost: the same comes again, and no more.
    base.run(&["LPUSH queue:a 7"]).await;
    let again = base.claimed((1, true), 3, &["none", "text", "a", "b", "c"]).await;
    assert_eq!(shown(&again), "a: 1 2, b: 3");
    assert_eq!((base.list("queue:a").await, base.list("queue:c").await), (owned(&["7"]), owned(&["6"])));
    assert_eq!(shown(&base.claimed((2, true), 3, &["a"]).await), "", "a claim that never came moves nothing");
    assert_eq!(base.list("queue:a").await, ["7"]);
    assert_eq!(shown(&base.claimed((3, false), 9, &["a", "b", "c"]).await), "a: 7, b: 4 5, c: 6");
    assert_eq!(base.set("ferrokiq:batches:me").await.len(), 5);
}

#[tokio::test]
async fn a_claim_does_the_same_with_fewer_rights() {
    let base = Base::start().await;
    for forbidden in [&["sort"][..], &["memory"], &["rename"], &["sort", "memory", "rename"]] {
        for n in [2, 3, 4] {
            base.run(&[
                "FLUSHALL",
                "SADD ferrokiq:processes me",
                "LPUSH queue:a 1 2 3",
                "LPUSH ferrokiq:batch:me|1.0|a old",
            ])
            .await;
            base.forbid(forbidden).await;
            let claimed = base.claimed((1, false), n, &["a"]).await;
            base.allow_all().await;
            let expected = if n == 2 { ["2", "1"].to_vec() } else { ["3", "2", "1"].to_vec() };
            assert_eq!(base.list("ferrokiq:batch:me|1.0|a").await, expected, "{forbidden:?} {n}");
            assert_eq!(claimed.lists[0].jobs.len(), expected.len(), "{forbidden:?} {n}");
            assert_eq!(base.list("queue:a").await, &["3"][..3 - expected.len()], "{forbidden:?} {n}");
        }
    }
}

#[tokio::test]
async fn a_claim_of_large_jobs_is_bounded_with_fewer_rights_too() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me"]).await;
    base.push("queue:a", (0..10_u8).map(|at| vec![b'0' + at; 300_000])).await;
    base.push("queue:b", [b"small".to_vec()]).await;
    base.forbid(&["memory", "sort"]).await;
    let claimed = base.claimed((1, false), 10, &["a", "b"]).await;
    let firsts: Vec<u8> = claimed.lists[0].jobs.iter().map(|job| job[0]).collect();
    assert_eq!((firsts.as_slice(), claimed.lists.len(), claimed.is_full), (&b"012"[..], 1, true));
    base.allow_all().await;
    assert_eq!(base.get::<usize>("LLEN queue:a").await, 7);
}

#[tokio::test]
async fn a_claim_measures_a_queue_that_it_takes_whole() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me"]).await;
    let large = (0..3).map(|_| vec![b'x'; 600_000]);
    // The large ones are the oldest, behind many pages of small ones.
    base.push("queue:a", large.chain((0..1_000).map(|_| vec![b'x'; 100]))).await;
    let claimed = base.claimed((1, false), 2_000, &["a"]).await;
    assert_eq!(claimed.lists[0].jobs.iter().map(Vec::len).collect::<Vec<_>>(), [600_000]);
}

#[tokio::test]
async fn a_large_job_behind_other_jobs_of_a_claim_waits_for_the_next_one() {
    let base = Base::start().await;
    let fill = async |jobs: Vec<Vec<u8>>| {
        base.run(&["FLUSHALL", "SADD ferrokiq:processes me", "LPUSH queue:small 1"]).await;
        base.push("queue:a", jobs).await;
    };
    let large = || std::iter::once(vec![b'x'; 3_000_000]);
    // Alone in its queue; and the oldest of many small ones, which hide it.
    for jobs in [large().collect(), large().chain((0..2_000).map(|_| vec![b'x'; 100])).collect::<Vec<_>>()] {
        let size = jobs.len();
        fill(jobs).await;
        let claimed = base.claimed((1, false), 100, &["small", "a"]).await;
        assert_eq!((claimed.lists.len(), shown(&claimed).as_str(), claimed.is_full), (1, "small: 1", true));
        assert_eq!(base.get::<usize>("LLEN queue:a").await, size);
        assert_eq!(base.set("ferrokiq:batches:me").await, ["ferrokiq:batch:me|1.0|small"]);
        assert!(!base.has("ferrokiq:batch:me|1.0|a").await);
    }
    // Without a measure, the jobs of the first queue count, too.
    fill((0..2).map(|_| vec![b'x'; 300_000]).collect()).await;
    base.push("queue:b", (0..3).map(|_| vec![b'x'; 300_000])).await;
    base.forbid(&["memory"]).await;
    let claimed = base.claimed((1, false), 100, &["a", "b"]).await;
    assert_eq!(claimed.lists.iter().map(|list| list.jobs.len()).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn a_claim_that_cannot_take_jobs_out_of_the_queue_leaves_no_copy() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me", "LPUSH queue:a 1 2 3"]).await;
    base.forbid(&["ltrim"]).await;
    assert!(base.try_claim((1, false), 2, &["a"]).await.is_err());
    base.allow_all().await;
    assert_eq!(base.list("queue:a").await, ["3", "2", "1"]);
    assert!(!base.has("ferrokiq:batch:me|1.0|a").await && !base.has("ferrokiq:batches:me").await);
    // A copy that stays is on the index.
    base.forbid(&["ltrim", "unlink"]).await;
    assert!(base.try_claim((1, false), 2, &["a"]).await.is_err());
    base.allow_all().await;
    assert_eq!(base.set("ferrokiq:batches:me").await, ["ferrokiq:batch:me|1.0|a"]);
    base.run(&["DEL ferrokiq:batch:me|1.0|a ferrokiq:batches:me"]).await;
    // On the index before it is there.
    base.forbid(&["sadd"]).await;
    for n in [2, 9] {
        assert!(base.try_claim((1, false), n, &["a"]).await.is_err());
    }
    base.allow_all().await;
    assert_eq!(base.list("queue:a").await, ["3", "2", "1"]);
    assert!(!base.has("ferrokiq:batch:me|1.0|a").await);
}

#[tokio::test]
async fn a_queue_that_is_claimed_whole_is_renamed() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me", "LPUSH queue:a 1 2 3", "LPUSH queue:b 1 2 3 4", "CONFIG RESETSTAT"]).await;
    assert_eq!(shown(&base.claimed((1, false), 3, &["a"]).await), "a: 1 2 3");
    assert_eq!((base.calls("rename").await, base.calls("sort").await), (1, 0));
    assert_eq!(shown(&base.claimed((2, false), 3, &["b"]).await), "b: 1 2 3");
    assert_eq!((base.calls("rename").await, base.calls("sort").await), (1, 1));
}

#[tokio::test]
async fn only_jobs_that_are_still_owned_are_requeued() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:q newer", "LPUSH list 1 2 3 2"]).await;
    let requeue = async |jobs: &[&[u8]]| base.store.requeue("list", "q", jobs).await;
    assert_eq!(requeue(&[b"1", b"2", b"none"]).await.unwrap(), 2);
    assert_eq!(base.list("queue:q").await, ["newer", "2", "1"], "the first to run first");
    assert_eq!(base.list("list").await, ["2", "3"], "the older of two that are alike");
    assert_eq!(base.set("queues").await, ["q"]);
    base.run(&["DEL queues"]).await;
    assert_eq!(requeue(&[b"1"]).await.unwrap(), 0);
    assert!(!base.has("queues").await, "no queue is named without a job");
    base.run(&["SET queues text"]).await;
    assert_eq!(requeue(&[b"2"]).await.unwrap(), 1, "a job counts more than the name of its queue");
    base.run(&["FLUSHALL", "LPUSH list 1 2"]).await;
    assert_eq!(requeue(&[b"2"]).await.unwrap(), 1, "a queue that was empty");
    assert_eq!(base.set("queues").await, ["q"]);
    base.run(&["FLUSHALL", "SET queue:q text", "LPUSH list 1"]).await;
    assert!(refusal(requeue(&[b"1"]).await).contains("queue:q is no list"));
    assert_eq!(base.list("list").await, ["1"]);
    base.run(&["DEL queue:q"]).await;
    for forbidden in ["rpush", "lrem"] {
        base.forbid(&[forbidden]).await;
        assert!(requeue(&[b"1"]).await.is_err());
        base.allow_all().await;
        assert_eq!(base.list("list").await, ["1"], "without {forbidden}");
        assert!(!base.has("queue:q").await, "without {forbidden}");
    }
}

#[tokio::test]
async fn a_list_is_requeued_with_the_name_of_its_queue() {
    let base = Base::start().await;
    base.run(&["LPUSH list 1 2 3"]).await;
    assert_eq!(base.store.requeue_list("list", "q").await.unwrap(), 3);
    assert_eq!(base.list("queue:q").await, ["3", "2", "1"]);
    assert_eq!(base.set("queues").await, ["q"]);
    base.run(&["FLUSHALL"]).await;
    assert_eq!(base.store.requeue_list("list", "q").await.unwrap(), 0);
    assert!(!base.has("queues").await, "no queue is named without a job");
    base.run(&["SET queues text", "LPUSH list 1"]).await;
    assert_eq!(base.store.requeue_list("list", "q").await.unwrap(), 1, "a job counts more than the name of its queue");
    base.run(&["FLUSHALL", "CONFIG RESETSTAT"]).await;
    base.push("list", (0..1_601).map(|at: u32| at.to_string().into_bytes())).await;
    assert_eq!(base.store.requeue_list("list", "q").await.unwrap(), 1_601);
    assert_eq!(base.calls("sadd").await, 2, "1,600 in one script");
    // The job that reaches the bytes is the last.
    base.push("list", [10, 50, 50, 50, 49, 50].map(|size| vec![b'x'; size])).await;
    for expected in [3, 2, 1, 0] {
        let mut requeue = scripts::REQUEUE_LIST.key("list");
        requeue.key("queue:q").key("queues").arg("q").arg(10).arg(100);
        assert_eq!(base.store.link.eval::<usize>("test", &requeue).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_size_of_the_next_jobs_is_that_of_the_largest() {
    let base = Base::start().await;
    let sizes = async |n: usize, queues: &[&str]| -> Option<usize> {
        let mut sizes = scripts::SIZES.arg(n);
        queues.iter().for_each(|queue| {
            sizes.key(*queue);
        });
        base.store.link.eval("test", &sizes).await.unwrap()
    };
    base.run(&["SET text 1"]).await;
    assert_eq!(sizes(1, &["none", "text"]).await, None);
    base.push("single", [vec![b'x'; 3_000]]).await;
    assert!((3_000..4_096).contains(&sizes(1, &["single"]).await.unwrap()));
    base.push("small", [vec![b'x'; 10], vec![b'x'; 3_000], vec![b'x'; 2_000], vec![b'x'; 10]]).await;
    assert!((1_250..3_000).contains(&sizes(1, &["small"]).await.unwrap()), "the average, at least");
    assert_eq!(sizes(2, &["none", "small", "text"]).await, Some(3_000), "the n-th of those that are next");
    assert_eq!(sizes(3, &["small"]).await, Some(2_000));
    assert!((1_250..2_000).contains(&sizes(9, &["small"]).await.unwrap()), "the last of them all is small");
    base.push("large", [vec![b'x'; 100_000], vec![b'x'; 100_000]]).await;
    base.run(&["CONFIG RESETSTAT"]).await;
    assert!((100_000..140_000).contains(&sizes(1, &["large"]).await.unwrap()));
    assert_eq!(base.calls("lindex").await, 0, "large jobs are not read");
    for queues in [["small", "large"], ["large", "small"]] {
        assert!((100_000..140_000).contains(&sizes(1, &queues).await.unwrap()));
    }
    base.forbid(&["memory"]).await;
    assert_eq!(sizes(1, &["large"]).await, Some(100_000));
}

#[tokio::test]
async fn the_next_jobs_of_queues_are_read_some_bytes_at_a_time_and_large_ones_in_short() {
    let base = Base::start().await;
    let next = async |largest: u64, queues: &[&str]| -> Vec<Option<String>> {
        let mut next = scripts::NEXT_JOBS.arg(100);
        next.arg(largest);
        queues.iter().for_each(|queue| {
            next.key(*queue);
        });
        base.store.link.eval("test", &next).await.unwrap()
    };
    base.run(&["LPUSH a next newer", r#"LPUSH b {"args":[1],"enqueued_at":12.5,"x":"y"}"#, "LPUSH c 0123456789"]).await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        next(10, &["a", "none", "b", "c"]).await,
        [text("next"), None, text(r#"{"enqueued_at":12.5}"#), text("0123456789")]
    );
    assert_eq!(next(9, &["c", "a"]).await, [text("{}"), text("next")]);
    base.push("d", [format!("{}{}", r#"{"enqueued_at":7,"#, "x".repeat(40)).into_bytes()]).await;
    base.push("e", [vec![b'y'; 43], vec![b'y'; 43]]).await;
    assert_eq!(next(10, &["d", "e", "a"]).await, [text(r#"{"enqueued_at":7}"#), text("{}")], "100 bytes are read");
    base.push("f", [vec![b'y'; 99]]).await;
    assert_eq!(next(10, &["f", "a", "a"]).await, [text("{}"), text("next")], "99 are less than 100");
    assert_eq!(
        next(10, &["f", "none", "a", "a"]).await,
        [text("{}"), None, text("next")],
        "an empty queue has no bytes"
    );
    base.push("far", [format!("{}{}", r#"{"enqueued_at":7,"#, "x".repeat(1_024)).into_bytes()]).await;
    assert_eq!(next(10, &["far"]).await, [text("{}")], "only the end of a large job is looked through");
}

#[tokio::test]
async fn a_window_ends_before_the_job_that_exceeds_its_bytes() {
    let base = Base::start().await;
    base.push("list", [60, 40, 1].map(|size| vec![b'x'; size])).await;
    let jobs: Vec<Vec<u8>> =
        base.store.link.eval("test", &crate::store::windows::window_script("list", 0, 10, 100)).await.unwrap();
    assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), [60, 40]);
}

#[tokio::test]
async fn a_queue_is_cleared_up_to_a_job_and_some_at_a_time() {
    let base = Base::start().await;
    let fill = async || base.run(&["FLUSHALL", "SADD queues q other", "LPUSH queue:q 1 2 3 4 5"]).await;
    let clear = async |most, newest: Option<&str>| {
        base.store.clear_oldest("q", most, 9, (newest.map(str::as_bytes), None)).await
    };
    fill().await;
    assert_eq!(clear(2, None).await.unwrap(), (2, 3));
    assert_eq!(base.list("queue:q").await, ["5", "4", "3"]);
    assert_eq!(clear(1, Some("4")).await.unwrap(), (1, 1));
    assert_eq!(base.list("queue:q").await, ["5", "4"]);
    assert_eq!(clear(9, Some("3")).await.unwrap(), (0, 0), "it was fetched");
    assert_eq!(clear(0, None).await.unwrap(), (0, 2));
    assert_eq!(clear(9, Some("4")).await.unwrap(), (1, 0));
    assert_eq!((base.list("queue:q").await, base.set("queues").await), (owned(&["5"]), owned(&["other", "q"])));
    assert_eq!(clear(9, None).await.unwrap(), (1, 0));
    assert_eq!((base.has("queue:q").await, base.set("queues").await), (false, owned(&["other"])));
    fill().await;
    base.forbid(&["srem"]).await;
    assert!(clear(9, None).await.is_err());
    assert_eq!(base.list("queue:q").await.len(), 5);
}

#[tokio::test]
async fn a_queue_is_cleared_of_what_lies_between_two_jobs() {
    let base = Base::start().await;
    let fill = async |jobs: &str| base.run(&["FLUSHALL", "SADD queues q", &format!("LPUSH queue:q {jobs}")]).await;
    let clear = async |most, counted| base.store.clear_oldest("q", most, counted, (Some(b"3"), Some(b"1"))).await;
    fill("back2 back1 1 2 3 later").await;
    assert_eq!(clear(1, 3).await.unwrap(), (1, 2));
    assert_eq!(base.list("queue:q").await, ["later", "3", "2", "back1", "back2"]);
    assert_eq!(clear(9, 2).await.unwrap(), (2, 0));
    assert_eq!(base.list("queue:q").await, ["later", "back1", "back2"]);
    assert_eq!(clear(9, 1).await.unwrap(), (0, 0), "all of them are gone");
    fill("back1 2 3").await;
    assert_eq!(clear(9, 3).await.unwrap(), (3, 0), "the oldest was fetched: it may be the one that came back");
    fill("back3 back2 back1 2 3").await;
    assert_eq!(clear(9, 3).await.unwrap(), (3, 0), "no more than were counted");
    assert_eq!(base.list("queue:q").await, ["back2", "back3"]);
    fill("back2 back1 1 1 2 3 later").await;
    assert_eq!(clear(9, 9).await.unwrap(), (4, 0), "equal jobs were all counted");
    assert_eq!(base.list("queue:q").await, ["later", "back1", "back2"]);
    fill("back 1 2 3").await;
    base.forbid(&["lrem"]).await;
    assert!(clear(9, 3).await.is_err());
    assert_eq!(base.list("queue:q").await, ["3", "2", "1", "back"], "a refusal changes nothing");
}

#[tokio::test]
async fn a_queue_is_cleared_in_bounded_steps_where_jobs_were_put_back() {
    let base = Base::start().await;
    let put_back = async |count: usize, jobs: &str| {
        base.run(&["FLUSHALL"]).await;
        for some in vec!["back"; count].chunks(10_000) {
            base.store.link.query::<()>("test", redis::cmd("LPUSH").arg("queue:q").arg(some)).await.unwrap();
        }
        base.run(&[&format!("LPUSH queue:q {jobs}")]).await;
    };
    let clear = async |counted: usize| {
        let newest = counted.to_string();
        base.store.clear_oldest("q", 9_000, counted, (Some(newest.as_bytes()), Some(b"1"))).await
    };
    put_back(50_000, "1 2").await;
    assert_eq!(clear(2).await.unwrap(), (2, 0));
    put_back(50_001, "1 2").await;
    assert_eq!(clear(2).await.unwrap(), (0, 2), "too many were put back");
    assert_eq!(base.get::<usize>("LLEN queue:q").await, 50_003);
    let jobs: Vec<String> = (1..=5_000).map(|job| job.to_string()).collect();
    put_back(1, &jobs.join(" ")).await;
    assert_eq!(clear(5_000).await.unwrap(), (4_000, 1_000));
}

#[tokio::test]
async fn a_claim_passes_on_why_redis_refuses_the_length_of_a_queue() {
    let base = Base::start().await;
    base.run(&["SADD ferrokiq:processes me", "LPUSH queue:a 1"]).await;
    base.forbid(&["llen"]).await;
    let claimed = base.claimed((1, false), 3, &["a"]).await;
    base.allow_all().await;
    assert_eq!(refused(&claimed), ["queue:a"]);
    let why = &claimed.refused[0].1;
    assert!(!why.contains("WRONGTYPE") && why.contains("can't run this command"), "{why}");
}
