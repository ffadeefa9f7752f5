//! Expositions from a seed: valid ones, and damaged ones.

use super::Format;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const VALUES: [&str; 12] =
    ["x", "0.5", "ü☃", "\\\\", "\\\"", "\\n", "}", "{", " # ", ",", "=", "a b"];
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "17",
    "0.5",
    ".5",
    "5.",
    "1e3",
    "1E+06",
    "007",
    "+1",
    "1e-400",
    "123456789.125",
    "9007199254740993",
    "4.9e-324",
];
const ANY_NUMBERS: [&str; 7] = ["-1", "-0", "NaN", "+Inf", "-Inf", "inf", "-1e-3"];
const COUNTS: [u64; 5] = [0, 1, 3, 1000, 1 << 40];

/// One family after another; their names cannot clash.
pub(super) fn exposition(random: &mut Random, format: Format) -> String {
    let mut out = String::new();
    for number in 0..random.below(4) {
        Writer { random, format, out: &mut out }.family(number);
    }
    if format == Format::OpenMetrics {
        out += "# EOF\n";
    }
    out
}

struct Writer<'a> {
    random: &'a mut Random,
    format: Format,
    out: &'a mut String,
}

impl Writer<'_> {
    fn family(&mut self, number: usize) {
        let openmetrics = self.format == Format::OpenMetrics;
        let kinds: &[&str] = match self.format {
            Format::Text => &["counter", "gauge", "histogram", "summary", "untyped", ""],
            Format::OpenMetrics => &[
                "counter",
                "gauge",
                "histogram",
                "summary",
                "unknown",
                "",
                "gaugehistogram",
                "info",
                "stateset",
            ],
        };
        let kind = self.random.pick(kinds);
        let quoted = self.random.one_in(5);
        let unit = openmetrics && self.random.one_in(3) && !matches!(kind, "info" | "stateset");
        let base = self.random.pick(&["a", "http_requests", "x:y"]);
        let base = if quoted { format!("{base}.é{number}") } else { format!("{base}{number}") };
        let name = if unit { format!("{base}_seconds") } else { base };
        let shown = if quoted { format!("\"{name}\"") } else { name.clone() };
        let counter = !openmetrics && kind == "counter";
        let typed = if counter { shown.replace(&name, &format!("{name}_total")) } else { shown };
        let mut metadata = Vec::new();
        if !kind.is_empty() {
            metadata.push(format!("# TYPE {typed} {kind}\n"));
        }
        if self.random.one_in(2) {
            let help = self.random.pick(&["Text.", "a \\\\ b\\n", "é # {} =", "x"]);
            metadata.push(format!("# HELP {typed} {help}\n"));
        }
        // Without a type, the samples of some families would be families of their own.
        if unit && !kind.is_empty() {
            metadata.push(format!("# UNIT {typed} seconds\n"));
        }
        if self.random.one_in(2) {
            metadata.reverse();
        }
        self.out.extend(metadata);
        for series in 0..1 + self.random.below(3) {
            let labels = self.labels(series);
            self.series(kind, &name, quoted, &labels);
        }
    }

    /// Different for each series of a family.
    fn labels(&mut self, series: usize) -> Vec<String> {
        let mut labels = vec![format!("series=\"{series}\"")];
        if self.random.one_in(2) {
            labels.insert(0, format!("l=\"{}\"", self.random.pick(&VALUES)));
        }
        if self.random.one_in(4) {
            labels.push(format!("\"m.é\"=\"{}\"", self.random.pick(&VALUES)));
        }
        labels
    }

    fn series(&mut self, kind: &str, name: &str, quoted: bool, labels: &[String]) {
        let line = |suffix: &str, extra: Option<String>, rest: String| {
            let mut items: Vec<_> = labels.iter().cloned().chain(extra).collect();
            let mut name = format!("{name}{suffix}");
            if quoted {
                items.insert(0, format!("\"{name}\""));
                name.clear();
            }
            format!("{name}{{{}}} {rest}\n", items.join(","))
        };
        let openmetrics = self.format == Format::OpenMetrics;
        match kind {
            "counter" => {
                let rest = self.number(false) + &self.exemplar();
                self.out.push_str(&line("_total", None, rest));
                if openmetrics && self.random.one_in(3) {
                    self.out.push_str(&line("_created", None, "1700000000.125".to_owned()));
                }
            }
            "info" => self.out.push_str(&line("_info", None, "1".to_owned())),
            "stateset" => {
                for state in ["on", "off"] {
                    let plain = !quoted && !name.contains(':');
                    let label = if plain { name.to_owned() } else { format!("\"{name}\"") };
                    let value = self.random.pick(&["0", "1", "1.0"]).to_owned();
                    self.out.push_str(&line("", Some(format!("{label}=\"{state}\"")), value));
                }
            }
            "histogram" | "gaugehistogram" => self.histogram(kind, &line),
            "summary" => {
                for quantile in ["0.5", "0.99"].into_iter().take(self.random.below(3)) {
                    let value = self.number(false);
                    let quantile = Some(format!("quantile=\"{quantile}\""));
                    self.out.push_str(&line("", quantile, value));
                }
                let sum = self.number(false);
                self.out.push_str(&line("_sum", None, sum));
                let count = self.random.pick(&COUNTS).to_string();
                self.out.push_str(&line("_count", None, count));
            }
            _ => {
                let value = self.number(true);
                self.out.push_str(&line("", None, value));
            }
        }
    }

    fn histogram(&mut self, kind: &str, line: &dyn Fn(&str, Option<String>, String) -> String) {
        let (sum, count) = match kind {
            "gaugehistogram" => ("_gsum", "_gcount"),
            _ => ("_sum", "_count"),
        };
        let mut cumulative = 0;
        let bounds = ["0.5", "1.0", "1e+06", "+Inf"];
        for bound in &bounds[self.random.below(bounds.len())..] {
            cumulative += self.random.pick(&COUNTS);
            let exemplar = self.exemplar();
            let le = Some(format!("le=\"{bound}\""));
            self.out.push_str(&line("_bucket", le, format!("{cumulative}{exemplar}")));
        }
        let value = self.number(false);
        self.out.push_str(&line(sum, None, value));
        self.out.push_str(&line(count, None, cumulative.to_string()));
    }

    fn number(&mut self, any: bool) -> String {
        let number = if any && self.random.one_in(2) {
            self.random.pick(&ANY_NUMBERS)
        } else {
            self.random.pick(&NUMBERS)
        };
        number.to_owned()
    }

    fn exemplar(&mut self) -> String {
        if self.format == Format::Text || !self.random.one_in(3) {
            return String::new();
        }
        let labels = self.random.pick(&["", "id=\"x\"", "id=\"ü # \",b=\"}\""]);
        let value = self.random.pick(&NUMBERS);
        let time = self.random.pick(&["", " 1700000000", " 1700000000.125", " 1.50049"]);
        format!(" # {{{labels}}} {value}{time}")
    }
}

// === the vandal ===

const CHARACTERS: [char; 26] = [
    ' ', '\t', '\n', '\r', '{', '}', ',', '=', '"', '\\', '#', '_', '0', '1', 'a', 'e', '-', '+',
    '.', ':', 'N', 'ü', '\u{85}', '\u{a0}', '\0', 'I',
];
const LINES: [&str; 27] = [
    "\n",
    "# comment\n",
    "# EOF\n",
    "# TYPE a0 counter\n",
    "# HELP a0 Text.\n",
    "# UNIT a0 \n",
    "# TYPE a1 histogram\n",
    "# HELP a1\n",
    "a0 1\n",
    "a0_total 2\n",
    "a1_bucket{le=\"+Inf\"} 1\n",
    "a1_count 1\n",
    "a1_sum -1\n",
    "a1{quantile=\"0.5\"} NaN\n",
    "a0 1 1\n",
    "{\"a0\"} 1\n",
    "a0{__x=\"1\"} 1\n",
    "a0{x=\"\"} 1\n",
    "a0{x=\"1\",} 1\n",
    "a0 1 # {x=\"1\"} 1\n",
    "a0-1\n",
    "a0{x:y=\"1\"} 1\n",
    "# TYPE a0\n",
    "#x HELP a0 Text.\n",
    "a0{x\u{85}=\"1\"} 1\n",
    "# TYPE a1 stateset\n",
    "a1_bucket{le=\"x\"} 1\n",
];

/// The text with one to three changes.
pub(super) fn mutated(random: &mut Random, valid: &str) -> String {
    let mut text = valid.to_owned();
    for _ in 0..1 + random.below(3) {
        text =
            if random.one_in(2) { other_lines(random, &text) } else { other_text(random, &text) };
    }
    text
}

fn other_lines(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = random.below(lines.len() + 1);
    match random.below(4) {
        0 if at < lines.len() => drop(lines.remove(at)),
        1 if at < lines.len() => lines.insert(random.below(lines.len()), lines[at]),
        2 if at + 1 < lines.len() => lines.swap(at, at + 1),
        _ => lines.insert(at, random.pick(&LINES)),
    }
    lines.concat()
}

fn other_text(random: &mut Random, text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let at = random.below(characters.len() + 1);
    match random.below(3) {
        0 if at < characters.len() => drop(characters.remove(at)),
        1 if at < characters.len() => characters[at] = random.pick(&CHARACTERS),
        _ => characters.insert(at, random.pick(&CHARACTERS)),
    }
    characters.into_iter().collect()
}
