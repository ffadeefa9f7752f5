//! Work to be counted by `valgrind --tool=callgrind`; run by `benches/count`. Instruction counts do
//! not depend on the load of the machine.
//!
//!   instructions STORED_SERIES push|push200|scrape TIMES

mod common;

use common::{MEDIUM, SMALL, fill, gateway, grouping, push, scrape};
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut next = || arguments.next().unwrap_or_default();
    let (stored, what, times) = (next().parse().unwrap_or(0), next(), next().parse().unwrap_or(0));
    let (gateway, grouping) = (gateway(), grouping());
    for body in [SMALL, MEDIUM] {
        push(&gateway, &grouping, PushFormat::Text, body);
    }
    fill(&gateway, stored);
    for _ in 0..times {
        match &*what {
            "push" => push(&gateway, &grouping, PushFormat::Text, SMALL),
            "push200" => push(&gateway, &grouping, PushFormat::Text, MEDIUM),
            _ => _ = scrape(&gateway, Format::Text004, Compression::Identity),
        }
    }
}
