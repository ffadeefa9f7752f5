//! No body makes the reader panic.

use proptest::prelude::*;

use super::*;

const SEEDS: [&str; 4] = [
    "# HELP a x\\n\n# TYPE a counter\na{b=\"c\",d=\"e\\\"\"} 1 \na 2e3\n",
    "# TYPE h histogram\nh_bucket{x=\"y\",le=\"0.1\"} 1\nh_bucket{x=\"y\",le=\"+Inf\"} 2\n\
     h_sum{x=\"y\"} 0.5\nh_count{x=\"y\"} 2\n",
    "# TYPE \"s.t\" summary\n{\"s.t\",quantile=\"0.5\"} 1\n{\"s.t_sum\"} 1\n{\"s.t_count\"} 1\n",
    "g{a=\"\u{fc}\"} +Inf\r\ng-1\ng{b=\"c\",} NaN",
];

fn read_all(body: &[u8]) {
    let _ = (strict(body), lenient(body));
    let ignore = TextOptions { lenient_line_ends: true, timestamps: Timestamps::Ignore };
    let _ = testing::read(body, |body, builder| parse(body, builder, ignore));
    let _ = super::super::scan(body, ignore);
}

proptest! {
    #[test]
    fn arbitrary_bytes(body: Vec<u8>) {
        read_all(&body);
    }

    #[test]
    fn tokens_in_any_order(
        tokens in proptest::collection::vec(prop::sample::select(vec![
            "a", "h", "h_bucket", "h_sum", "le", "quantile", "=", "\"", "\"x\"", "\"1\"", "{", "}",
            ",", " ", "\t", "\n", "\r", "#", "# TYPE ", "# HELP ", "h histogram\n", "summary", "1",
            "-1", "NaN", "+Inf", "\\", "\\n", "ü", "\u{2028}", "{\"h_bucket\",le=\"1\"} 1\n",
            "h_bucket{le=\"2\"} 1\n",
        ]), 0..60)
    ) {
        read_all(tokens.concat().as_bytes());
    }

    #[test]
    fn mutated_bodies(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..6),
    ) {
        let mut body = SEEDS[seed].as_bytes().to_vec();
        for (at, edit, byte) in edits {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match edit {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => drop(body.remove(at)),
                _ => body.truncate(at),
            }
        }
        read_all(&body);
    }
}

#[test]
fn long_tokens_are_quoted_in_part() {
    let long = "x".repeat(1000) + "ü";
    for body in [
        format!("a {long}\n"),
        format!("a{{{long}ü=\"\"}} 1\n"),
        format!("{long} 1\n{long} 1\n"),
        format!("a{{l=\"{long}\"}} 1\na{{l=\"{long}\"}} 1\n"),
        format!("a{{__{long}=\"\"}} 1\n"),
        format!("# TYPE {long} counter\n# TYPE {long} counter\n"),
        format!("# TYPE a {long}\n"),
        format!(
            "# TYPE h histogram\nh_bucket{{l=\"{long}\",le=\"1\"}} 1\nh_bucket{{l=\"{long}\",le=\"1\"}} 1\n"
        ),
    ] {
        let error = strict(body.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 260, "{} bytes: {error}", error.len());
        let quoted = error.matches('x').count();
        assert!(quoted <= 110, "{quoted} bytes of the body: {error}");
    }
}
