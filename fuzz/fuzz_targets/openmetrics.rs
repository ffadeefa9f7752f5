#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::format::negotiate::PushFormat;

fuzz_target!(|body: &[u8]| tallygate_fuzz::check_body(PushFormat::OpenMetrics, body));
