//! Answers of a running Pushgateway: reading any bytes ends, and without a panic. The input is a
//! listing in JSON, a line feed, and an exposition in protobuf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::groups::Groups;
use tallygate::import::{Listing, import_running};
use tallygate::model::exposition::SeriesHasher;

fuzz_target!(|answers: &[u8]| {
    let end = answers.iter().position(|byte| *byte == b'\n').unwrap_or(answers.len());
    let (listing, exposition) = answers.split_at(end);
    let Ok(listing) = Listing::read(listing) else { return };
    let groups = Groups::new(SeriesHasher::default(), [], false);
    match import_running(&listing, exposition.get(1..).unwrap_or_default(), &groups) {
        Ok(imported) => assert!(groups.size().groups <= imported.groups),
        Err(_) => assert_eq!(groups.size().groups, 0, "nothing is taken over"),
    }
});
