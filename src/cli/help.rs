//! `--help`: a page to learn from, made from the comments of the default file.

use std::fmt::Write as _;

use super::COMMANDS;
use crate::config::{DescribedKey, DescribedSection, KeyKind, describe};

const WIDTH: usize = 80;
const INDENT: usize = 6;

const ABOUT: &str = "\
Jobs and functions that end before Prometheus can scrape them push their counts
here. Tallygate adds them all up, exactly, and Prometheus scrapes the totals.";

const EXAMPLES: &str = "  tallygate
      Listens on port 9091.

  echo 'mails_sent_total 3' |
    curl --data-binary @- http://localhost:9091/metrics/job/newsletter
      Adds 3 to mails_sent_total{job=\"newsletter\"}. Pushing it again adds 3
      again, so push only what was counted since the last push.

  curl http://localhost:9091/metrics
      Shows what Prometheus scrapes. In Prometheus, set honor_labels: true for
      this job, so that pushed labels such as job are kept.

  tallygate --web.listen-address=127.0.0.1:9091 --ttl.default=36h
      Listens on one address only, and forgets series that nobody has pushed for
      36 hours.

  tallygate check-config tallygate.yaml
      Checks a configuration file before it is used.";

const LAYERS: &str = "\
Settings come from the defaults, the file given by --config.file (YAML),
environment variables and flags; later ones win. The flag --web.listen-address
is the key listen_address in the section web of the file, and the variable
TALLYGATE__WEB__LISTEN_ADDRESS. All other flags work the same way. Switches can
be negated: --no-web.enable-lifecycle is --web.enable-lifecycle=false. tallygate
print-config shows the result in the form of such a file.

SIGHUP (or PUT /-/reload) loads the file again. The log and the answer list the
changes that need a restart.";

const STATUS: &str = "  0   success; for serve: it was asked to stop
  1   failure, such as a port that is in use or a gateway that is not healthy
  64  wrong usage or configuration; nothing was started";

const MORE: &str = "\
README.md in the source explains how to push from each client and platform, what
a sum means for each type of metric, and the HTTP API.";

/// For `-h`: a line or two per flag.
pub fn short_help() -> String {
    let mut page = Page::new();
    page.head();
    page.flags(false);
    page.out.push_str("\ntallygate --help says more, with examples.\n");
    page.out
}

/// For `--help`: all there is to say.
pub fn long_help() -> String {
    let mut page = Page::new();
    page.head();
    page.chapter("Examples", EXAMPLES);
    page.chapter("Configuration", LAYERS);
    page.flags(true);
    page.chapter("Exit status", STATUS);
    page.chapter("More", MORE);
    page.out
}

struct Page {
    out: String,
}

impl Page {
    fn new() -> Page {
        Page { out: String::new() }
    }

    fn head(&mut self) {
        self.out = format!(
            "tallygate {}: an aggregating push gateway for Prometheus\n\n{ABOUT}\n\n\
             Usage: tallygate [COMMAND] [FLAGS]\n\nCommands:\n",
            env!("CARGO_PKG_VERSION"),
        );
        for (usage, text) in COMMANDS {
            self.entry(usage, text);
        }
    }

    fn chapter(&mut self, title: &str, text: &str) {
        let _infallible = writeln!(self.out, "\n{title}:\n{text}");
    }

    /// A term, and its meaning below it.
    fn entry(&mut self, term: &str, text: &str) {
        let _infallible = writeln!(self.out, "  {term}");
        wrap(&mut self.out, text, INDENT);
    }

    fn flags(&mut self, all: bool) {
        self.out.push_str("\nFlags:\n");
        self.entry("-h, --help", "Print help: -h in short, --help all of it.");
        self.entry("-V, --version", "Print the version.");
        self.entry(
            "--config.file=FILE",
            "Read this file. The variable TALLYGATE__CONFIG__FILE does the same.",
        );
        for described in describe().unwrap_or_default() {
            self.section(&described, all);
        }
    }

    fn section(&mut self, described: &DescribedSection, all: bool) {
        let section = described.section;
        if !section.name.is_empty() {
            let _infallible = writeln!(self.out, "\nFlags of the section {}:", section.name);
            if all {
                wrap(&mut self.out, &section.doc.first_paragraph(), 0);
            }
        }
        for key in &described.keys {
            if key.key.kind == KeyKind::Rules {
                self.rules(key, all);
                continue;
            }
            let doc = &key.key.doc;
            let text = if all { doc.first_paragraph() } else { doc.first_sentence() };
            self.entry(&usage(key), &text);
        }
    }

    /// Rules have no flag, but people look for them here.
    fn rules(&mut self, key: &DescribedKey, all: bool) {
        let mut paragraphs = key.key.doc.paragraphs();
        self.out.push_str("\nRules, for the file only:\n");
        wrap(&mut self.out, paragraphs.next().unwrap_or_default(), 0);
        for example in paragraphs.filter(|_| all) {
            let _infallible = writeln!(self.out, "\n{example}");
        }
    }
}

/// `--web.workers=NUMBER  (0)`, with the default.
fn usage(described: &DescribedKey) -> String {
    let DescribedKey { key, placeholder, default, .. } = described;
    let flag = match key.kind {
        KeyKind::Switch => format!("--[no-]{}", key.flag().trim_start_matches('-')),
        _ => format!("{}={placeholder}", key.flag()),
    };
    if default.is_empty() { flag } else { format!("{flag}  ({default})") }
}

pub(super) fn wrap(out: &mut String, text: &str, indent: usize) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent + length;
        } else {
            out.push(' ');
            column += 1 + length;
        }
        out.push_str(word);
    }
    out.push('\n');
}
