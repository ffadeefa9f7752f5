//! Threads push known bodies, while others do everything that makes these unknown: deletions, expiry,
//! other settings, new series. In the end, exactly what was acknowledged is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tallygate::format::negotiate::PushFormat;
use tallygate::gateway::{
    Gateway, Identity, Key, PushError, PushId, PushRequest, Selector, Settings,
};
use tallygate::model::{Grouping, Ttl};

use super::{gateway, rules, text};

const PUSHERS: usize = 3;
const TIME: Duration = Duration::from_secs(3);
const TTL_S: i64 = 100;

/// A body whose values are determined by two numbers.
fn body(name: &str, n: u64, value: f64) -> String {
    format!(
        "# TYPE {name}_total counter\n{name}_total{{a=\"1\"}} {value}\n{name}_total{{a=\"2\"}} {n}\n\
         # TYPE {name}_h histogram\n{name}_h_bucket{{le=\"1\"}} {n}\n{name}_h_bucket{{le=\"+Inf\"}} {n}\n\
         {name}_h_sum {value}\n{name}_h_count {n}\n\
         # TYPE {name}_s summary\n{name}_s_sum {value}\n{name}_s_count {n}\n"
    )
}

/// The sum of what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Acknowledged {
    n: u64,
    value: f64,
}

impl Acknowledged {
    fn add(&mut self, n: u64, value: f64) {
        self.n += n;
        self.value += value;
    }

    /// The lines that show it, without the labels of the grouping key.
    fn lines(self, name: &str) -> Vec<(String, f64)> {
        let (n, value) = (self.n as f64, self.value);
        let lines = [
            ("_total{a=\"1\"", value),
            ("_total{a=\"2\"", n),
            ("_h_bucket{LABELS,le=\"1\"", n),
            ("_h_bucket{LABELS,le=\"+Inf\"", n),
            ("_h_sum{", value),
            ("_h_count{", n),
            ("_s_sum{", value),
            ("_s_count{", n),
        ];
        lines.map(|(line, value)| (format!("{name}{line}"), value)).to_vec()
    }

    #[track_caller]
    fn check(self, shown: &BTreeMap<&str, f64>, name: &str, labels: &str) {
        for (line, expected) in self.lines(name) {
            let key = match line.split_once("LABELS") {
                Some((before, behind)) => format!("{before}{labels}{behind}}}"),
                None if line.ends_with('{') => format!("{line}{labels}}}"),
                None => format!("{line},{labels}}}"),
            };
            let found = shown.get(&*key).copied();
            let expected = (self.n > 0 || found.is_some()).then_some(expected);
            assert_eq!(found, expected, "{key}");
        }
    }
}

/// A thread that pushes, and what it has been acknowledged.
struct Pusher<'g> {
    gateway: &'g Gateway,
    thread: usize,
    shared: &'g Grouping,
    own: Grouping,
    to_shared: Acknowledged,
    to_own: Acknowledged,
    /// The value of its series with a time to live, and when it was last pushed.
    mortal: Option<(f64, i64)>,
}

impl Pusher<'_> {
    /// Returns true if it was accepted. It may be refused because others change the settings.
    fn push(&self, grouping: &Grouping, body: &str, key: Option<u64>) -> bool {
        let key = key.map(|key| format!("{}-{key}", self.thread));
        let id = key.map(|key| PushId::Key(Key::parse(key.as_bytes()).unwrap()));
        let request = PushRequest {
            identity: id.as_ref().map(|id| Identity { principal: None, id }),
            ttl: body.contains("mortal").then_some(Ttl::After(Duration::from_secs(TTL_S as u64))),
            ..PushRequest::new(grouping, PushFormat::Text, body.as_bytes())
        };
        let accepted = match self.gateway.push(&request) {
            Ok(pushed) => !pushed.replayed,
            Err(PushError::OverLimit(_) | PushError::KeyRequired { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        if accepted && id.is_some() {
            match self.gateway.push(&request) {
                Ok(pushed) => assert!(pushed.replayed, "a retry has counted"),
                Err(error) => panic!("{error}"),
            }
        }
        accepted
    }

    fn turn(&mut self, turn: u64) {
        let (n, value) = (1 + turn % 3, (turn % 5) as f64 * 0.25);
        let key = turn.is_multiple_of(4).then_some(turn);
        if self.push(self.shared, &body("shared", n, value), key) {
            self.to_shared.add(n, value);
        }
        if self.push(&self.own, &body("own", n, value), None) {
            self.to_own.add(n, value);
        }
        // The last value is invalid, so nothing of it counts.
        let bad = body("shared", n, value).replace(&format!("_s_count {n}\n"), "_s_count -1\n");
        let bad = PushRequest::new(self.shared, PushFormat::Text, bad.as_bytes());
        assert!(self.gateway.push(&bad).is_err());

        let body = "# TYPE flicker_total counter\nflicker_total 1\n";
        self.push(self.shared, body, None);
        if turn % 23 == 22 {
            self.gateway.delete_group(self.own.key(), false);
            self.to_own = Acknowledged::default();
            self.mortal = None;
        }
        self.push_mortal();
    }

    /// Checks that a series lives as long as it must, with everything that was pushed to it.
    fn push_mortal(&mut self) {
        let now_s = || self.gateway.clock().now().ms / 1000;
        let pushed_s = now_s();
        let body = "# TYPE mortal_total counter\nmortal_total 1\n";
        if !self.push(&self.own, body, None) {
            return;
        }
        let found = value(self.gateway, "mortal_total", self.own.key());
        let now_s = now_s();
        let kept = |since_s: i64| now_s <= since_s + TTL_S;
        match (found, self.mortal) {
            (None, _) => assert!(!kept(pushed_s), "lost at once"),
            (Some(found), Some((before, since_s))) if kept(since_s) && before > 0.0 => {
                assert_eq!(found, before + 1.0);
            }
            (Some(found), before) => {
                assert!(found == 1.0 || before.is_some_and(|(before, _)| found == before + 1.0));
            }
        }
        self.mortal = found.map(|found| (found, pushed_s));
    }
}

/// The value of the series with these labels.
fn value(gateway: &Gateway, name: &str, labels: &str) -> Option<f64> {
    let families = gateway.store().families();
    let family = families.iter().find(|family| family.name() == name)?;
    let all = family.series();
    let series = all.iter().find(|series| series.labels() == labels)?;
    let mut buffer = tallygate::model::ReadBuffer::default();
    series.with_state(|state| state.read(family.kind(), 160, &mut buffer));
    match buffer.reading() {
        tallygate::model::Reading::Counter { value, .. } => Some(value),
        other => panic!("{other:?}"),
    }
}

/// Keys are remembered for longer than the clock is advanced.
fn usual() -> Settings {
    Settings { key_window_ms: 7 * 86_400_000, ..Settings::default() }
}

/// Does things in turn that must not affect the others.
fn disturb(gateway: &Gateway, turn: usize) {
    match turn % 9 {
        0 => {
            let flicker = Selector::parse("flicker_total").unwrap();
            gateway.delete_matching(&[flicker], false);
        }
        1 => {
            let mut settings = usual();
            settings.limits.samples_per_push = 3;
            gateway.set_settings(settings);
        }
        2 => gateway.set_settings(Settings { require_key: true, ..usual() }),
        3 => gateway.set_settings(Settings { rules: rules(), ..usual() }),
        4 | 6 | 7 => gateway.set_settings(usual()),
        5 => {
            let grouping = Grouping::new([("born", turn.to_string())]).unwrap();
            let body = "# TYPE born_total counter\nborn_total 1\n";
            let request = PushRequest::new(&grouping, PushFormat::Text, body.as_bytes());
            gateway.push(&request).unwrap();
            gateway.delete_group(grouping.key(), false);
        }
        _ => {
            let seconds = if turn.is_multiple_of(2) { TTL_S / 4 } else { TTL_S + 1 };
            gateway.clock().advance(seconds * 1000);
            gateway.expire();
        }
    }
}

#[test]
fn known_pushes_amid_all_that_makes_them_unknown() {
    let gateway = gateway(1 << 20);
    gateway.set_settings(usual());
    let shared = Grouping::new([("job", "shared")]).unwrap().numbered();
    let (done, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    let pushers: Vec<Pusher<'_>> = thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|thread| {
                let own = Grouping::new([("thread", thread.to_string())]).unwrap().numbered();
                let mut pusher = Pusher {
                    gateway: &gateway,
                    thread,
                    shared: &shared,
                    own,
                    to_shared: Acknowledged::default(),
                    to_own: Acknowledged::default(),
                    mortal: None,
                };
                let (done, turns) = (&done, &turns);
                scope.spawn(move || {
                    for turn in 0.. {
                        pusher.turn(turn);
                        turns.fetch_add(1, Relaxed);
                        if done.load(Relaxed) {
                            break;
                        }
                    }
                    pusher
                })
            })
            .collect();
        let started = Instant::now();
        for turn in 0.. {
            disturb(&gateway, turn);
            if turn % 16 == 0 {
                text(&gateway);
            }
            // Leave them alone now and then, so that pushes become known.
            if turn % 9 == 7 {
                thread::sleep(Duration::from_millis(5));
            }
            if started.elapsed() >= TIME {
                break;
            }
        }
        done.store(true, Relaxed);
        pushers.into_iter().map(|pusher| pusher.join().unwrap()).collect()
    });
    assert!(turns.into_inner() > 100, "hardly anything was pushed");

    let text = text(&gateway);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let shown: BTreeMap<&str, f64> = lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series, value.parse().unwrap()))
        .collect();
    let mut all = Acknowledged::default();
    for Pusher { to_shared, to_own, own, .. } in &pushers {
        all.add(to_shared.n, to_shared.value);
        to_own.check(&shown, "own", own.key());
    }
    all.check(&shown, "shared", shared.key());
    assert!(all.n > 0);
}
