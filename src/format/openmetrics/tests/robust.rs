//! No body makes the reader panic.

use proptest::prelude::*;

use super::*;
use crate::format::testing::{edit, edits};

const SEEDS: [&str; 4] = [
    "# TYPE a counter\n# HELP a x\\n\na_total{b=\"c\"} 1 # {t=\"u\"} 0.5 1\na_created{b=\"c\"} 1.5\n# EOF\n",
    "# TYPE h_s histogram\n# UNIT h_s s\nh_s_bucket{le=\"1\"} 1\nh_s_bucket{le=\"+Inf\"} 2 # {} 1\n\
     h_s_count 2\nh_s_sum 0.5\n# EOF",
    "# TYPE \"s.t\" summary\n{\"s.t\",quantile=\"0.5\"} 1\n{\"s.t_sum\"} 1\n{\"s.t_count\"} 1\n",
    "# TYPE e stateset\ne{e=\"a\",x=\"y\"} 0\ne{e=\"b\",x=\"y\"} 1\n# TYPE i info\ni_info{v=\"\\z\"} 1\n# EOF\n",
];

fn read_all(body: &[u8]) {
    let _ = (strict(body), lenient(body), has_eof(body));
    let options = OpenMetricsOptions { require_eof: false, timestamps: Timestamps::Ignore };
    let _ = read_with(body, options);
}

proptest! {
    #[test]
    fn arbitrary_bytes(body: Vec<u8>) {
        read_all(&body);
    }

    #[test]
    fn tokens_in_any_order(
        tokens in proptest::collection::vec(prop::sample::select(vec![
            "a", "a_total", "a_bucket", "a_count", "a_created", "le", "=", "\"", "\"x\"", "\"+Inf\"",
            "{", "}", ",", " ", "\n", "#", " # {", "# TYPE a ", "# HELP ", "# UNIT a ", "# EOF",
            "histogram\n", "counter\n", "stateset\n", "1", "-1", "NaN", "\\", "ü",
            "a_bucket{le=\"1\"} 1\n", "a_bucket{le=\"+Inf\"} 2\n", "a{a=\"s\"} 1\n",
        ]), 0..60)
    ) {
        read_all(tokens.concat().as_bytes());
    }

    #[test]
    fn mutated_bodies(
        seed in 0..SEEDS.len(),
        edits in edits(1..6),
    ) {
        let mut body = SEEDS[seed].as_bytes().to_vec();
        edit(&mut body, edits);
        read_all(&body);
    }
}

#[test]
fn the_seeds_are_valid() {
    for seed in SEEDS {
        lenient(seed.as_bytes()).unwrap();
    }
}

#[test]
fn long_tokens_are_quoted_in_part() {
    let long = "x".repeat(1000) + "ü";
    for body in [
        format!("a {long}\n"),
        format!("# {long}\n"),
        format!("{long} 1\nb 1\n{long} 1\n"),
        format!("# TYPE {long} counter\n{long} 1\n"),
        format!("# TYPE {long}_total gauge\n# TYPE {long} counter\n"),
        format!("# UNIT {long} {long}\n"),
        format!("# TYPE a counter\na_total 1 # {{a=\"1\"}} {long}\n"),
        format!("# TYPE {long} stateset\n{long} 1\n"),
    ] {
        let error = lenient(body.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 300, "{} bytes: {error}", error.len());
        let quoted = error.matches('x').count();
        assert!(quoted <= 125, "{quoted} bytes of the body: {error}");
    }
}
