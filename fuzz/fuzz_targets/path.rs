#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::http::grouping;
use tallygate::model::{Grouping, labels};

fuzz_target!(|path: &str| {
    // The labels can be read back from the key.
    if let Ok(grouping) = grouping::parse(path) {
        let again = Grouping::new(labels::pairs(grouping.key())).expect("a key is a label set");
        assert_eq!(again.key(), grouping.key());
    }
});
