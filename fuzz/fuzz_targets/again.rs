#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Gateway, Settings};
use tallygate::rules::{RawRule, Rules};
use tallygate::telemetry::Telemetry;
use tallygate_fuzz::{push, scrape};

// A gateway that remembers bodies and one that parses each of them have the same result, even for a
// body that differs from an earlier one in a few bytes.
fuzz_target!(|input: &[u8]| {
    let [how, count, rest @ ..] = input else { return };
    let format = if how % 2 == 0 { PushFormat::Text } else { PushFormat::Protobuf };
    let Some((edits, body)) = rest.split_at_checked(usize::from(count % 8) * 3) else { return };
    let mut edited = body.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (edited.len() + 1);
        match edit[2] {
            0 if at < edited.len() => _ = edited.remove(at),
            byte if at < edited.len() && how & 2 == 0 => edited[at] = byte,
            byte => edited.insert(at, byte),
        }
    }
    let (remembers, reads) = (gateway(false), gateway(true));
    for body in [body, body, body, &edited, body, &edited] {
        assert_eq!(push(&remembers, format, body), push(&reads, format, body));
    }
    let shown = [remembers, reads].map(|gateway| scrape(&gateway, Format::Text100));
    assert_eq!(shown[0], shown[1]);
});

/// With a rule, even one that decides nothing here, every body is parsed.
fn gateway(with_rule: bool) -> Gateway {
    let rule = RawRule { selector: "never".to_owned(), drop: Some(true), ..RawRule::default() };
    let rules = Rules::compile(&[rule][..usize::from(with_rule)]).expect("a rule");
    Gateway::new(Settings { rules, ..Settings::default() }, Arc::new(Telemetry::new(0)))
}
