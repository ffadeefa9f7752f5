#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::rules::Selector;

fuzz_target!(|text: &str| {
    if let Ok(selector) = Selector::parse(text) {
        selector.matches("up", r#"instance="x",job="y\"z""#);
    }
});
