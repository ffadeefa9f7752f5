//! The command line and the configuration, as seen from a shell.

use std::process::Command;

use crate::harness::{binary, file, flag, run, start};

/// Exit status, standard output, standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// A line of `print-config`.
fn line(printed: &str, key: &str) -> String {
    let line = printed.lines().find(|line| line.trim_start().starts_with(&format!("{key}:")));
    line.unwrap_or_else(|| panic!("no {key} in {printed}")).trim().to_owned()
}

#[test]
fn defaults_then_file_then_environment_then_flags() {
    let path = file(
        "tallygate.yaml",
        "limits:\n  series: 1\n  families: 1\n  samples_per_push: 1\n\
         rules: [{match: a, ttl: 1h}]\n",
    );
    let path = path.display();
    let (code, printed, errors) = outcome(
        binary()
            .arg("print-config")
            .arg(format!("--config.file={path}"))
            .arg("--limits.series=3")
            .env("TALLYGATE__LIMITS__SERIES", "2")
            .env("TALLYGATE__LIMITS__FAMILIES", "2")
            .env("TALLYGATE__WEB__LISTEN_ADDRESS", ":1,:2"),
    );
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(line(&printed, "series"), "series: 3  # flag --limits.series");
    let families = "families: 2  # environment variable TALLYGATE__LIMITS__FAMILIES";
    assert_eq!(line(&printed, "families"), families);
    assert_eq!(line(&printed, "samples_per_push"), format!("samples_per_push: 1  # {path}"));
    assert_eq!(line(&printed, "body_bytes"), "body_bytes: 32MiB");
    assert!(line(&printed, "listen_address").starts_with("listen_address: [\":1\", \":2\"]"));
    assert!(printed.contains("- match: \"a\"\n    ttl: 1h\n"), "{printed}");
}

/// The printed configuration can be loaded, and means the same.
#[test]
fn what_is_printed_loads_again() {
    let (_, printed, _) =
        outcome(binary().args(["print-config", "--push.gauge=max", "--ttl.default=90s"]));
    let path = file("printed.yaml", &printed);
    let (code, again, errors) =
        outcome(binary().arg("print-config").arg(format!("--config.file={}", path.display())));
    assert_eq!((code, errors.as_str()), (0, ""));
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&printed));
    assert_eq!(line(&again, "gauge").split("  #").next(), Some("gauge: max"));
}

#[test]
fn the_file_may_be_named_in_the_environment() {
    let path = file("tallygate.yaml", "push: {gauge: min}");
    let (_, printed, _) =
        outcome(binary().arg("print-config").env("TALLYGATE__CONFIG__FILE", &path));
    assert!(line(&printed, "gauge").starts_with("gauge: min"));
}

/// Reports all mistakes at once, each with its place and what was probably meant.
#[test]
fn check_config_tells_all_that_is_wrong() {
    let path = file(
        "tallygate.yaml",
        "web:\n  listen_adress: ':1'\nlimit: {series: 1}\nttl: {default: 5}\n\
         rules: [{match: 'a{', gauge: median}, {mach: b}]\n",
    );
    let name = path.display().to_string();
    let (code, out, errors) = outcome(
        binary()
            .args(["check-config", &name, "--limits.series=x"])
            .env("TALLYGATE__PUSH__GUAGE", "max"),
    );
    assert_eq!((code, out.as_str()), (64, ""));
    for expected in [
        format!("{name}: unknown key web.listen_adress; did you mean web.listen_address?"),
        format!("{name}: unknown section limit; did you mean limits?"),
        format!("ttl.default is \"5\" ({name})"),
        format!("{name}, rule 1 (a{{): gauge: accepted are last, sum, min, max and mean"),
        format!("{name}, rule 2: unknown key mach; did you mean match?"),
        "environment variable TALLYGATE__PUSH__GUAGE: unknown key push.guage; \
         did you mean TALLYGATE__PUSH__GAUGE?"
            .to_owned(),
        "limits.series is \"x\" (flag --limits.series)".to_owned(),
    ] {
        assert!(errors.contains(&expected), "no {expected:?} in:\n{errors}");
    }
}

#[test]
fn check_config_of_a_good_file() {
    let path = file("tallygate.yaml", "limits: {series: 5}\nrules: [{match: a, ttl: 1h}]\n");
    let (code, out, errors) = outcome(binary().arg("check-config").arg(&path));
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(out.starts_with("ok: listens on :9091, 1 rules\n"), "{out}");
    assert!(out.contains("limits.series = 5"), "{out}");
    // The default file is valid.
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.yaml");
    assert_eq!(outcome(binary().args(["check-config", default])).0, 0);
}

/// Exits with 64 before any port is bound: the port is taken here, which makes no difference.
#[test]
fn bad_configuration_ends_before_a_port_is_bound() {
    let gateway = start();
    let listen = format!("--web.listen-address={}", gateway.address);
    for bad in [
        "--limits.series=many",
        "--web.listen-adress=:1",
        "--config.file=/nowhere/at/all.yaml",
        "--mode=replace",
        "--limits.decoded-body-bytes=1KiB",
        "--web.management-address=127.0.0.1",
        "serv",
        "extra words here",
    ] {
        let output = run(&[&listen, bad]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{bad}: {errors}");
        assert!(errors.starts_with("tallygate: "), "{errors}");
        assert!(!errors.contains("listen:"), "{errors}");
    }
}

/// Kubernetes sets such variables for a service of our name.
#[test]
fn variables_of_others_are_none_of_our_business() {
    let gateway = flag("--limits.series=5")
        .env("TALLYGATE_PORT", "tcp://10.0.0.1:9091")
        .env("TALLYGATE_SERVICE_HOST", "10.0.0.1")
        .run();
    assert_eq!(gateway.sample("tallygate_limit{limit=\"series\"}"), 5.0);
}

#[test]
fn a_misspelt_variable_is_warned_of() {
    let mut gateway = flag("--limits.series=5").env("TALLYGATE_LIMITS_FAMILIES", "1").run();
    gateway.expect_log("did you mean TALLYGATE__LIMITS__FAMILIES?");
    gateway.await_log("TALLYGATE_LIMITS_FAMILIES is not used");
}

// === help ===

#[test]
fn help_is_a_page_to_learn_from() {
    let (code, page, errors) = outcome(binary().arg("--help"));
    assert_eq!((code, errors.as_str()), (0, ""));
    for part in [
        "Usage: tallygate [COMMAND] [FLAGS]",
        "check-config",
        "print-config",
        "healthcheck",
        "Examples:",
        "curl --data-binary @- http://localhost:9091/metrics/job/",
        "honor_labels",
        "TALLYGATE__WEB__LISTEN_ADDRESS",
        "--limits.series=",
        "Rules, for the file only:",
        "Exit status:",
    ] {
        assert!(page.contains(part), "no {part:?} in the help");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 80), "a line is too long");
    let (code, short, _) = outcome(binary().arg("-h"));
    assert_eq!(code, 0);
    assert!(short.len() < page.len() && short.contains("--limits.series="));
}

/// Every flag in the help exists.
#[test]
fn flags_in_the_help_are_accepted() {
    let (_, page, _) = outcome(binary().arg("-h"));
    let (_, printed, _) = outcome(binary().arg("print-config"));
    let mut flags = 0;
    for flag in page.lines().filter_map(|line| line.trim().strip_prefix("--")) {
        let Some((name, rest)) = flag.split_once('=') else { continue };
        let Some((section, key)) = name.split_once('.') else { continue };
        if section == "config" {
            continue;
        }
        let default =
            rest.split_once("  (").map_or("", |(_, default)| default.trim_end_matches(')'));
        assert!(line(&printed, &key.replace(['-', '.'], "_")).len() > key.len(), "{name}");
        let (code, _, errors) =
            outcome(binary().args(["check-config", &format!("--{name}={default}")]));
        assert_eq!(code, 0, "--{name}={default}: {errors}");
        flags += 1;
    }
    assert!(flags > 30, "{flags}");
}

#[test]
fn version() {
    for flag in ["--version", "-V", "version"] {
        let (code, out, _) = outcome(binary().arg(flag));
        assert_eq!((code, out), (0, format!("tallygate {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

/// `tallygate --help | head` must not end in a panic.
#[test]
fn a_reader_that_has_gone() {
    let mut child = binary().arg("--help").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

// === healthcheck ===

#[test]
fn healthcheck() {
    let mut gateway = flag("--web.drain-delay=4s").flag("--web.route-prefix=/tally").run();
    gateway.last_scrape(Some("/tally/metrics"));
    let listen = format!("--web.listen-address={}", gateway.address);
    let check = |arguments: &[&str]| outcome(binary().arg("healthcheck").args(arguments));
    let (code, out, _) = check(&[&listen, "--web.route-prefix=/tally"]);
    assert_eq!((code, out), (0, format!("ok: {} answers 200\n", gateway.url("/tally/-/healthy"))));
    assert_eq!(check(&[&gateway.url("/tally/-/ready")]).0, 0);
    assert_eq!(check(&["/tally/-/ready", &listen]).0, 0);
    let (code, _, errors) = check(&[&listen]);
    assert_eq!(code, 1);
    assert!(errors.contains("404"), "{errors}");
    assert_eq!(check(&["gopher://x"]).0, 64);

    gateway.signal("TERM");
    gateway.await_log("draining");
    assert_eq!(check(&[&gateway.url("/tally/-/healthy")]).0, 0);
    let (code, _, errors) = check(&[&gateway.url("/tally/-/ready")]);
    assert_eq!(code, 1);
    assert!(errors.contains("503"), "{errors}");
    gateway.wait();
    let (code, _, errors) = check(&[&gateway.url("/tally/-/healthy")]);
    assert_eq!(code, 1);
    assert!(errors.contains("cannot connect"), "{errors}");
}

#[test]
fn healthcheck_asks_the_management_address() {
    // The prefix only applies to the main address; the paths of this one stay the same.
    let prefix = "--web.route-prefix=/tally";
    let mut gateway = flag("--web.management-address=127.0.0.1:0").flag(prefix).run();
    gateway.last_scrape(Some("/tally/metrics"));
    let management = format!("--web.management-address={}", gateway.management());
    let elsewhere = "--web.listen-address=127.0.0.1:1";
    let (code, out, _) = outcome(binary().args(["healthcheck", &management, elsewhere, prefix]));
    assert_eq!(code, 0);
    assert!(out.contains(&gateway.management().to_string()), "{out}");
}
