//! No body makes the reader panic, and no spelling changes what is read.

use proptest::prelude::*;

use super::*;
use crate::format::testing::{edit, edits};

const SEEDS: [&str; 4] = [
    "# HELP a x\\n\n# TYPE a counter\na{b=\"c\",d=\"e\\\"\"} 1 \na 2e3\n",
    "# TYPE h histogram\nh_bucket{x=\"y\",le=\"0.1\"} 1\nh_bucket{x=\"y\",le=\"+Inf\"} 2\n\
     h_sum{x=\"y\"} 0.5\nh_count{x=\"y\"} 2\n",
    "# TYPE \"s.t\" summary\n{\"s.t\",quantile=\"0.5\"} 1\n{\"s.t_sum\"} 1\n{\"s.t_count\"} 1\n",
    "g{a=\"\u{fc}\"} +Inf\r\ng-1\ng{b=\"c\",} NaN",
];

fn read_all(body: &[u8]) {
    let _ = (strict(body), lenient(body));
    let ignore = TextOptions {
        lenient_line_ends: true,
        timestamps: Timestamps::Ignore,
        ..TextOptions::default()
    };
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
        edits in edits(1..6),
    ) {
        let mut body = SEEDS[seed].as_bytes().to_vec();
        edit(&mut body, edits);
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

// === Spelling ===

const LABEL_SETS: [&[(&str, &str)]; 4] =
    [&[], &[("a", "1")], &[("a", "1"), ("b", r#"x\"y\\"#)], &[("b", "1"), ("a", "2")]];

/// A line of histogram `h` for a label set, with `le` at index `place` of its labels.
fn spell(set: usize, suffix: &str, bound: Option<&str>, place: usize, style: u8) -> String {
    let mut labels = LABEL_SETS[set].to_vec();
    if let Some(bound) = bound {
        labels.insert(place % (labels.len() + 1), ("le", bound));
    }
    let name = format!("h{suffix}");
    let pairs = |equals: &str, quote: &str| -> Vec<String> {
        let pair = |(n, v): &(&str, &str)| format!("{quote}{n}{quote}{equals}\"{v}\"");
        labels.iter().map(pair).collect()
    };
    match style {
        0 => format!("{name}{{{}}} 7\n", pairs("=", "").join(",")),
        1 => format!(" {name}\t{{ {} }}7 \n", pairs(" = ", "").join(" , ")),
        2 if !labels.is_empty() => format!("{name} {{{},}}  7\n", pairs("=", "\"").join(",\t")),
        3 => {
            let mut items = pairs("=", "");
            items.insert(place % (items.len() + 1), format!("\"{name}\""));
            format!("{{{}}} 7\n", items.join(","))
        }
        _ if labels.is_empty() => format!("{name} 7\n"),
        _ => format!("{name}{{{}}}\t7\n", pairs("=", "").join(", ")),
    }
}

proptest! {
    #[test]
    fn spelling_does_not_matter(
        lines in Just((0..LABEL_SETS.len() * 6).collect::<Vec<_>>()).prop_shuffle(),
        spellings in proptest::collection::vec((0..4_usize, 0..5_u8), LABEL_SETS.len() * 6),
    ) {
        let mut plain = String::from("# TYPE h histogram\n");
        let mut varied = plain.clone();
        for (line, (place, style)) in lines.into_iter().zip(spellings) {
            let (suffix, bound) = match line % 6 {
                0 => ("_sum", None),
                1 => ("_count", None),
                bucket => ("_bucket", Some(["0.5", "1", "2.5", "+Inf"][bucket - 2])),
            };
            plain += &spell(line / 6, suffix, bound, 9, 0);
            varied += &spell(line / 6, suffix, bound, place, style);
        }
        prop_assert_eq!(strict(varied.as_bytes()), strict(plain.as_bytes()), "{}", varied);
        prop_assert!(strict(plain.as_bytes()).is_ok());
    }
}
