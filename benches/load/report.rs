//! The results, as the tables of docs/performance.md and a plot.

use std::fmt::Write as _;
use std::fs;
use std::io;

use crate::target::Kind;

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) pushes: Vec<PushRow>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) scrapes: Vec<ScrapeRow>,
    /// CPU seconds.
    pub(crate) pushgateway_scrapes: Vec<(&'static str, f64)>,
    /// Bytes of resident memory for each line.
    pub(crate) memory: Vec<(String, f64)>,
    pub(crate) felt: Vec<Felt>,
}

/// p99 of pushes without scrapes and with them, in milliseconds.
#[derive(Debug)]
pub(crate) struct Felt {
    pub(crate) server: Kind,
    pub(crate) gzip: bool,
    pub(crate) without: f64,
    pub(crate) with: f64,
}

#[derive(Debug)]
pub(crate) struct PushRow {
    pub(crate) name: &'static str,
    pub(crate) goal: f64,
    pub(crate) gravel: Option<f64>,
    /// The null server is the first.
    pub(crate) servers: Vec<Server>,
}

/// The result of one server in one row.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) cpu_us: f64,
    pub(crate) ratio: f64,
    pub(crate) per_second: f64,
    /// How much of the time the client was busy, in percent.
    pub(crate) client_busy: f64,
    /// p50, p99, p999
    pub(crate) latency_ms: [f64; 3],
    pub(crate) resident: u64,
}

#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) kind: Kind,
    /// (stored lines, microseconds of CPU per push)
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Growth {
    /// The exponent of the cost as a function of stored lines: a least-squares fit of the logarithms.
    fn exponent(&self) -> f64 {
        let points: Vec<_> = self.points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let n = points.len() as f64;
        let (mx, my) = (
            points.iter().map(|p| p.0).sum::<f64>() / n,
            points.iter().map(|p| p.1).sum::<f64>() / n,
        );
        let covariance: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
        covariance / points.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
    }
}

#[derive(Debug, Default)]
pub(crate) struct ScrapeRow {
    pub(crate) name: &'static str,
    pub(crate) goal: f64,
    pub(crate) bytes: usize,
    pub(crate) cpu_ms: f64,
    /// For the null server that sends the whole body at once.
    pub(crate) null_ms: f64,
    pub(crate) ratio: f64,
    /// The ratio to the null server that sends in pieces.
    pub(crate) in_pieces: f64,
    pub(crate) resident: u64,
}

/// Reports progress.
#[expect(clippy::print_stderr, reason = "a tool that takes minutes says what it does")]
pub(crate) fn note(text: &str) {
    eprintln!("load: {text}");
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}\n", machine());
        self.push_table(&mut out);
        self.growth_table(&mut out);
        self.scrape_table(&mut out);
        self.felt_table(&mut out);
        self.memory_table(&mut out);
        out
    }

    fn push_table(&self, out: &mut String) {
        if self.pushes.is_empty() {
            return;
        }
        *out += "| pushes | server | CPU per push | ratio to null | to reach | CPU s per million | \
                 pushes/s | p50 / p99 / p999 | RSS |\n|---|---|---|---|---|---|---|---|---|\n";
        for row in &self.pushes {
            let mut name = row.name;
            for server in &row.servers {
                let goal = match server.kind {
                    Kind::Gateway if row.name.contains("synced") => String::new(),
                    Kind::Gateway | Kind::Synced => format!("≤ {:.2}", row.goal),
                    _ => String::new(),
                };
                let [p50, p99, p999] = server.latency_ms;
                let _ = writeln!(
                    out,
                    "| {name} | {} | {:.1} µs | {} | {goal} | {:.1} | {:.0} | {p50:.2} / {p99:.2} / {p999:.2} ms | {:.0} MB |",
                    server.kind.word(),
                    server.cpu_us,
                    ratio(server.ratio),
                    server.cpu_us,
                    server.per_second,
                    server.resident as f64 / 1e6,
                );
                name = "";
            }
            if let Some(gravel) = row.gravel {
                let _ = writeln!(out, "| | gravel-gateway (as reported) | | {gravel} | | | | | |");
            }
        }
        *out += "\n";
        let servers = || self.pushes.iter().flat_map(|row| &row.servers);
        let busiest = servers().map(|server| server.client_busy).fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "The client, one thread, was busy for {busiest:.0} % of the time at the most.\n"
        );
        for row in &self.pushes {
            let of = |kind| row.servers.iter().find(|server| server.kind == kind);
            if let (Some(memory), Some(synced)) = (of(Kind::Gateway), of(Kind::Synced)) {
                let percent = synced.per_second / memory.per_second * 100.0;
                let _ = writeln!(
                    out,
                    "With every push on disk before it is answered, {percent:.0} % of the pushes a \
                     second of memory (to reach: 60 %).\n"
                );
            }
        }
    }

    fn growth_table(&self, out: &mut String) {
        if self.growth.is_empty() {
            return;
        }
        *out += "| a new label set per push | up to lines | exponent of cost | CPU per push, first and last | \
                 longest p999 | longest pause |\n|---|---|---|---|---|---|\n";
        for growth in &self.growth {
            let (Some(first), Some(last)) = (growth.points.first(), growth.points.last()) else {
                continue;
            };
            let _ = writeln!(
                out,
                "| {} | {:.0} | {:.3} | {:.0} µs, {:.0} µs | {:.1} ms | {:.1} ms |",
                growth.kind.word(),
                last.0,
                growth.exponent(),
                first.1,
                last.1,
                growth.p999_ms,
                growth.max_ms,
            );
        }
        *out += "\n";
    }

    fn scrape_table(&self, out: &mut String) {
        if !self.scrapes.is_empty() {
            *out += "| scrape | bytes | CPU | CPU of null | ratio to null | to reach | to null in pieces \
                     | RSS |\n|---|---|---|---|---|---|---|---|\n";
        }
        for row in &self.scrapes {
            let _ = writeln!(
                out,
                "| {} | {:.1} MB | {:.1} ms | {:.2} ms | {} | ≤ {} | {:.2} | {:.0} MB |",
                row.name,
                row.bytes as f64 / 1e6,
                row.cpu_ms,
                row.null_ms,
                ratio(row.ratio),
                row.goal,
                row.in_pieces,
                row.resident as f64 / 1e6,
            );
        }
        for (name, seconds) in &self.pushgateway_scrapes {
            let _ = writeln!(
                out,
                "| Pushgateway, all lines, {name} | | {:.0} ms | | | | | |",
                seconds * 1e3
            );
        }
        *out += "\n";
    }

    fn felt_table(&self, out: &mut String) {
        if self.felt.is_empty() {
            return;
        }
        *out += "| p99 of 1,000 pushes a second | without scrapes | while everything is scraped \
                 without a break | ratio | to reach |\n|---|---|---|---|---|\n";
        for Felt { server, gzip, without, with } in &self.felt {
            let how = if *gzip { "gzip" } else { "plain" };
            let goal = if *server == Kind::Null { "" } else { "≤ 1.5" };
            let _ = writeln!(
                out,
                "| {}, {how} | {without:.2} ms | {with:.2} ms | {} | {goal} |",
                server.word(),
                ratio(with / without),
            );
        }
        *out += "\n";
    }

    fn memory_table(&self, out: &mut String) {
        for (name, bytes) in &self.memory {
            let _ = writeln!(out, "- Memory of {name}: {bytes:.0} bytes per line (growth of RSS).");
        }
    }

    /// A plot of the cost of a push against stored lines; both axes are logarithmic.
    pub(crate) fn plot(&self) -> String {
        let (width, height) = (760.0, 420.0);
        let (left, top, right, bottom) = (70.0, 30.0, 190.0, 50.0);
        let (x_range, y_range) = ((3.0, 6.0), (1.0, 5.0));
        let x = |v: f64| {
            left + (v.log10() - x_range.0) / (x_range.1 - x_range.0) * (width - left - right)
        };
        let y = |v: f64| {
            height
                - bottom
                - (v.log10() - y_range.0) / (y_range.1 - y_range.0) * (height - top - bottom)
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let text = |out: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
            let _ = writeln!(
                out,
                "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{text}</text>"
            );
        };
        for power in 3..=6 {
            let at = x(10f64.powi(power));
            let _ =
                writeln!(out, "<path d=\"M{at:.0} {top}V{}\" stroke=\"#ddd\"/>", height - bottom);
            let label = ["1,000", "10,000", "100,000", "1,000,000"][power as usize - 3];
            text(&mut out, at, height - bottom + 18.0, "middle", label);
        }
        for power in 1..=5 {
            let at = y(10f64.powi(power));
            let _ =
                writeln!(out, "<path d=\"M{left} {at:.0}H{}\" stroke=\"#ddd\"/>", width - right);
            let label = ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"][power as usize - 1];
            text(&mut out, left - 6.0, at + 4.0, "end", label);
        }
        text(&mut out, left, 18.0, "start", "CPU of a push with a new label set (13 samples)");
        text(&mut out, (left + width - right) / 2.0, height - 10.0, "middle", "lines stored");
        for growth in &self.growth {
            let colour = match growth.kind {
                Kind::Null => "#888",
                Kind::PushgatewayChecked => "#c33",
                Kind::PushgatewayUnchecked => "#e90",
                _ => "#07c",
            };
            // Points beyond the axes would be drawn over the labels.
            let shown = |&&(stored, cost): &&(f64, f64)| stored >= 1e3 && cost >= 10.0;
            let points = growth.points.iter().filter(shown);
            let points: String =
                points.map(|(s, c)| format!("{:.1},{:.1} ", x(*s), y(*c))).collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
            if let Some((stored, cost)) = growth.points.last() {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                    x(*stored),
                    y(*cost)
                );
                text(&mut out, x(*stored) + 8.0, y(*cost) + 4.0, "start", growth.kind.word());
            }
        }
        out += "</svg>\n";
        out
    }

    /// Puts the tables between the marks of the document, and the plot beside it.
    pub(crate) fn write(&self, document: &str) -> io::Result<()> {
        let plot = document.replace(".md", ".svg");
        let name = plot.rsplit('/').next().unwrap_or_default();
        let mut tables = self.markdown();
        if !self.growth.is_empty() {
            let _ = writeln!(tables, "\n![CPU of a push against the lines stored]({name})");
            fs::write(&plot, self.plot())?;
        }
        put(document, &tables)
    }
}

/// Puts tables between the marks of the document.
///
/// # Errors
/// If it has no marks, or cannot be read or written.
pub(crate) fn put(document: &str, tables: &str) -> io::Result<()> {
    const MARKS: [&str; 2] = ["<!-- measured by benches/load/run -->\n", "<!-- until here -->\n"];
    let text = fs::read_to_string(document)?;
    let parts = text
        .split_once(MARKS[0])
        .and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = parts.ok_or_else(|| io::Error::other("the document has no marks"))?;
    fs::write(document, format!("{before}{}\n{tables}\n{}{after}", MARKS[0], MARKS[1]))
}

fn ratio(ratio: f64) -> String {
    if ratio < 10.0 { format!("**{ratio:.2}**") } else { format!("**{ratio:.0}**") }
}

/// The machine of the measurement.
pub(crate) fn machine() -> String {
    let first = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "Machine: {}, {cores} cores, {} of memory, Linux {}; load average at the end {}. Servers and \
         load generator share the cores, so only ratios say something.",
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}
