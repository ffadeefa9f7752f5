//! An exposition that is pushed to an empty gateway results in the same expositions in all formats, as
//! far as its own format can express everything (merge-semantics 7, property 19).

mod generated;

use crate::harness::{Gateway, Message, flag, message, value};
use crate::oracles::reader::{Oracle, dump};
use crate::oracles::{OPENMETRICS, PROTOBUF, TEXT, native, push_as, scrape};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

use Format::{OpenMetrics, Protobuf, Text};

const EVERY: [Format; 3] = [Text, OpenMetrics, Protobuf];

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Text => TEXT,
            OpenMetrics => OPENMETRICS,
            Protobuf => PROTOBUF,
        }
    }

    /// The whole exposition in this format.
    fn scrape(self, gateway: &Gateway) -> Vec<u8> {
        scrape(gateway, &format!("{};escaping=allow-utf-8", self.content_type()))
    }
}

/// Two gateways without metrics of their own in their scrapes, and a reader for expositions whose start
/// times differ.
struct Pair {
    first: Gateway,
    second: Gateway,
    protobuf: Oracle,
}

impl Pair {
    fn start() -> Pair {
        let gateway = || {
            flag("--web.management-address=127.0.0.1:0").flag("--web.enable-admin-api=true").run()
        };
        let (mut first, mut second) = (gateway(), gateway());
        // Some names are equal once they are escaped, as in scrapes without quoted names.
        first.expect_log("left out");
        second.expect_log("left out");
        Pair { first, second, protobuf: Oracle::protobuf() }
    }

    fn wipe(&self) {
        for gateway in [&self.first, &self.second] {
            let response = gateway.request("PUT", "/api/v1/admin/wipe").send();
            assert_eq!(response.status, 202, "{}", response.text());
        }
    }

    /// All expositions of a gateway.
    fn shown(&mut self, second: bool) -> String {
        let gateway = if second { &self.second } else { &self.first };
        let text = |format: Format| String::from_utf8(format.scrape(gateway)).expect("UTF-8");
        let protobuf = dump(&self.protobuf.read(&Protobuf.scrape(gateway)));
        format!("{}\n{}\n{protobuf}", text(Text), text(OpenMetrics))
    }

    /// What the first gateway shows, and what the second shows after a push of the first's exposition.
    fn travel(&mut self, by: Format) -> (String, String) {
        let body = by.scrape(&self.first);
        push_as(&self.second, by.content_type(), body);
        (self.shown(false), self.shown(true))
    }
}

/// (what it is, its format, the body, the formats that can express it)
type Row = (&'static str, Format, Vec<u8>, &'static [Format]);

fn text_row(what: &'static str, format: Format, body: &str, carried_by: &'static [Format]) -> Row {
    (what, format, body.as_bytes().to_vec(), carried_by)
}

fn protobuf_row(what: &'static str, kind: u64, field: u32, value: Message) -> Row {
    let family = Message::family("x_total", kind).metric(&[("a", "1")], (field, value));
    (what, Protobuf, family.delimited(), &[Protobuf])
}

/// The table of what each format can express.
fn rows() -> Vec<Row> {
    let native_exemplar = message()
        .message(1, message().text(1, "id").text(2, "1"))
        .double(2, 1.0)
        .message(3, message().int(1, 1_700_000_000));
    let classic = message().int(1, 2).double(2, 1.0);
    let float = message().double(4, 1.5).double(2, 1.0).sint(5, 2).double(6, 0.5);
    let float = float.double(8, 1.0).message(12, message().sint(1, 1).int(2, 1)).double(14, 0.5);
    vec![
        text_row(
            "counter",
            Text,
            "# HELP c_total \"b\" \\\\\n# TYPE c_total counter\nc_total{a=\"\\n\"} 0.1\n",
            &EVERY,
        ),
        text_row(
            "gauge",
            Text,
            "# TYPE g gauge\ng{a=\"1\"} NaN\ng{a=\"2\"} -Inf\ng 5e-324\n",
            &EVERY,
        ),
        text_row("untyped", Text, "u 1e21\n", &EVERY),
        text_row("summary", Text, "# TYPE s summary\ns_sum 0.1\ns_count 3\n", &EVERY),
        text_row(
            "summary without sum (in protobuf none is 0)",
            Text,
            "# TYPE s summary\ns_count 3\n",
            &[Text, OpenMetrics],
        ),
        text_row(
            "classic histogram",
            Text,
            "# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1e+06\"} 2\nh_sum 3\n\
             h_bucket{le=\"+Inf\"} 1e6\nh_count 1e6\n",
            &EVERY,
        ),
        text_row(
            "names in quotes",
            Text,
            "# TYPE \"c.ü_total\" counter\n{\"c.ü_total\",\"l\\\"\"=\"1\"} 1\n\
             # TYPE \"h.\" histogram\n{\"h._bucket\",\"x y\"=\"1\",le=\"+Inf\"} 2\n\
             {\"h._sum\",\"x y\"=\"1\"} 3\n{\"h._count\",\"x y\"=\"1\"} 2\n",
            &EVERY,
        ),
        text_row(
            "unit",
            OpenMetrics,
            "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1\n# EOF\n",
            &[OpenMetrics, Protobuf],
        ),
        text_row(
            "exemplars",
            OpenMetrics,
            "# TYPE c counter\nc_total 1 # {id=\"\\\\\"} 0.5 1700000000.123\n\
             # TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {} 0.5\nh_bucket{le=\"+Inf\"} 1\n\
             h_sum 1\nh_count 1\n# EOF\n",
            &[OpenMetrics, Protobuf],
        ),
        text_row(
            "counts above 2^53",
            OpenMetrics,
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 9007199254740993\nh_sum 1\n\
             h_count 9007199254740993\n# EOF\n",
            &[OpenMetrics, Protobuf],
        ),
        text_row(
            "gauge histogram",
            OpenMetrics,
            "# TYPE gh gaugehistogram\ngh_bucket{le=\"-1.0\"} 1\ngh_bucket{le=\"+Inf\"} 2\n\
             gh_gcount 2\ngh_gsum -3\n# EOF\n",
            &[OpenMetrics, Protobuf],
        ),
        text_row("info", OpenMetrics, "# TYPE i info\ni_info{a=\"1\"} 1\n# EOF\n", &[OpenMetrics]),
        text_row(
            "stateset",
            OpenMetrics,
            "# TYPE st stateset\nst{st=\"a\"} 1\nst{st=\"b\"} 0\n# EOF\n",
            &[OpenMetrics],
        ),
        text_row("counter without _total", Text, "# TYPE c counter\nc 1\n", &[Text, Protobuf]),
        text_row(
            "counter beside a gauge of its name",
            Text,
            "# TYPE a_total counter\na_total 1\n# TYPE a gauge\na 2\n",
            &[Text, Protobuf],
        ),
        text_row(
            "float histogram",
            Text,
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1.5\nh_sum 3\nh_count 1.5\n",
            &[Text, Protobuf],
        ),
        text_row(
            "histogram without sum (in protobuf none is 0)",
            Text,
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n",
            &[Text],
        ),
        text_row(
            "histogram with negative bounds",
            Text,
            "# TYPE h histogram\nh_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
            &[Text, Protobuf],
        ),
        protobuf_row("minus zero", 1, 2, message().double(1, -0.0)),
        protobuf_row(
            "native histogram",
            4,
            7,
            native(3, (0.001, 1), -1, &[1, 0, 3]).message(16, native_exemplar),
        ),
        protobuf_row("native gauge histogram", 5, 7, native(0, (0.0, 0), 1, &[1])),
        protobuf_row("native float histogram", 4, 7, float),
        protobuf_row(
            "classic and native buckets",
            4,
            7,
            native(0, (0.5, 1), 1, &[3]).message(3, classic),
        ),
        protobuf_row(
            "native histogram without observations",
            4,
            7,
            message().int(1, 0).double(2, 0.0).sint(5, 1).message(12, message()),
        ),
        {
            let unit = message().text(1, "ratio").text(5, "percent").int(3, 1);
            let family = unit.metric(&[], value::gauge(1.0));
            ("unit that the name does not end with", Protobuf, family.delimited(), &[Protobuf])
        },
    ]
}

#[test]
fn every_format_carries_what_it_can() {
    let mut pair = Pair::start();
    let mut wrong = Vec::new();
    for (what, format, body, carried_by) in rows() {
        for by in EVERY {
            pair.wipe();
            push_as(&pair.first, format.content_type(), &body);
            let (before, after) = pair.travel(by);
            match (carried_by.contains(&by), before == after) {
                (true, false) => {
                    wrong.push(format!("{what}: {by:?} does not carry it\n{before}became\n{after}"))
                }
                (false, true) => wrong.push(format!("{what}: {by:?} carries it, too")),
                (_, _) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
