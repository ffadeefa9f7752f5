//! Rules of the operator, which apply before series are added up.

use crate::harness::{config, histogram};

#[test]
fn labels_that_are_dropped_make_series_add_up() {
    let gateway = config("rules: [{match: '{}', drop_labels: [instance, pod]}]").run();
    // Within a push as well as between pushes.
    gateway.accept("/metrics/job/j/instance/1", "a_total{pod=\"x\"} 1\na_total{pod=\"y\"} 2\n");
    gateway.accept("/metrics/job/j/instance/2", "a_total{pod=\"x\",kept=\"k\"} 4\na_total 8\n");
    let buckets = [("1", 1), ("+Inf", 2)];
    gateway.accept("/metrics/instance/1", histogram("h", 1.0, &buckets));
    gateway.accept("/metrics/instance/2", histogram("h", 1.0, &buckets));
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\na_total{job=\"j\"} 11\na_total{job=\"j\",kept=\"k\"} 4\n\
         # TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 4\nh_sum 2\nh_count 4\n"
    );
}

#[test]
fn labels_that_are_kept() {
    let gateway = config("rules: [{match: '{job=\"j\"}', keep_labels: [job, code]}]").run();
    gateway.accept(
        "/metrics/job/j",
        "a_total{code=\"1\",path=\"/x\"} 1\na_total{code=\"1\",path=\"/y\"} 1\n",
    );
    gateway.accept("/metrics/job/k", "a_total{code=\"1\",path=\"/x\"} 1\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\na_total{code=\"1\",job=\"j\"} 2\n\
         a_total{code=\"1\",job=\"k\",path=\"/x\"} 1\n"
    );
}

#[test]
fn labels_that_are_renamed() {
    let gateway = config("rules: [{match: '{}', rename_labels: {node: host, a: b, b: a}}]").run();
    gateway.accept("/metrics", "x{node=\"n\",host=\"h\"} 1\ny{a=\"1\",b=\"2\"} 1\nz{c=\"1\"} 1\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE x untyped\nx{host=\"n\"} 1\n# TYPE y untyped\ny{a=\"2\",b=\"1\"} 1\n\
         # TYPE z untyped\nz{c=\"1\"} 1\n"
    );
}

#[test]
fn series_that_are_dropped() {
    let gateway = config(
        "rules:\n\
         - {match: '{__name__=~\"go_.*\",job=\"keep\"}', drop: false}\n\
         - {match: '{__name__=~\"go_.*|process_.*\",job!=\"batch\"}', drop: true}",
    )
    .run();
    let body = "go_threads 1\nprocess_cpu_seconds_total 1\nrun_total 1\n";
    gateway.accept("/metrics/job/j", body);
    gateway.accept("/metrics/job/batch", "go_threads 1\n");
    gateway.accept("/metrics/job/keep", "go_threads 1\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE go_threads untyped\ngo_threads{job=\"batch\"} 1\ngo_threads{job=\"keep\"} 1\n\
         # TYPE run_total untyped\nrun_total{job=\"j\"} 1\n"
    );
    assert_eq!(gateway.sample("tallygate_series_dropped_total"), 2.0);
    // A push of nothing else still succeeds.
    gateway.accept("/metrics/job/j", "go_threads 5\n");
}

/// Dropped series need not be valid, but readable.
#[test]
fn dropped_series_are_not_judged() {
    let mut gateway = config("rules: [{match: bad, drop: true}]").run();
    gateway.accept("/metrics", "# TYPE bad counter\nbad -1\n# TYPE good counter\ngood 1\n");
    gateway.refuse("/metrics", "bad nonsense\n", 400);
}

#[test]
fn families_that_are_renamed() {
    let mut gateway = config(
        "rules: [{match: old_total, rename: new_total}, {match: old_h, rename: new_h},\n\
                 {match: '{__name__=\"taken\"}', rename: new_h_count}]",
    )
    .run();
    gateway.accept("/metrics", "# HELP old_total Text.\n# TYPE old_total counter\nold_total 1\n");
    gateway.accept(
        "/metrics",
        "# TYPE new_total counter\nnew_total 2\n# TYPE old_total counter\nold_total 4\n",
    );
    gateway.accept("/metrics", histogram("old_h", 1.0, &[("1", 1), ("+Inf", 1)]));
    assert_eq!(
        gateway.pushed(),
        "# TYPE new_h histogram\nnew_h_bucket{le=\"1\"} 1\nnew_h_bucket{le=\"+Inf\"} 1\n\
         new_h_sum 1\nnew_h_count 1\n\
         # HELP new_total Text.\n# TYPE new_total counter\nnew_total 7\n"
    );
    let problem = gateway.refuse("/metrics", "# TYPE old_total gauge\nold_total 1\n", 422);
    assert_eq!(problem["family"], "new_total");
    gateway.refuse("/metrics", "# TYPE new_total gauge\nnew_total 1\nold_total 1\n", 422);
    gateway.refuse("/metrics", "taken 1\n", 422);
}

#[test]
fn gauges_and_samples_without_a_type() {
    let gateway = config(
        "push: {gauge: sum}\n\
         rules:\n\
         - {match: '{__name__=~\"queue_.*\",job=\"worker\"}', gauge: max}\n\
         - {match: temperature, untyped: last}",
    )
    .run();
    for value in [3, 9, 5] {
        let body =
            format!("# TYPE queue_length gauge\nqueue_length {value}\ntemperature {value}\n");
        gateway.accept("/metrics/job/worker", &body);
        gateway.accept("/metrics/job/other", &body);
    }
    assert_eq!(gateway.sample("queue_length{job=\"worker\"}"), 9.0);
    assert_eq!(gateway.sample("queue_length{job=\"other\"}"), 17.0);
    assert_eq!(gateway.sample("temperature{job=\"other\"}"), 5.0);
}

/// The first matching rule wins, separately for each setting, and all look at the series as it was
/// pushed.
#[test]
fn the_first_rule_wins_setting_by_setting() {
    let gateway = config(
        "rules:\n\
         - {match: 'g{zone=\"a\"}', gauge: min}\n\
         - {match: g, gauge: max, drop_labels: [zone]}\n\
         - {match: '{}', gauge: sum, drop_labels: [], rename: other}\n\
         - {match: other, rename: never}",
    )
    .run();
    for value in [4, 2, 6] {
        gateway.accept("/metrics", format!("# TYPE g gauge\ng{{zone=\"a\"}} {value}\n"));
    }
    assert_eq!(gateway.pushed(), "# TYPE other gauge\nother 2\n");
}

#[test]
fn a_reload_changes_rules() {
    let gateway =
        config("rules: [{match: a_total, drop_labels: [x]}]").flag("--web.enable-lifecycle").run();
    gateway.accept("/metrics", "a_total{x=\"1\"} 1\n");
    gateway.rewrite_config("rules: [{match: a_total, rename: b_total}]");
    let report = gateway.request("POST", "/-/reload").send().text();
    assert_eq!(report, "Configuration loaded; changed: rules.\n");
    gateway.accept("/metrics", "a_total{x=\"1\"} 1\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE a_total untyped\na_total 1\n# TYPE b_total untyped\nb_total{x=\"1\"} 1\n"
    );
}

/// Under a new rule, a gauge continues from the value it shows.
#[test]
fn a_reload_changes_how_a_gauge_merges() {
    let gateway = config("rules: [{match: g, gauge: max}]").flag("--web.enable-lifecycle").run();
    gateway.accept("/metrics", "# TYPE g gauge\ng 7\n");
    gateway.accept("/metrics", "# TYPE g gauge\ng 3\n");
    gateway.rewrite_config("rules: [{match: g, gauge: sum}]");
    assert_eq!(gateway.request("POST", "/-/reload").send().status, 200);
    gateway.accept("/metrics", "# TYPE g gauge\ng 3\n");
    assert_eq!(gateway.sample("g"), 10.0);
}

#[test]
fn rules_from_the_default_file_work() {
    let example: String = include_str!("../../config/default.yaml")
        .lines()
        .skip_while(|line| !line.starts_with("# rules:"))
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{}\n", line.trim_start_matches('#').strip_prefix(' ').unwrap_or("")))
        .collect();
    let gateway = config(&example).run();
    gateway.accept("/metrics/job/worker/instance/i", "# TYPE queue_a gauge\nqueue_a 3\ngo_x 1\n");
    gateway.accept("/metrics/job/batch/pod/p", "x{node=\"n\"} 1\ntemperature_celsius 5\n");
    assert_eq!(
        gateway.pushed(),
        "# TYPE queue_a gauge\nqueue_a{job=\"worker\"} 3\n\
         # TYPE room_celsius untyped\nroom_celsius{job=\"batch\"} 5\n\
         # TYPE x untyped\nx{host=\"n\",job=\"batch\"} 1\n"
    );
}
