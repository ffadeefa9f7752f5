//! Arguments of the command line, and the output of each command.

use super::*;
use crate::config::Config;

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Returns the exit code (or -1 where serving would begin), standard output and standard error.
fn invoke(args: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    let code = match run(os(args), environment, &mut out, &mut err) {
        Outcome::Store(..) => panic!("the tests of store are those of the binary"),
        Outcome::Serve(..) | Outcome::Import(..) => -1,
        Outcome::Exit(code) => i32::from(code),
    };
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[track_caller]
fn served(args: &[&str]) -> Config {
    match parse(os(args), []) {
        Ok(Command::Configured(sources, Task::Serve)) => {
            sources.load().unwrap_or_else(|errors| panic!("{errors}"))
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(args: &[&str]) -> String {
    parse(os(args), []).unwrap_err().to_string()
}

#[test]
fn flags_set_keys() {
    let config = served(&[
        "--web.listen-address=:1",
        "--ttl.default",
        "1h",
        "--web.enable-lifecycle",
        "--push.merge-hint=false",
        "--web.listen-address",
        ":2,:3",
        "--no-scrape.created-samples",
        "--push.gauge=max",
    ]);
    assert_eq!(config.web.listen_address.len(), 3);
    assert!(config.web.enable_lifecycle && !config.push.merge_hint);
    assert_eq!(config.push.gauge.word(), "max");
    assert_eq!(served(&["serve"]).settings(), served(&[]).settings());
    assert_eq!(served(&["--limits.series=5", "serve"]).limits.series, 5);
}

#[test]
fn every_key_but_rules_has_a_flag() {
    let settings = served(&[]).settings();
    let flags: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{}={value}", schema().key(name).unwrap().flag()))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let config = served(&flags);
    assert_eq!(config.settings(), settings);
    assert_eq!(config.changed_keys().count(), settings.len());
}

#[test]
fn refused_words() {
    for (args, message) in [
        (
            &["--web.listen-adress=:1"][..],
            "unknown flag --web.listen-adress; did you mean --web.listen-address?",
        ),
        (
            &["--web.listen_address=:1"],
            "unknown flag --web.listen_address; did you mean --web.listen-address?",
        ),
        (
            &["--listen-address=:1"],
            "unknown flag --listen-address; did you mean --web.listen-address?",
        ),
        (&["--zzz"], "unknown flag --zzz"),
        (&["--nope"], "unknown flag --nope"),
        (&["-web.workers=1"], "unknown flag -w; flags with long names begin with two dashes"),
        (&["--hlep"], "unknown flag --hlep; did you mean --help?"),
        (&["-x"], "unknown flag -x; flags with long names begin with two dashes"),
        (&["--no-push.gauge"], "unknown flag --no-push.gauge; did you mean --push.gauge?"),
        (&["--no-web.enable-lifecycle=true"], "--no-web.enable-lifecycle takes no value"),
        (&["--push.gauge"], "--push.gauge needs a value: --push.gauge=last|sum|min|max|mean"),
        (&["--push.gauge=max", "--push.gauge=max"], "--push.gauge is given twice"),
        (&["--config.file=a", "--config.file=b"], "--config.file is given twice"),
        (&["check-config", "a", "--config.file=b"], "--config.file is given twice"),
        (&["--config.file"], "--config.file needs a value: --config.file=FILE"),
        (
            &["--rules=[]"],
            "--rules stands for rules, which are a list: they can only be given in the file",
        ),
        (&["check-confg"], "unknown command \"check-confg\"; did you mean check-config?"),
        (&["serve", "x"], "\"x\" is one argument too many"),
        (&["check-config", "a", "b"], "\"b\" is one argument too many"),
    ] {
        assert_eq!(refused(args), message);
    }
}

#[cfg(unix)]
#[test]
fn words_that_are_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    for bytes in [&b"\xff"[..], b"--log.level=\xff", b"--\xff"] {
        let error = parse([OsString::from_vec(bytes.to_vec())], []).unwrap_err();
        assert!(!matches!(error, UsageError::Twice { .. }), "{error}");
    }
    let command = parse([OsString::from_vec(b"--config.file=/\xff".to_vec())], []);
    assert!(matches!(command, Ok(Command::Configured(_, Task::Serve))));
}

#[test]
fn bad_configuration_exits_64_and_tells_all() {
    let (code, out, err) = invoke(&["--log.level=loud", "--limits.series=x"], &[]);
    assert_eq!((code, out.as_str()), (64, ""));
    expect_test::expect![[r#"
        tallygate: the configuration cannot be used:
          limits.series is "x" (flag --limits.series): a whole number is expected, such as 1000 or 1_000_000
          log.level is "loud" (flag --log.level): accepted are error, warn, info, debug and trace
    "#]]
    .assert_eq(&err);
    let (code, _, err) = invoke(&["--nope"], &[]);
    assert_eq!(code, 64);
    assert!(err.ends_with("\nTry tallygate --help.\n"));
    assert_eq!(invoke(&["print-config", "--log.level=loud"], &[]).0, 64);
    assert_eq!(invoke(&["check-config", "/nonexistent"], &[]).0, 64);
    assert_eq!(invoke(&["healthcheck", "nonsense"], &[]).0, 64);
    assert_eq!(invoke(&[], &[]).0, -1);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let variable = [("TALLYGATE__CONFIG__FILE", "/nonexistent/variable")];
    assert!(invoke(&[], &variable).2.contains("/nonexistent/variable"));
    let (_, _, err) = invoke(&["--config.file=/nonexistent/flag"], &variable);
    assert!(err.contains("/nonexistent/flag") && !err.contains("/nonexistent/variable"));
    assert_eq!(invoke(&[], &[("TALLYGATE__CONFIG__FILE", "")]).0, -1);
}

#[test]
fn variables_of_others_are_not_kept() {
    let environment = [("AWS_SECRET_ACCESS_KEY", "x"), ("TALLYGATE__LOG__LEVEL", "warn")];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let Ok(Command::Configured(sources, _)) = parse([], environment) else { panic!("no command") };
    assert_eq!(sources.environment.len(), 1);
}

#[test]
fn check_config_says_what_is_set() {
    let variables = [
        ("TALLYGATE__LIMITS__SERIES", "1_000"),
        ("TALLYGATE_LOG_LEVEL", "debug"),
        ("TALLYGATE_SERVICE_PORT", "9091"),
    ];
    let (code, out, err) = invoke(&["check-config", "--web.management-address=:9092"], &variables);
    assert_eq!((code, err.as_str()), (0, ""));
    expect_test::expect![[r#"
        ok: listens on :9091, management on :9092, 0 rules
          web.management_address = :9092 (flag --web.management-address)
          limits.series = 1000 (environment variable TALLYGATE__LIMITS__SERIES)
        warning: environment variable TALLYGATE_LOG_LEVEL is not used; did you mean TALLYGATE__LOG__LEVEL?
    "#]]
    .assert_eq(&out);
}

#[test]
fn print_config_prints_what_loads_back() {
    let (code, out, _) = invoke(&["print-config", "--ttl.default=2d"], &[]);
    assert_eq!(code, 0);
    assert!(out.contains("\n  default: 2d  # flag --ttl.default\n"), "{out}");
    Config::from_yaml(&out).unwrap();
}

#[test]
fn help_is_a_page_to_learn_from() {
    let (code, long, _) = invoke(&["--help"], &[]);
    assert_eq!(code, 0);
    assert_eq!(invoke(&["help"], &[]).1, long);
    for text in [
        "Usage: tallygate [COMMAND] [FLAGS]",
        "check-config [FILE]",
        "curl --data-binary @-",
        "honor_labels: true",
        "  --web.listen-address=ADDRESS  (:9091)\n      Where pushes",
        "  --[no-]web.enable-lifecycle  (false)\n",
        "  --web.management-address=ADDRESS\n",
        "  --web.route-prefix=PATH\n",
        "TALLYGATE__WEB__LISTEN_ADDRESS",
        "drop_labels: [instance, pod]",
    ] {
        assert!(long.contains(text), "{text}");
    }
    let (_, short, _) = invoke(&["-h"], &[]);
    assert!(short.len() < long.len());
    for (name, _) in served(&[]).settings() {
        let flag = schema().key(name).unwrap().flag().replace("--", "");
        assert!(long.contains(&flag) && short.contains(&flag), "{flag}");
    }
    for line in long.lines().chain(short.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn version() {
    let expected = format!("tallygate {}\n", env!("CARGO_PKG_VERSION"));
    for args in [["--version"], ["-V"], ["version"]] {
        assert_eq!(invoke(&args, &[]), (0, expected.clone(), String::new()));
    }
}

#[test]
fn healthcheck_fails_where_nobody_listens() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let flag = format!("--web.listen-address=127.0.0.1:{port}");
    let (code, _, err) = invoke(&["healthcheck", &flag], &[]);
    assert_eq!(code, 1);
    assert!(err.starts_with(&format!("tallygate: http://127.0.0.1:{port}/-/healthy: cannot")));
}

#[test]
fn import_takes_a_file_or_a_url() {
    let words = |line: &str| parse(line.split(' ').map(OsString::from).collect::<Vec<_>>(), []);
    for (line, error) in [
        ("import", UsageError::NoFile),
        ("import --timeout=5s", UsageError::NoFile),
        ("import --from=http://a file", UsageError::TooMany("file".into())),
        ("import file --timeout=5s", UsageError::OnlyFrom { flag: "--timeout" }),
        ("serve --from=http://a", UsageError::OnlyFrom { flag: "--from" }),
        ("--ca-file=x", UsageError::OnlyFrom { flag: "--ca-file" }),
        ("import --from=http://a --from=http://b", UsageError::Twice { flag: "--from".into() }),
    ] {
        assert_eq!(words(line).unwrap_err(), error, "{line}");
    }
    assert!(matches!(words("import --from=a://b"), Err(UsageError::Url(_))));
    let origin = |line: &str| match words(line) {
        Ok(Command::Configured(_, Task::Import(origin))) => origin,
        other => panic!("{other:?}"),
    };
    assert!(matches!(origin("import file"), Origin::File(_)));
    let from = origin("--mode=pushgateway import --from=http://a/p --timeout=5s");
    assert!(matches!(from, Origin::Running(_)));
    let Ok(Command::Print(page)) = words("import --help") else { panic!("no page") };
    assert!(page.contains("--from=URL") && page.contains("--ca-file=FILE"), "{page}");
}
