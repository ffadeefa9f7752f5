//! Layers and keys, and the messages about mistakes in them.

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::model::{GaugeRule, Ttl};

fn sources(environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    let os = |text: &str| OsString::from(text);
    Sources {
        file: None,
        environment: environment.iter().map(|(name, value)| (os(name), os(value))).collect(),
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
    }
}

#[track_caller]
fn yaml(text: &str) -> Config {
    Config::from_yaml(text).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

#[track_caller]
fn errors(text: &str) -> String {
    match Config::from_yaml(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn the_default_file_is_the_defaults() {
    let defaults = Sources::default().load().unwrap();
    assert_eq!(defaults.web.listen_address[0].port(), 9091);
    assert_eq!(defaults.web.management_address, None);
    assert_eq!(defaults.web.route_prefix.as_str(), "");
    assert_eq!(defaults.push.gauge, GaugeRule::Last);
    assert_eq!(defaults.push.success_code.code(), 200);
    assert_eq!(defaults.ttl.default, Ttl::Never);
    assert_eq!(defaults.limits.decoded_body_bytes.bytes(), 64 << 20);
    assert!(defaults.rules.is_empty() && defaults.warnings().is_empty());
    assert_eq!(defaults.changed_keys().count(), 0);
}

#[test]
fn every_key_of_the_default_file_is_used() {
    let mut used: Vec<_> = Sources::default().load().unwrap().settings();
    used.push(("rules", String::new()));
    let keys: Vec<_> = schema().keys().map(|key| key.name).collect();
    assert_eq!(used.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
}

#[test]
fn the_example_rules_in_the_default_file_work() {
    let start = DEFAULT_YAML.find("\n# rules:\n").unwrap() + 1;
    let example: String = DEFAULT_YAML[start..]
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = yaml(&example);
    assert_eq!(config.rules.len(), 6);
    let decision = config.rules.decide("queue_depth", r#"instance="i",job="worker",pod="p""#);
    assert_eq!(decision.gauge, Some(GaugeRule::Max));
    assert_eq!(decision.ttl, Some(Ttl::After(Duration::from_secs(3600))));
    assert!(config.rules.decide("go_goroutines", r#"job="x""#).drop);
}

#[test]
fn later_layers_win() {
    let file = std::env::temp_dir().join(format!("tallygate-layers-{}.yaml", std::process::id()));
    let text = "\u{feff}limits:\n  series: 1\n  families: 1\n  series_per_job: 1\n";
    std::fs::write(&file, text).unwrap();
    let mut sources = sources(
        &[("TALLYGATE__LIMITS__SERIES", "2"), ("TALLYGATE__LIMITS__FAMILIES", "2"), ("PATH", "x")],
        &[("limits.series", "3")],
    );
    sources.file = Some(file.clone());
    let config = sources.load();
    std::fs::remove_file(&file).unwrap();
    let config = config.unwrap();
    let limits = &config.limits;
    assert_eq!((limits.series, limits.families, limits.series_per_job), (3, 2, 1));
    assert_eq!(limits.labels_per_series, 64);
    assert_eq!(config.origin("limits.series"), &Origin::Flag("--limits.series".into()));
    let changed: Vec<_> =
        config.changed_keys().map(|(key, origin)| format!("{key}: {origin}")).collect();
    assert_eq!(
        changed,
        [
            "limits.series: flag --limits.series".to_owned(),
            format!("limits.series_per_job: {}", file.display()),
            "limits.families: environment variable TALLYGATE__LIMITS__FAMILIES".to_owned(),
        ]
    );
}

#[test]
fn values_in_all_their_forms() {
    let config = yaml(
        "web:\n  listen_address: ':1, :2'\n  enable_lifecycle: true\n  keep_alive: 0\n\
         limits:\n  series: 1_000\n  body_bytes: 4096\nttl:\n  default: 1h30m\n\
         scrape:\n  # nothing\nrules:\n",
    );
    assert_eq!(config.web.listen_address.len(), 2);
    assert!(config.web.enable_lifecycle);
    assert_eq!(config.web.keep_alive, Duration::ZERO);
    assert_eq!((config.limits.series, config.limits.body_bytes.bytes()), (1000, 4096));
    assert_eq!(config.ttl.default, Ttl::After(Duration::from_secs(5400)));

    let config = sources(
        &[
            ("TALLYGATE__WEB__LISTEN_ADDRESS", ":1,[::1]:2"),
            ("TALLYGATE__WEB__ENABLE_LIFECYCLE", "True"),
        ],
        &[("push.gauge", "max"), ("web.management_address", ":9092")],
    )
    .load()
    .unwrap();
    assert_eq!(config.web.listen_address[1].host(), Some("::1"));
    assert_eq!(config.push.gauge, GaugeRule::Max);
    assert_eq!(config.web.management_address.unwrap().port(), 9092);

    let repeated = sources(&[], &[("web.listen_address", ":1"), ("web.listen_address", ":2")]);
    assert_eq!(repeated.load().unwrap().web.listen_address.len(), 2);
}

#[test]
fn the_route_prefix_follows_the_external_url() {
    let config = yaml("web: {external_url: 'https://a.b/c/'}");
    assert_eq!(config.web.route_prefix.as_str(), "/c");
    assert_eq!(yaml(&config.to_yaml()).web.route_prefix.as_str(), "/c");
    let config = yaml("web: {external_url: 'https://a.b/c/', route_prefix: /}");
    assert_eq!(config.web.route_prefix.as_str(), "");
    assert_eq!(yaml(&config.to_yaml()).web.route_prefix.as_str(), "");
}

#[test]
fn all_errors_at_once() {
    expect_test::expect![[r#"
        the text: unknown key limits.bodybytes; did you mean limits.body_bytes?
        log (the text): a section is expected here, with keys below it
        the text: unknown key scrape.body_bytes; did you mean limits.body_bytes?
        the text: unknown section storage; did you mean store?
        the text: unknown section webb; did you mean web?
        mode is "replace" (the text): accepted are aggregate and pushgateway
        web.listen_address is ["9091"] (the text): a port alone is written :9091; an address is written like :9091, 127.0.0.1:9091 or [::1]:9091
        push.success_code is "204" (the text): accepted are 200 and 202
        push.gauge is "maximum" (the text): accepted are last, sum, min, max and mean
        push.merge_hint is "perhaps" (the text): accepted are true and false
        scrape.gzip_level is 12 (the text): accepted are values from 1 to 9
        ttl.default is "90" (the text): it has no unit, as in 90s; a duration is written like 500ms, 90s, 5m, 1h30m or 7d
        limits.body_bytes is "32 mb" (the text): "mb" is not a unit of size; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB; a size is written like 4096, 512KiB, 32MiB or 1GB
        limits.samples_per_push is 0 (the text): accepted are values from 1
        limits.series is empty (the text): it has no value; write one, or remove the line
        limits.families is ["1"] (the text): one value is expected here, not a list
        the text, rule 1 ({): match: column 2: expected a label name, found the end
        the text, rule 2: it has no match; write match: '{}' for all series
        the text, rule 2: unknown key gage; did you mean gauge?
        the text, rule 2: ttl: it has no unit, as in 5s; a duration is written like 500ms, 90s, 5m, 1h30m or 7d
        the text, rule 3: a rule is a table with the key match and at least one setting
        the text, rule 4 (up): it sets nothing; give it at least one of gauge, untyped, ttl, native_buckets, require_key, drop, rename, drop_labels, keep_labels, rename_labels
        the text, rule 5 (up): drop_labels: a list of label names is expected, such as [instance, pod]
        the text, rule 5 (up): rename_labels: a table of old and new label names is expected, such as {node: host}"#]]
    .assert_eq(&errors(
        "mode: replace\nweb: {listen_address: [9091]}\nwebb: {a: 1}\n\
         push: {success_code: 204, gauge: maximum, merge_hint: perhaps}\n\
         scrape: {gzip_level: 12, body_bytes: 1}\nttl: {default: 90}\n\
         limits: {bodybytes: 1, body_bytes: 32 mb, samples_per_push: 0, series: , families: [1]}\n\
         log: debug\nstorage: {file: x}\n\
         rules: [{match: '{', drop: true}, {gage: max, ttl: 5}, up, {match: up}, \
                 {match: up, drop_labels: a, rename_labels: b}]",
    ));
}

#[test]
fn what_only_several_keys_tell() {
    expect_test::expect![[r#"
        web.management_address 127.0.0.1:9091 and web.listen_address :9091 overlap; give the first one a port of its own, such as :9092
        limits.decoded_body_bytes (64MiB) is below limits.body_bytes (100MiB), so that no push of that size could come in; raise the first or lower the second"#]]
    .assert_eq(&errors(
        "web: {management_address: '127.0.0.1:9091'}\n\
         limits: {body_bytes: 100MiB}",
    ));
    yaml("web: {management_address: ':9092'}");
}

#[test]
fn broken_yaml_names_the_place() {
    assert!(errors("web:\n  workers: [1\n").contains("line 3 column 1"));
    assert!(errors("mode: aggregate\nmode: aggregate\n").contains("duplicated key"));
    assert!(errors("- a").starts_with("the text cannot be understood: "));
    assert!(errors("a: 1\n---\nb: 2").contains("2 YAML documents"));
    yaml("");
    yaml("# only a comment");
}

#[test]
fn a_file_that_cannot_be_read() {
    let sources =
        Sources { file: Some("/nonexistent/tallygate.yaml".into()), ..Sources::default() };
    let errors = sources.load().unwrap_err().to_string();
    assert!(errors.starts_with("cannot read the configuration file /nonexistent/tallygate.yaml: "));
}

#[test]
fn only_variables_with_two_underscores_are_ours() {
    let config = sources(
        &[
            ("TALLYGATE_PORT", "tcp://10.0.0.1:9091"),
            ("TALLYGATE_SERVICE_HOST", "10.0.0.1"),
            ("TALLYGATE_PORT_9091_TCP_ADDR", "10.0.0.1"),
            ("TALLYGATE_LIMITS_SERIES", "5"),
            ("TALLYGATE__CONFIG__FILE", "see cli"),
        ],
        &[],
    )
    .load()
    .unwrap();
    assert_eq!(config.changed_keys().count(), 0);
    assert_eq!(
        config.warnings(),
        ["environment variable TALLYGATE_LIMITS_SERIES is not used; \
          did you mean TALLYGATE__LIMITS__SERIES?"]
    );
    let errors = sources(
        &[("TALLYGATE__LIMITS__SERIE", "5"), ("TALLYGATE__RULES", "[]"), ("TALLYGATE__", "")],
        &[],
    )
    .load()
    .unwrap_err();
    expect_test::expect![[r#"
        environment variable TALLYGATE__LIMITS__SERIE: unknown key limits.serie; did you mean TALLYGATE__LIMITS__SERIES?
        rules (environment variable TALLYGATE__RULES): rules are a list, so they can only stand in the file
        environment variable TALLYGATE__: unknown key "#]]
    .assert_eq(&errors.to_string());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let mut sources = sources(&[], &[]);
    let value = OsString::from_vec(vec![0xff]);
    sources.environment.push(("TALLYGATE__LOG__LEVEL".into(), value.clone()));
    sources.environment.push((value.clone(), value));
    assert_eq!(
        sources.load().unwrap_err().to_string(),
        "environment variable TALLYGATE__LOG__LEVEL is not UTF-8"
    );
}

#[test]
fn print_config_loads_back() {
    let config = yaml(
        "web: {listen_address: [':1', '[::1]:2'], management_address: ':3'}\n\
         push: {success_code: 202}\nttl: {default: 36h, client_max: 7d}\nlimits: {series: 5}\n\
         rules:\n\
         - match: '{a=\"b\\\\n\",__name__=~\"x.*\"}'\n  gauge: max\n  ttl: 0\n  drop: false\n\
         - match: 'up'\n  rename: 'up.new'\n  drop_labels: []\n  rename_labels: {'a.b': c, d: e}\n\
         - match: \"{}\"\n  keep_labels: [job, 'a\"b']\n  untyped: last\n",
    );
    let printed = config.to_yaml();
    let again = yaml(&printed);
    assert_eq!(again.settings(), config.settings());
    assert_eq!(again.rules, config.rules);
    assert!(printed.contains("\n  client_max: 7d  # the text\n"), "{printed}");
    assert!(printed.contains("\n  sweep_interval: 10s\n"), "{printed}");
    let defaults = Sources::default().load().unwrap();
    assert_eq!(yaml(&defaults.to_yaml()).settings(), defaults.settings());
    assert!(!defaults.to_yaml().contains('#'));
}

#[test]
fn reload_takes_over_what_can_change() {
    let old = Sources::default().load().unwrap();
    let new = yaml(
        "web: {workers: 3}\npush: {gauge: max, success_code: 202}\nttl: {default: 1h}\n\
         scrape: {max_in_flight: 2}\nlimits: {series: 1, connections: 5}\n\
         log: {level: debug, format: json}\nrules: [{match: up, drop: true}]",
    );
    let reload = old.reload(&new);
    assert_eq!(
        reload.applied,
        ["push.gauge", "ttl.default", "limits.series", "limits.connections", "log.level", "rules"]
    );
    assert_eq!(
        reload.needs_restart,
        ["web.workers", "push.success_code", "scrape.max_in_flight", "log.format"]
    );
    // Nothing else differs: what was not applied is as before, and is reported again next time.
    let (rest, still) = reload.config.reload_diff(&new);
    assert_eq!((rest, still), (vec![], reload.needs_restart.clone()));
    assert_eq!(old.reload_diff(&reload.config), (reload.applied, vec![]));
    assert_eq!(old.reload_diff(&old), (vec![], vec![]));
}

#[test]
fn the_reference_has_every_key() {
    let reference = markdown_reference();
    for key in schema().keys().filter(|key| key.kind != KeyKind::Rules) {
        assert!(reference.contains(&format!("| `{}`", key.name)), "{}", key.name);
    }
    let row = "| `scrape.gzip_level` | `--scrape.gzip-level=NUMBER` | \
               `TALLYGATE__SCRAPE__GZIP_LEVEL` | `1` | Compression level";
    assert!(reference.contains(row), "{reference}");
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for line in reference.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(cells(line), 6, "{line}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Names may contain anything, and quoting must preserve it in YAML.
    #[test]
    fn printed_rules_load_back(name: String, other: String, rename: String) {
        let rule = crate::rules::RawRule {
            selector: format!("{{a!={}}}", serde_json::Value::from(&*name)),
            rename: (!rename.is_empty() && !rename.starts_with("tallygate_")).then_some(rename),
            drop_labels: Some(vec![other.clone()]),
            rename_labels: Some([(name, other + "x")].into()),
            ..Default::default()
        };
        let Ok(rules) = Rules::compile(&[rule]) else { return Ok(()) };
        let config = Config { rules, ..Sources::default().load().unwrap() };
        let again = Config::from_yaml(&config.to_yaml()).map(|config| config.rules);
        proptest::prop_assert_eq!(again, Ok(config.rules));
    }
}
