//! Work to be measured by `valgrind --tool=callgrind`, which `benches/count` runs. Instruction counts
//! do not depend on the load of the machine.
//!
//!   instructions push|push200|protobuf|gunzip|scrape STORED_SERIES TIMES

mod common;

use common::Work;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut next = || arguments.next().unwrap_or_default();
    let (work, stored, times) = (next(), next().parse().unwrap_or(0), next().parse().unwrap_or(0));
    if let Some(work) = Work::from_word(&work) {
        common::work(work, stored, times);
    }
}
