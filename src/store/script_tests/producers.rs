//! `push`, `push_once`, `schedule_once`, `apart`, `mark_deploy`, `announce`.

use super::{Base, owned, refusal};
use crate::store::scripts;

#[tokio::test]
async fn a_push_to_several_queues_is_done_in_order_or_not_at_all() {
    let base = Base::start().await;
    let jobs = [("a", owned(&["1", "2"])), ("b", owned(&["3"])), ("c", owned(&["4", "5", "6"]))];
    base.store.push(&jobs, None).await.unwrap();
    assert_eq!(base.list("queue:a").await, ["2", "1"]);
    assert_eq!(base.list("queue:b").await, ["3"]);
    assert_eq!(base.list("queue:c").await, ["6", "5", "4"]);
    assert_eq!(base.set("queues").await, ["a", "b", "c"]);
    base.store.push(&jobs, None).await.unwrap();
    assert_eq!(base.list("queue:b").await, ["3", "3"]);
    for queue in ["queue:a", "queue:c"] {
        base.run(&["FLUSHALL", &format!("SET {queue} text")]).await;
        assert!(refusal(base.store.push(&jobs, None).await).contains(&format!("{queue} is no list")));
        assert_eq!(base.get::<usize>("DBSIZE").await, 1, "a key of another type refuses all of it");
    }
    base.run(&["FLUSHALL"]).await;
    base.forbid(&["sadd"]).await;
    assert!(base.store.push(&jobs, None).await.is_err());
    assert_eq!(base.get::<usize>("DBSIZE").await, 0, "no queue has jobs without a name");
}

#[tokio::test]
async fn an_idempotent_push_is_done_once_while_its_marks_last() {
    let base = Base::start().await;
    let jids = owned(&["j1", "j2", "j3"]);
    let jobs = [("a", owned(&["1", "2"])), ("b", owned(&["3"]))];
    base.store.push_once(&jobs, &jids, None).await.unwrap();
    for jid in &jids {
        base.expires(&format!("ferrokiq:pushed:{jid}"), 3_500..=3_600).await;
    }
    base.run(&["EXPIRE ferrokiq:pushed:j3 5", "DEL ferrokiq:pushed:j1"]).await;
    base.store.push_once(&jobs, &jids, None).await.unwrap();
    assert_eq!(base.list("queue:a").await, ["1", "2", "1"], "the job without a mark is pushed");
    assert_eq!(base.list("queue:b").await, ["3"]);
    assert_eq!(base.set("queues").await, ["a", "b"]);
    base.expires("ferrokiq:pushed:j3", 3_500..=3_600).await;
    for queue in ["queue:a", "queue:b"] {
        base.run(&["FLUSHALL", &format!("SET {queue} text")]).await;
        assert!(refusal(base.store.push_once(&jobs, &jids, None).await).contains(&format!("{queue} is no list")));
        assert_eq!(base.get::<usize>("DBSIZE").await, 1, "a key of another type refuses all of it");
    }
    base.run(&["FLUSHALL"]).await;
    for forbidden in ["lpush", "sadd"] {
        base.forbid(&[forbidden]).await;
        assert!(base.store.push_once(&jobs, &jids, None).await.is_err());
        base.allow_all().await;
        assert!(!base.has("ferrokiq:pushed:j1").await, "a refused job has no mark");
        assert!(!base.has("queue:a").await, "no queue has jobs without a name");
    }
}

#[tokio::test]
async fn an_idempotent_schedule_is_done_once_while_its_marks_last() {
    let base = Base::start().await;
    let jids = owned(&["j1", "j2"]);
    let entries = [("10.5".to_owned(), "1".to_owned()), ("20".to_owned(), "2".to_owned())];
    base.store.schedule_once(&entries, &jids, None).await.unwrap();
    assert_eq!(base.scores("schedule").await, [("1".to_owned(), 10.5), ("2".to_owned(), 20.0)]);
    base.expires("ferrokiq:pushed:j1", 3_500..=3_600).await;
    base.run(&["DEL schedule ferrokiq:pushed:j2", "EXPIRE ferrokiq:pushed:j1 5"]).await;
    base.store.schedule_once(&entries, &jids, None).await.unwrap();
    assert_eq!(
        base.scores("schedule").await,
        [("2".to_owned(), 20.0)],
        "promoted or deleted meanwhile: not added again"
    );
    base.expires("ferrokiq:pushed:j1", 3_500..=3_600).await;
    base.expires("ferrokiq:pushed:j2", 3_500..=3_600).await;
    base.run(&["FLUSHALL", "SET schedule text"]).await;
    assert!(refusal(base.store.schedule_once(&entries, &jids, None).await).contains("schedule is no sorted set"));
    assert_eq!(base.get::<usize>("DBSIZE").await, 1);
    base.run(&["FLUSHALL"]).await;
    base.forbid(&["zadd"]).await;
    assert!(base.store.schedule_once(&entries, &jids, None).await.is_err());
    assert!(!base.has("ferrokiq:pushed:j1").await, "a refused job has no mark");
}

#[tokio::test]
async fn jobs_that_share_a_score_are_moved_apart_where_they_still_are() {
    let base = Base::start().await;
    base.run(&["ZADD schedule 5 a 5 b 7 c 7 d 9 alone 11 x 11 y"]).await;
    let mut apart = scripts::APART.key("schedule");
    for (score, job) in [("5", "b"), ("7", "d"), ("9", "alone"), ("11", "gone")] {
        apart.arg(score).arg(job);
    }
    base.store.link.eval::<()>("test", &apart).await.unwrap();
    let schedule = base.scores("schedule").await;
    let order: Vec<&str> = schedule.iter().map(|(job, _)| job.as_str()).collect();
    assert_eq!(order, ["a", "b", "c", "d", "alone", "x", "y"], "what is gone does not come back");
    assert!(schedule[1].1 > 5.0 && schedule[1].1 < 5.1 && schedule[3].1 > 7.0 && schedule[3].1 < 7.1, "{schedule:?}");
    assert_eq!((schedule[0].1, schedule[2].1, schedule[4].1), (5.0, 7.0, 9.0), "the others stay");
}

#[tokio::test]
async fn jobs_are_moved_apart_where_a_microsecond_is_less_than_a_double_holds() {
    let base = Base::start().await;
    for score in ["1800000000000", "1e18", "1e300", "-1e16"] {
        base.run(&["FLUSHALL"]).await;
        let jobs: Vec<String> = (0..200).map(|job| job.to_string()).collect();
        let mut apart = scripts::APART.key("schedule");
        for job in &jobs {
            base.run(&[&format!("ZADD schedule {score} {job}")]).await;
            apart.arg(score).arg(job);
        }
        base.store.link.eval::<()>("test", &apart).await.unwrap();
        let distinct: std::collections::HashSet<u64> =
            base.scores("schedule").await.iter().map(|(_, score)| score.to_bits()).collect();
        assert_eq!(distinct.len(), jobs.len(), "{score}");
    }
}

#[tokio::test]
async fn a_deploy_is_marked_once_a_minute_and_kept_for_ninety_days() {
    let base = Base::start().await;
    let mark = async |minute: &str, label: &str| base.store.mark_deploy("20261123", minute, label).await;
    assert!(mark("4:07", "v1").await.unwrap());
    base.expires("20261123-marks", 7_775_900..=7_776_000).await;
    base.expires("deploylock-v1", 50..=60).await;
    assert!(!mark("4:08", "v1").await.unwrap(), "the label was marked within a minute");
    assert!(!mark("4:07", "v2").await.unwrap(), "the minute has a label");
    assert_eq!(base.get::<Vec<String>>("HVALS 20261123-marks").await, ["v1"]);
    assert_eq!(base.get::<Vec<String>>("HKEYS 20261123-marks").await, ["4:07"]);
    base.run(&["DEL deploylock-v1", "PERSIST 20261123-marks"]).await;
    assert!(mark("4:08", "v1").await.unwrap());
    base.expires("20261123-marks", 7_775_900..=7_776_000).await;
    base.forbid(&["expire"]).await;
    assert!(mark("4:09", "v3").await.is_err());
    base.allow_all().await;
    assert!(!base.has("deploylock-v3").await, "a label whose mark failed may be tried again at once");
}

#[tokio::test]
async fn only_a_queue_that_holds_jobs_is_announced() {
    let base = Base::start().await;
    base.run(&["LPUSH queue:a 1", "SET queue:text 1"]).await;
    assert!(base.store.announce_queue("a").await.unwrap());
    assert!(!base.store.announce_queue("a").await.unwrap(), "it is there");
    for other in ["none", "text"] {
        assert!(!base.store.announce_queue(other).await.unwrap(), "{other}");
    }
    assert_eq!(base.set("queues").await, ["a"]);
}
