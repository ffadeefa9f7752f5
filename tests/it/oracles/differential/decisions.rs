//! Where our readers differ from the Python ones on purpose, each with its rule: a section of the
//! format reference (`formats.md`) or one of its decisions G0 to G23.

use super::{Case, Format};

pub(super) struct Decision {
    /// Why, and what the Python reader does instead.
    pub(super) rule: &'static str,
    pub(super) format: Format,
    what: What,
}

enum What {
    /// We refuse with one of these words, they accept.
    WeRefuse(&'static [&'static str]),
    /// We accept, they refuse.
    TheyRefuse(fn(body: &str, error: &str) -> bool),
    /// Both accept and see different values.
    Values(fn(body: &str) -> bool),
}

use Format::{OpenMetrics, Text};
use What::{TheyRefuse, Values, WeRefuse};

impl Decision {
    fn covers(&self, case: &Case<'_>) -> bool {
        self.format == case.format
            && match (&self.what, &case.ours, &case.theirs) {
                (WeRefuse(words), Err(error), Ok(_)) => {
                    words.iter().any(|word| error.contains(word))
                }
                (TheyRefuse(applies), Ok(_), Err(error)) => applies(case.body, error),
                (Values(applies), Ok(_), Ok(_)) => applies(case.body),
                (_, _, _) => false,
            }
    }
}

/// The decision that explains a difference.
pub(super) fn covering(case: &Case<'_>) -> Option<&'static Decision> {
    DECISIONS.iter().find(|decision| decision.covers(case))
}

pub(super) const DECISIONS: &[Decision] = &[
    // === text
    Decision {
        rule: "G0: a sum has no sample time; they keep it",
        format: Text,
        what: WeRefuse(&["samples with a timestamp are refused"]),
    },
    Decision {
        rule: "G4: a sample is there once; they keep both",
        format: Text,
        what: WeRefuse(&["is given twice"]),
    },
    Decision {
        rule: "G2: a value may follow its name at once; they take both for a name",
        format: Text,
        what: TheyRefuse(|_, error| {
            error.starts_with("ValueError: invalid metric name:") && error.contains(['-', '+', '.'])
        }),
    },
    Decision {
        rule: "G5, formats 3: TYPE lines without a type are ignored, types come in any case, and \
               what is no keyword makes a comment; they refuse some of these",
        format: Text,
        what: TheyRefuse(|body, error| {
            (error == "ValueError: " || error.contains("Invalid metric type"))
                && body.lines().any(|line| {
                    let mut words = line.split_whitespace();
                    words.next().is_some_and(|word| word.starts_with('#'))
                        && (words.clone().count() < 3
                            || line.chars().any(|c| c.is_ascii_uppercase())
                            || words.next().is_none_or(|word| word != "TYPE"))
                })
        }),
    },
    Decision {
        rule: "G9: lines that no histogram or summary has; they take them as they are",
        format: Text,
        what: WeRefuse(&[
            "the sample needs a label",
            "its samples end in",
            "has no place on a sum",
        ]),
    },
    Decision {
        rule: "G9, formats 3: bounds are numbers; they do not look",
        format: Text,
        what: WeRefuse(&["expected a number as bucket bound", "expected a number as quantile"]),
    },
    Decision {
        rule: "G10, formats 3: counts are counts; they do not look",
        format: Text,
        what: WeRefuse(&["expected a count that is not negative", "expected a whole number"]),
    },
    Decision {
        rule: "formats 3: TYPE and HELP come once, TYPE before the samples; they take the last",
        format: Text,
        what: WeRefuse(&["second TYPE of", "second HELP of", "comes after its samples"]),
    },
    Decision {
        rule: "formats 3: only these types; they take any word",
        format: Text,
        what: WeRefuse(&["expected counter, gauge, histogram"]),
    },
    Decision {
        rule: "formats 3: the last line ends, too; they do not mind",
        format: Text,
        what: WeRefuse(&["the last line does not end with a line feed"]),
    },
    Decision {
        rule: "formats 3: nothing but a timestamp follows a value; they take the last word for it",
        format: Text,
        what: WeRefuse(&["expected the end of the line"]),
    },
    Decision {
        rule: "formats 3: names are checked, also before braces, where they take anything",
        format: Text,
        what: WeRefuse(&["expected a metric name", "expected a number within the range"]),
    },
    Decision {
        rule: "formats 3: only blank and tab are blanks; they strip and split at all of Unicode's",
        format: Text,
        what: WeRefuse(&[
            "after a label",
            "after the label name",
            "expected a label name",
            "expected a label value",
            "the metric name after HELP is not valid",
            "the metric name after TYPE is not valid",
        ]),
    },
    Decision {
        rule: "Prometheus refuses a scrape with NULs in names; they take any text in quotes",
        format: Text,
        what: WeRefuse(&["holds a NUL"]),
    },
    Decision {
        rule: "formats 3: no colon in label names; they take those of metrics",
        format: Text,
        what: WeRefuse(&["(a label name with other characters"]),
    },
    Decision {
        rule: "formats 3: three escapes; they leave others as they are",
        format: Text,
        what: WeRefuse(&["unknown escape"]),
    },
    Decision {
        rule: "formats 2: a counter is named as it is; they add _total",
        format: Text,
        what: Values(|body| body.contains(" counter")),
    },
    // === OpenMetrics
    Decision {
        rule: "G0: a sum has no sample time; they keep it",
        format: OpenMetrics,
        what: WeRefuse(&["samples with a timestamp are refused"]),
    },
    Decision {
        rule: "G4, formats 5: a sample is there once; they drop the second",
        format: OpenMetrics,
        what: WeRefuse(&["given twice", "the bounds of buckets must rise"]),
    },
    Decision {
        rule: "G11: names in quotes need no metadata; they read them after some only",
        format: OpenMetrics,
        what: TheyRefuse(|body, error| error == "ValueError: " && body.contains("{\"")),
    },
    Decision {
        rule: "formats 5: one blank before the value; they skip what follows the brace unread, and \
               take any name before one",
        format: OpenMetrics,
        what: WeRefuse(&["expected one blank before the value"]),
    },
    Decision {
        rule: "formats 5: one blank and no others; they strip all of Unicode's, in numbers too",
        format: OpenMetrics,
        what: WeRefuse(&[
            "after a label",
            "after the label name",
            "expected a label name",
            "expected a label value",
            "expected one blank after the metric name",
            "expected the end of the line",
            "expected a metric name",
            "expected a number as bucket bound",
            "expected a quantile",
            "expected a timestamp in seconds",
            "expected counter, gauge, histogram",
            "and its unit \" ",
        ]),
    },
    Decision {
        rule: "formats 5: no colon in label names; they take those of metrics",
        format: OpenMetrics,
        what: WeRefuse(&["(a label name with other characters"]),
    },
    Decision {
        rule: "formats 5: metadata begins with a number sign and a blank; they look at the words",
        format: OpenMetrics,
        what: WeRefuse(&["(no other comments)"]),
    },
    Decision {
        rule: "formats 5: a counter has a value; they take its start time alone",
        format: OpenMetrics,
        what: WeRefuse(&["a counter needs its \"_total\" sample"]),
    },
    Decision {
        rule: "formats 6: numbers beyond the range of a double are errors, and times beyond that of \
               milliseconds in 64 bits; they make them infinite, or keep them",
        format: OpenMetrics,
        what: WeRefuse(&["expected a number within the range", "expected a time in seconds"]),
    },
];
