//! The process is killed over and over, at any moment, while clients push. With keys, every push counts
//! exactly once; without them, every acknowledged push counts; and never half of a push.
//!
//! For a longer run: `CRASH_KILLS=300 cargo test --test it crash`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::{Request, Scratch, Start};

const CLIENTS: usize = 6;

fn kills() -> u64 {
    std::env::var("CRASH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

/// The current address of the gateway.
#[derive(Default)]
struct Target {
    address: Mutex<Option<SocketAddr>>,
    done: AtomicBool,
}

impl Target {
    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    /// The status of the answer; `None` if there was none, so that the outcome is unknown.
    fn try_push(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Option<u16> {
        let address = (*self.address.lock().unwrap())?;
        let mut request =
            Request::new(address, method, path).header("Connection", "close").body(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(&request.bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }
}

/// Kills and restarts the gateway while `clients` run. The last one is left running.
fn under_fire(
    start: impl Fn() -> Start,
    target: &Target,
    clients: impl FnOnce(&Target) + Send,
) -> crate::harness::Gateway {
    let directory = Arc::new(Scratch::default());
    thread::scope(|scope| {
        let running = scope.spawn(|| clients(target));
        for kill in 0..kills() {
            let mut gateway = start().in_directory(&directory).run();
            *target.address.lock().unwrap() = Some(gateway.address);
            // Sometimes in the middle of pushes, sometimes right after the start.
            thread::sleep(Duration::from_millis(5 + kill * 37 % 120));
            gateway.signal("KILL");
            gateway.wait();
        }
        let gateway = start().in_directory(&directory).run();
        *target.address.lock().unwrap() = Some(gateway.address);
        target.done.store(true, SeqCst);
        running.join().unwrap();
        gateway
    })
}

#[test]
fn sums_after_many_kills() {
    let target = Target::default();
    let (keyed, acknowledged, attempted) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let gateway = under_fire(Start::default, &target, |target| {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (keyed, acknowledged, attempted) = (&keyed, &acknowledged, &attempted);
                scope.spawn(move || {
                    let mut number = 0u64;
                    while !target.is_done() {
                        number += 1;
                        let body = format!(
                            "# TYPE a_total counter\na_total{{c=\"{client}\"}} 0.1\n\
                             # TYPE b_total counter\nb_total{{c=\"{client}\"}} 0.1\n"
                        );
                        let key = format!("\"{client}-{number}\"");
                        // Repeat until the push is acknowledged.
                        while target.try_push("POST", "/metrics/job/keyed", Some(&key), &body)
                            != Some(200)
                        {
                            thread::sleep(Duration::from_millis(2));
                        }
                        keyed.fetch_add(1, SeqCst);
                        attempted.fetch_add(1, SeqCst);
                        if target.try_push("POST", "/metrics/job/plain", None, &body) == Some(200) {
                            acknowledged.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
    });
    let total = |name: &str, job: &str| -> u64 {
        let values = (0..CLIENTS).map(|client| {
            let value = gateway.sample(&format!("{name}{{c=\"{client}\",job=\"{job}\"}}"));
            // Sums are exact: the value is a tenth of the count, rounded once.
            (value * 10.0).round() as u64
        });
        values.sum()
    };
    let (keyed, acknowledged, attempted) =
        (keyed.into_inner(), acknowledged.into_inner(), attempted.into_inner());
    assert_eq!(total("a_total", "keyed"), keyed, "each push with a key counts once");
    assert_eq!(total("b_total", "keyed"), keyed);
    let plain = total("a_total", "plain");
    assert_eq!(plain, total("b_total", "plain"), "whole pushes only");
    assert!(acknowledged <= plain && plain <= attempted, "{acknowledged} {plain} {attempted}");
    assert!(keyed >= kills(), "only {keyed} pushes");
}

#[test]
fn groups_of_the_pushgateway_after_many_kills() {
    let target = Target::default();
    let last: Vec<(AtomicU64, AtomicU64)> = (0..CLIENTS).map(|_| Default::default()).collect();
    let start = || Start::default().flag("--mode=pushgateway").flag("--store.path=./data");
    let gateway = under_fire(start, &target, |target| {
        thread::scope(|scope| {
            for (client, (acknowledged, attempted)) in last.iter().enumerate() {
                scope.spawn(move || {
                    let path = format!("/metrics/job/j/c/{client}");
                    let mut number = 0;
                    while !target.is_done() {
                        number += 1;
                        attempted.store(number, SeqCst);
                        let body = format!("x {number}\ny {number}\n");
                        if target.try_push("PUT", &path, None, &body) == Some(200) {
                            acknowledged.store(number, SeqCst);
                        }
                    }
                });
            }
        });
    });
    for (client, (acknowledged, attempted)) in last.iter().enumerate() {
        let (acknowledged, attempted) = (acknowledged.load(SeqCst), attempted.load(SeqCst));
        if acknowledged == 0 {
            continue;
        }
        let labels = format!("{{c=\"{client}\",instance=\"\",job=\"j\"}}");
        let x = gateway.sample(&format!("x{labels}")) as u64;
        assert_eq!(x, gateway.sample(&format!("y{labels}")) as u64, "whole pushes only");
        assert!(acknowledged <= x && x <= attempted, "{acknowledged} {x} {attempted}");
    }
}
