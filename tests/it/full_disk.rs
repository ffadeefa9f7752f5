//! A real disk that is full or does not accept writes: pushes are refused and scrapes still work. Once
//! the disk accepts writes again, pushes are accepted, too, without a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Scratch, Start, eventually};

/// A small file system of its own, in memory.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where mounts are not possible, as in most containers without privileges.
    fn at(path: &Path) -> Option<Mounted> {
        fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Mounted(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_pushes_until_there_is_room() {
    let scratch = Scratch::default();
    let Some(disk) = Mounted::at(&scratch.0.join("disk")) else {
        eprintln!("skipped: a_full_disk_refuses_pushes_until_there_is_room (no mounts here)");
        return;
    };
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let flag = format!("--store.path={}", disk.0.join("data").display());
    let mut gateway = Start::default().flag(&flag).run();
    gateway.expect_log("the store cannot be written").expect_log("can be written again");
    gateway.expect_log("push refused");

    let mut accepted = 0;
    let refused = loop {
        let body: String = (0..200)
            .map(|n| {
                format!("big_total{{p=\"{accepted}\",n=\"{n}\",x=\"{}\"}} 1\n", "x".repeat(200))
            })
            .collect();
        let response = gateway.push("/metrics/job/j", body);
        if response.status != 200 {
            break response;
        }
        accepted += 1;
        assert!(accepted < 100, "the disk never fills");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("store cannot be written"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(accepted > 3);
    assert_eq!(gateway.push("/metrics", "small 1\n").status, 503);
    assert_eq!(gateway.request("DELETE", "/metrics/job/j").send().status, 503);
    assert_eq!(gateway.sample("tallygate_store_writable"), 0.0);
    let ready = gateway.get("/-/ready");
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    assert!(ready.text().contains("store cannot be written"), "{}", ready.text());
    assert_eq!(gateway.get("/-/healthy").status, 200);
    let shown = gateway.pushed();
    assert!(!shown.contains("small"), "a refused push is not merged");

    fs::remove_file(ballast).unwrap();
    eventually("it can be written again", || {
        (gateway.push("/metrics", "small 1\n").status == 200).then_some(())
    });
    assert_eq!(gateway.sample("tallygate_store_writable"), 1.0);
    assert_eq!(gateway.get("/-/ready").status, 200);
    let before = gateway.pushed();
    assert!(before.contains("small 1\n"), "{before}");
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Start::default().flag(&flag).run();
    assert_eq!(gateway.pushed(), before);
    assert_eq!(gateway.log().iter().filter(|line| line.contains("cannot be written")).count(), 0);
}

/// Files and their directory, which the system protects from writes.
struct Frozen(Vec<PathBuf>);

impl Frozen {
    /// `None` where that is not possible: it takes a privilege, and a file system that supports it.
    fn at(directory: &Path) -> Option<Frozen> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.push(directory.to_owned());
        let frozen = Frozen(paths);
        frozen.chattr("+i").then_some(frozen)
    }

    fn chattr(&self, change: &str) -> bool {
        let mut chattr = Command::new("chattr");
        chattr.arg(change).args(&self.0);
        chattr.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.chattr("-i");
    }
}

/// As if the file system had become read-only. That cannot be done and undone on purpose while files
/// are open for writing.
#[test]
fn a_store_that_takes_no_writes_refuses_pushes_until_it_does() {
    let mut gateway = Start::default().run();
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 1\n");
    let directory = gateway.directory.clone();
    let Some(frozen) = Frozen::at(&directory.0.join("data")) else {
        eprintln!(
            "skipped: a_store_that_takes_no_writes_refuses_pushes_until_it_does (no chattr here)"
        );
        return;
    };
    gateway.expect_log("the store cannot be written").expect_log("can be written again");
    gateway.expect_log("push refused");
    // Merged, but not on the disk: repeating this without a key may count it twice.
    let caught = gateway.push("/metrics/job/j", "# TYPE a_total counter\na_total 2\n");
    assert_eq!(caught.status, 503, "{}", caught.text());
    for _ in 0..3 {
        let refused = gateway.push("/metrics/job/j", "# TYPE a_total counter\na_total 4\n");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("store cannot be written"), "{}", refused.text());
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(gateway.sample("a_total{job=\"j\"}"), 3.0, "a refused push is not merged");
    }
    assert_eq!(gateway.sample("tallygate_store_writable"), 0.0);
    let log = gateway.log();
    let failures =
        log.iter().filter(|line| line.contains("pushes are refused until it can")).count();
    assert_eq!(failures, 1, "it is told once");

    drop(frozen);
    eventually("it can be written again", || {
        let pushed = gateway.push("/metrics/job/j", "# TYPE a_total counter\na_total 8\n");
        (pushed.status == 200).then_some(())
    });
    assert_eq!(gateway.sample("tallygate_store_writable"), 1.0);
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.sample("a_total{job=\"j\"}"), 11.0);
}
