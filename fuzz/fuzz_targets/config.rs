#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::config::Config;

fuzz_target!(|text: &str| {
    // An accepted configuration can be printed and loaded again.
    if let Ok(config) = Config::from_yaml(text) {
        let printed = config.to_yaml();
        let again = Config::from_yaml(&printed).expect("what is printed loads");
        assert_eq!(again.rules, config.rules);
        assert_eq!(again.limits, config.limits);
    }
});
