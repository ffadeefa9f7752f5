//! Persistence files of a Pushgateway: reading any bytes ends, and without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::groups::Groups;
use tallygate::import::import;
use tallygate::model::exposition::SeriesHasher;

fuzz_target!(|file: &[u8]| {
    let groups = Groups::new(SeriesHasher::default(), [], false);
    if let Ok(imported) = import(file, &groups) {
        assert_eq!(groups.size().groups, imported.groups.min(groups.size().groups));
    }
});
