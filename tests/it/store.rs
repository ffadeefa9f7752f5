//! What was acknowledged is there after a restart, however the process ended; and a store that cannot
//! be trusted is refused.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::harness::{Gateway, Scratch, Start, config, eventually, flag, matching, sample, start};

/// One family of each kind, and more than one push to some.
fn push_everything(gateway: &Gateway) {
    let text = "# HELP a_total Counted.\n# TYPE a_total counter\na_total{x=\"1\"} 3\na_total 0.1\n\
                # TYPE g gauge\ng -2.5\n# TYPE s summary\ns_sum 0.3\ns_count 2\n\
                # TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1e-300\n\
                h_count 2\n# TYPE u untyped\nu 1e300\n";
    for group in ["/metrics/job/j", "/metrics/job/j/instance/i", "/metrics"] {
        gateway.accept(group, text);
        gateway.accept(group, text);
    }
    let openmetrics =
        "# TYPE e counter\n# UNIT e seconds\ne_total 1 # {trace=\"t\"} 0.5 1700000000\n\
                       # TYPE i info\ni_info{v=\"1\"} 1\n# TYPE st stateset\nst{st=\"on\"} 1\n\
                       st{st=\"off\"} 0\n# EOF\n"
            .replace("# TYPE e counter\n# UNIT e seconds\ne_total", "# TYPE e counter\ne_total");
    let request = gateway.request("POST", "/metrics/job/om").body(openmetrics);
    gateway.accept_request(request.header("Content-Type", "application/openmetrics-text"));
}

/// Everything that is visible of what was pushed.
fn seen(gateway: &Gateway) -> (String, serde_json::Value) {
    let series =
        gateway.get(&format!("/api/v1/series?{}", matching(&["{__name__=~\".+\"}"]))).json();
    (gateway.pushed(), series)
}

#[track_caller]
fn same(before: &(String, serde_json::Value), gateway: &Gateway) {
    let after = seen(gateway);
    assert_eq!(before.0, after.0);
    assert_eq!(before.1, after.1);
}

#[test]
fn everything_is_there_after_a_stop_and_after_a_kill() {
    let mut gateway = start();
    push_everything(&gateway);
    let before = seen(&gateway);
    assert!(before.0.contains("h_sum{job=\"j\"} 2e-300"), "{}", before.0);
    let directory = gateway.directory.clone();
    for signal in ["KILL", "TERM", "INT", "KILL"] {
        gateway.signal(signal);
        gateway.wait();
        gateway = Start::default().in_directory(&directory).run();
        same(&before, &gateway);
    }
    // Later pushes add to what was there, exactly.
    push_everything(&gateway);
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 12.0);
    assert_eq!(gateway.sample("tallygate_store_loaded_series"), 21.0);
}

/// Apart from the grouping key, their label texts are equal, and stored only once.
#[test]
fn instances_that_push_the_same_are_told_apart() {
    let mut gateway = start();
    let exposition = |instances: &[u32]| {
        let lines = ["5xx", "4xx", "2xx"].into_iter().flat_map(|class| {
            let line = move |at: &u32| {
                format!("hits_total{{class=\"{class}\",instance=\"{at:03}\",job=\"j\",zone=\"z\"}} {at}\n")
            };
            instances.iter().map(line)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        format!("# TYPE hits_total counter\n{}", lines.concat())
    };
    let instances: Vec<u32> = (1..=60).collect();
    for at in &instances {
        let line = |class| format!("hits_total{{class=\"{class}\",zone=\"z\"}} {at}\n");
        let body =
            format!("# TYPE hits_total counter\n{}", ["5xx", "4xx", "2xx"].map(line).concat());
        gateway.accept(&format!("/metrics/job/j/instance/{at:03}"), body);
    }
    assert_eq!(gateway.pushed(), exposition(&instances));
    let deleted = gateway.request("DELETE", "/metrics/job/j/instance/030").send();
    assert_eq!(deleted.status, 202);
    let left: Vec<u32> = instances.into_iter().filter(|&at| at != 30).collect();
    assert_eq!(gateway.pushed(), exposition(&left));

    let directory = gateway.directory.clone();
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.pushed(), exposition(&left));
    let selector = "hits_total{instance=\"031\",class=\"4xx\"}";
    let selected = gateway.get(&format!("/metrics?{}", matching(&[selector]))).text();
    let series = "hits_total{class=\"4xx\",instance=\"031\",job=\"j\",zone=\"z\"}";
    assert_eq!(sample(&selected, series), Some(31.0));
}

#[test]
fn what_was_removed_stays_removed() {
    let mut gateway = flag("--web.enable-admin-api").run();
    push_everything(&gateway);
    assert_eq!(gateway.request("DELETE", "/metrics/job/j").send().status, 202);
    let selected = "/api/v1/series?match[]=g";
    assert_eq!(gateway.request("DELETE", selected).send().status, 202);
    // Removed and pushed again, with another type.
    gateway.accept("/metrics", "# TYPE g counter\ng 1\n");
    let before = seen(&gateway);
    let directory = gateway.directory.clone();
    gateway.signal("KILL");
    gateway.wait();

    let mut gateway = flag("--web.enable-admin-api").in_directory(&directory).run();
    same(&before, &gateway);
    assert_eq!(gateway.request("PUT", "/api/v1/admin/wipe").send().status, 202);
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.pushed(), "");
}

#[test]
fn a_series_reborn_after_a_restart_counts_from_later() {
    let mut gateway = start();
    let created = |gateway: &Gateway| -> f64 {
        let accept = "application/openmetrics-text;version=1.0.0";
        let text = gateway.request("GET", "/metrics").header("Accept", accept).send().text();
        let line = text.lines().find_map(|line| line.strip_prefix("a_created{job=\"j\"} "));
        line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    };
    let directory = gateway.directory.clone();
    let run = || flag("--scrape.created-samples").in_directory(&directory).run();
    gateway.signal("KILL");
    gateway.wait();
    let mut gateway = run();
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 1\n");
    let first = created(&gateway);
    gateway.signal("KILL");
    gateway.wait();
    let gateway = run();
    assert_eq!(created(&gateway), first);
    assert_eq!(gateway.request("DELETE", "/metrics/job/j").send().status, 202);
    gateway.accept("/metrics/job/j", "# TYPE a_total counter\na_total 1\n");
    assert!(created(&gateway) > first);
}

#[test]
fn the_time_to_live_goes_on_over_a_restart() {
    let yaml = "ttl: {client_max: 1h, sweep_interval: 100ms}\n";
    let mut gateway = config(yaml).run();
    gateway.accept_request(gateway.request("POST", "/metrics?ttl=6s").body("short 1\n"));
    gateway.accept("/metrics", "long 1\n");
    let directory = gateway.directory.clone();
    gateway.signal("KILL");
    gateway.wait();
    let gateway = config(yaml).in_directory(&directory).run();
    assert_eq!(gateway.sample("short"), 1.0);
    eventually("it expires", || (!gateway.pushed().contains("short")).then_some(()));
    assert_eq!(gateway.sample("long"), 1.0);
}

#[test]
fn without_a_path_nothing_lasts_and_nothing_is_written() {
    let mut gateway = flag("--store.path=").run();
    gateway.accept("/metrics", "a 1\n");
    assert_eq!(fs::read_dir(&gateway.directory.0).unwrap().count(), 0);
    let directory = gateway.directory.clone();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let gateway = flag("--store.path=").in_directory(&directory).run();
    assert_eq!(gateway.pushed(), "");
}

#[test]
fn weaker_acknowledgements_survive_a_good_end() {
    for ack in ["written", "memory"] {
        let mut gateway = flag(&format!("--store.ack={ack}")).run();
        gateway.accept("/metrics", "a_total 1\n");
        let directory = gateway.directory.clone();
        // `written` survives the end of the process; `memory` only if it ends gracefully.
        gateway.signal(if ack == "written" { "KILL" } else { "TERM" });
        gateway.wait();
        let gateway = Start::default().in_directory(&directory).run();
        assert_eq!(gateway.sample("a_total"), 1.0, "{ack}");
    }
}

// === stores that are refused ===

/// Starts a gateway that must end at once. Returns exit code and log.
fn refused(directory: &Scratch, flags: &[&str]) -> (Option<i32>, String) {
    let start = flags.iter().fold(Start::default(), |start, flag| start.flag(flag));
    let output = start.spawn(directory).wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn files(directory: &Scratch) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory.0.join("data")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// A directory with a store after some pushes.
fn filled() -> Arc<Scratch> {
    let mut gateway = start();
    push_everything(&gateway);
    gateway.signal("TERM");
    gateway.wait();
    gateway.directory.clone()
}

#[test]
fn a_damaged_store_is_refused_by_name_and_not_touched() {
    let directory = filled();
    for file in files(&directory) {
        if file.ends_with("LOCK") {
            continue;
        }
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        let name = file.file_name().unwrap().to_str().unwrap();
        if name == "MARK" {
            // It is written in two places, so both have to be damaged.
            damaged.fill(7);
        }
        fs::write(&file, &damaged).unwrap();
        let (code, log) = refused(&directory, &[]);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(name) && log.contains("is damaged"), "{log}");
        assert!(log.contains("Restore a backup"), "{log}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
        fs::write(&file, &whole).unwrap();

        fs::remove_file(&file).unwrap();
        let (code, log) = refused(&directory, &[]);
        assert_eq!(code, Some(1), "{name} is missing: {log}");
        assert!(log.contains(name), "{log}");
        fs::write(&file, &whole).unwrap();
    }
    let gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 6.0);
}

#[test]
fn a_store_in_use_or_of_a_newer_format_is_refused() {
    let mut gateway = start();
    gateway.accept("/metrics", "a 1\n");
    let directory = gateway.directory.clone();
    let (code, log) = refused(&directory, &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains("is in use by another process"), "{log}");
    gateway.signal("TERM");
    gateway.wait();

    fs::write(directory.0.join("data/FORMAT"), "Tallygate store, format 99\n").unwrap();
    let (code, log) = refused(&directory, &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains("has format 99, this version reads formats up to 2"), "{log}");
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let directory = Scratch::default();
    fs::write(directory.0.join("file"), "").unwrap();
    let (code, log) = refused(&directory, &["--store.path=file"]);
    assert_eq!(code, Some(1));
    assert!(log.contains("store.path must be a directory"), "{log}");
}

// === stores of earlier releases, and the tools ===

fn copied(from: &str) -> Arc<Scratch> {
    let scratch = Scratch::default();
    fs::create_dir(scratch.0.join("data")).unwrap();
    let from: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "disk", from].iter().collect();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, scratch.0.join("data").join(path.file_name().unwrap())).unwrap();
    }
    Arc::new(scratch)
}

/// `tests/disk` has a store of each format; copies of them are opened and used here.
#[test]
fn stores_of_earlier_formats_are_read() {
    for format in ["v1", "v2"] {
        let directory = copied(format);
        let format_file = directory.0.join("data/FORMAT");
        let expected = fs::read_to_string(directory.0.join("data/expected.txt")).unwrap();
        let before = fs::read(&format_file).unwrap();
        assert_eq!(tool(&directory, &["check"]).0, Some(0), "{format}");
        assert_eq!(fs::read(&format_file).unwrap(), before, "a check changes nothing");

        let mut gateway = Start::default().in_directory(&directory).run();
        assert_eq!(gateway.pushed(), expected, "{format}");
        push_everything(&gateway);
        let text = fs::read_to_string(&format_file).unwrap();
        assert_eq!(text, "Tallygate store, format 2\n", "{format}");
        let before = seen(&gateway);
        gateway.signal("KILL");
        gateway.wait();
        let gateway = Start::default().in_directory(&directory).run();
        same(&before, &gateway);
    }
}

fn tool(directory: &Scratch, arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = crate::harness::binary();
    let output = command.current_dir(&directory.0).arg("store").args(arguments).output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_store_is_checked() {
    let directory = filled();
    let (code, out, errors) = tool(&directory, &["check"]);
    assert_eq!(code, Some(0), "{errors}");
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("ok: 21 series in 8 families, 0 groups, "), "{out}");
    assert_eq!(tool(&directory, &["check", "nowhere"]).0, Some(1));
    assert_eq!(tool(&directory, &["check", "data", "more"]).0, Some(64));
    assert_eq!(tool(&directory, &["polish"]).0, Some(64));

    let log = files(&directory).into_iter().find(|file| file.extension().is_some()).unwrap();
    let mut damaged = fs::read(&log).unwrap();
    damaged[100] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let (code, out, errors) = tool(&directory, &["check", "data"]);
    assert_eq!((code, out.len()), (Some(1), 0));
    assert!(errors.contains(log.file_name().unwrap().to_str().unwrap()), "{errors}");
}

/// Not even files that only take space.
#[test]
fn a_check_and_an_export_change_no_file() {
    let directory = filled();
    let logs = || {
        let all = files(&directory).into_iter();
        all.filter(|file| file.extension().is_some()).collect::<Vec<_>>()
    };
    // The end of the newest file is torn, the next one was begun, and the lock file is missing.
    let newest = logs().pop().unwrap();
    let mut torn = fs::read(&newest).unwrap();
    torn.extend_from_slice(b"some of a commit");
    fs::write(&newest, &torn).unwrap();
    let number: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::write(newest.with_file_name(format!("{:010}.log", number + 1)), b"TAL").unwrap();
    fs::remove_file(directory.0.join("data/LOCK")).unwrap();
    let contents = || {
        let all = files(&directory).into_iter();
        all.map(|file| (file.clone(), fs::read(&file).unwrap())).collect::<Vec<_>>()
    };
    let before = contents();
    for arguments in [&["check"][..], &["check", "data"], &["export"]] {
        let (code, _, errors) = tool(&directory, arguments);
        assert_eq!(code, Some(0), "{errors}");
        assert!(contents() == before, "{arguments:?}");
    }
    // A gateway cleans up.
    let mut gateway = Start::default().in_directory(&directory).run();
    assert_eq!(gateway.sample("a_total{job=\"j\",x=\"1\"}"), 6.0);
    gateway.signal("TERM");
    gateway.wait();
    assert_eq!(fs::read(&newest).unwrap(), torn[..torn.len() - b"some of a commit".len()]);
}

#[test]
fn what_is_exported_can_be_imported() {
    let directory = filled();
    let gateway = Start::default().in_directory(&directory).run();
    let before = gateway.pushed();
    let (code, _, errors) = tool(&directory, &["export"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("is in use"), "{errors}");
    drop(gateway);

    for format in ["text", "protobuf"] {
        let (code, exposition, errors) = tool(&directory, &["export", format]);
        assert_eq!(code, Some(0), "{errors}");
        let other = Arc::new(Scratch::default());
        fs::write(other.0.join("exposition"), &exposition).unwrap();
        let (code, _, errors) = tool(&other, &["import", "exposition"]);
        assert_eq!(code, Some(0), "{format}: {errors}");
        let gateway = Start::default().in_directory(&other).run();
        assert_eq!(gateway.pushed(), before, "{format}");
        drop(gateway);

        // A damaged file is refused as a whole.
        fs::write(other.0.join("exposition"), &exposition[..exposition.len() - 3]).unwrap();
        fs::write(other.0.join("bad"), "a 1\nb{ 2\n").unwrap();
        assert_eq!(tool(&other, &["import", "bad"]).0, Some(1));
        let gateway = Start::default().in_directory(&other).run();
        assert_eq!(gateway.pushed(), before, "{format}: nothing was added");
    }
}

/// Requirements and limits for pushes do not apply to an import.
#[test]
fn what_is_exported_can_be_imported_under_stricter_rules() {
    let directory = filled();
    let (_, exposition, _) = tool(&directory, &["export"]);
    let stricter = "push: {require_key: true}\nlimits: {labels_per_series: 1, series: 3}\n";
    let other = Arc::new(Scratch::default());
    fs::write(other.0.join("config.yaml"), stricter).unwrap();
    fs::write(other.0.join("exposition"), &exposition).unwrap();
    let (code, out, errors) = tool(&other, &["import", "exposition", "--config.file=config.yaml"]);
    assert_eq!(code, Some(0), "{errors}{}", String::from_utf8_lossy(&out));
    // In text, a stateset is one series per state.
    assert_eq!(String::from_utf8(out).unwrap(), "ok: 22 series, 22 of them new\n");
}

#[test]
fn a_store_of_the_other_mode_is_whole_and_has_no_place() {
    let mut gateway = flag("--mode=pushgateway").flag("--store.path=./data").run();
    gateway.accept("/metrics/job/j", "a 1\n");
    gateway.signal("TERM");
    gateway.wait();
    let directory = gateway.directory.clone();
    let (code, log) = refused(&directory, &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains("holds groups of mode pushgateway"), "{log}");
    assert!(log.contains("--mode=pushgateway") && !log.contains("damaged"), "{log}");
    let (code, out, errors) = tool(&directory, &["check"]);
    assert_eq!(code, Some(0), "{errors}");
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("ok: 0 series in 0 families, 1 groups, "), "{out}");
    assert_eq!(tool(&directory, &["export"]).0, Some(1));
    assert_eq!(tool(&directory, &["check", "--store.path="]).0, Some(1));
}

/// A store whose newest file has this many series. Its oldest file is a pipe; its content is returned,
/// to be written when the store may finish loading.
fn store_on_a_slow_disk(series: usize) -> (Arc<Scratch>, PathBuf, Vec<u8>) {
    let directory = Arc::new(Scratch::default());
    let stop = |mut gateway: Gateway| {
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
    };
    // Each start begins a new file. The newest is read first.
    let gateway = Start::default().in_directory(&directory).run();
    gateway.accept("/metrics", "# TYPE first_total counter\nfirst_total 7\n");
    stop(gateway);
    let gateway = Start::default().in_directory(&directory).run();
    let lines = (0..series).map(|n| format!("many_total{{n=\"{n}\"}} 1\n"));
    gateway.accept("/metrics", lines.collect::<String>());
    stop(gateway);

    let mut logs = files(&directory);
    logs.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    assert_eq!(logs.len(), 2, "{logs:?}");
    let oldest = logs.swap_remove(0);
    let content = fs::read(&oldest).unwrap();
    fs::remove_file(&oldest).unwrap();
    assert!(Command::new("mkfifo").arg(&oldest).status().unwrap().success());
    (directory, oldest, content)
}

/// A gateway that is told to stop does not wait until its store is loaded.
#[test]
fn it_stops_at_once_while_it_loads() {
    for signal in ["TERM", "INT"] {
        let (directory, ..) = store_on_a_slow_disk(1);
        let mut gateway = Start::default().in_directory(&directory).run_unready();
        gateway.last_scrape(None);
        assert_eq!(gateway.get("/-/healthy").status, 200);
        gateway.signal(signal);
        assert_eq!(gateway.wait(), Some(0), "{signal}");
    }
}

/// Until everything is loaded, it reports progress, and refuses pushes and scrapes.
#[test]
fn a_slow_disk_is_waited_for_with_open_ports() {
    const SERIES: usize = 10_000;
    let (directory, oldest, content) = store_on_a_slow_disk(SERIES);
    let mut gateway = Start::default().in_directory(&directory).run_unready();
    gateway.expect_log("push refused");
    assert_eq!(gateway.get("/-/healthy").status, 200);
    let ready = gateway.get("/-/ready");
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    let so_far = ready.text();
    assert!(so_far.contains("starting: 8192 records are loaded so far"), "{so_far}");
    for (method, path) in [("POST", "/metrics"), ("GET", "/metrics"), ("DELETE", "/metrics/job/j")]
    {
        assert_eq!(gateway.request(method, path).send().status, 503, "{method}");
    }
    fs::write(&oldest, content).unwrap();
    gateway.await_ready();
    assert_eq!(gateway.get("/-/ready").status, 200);
    assert_eq!(gateway.sample("first_total"), 7.0);
    assert_eq!(gateway.sample("tallygate_store_loaded_series"), SERIES as f64 + 1.0);
    gateway.accept("/metrics", "# TYPE first_total counter\nfirst_total 1\n");
    assert_eq!(gateway.sample("first_total"), 8.0);
}
