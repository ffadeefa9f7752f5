#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::format::compress::{Coding, Compression, Levels, decode, encode};

fuzz_target!(|body: &[u8]| {
    const MAX: usize = 1 << 16;
    let mut out = Vec::new();
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Snappy, Coding::Deflate] {
        if decode(coding, body, MAX, &mut out).is_ok() {
            assert!(out.len() <= MAX);
        }
    }
    // What our deflater writes, another library can inflate.
    let packed = encode(Compression::Gzip, Levels::default(), body).expect("memory");
    decode(Coding::Gzip, &packed, body.len(), &mut out).expect("what we wrote");
    assert!(out == body);
});
