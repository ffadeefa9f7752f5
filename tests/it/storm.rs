//! Everything at once: pushes, deletions, scrapes and wipes from many threads. Afterwards, the accounts
//! must balance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Coding, Connection, Gateway, config, encoded, flag, histogram, promtool_accepts, start,
};

fn own(gateway: &Gateway, name: &str) -> f64 {
    gateway.sample(&format!("tallygate_{name}"))
}

/// Checks that our metrics about the store agree with its content.
#[track_caller]
fn check_books(gateway: &Gateway) {
    let json = gateway.get("/api/v1/metrics").json();
    let families = json["data"]["families"].as_array().unwrap();
    let series: usize =
        families.iter().map(|family| family["metrics"].as_array().unwrap().len()).sum();
    assert_eq!(own(gateway, "families"), families.len() as f64);
    assert_eq!(own(gateway, "series"), series as f64);
    assert_eq!(own(gateway, "limit_used{limit=\"series\"}"), series as f64);
    let born = own(gateway, "series_born_total");
    let removed: f64 = ["deleted", "expired", "wiped"]
        .iter()
        .map(|cause| own(gateway, &format!("series_removed_total{{cause=\"{cause}\"}}")))
        .sum();
    assert_eq!(born - removed, series as f64);
    assert_eq!(own(gateway, "inflight_push_bytes"), 0.0);
}

#[test]
fn pushes_deletions_scrapes_and_wipes_at_once() {
    let gateway = flag("--web.enable-admin-api").run();
    thread::scope(|scope| {
        for worker in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.address);
                for i in 0..150 {
                    let path = format!("/metrics/job/j/group/{}", (worker + i) % 5);
                    let body = format!(
                        "steady_total 1\nflicker_{}_total 1\n{}",
                        i % 7,
                        histogram("h", 1.0, &[("1", 1), ("+Inf", 2)])
                    );
                    let push = gateway.request("POST", &path).body(body);
                    assert_eq!(connection.send(&push).status, 200);
                    let kept = gateway.request("POST", "/metrics/job/kept").body("kept_total 1\n");
                    assert_eq!(connection.send(&kept).status, 200);
                    if i % 3 == 0 {
                        let delete = gateway.request("DELETE", &path);
                        assert_eq!(connection.send(&delete).status, 202);
                    }
                    if i % 40 == 39 {
                        let selector = "/api/v1/series?match[]={job='j'}";
                        let delete = gateway.request("DELETE", selector);
                        assert_eq!(connection.send(&delete).status, 202);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..30 {
                promtool_accepts(&gateway.get("/metrics").text());
                assert_eq!(gateway.get("/api/v1/metrics").status, 200);
            }
        });
    });
    // What was not deleted is complete.
    assert_eq!(gateway.sample("kept_total{job=\"kept\"}"), 600.0);
    check_books(&gateway);
    gateway.request("PUT", "/api/v1/admin/wipe").send();
    assert_eq!(gateway.pushed(), "");
    check_books(&gateway);
}

/// Two types compete for a name: one of them wins, and everything that was accepted is there.
#[test]
fn a_race_for_the_type_of_a_name() {
    let mut gateway = start();
    gateway.expect_log("push refused");
    for round in 0..10 {
        let accepted: [AtomicU32; 2] = Default::default();
        thread::scope(|scope| {
            for worker in 0..4 {
                let (gateway, accepted) = (&gateway, &accepted);
                scope.spawn(move || {
                    let kind = worker % 2;
                    let name = format!("race_{round}");
                    let body = match kind {
                        0 => format!("# TYPE {name} counter\n{name} 1\nother_{round}_{kind} 1\n"),
                        _ => format!(
                            "# TYPE {name} summary\n{name}_sum 1\n{name}_count 1\n\
                             other_{round}_{kind} 1\n"
                        ),
                    };
                    for _ in 0..5 {
                        match gateway.push("/metrics", &body).status {
                            200 => _ = accepted[kind].fetch_add(1, Relaxed),
                            status => assert_eq!(status, 422),
                        }
                    }
                });
            }
        });
        let [counters, summaries] = accepted.map(AtomicU32::into_inner);
        assert!((counters == 10 && summaries == 0) || (counters == 0 && summaries == 10));
        let text = gateway.pushed();
        // The other families of a push were accepted or refused with it.
        let loser = usize::from(counters > 0);
        assert!(!text.contains(&format!("other_{round}_{loser}")), "{text}");
        assert!(text.contains(&format!("other_{round}_{} 10\n", 1 - loser)), "{text}");
    }
    check_books(&gateway);
}

/// The last place under a limit is given away only once.
#[test]
fn a_race_for_the_last_series() {
    let mut gateway = flag("--limits.series=50").flag("--limits.series-per-job=40").run();
    gateway.expect_log("push refused");
    let outcomes: BTreeMap<u16, u32> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mut connection = Connection::open(gateway.address);
                    let push = |i: u32| {
                        let path = format!("/metrics/job/{}", worker % 2);
                        let body = format!("a{{w=\"{worker}\",i=\"{i}\"}} 1\n");
                        gateway.request("POST", &path).body(body)
                    };
                    (0..30).map(|i| connection.send(&push(i)).status).collect::<Vec<u16>>()
                })
            })
            .collect();
        let statuses = workers.into_iter().flat_map(|worker| worker.join().unwrap());
        statuses.fold(BTreeMap::new(), |mut counts, status| {
            *counts.entry(status).or_default() += 1;
            counts
        })
    });
    assert_eq!(outcomes, [(200, 50), (429, 70)].into());
    check_books(&gateway);
    for job in 0..2 {
        gateway.request("DELETE", &format!("/metrics/job/{job}")).send();
    }
    assert_eq!(own(&gateway, "series"), 0.0);
    // The limit of the job is free again, too.
    let all: String = (0..40).map(|i| format!("a{{i=\"{i}\"}} 1\n")).collect();
    gateway.accept("/metrics/job/1", all);
    check_books(&gateway);
}

/// A large push does not hold up small ones, and each is applied once.
#[test]
fn large_and_small_pushes_at_once() {
    let gateway = start();
    let lines: String =
        (0..20_000).map(|i| format!("large_total{{i=\"{}\"}} 1\n", i % 20_000)).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..3).for_each(|_| gateway.accept("/metrics", &lines)));
        }
        scope.spawn(|| {
            let mut connection = Connection::open(gateway.address);
            let push = gateway.request("POST", "/metrics").body("small_total 1\n");
            for _ in 0..300 {
                assert_eq!(connection.send(&push).status, 200);
            }
        });
    });
    let text = gateway.pushed();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("large_total{") && line.ends_with(" 6"))
            .count(),
        20_000
    );
    assert_eq!(gateway.sample("small_total"), 300.0);
}

/// Bodies that are pushed repeatedly take a shortcut, in whatever form they come and whatever else
/// happens; exactly those that are acknowledged count, once each.
#[test]
fn known_pushes_in_every_form_amid_everything() {
    const WORKERS: u64 = 3;
    const TURNS: u64 = 60;
    let mut gateway = config("rules: []")
        .flag("--web.enable-lifecycle")
        .flag("--store.path=")
        .flag("--web.workers=3")
        .run();
    gateway.expect_log("push refused");
    let body =
        |n: u64| format!("known_total {n}\n{}", histogram("h", 0.5, &[("1", n), ("+Inf", n)]));
    let done = AtomicBool::new(false);
    let acknowledged: Vec<(u64, u64)> = thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                let files =
                    ["rules: []", "push: {gauge: max}", "rules: [{match: never, drop: true}]"];
                gateway.rewrite_config(files[turn % files.len()]);
                assert_eq!(gateway.request("POST", "/-/reload").send().status, 200);
                gateway.accept("/metrics/job/flicker", "flicker_total 1\n");
                let delete = gateway.request("DELETE", "/metrics/job/flicker").send();
                assert_eq!(delete.status, 202);
                gateway.accept(&format!("/metrics/job/new/at/{turn}"), "flicker_total 1\n");
                assert_eq!(gateway.get("/metrics").status, 200);
                if done.load(Relaxed) {
                    break;
                }
                // Time for pushes to become known.
                thread::sleep(Duration::from_millis(20));
            }
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (gateway, body) = (&gateway, &body);
                scope.spawn(move || {
                    let mut connection = Connection::open(gateway.address);
                    let own_path = format!("/metrics/job/own/worker/{worker}");
                    let (mut shared, mut own) = (0, 0);
                    for turn in 0..TURNS {
                        let n = 1 + (worker + turn) % 4;
                        let to = |path: &str| gateway.request("POST", path);
                        let key = format!("{worker}-{turn}");
                        let push = match turn % 5 {
                            0 => to("/metrics/job/shared").body(body(n)).chunked(),
                            1 => to("/metrics/job/shared")
                                .header("Content-Encoding", "gzip")
                                .body(encoded(Coding::Gzip, body(n))),
                            2 => to("/metrics/job/shared").body(body(n)),
                            _ => to("/metrics/job/shared")
                                .header("Idempotency-Key", &key)
                                .body(body(n)),
                        };
                        for half in push.bytes().chunks(if turn % 2 == 0 { 10_000 } else { 150 }) {
                            connection.write(half);
                        }
                        assert_eq!(connection.read().status, 200);
                        shared += n;
                        if turn % 5 >= 3 {
                            let again = connection.send(&push);
                            assert_eq!(again.header("idempotent-replayed"), Some("?1"));
                        }
                        // Refused, for its last value.
                        let bad = body(n).replace(&format!("h_count {n}"), "h_count -1");
                        let bad = to("/metrics/job/shared").body(bad);
                        assert_eq!(connection.send(&bad).status, 400);
                        // Aborted in the middle, between two lines.
                        let cut = to("/metrics/job/shared").body(body(n));
                        let mut other = Connection::open(gateway.address);
                        other.write(
                            &cut.bytes()[..cut.head_bytes().len() + "known_total 1\n".len()],
                        );
                        drop(other);

                        let push = [
                            to(&own_path).body(body(n)).bytes(),
                            to(&own_path).body(body(n)).bytes(),
                        ];
                        connection.write(push.concat());
                        assert_eq!(connection.read().status, 200);
                        assert_eq!(connection.read().status, 200);
                        own += 2 * n;
                        if turn % 17 == 16 {
                            let delete = gateway.request("DELETE", &own_path);
                            assert_eq!(connection.send(&delete).status, 202);
                            own = 0;
                        }
                    }
                    (shared, own)
                })
            })
            .collect();
        let workers = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        done.store(true, Relaxed);
        workers
    });
    let all: u64 = acknowledged.iter().map(|(shared, _)| shared).sum();
    assert_eq!(gateway.sample("known_total{job=\"shared\"}"), all as f64);
    assert_eq!(gateway.sample("h_count{job=\"shared\"}"), all as f64);
    assert_eq!(gateway.sample("h_bucket{job=\"shared\",le=\"1\"}"), all as f64);
    assert_eq!(gateway.sample("h_sum{job=\"shared\"}"), 0.5 * (WORKERS * TURNS) as f64);
    for (worker, (_, own)) in acknowledged.iter().enumerate() {
        let labels = format!("job=\"own\",worker=\"{worker}\"");
        assert_eq!(gateway.sample(&format!("known_total{{{labels}}}")), *own as f64);
        assert_eq!(gateway.sample(&format!("h_count{{{labels}}}")), *own as f64);
    }
    check_books(&gateway);
}
