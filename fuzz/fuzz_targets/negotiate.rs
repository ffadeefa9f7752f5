#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::format::negotiate;

fuzz_target!(|header: &str| {
    let (format, escaping) = negotiate::accept(Some(header));
    let _ = format.content_type(escaping);
    let _ = negotiate::push_format(Some(header));
    let _ = negotiate::accept_encoding(Some(header));
    let _ = negotiate::content_encoding(Some(header));
});
