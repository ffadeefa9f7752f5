//! Sequences of pushes, deletions, expiry and scrapes on one gateway. The input is lines: the first
//! byte says what to do, the rest is its body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::model::{GaugeRule, Grouping, Ttl};

fuzz_target!(|input: &str| {
    let gateway = tallygate_fuzz::gateway();
    for step in input.split('\u{1e}').take(64) {
        let Some(what) = step.chars().next() else { continue };
        let body = &step[what.len_utf8()..];
        let job: String = body.chars().take(1).collect();
        let grouping = Grouping::new([("job", job)]);
        let before = tallygate_fuzz::scrape(&gateway, Format::Text100);
        match what {
            'd' => _ = gateway.delete_group(body, false),
            'e' => {
                gateway.clock().advance(1500);
                gateway.expire();
            }
            'w' => _ = gateway.wipe(),
            _ => {
                let Ok(grouping) = grouping else { continue };
                let merge = ['l', 's', 'i', 'x', 'm'].iter().position(|&c| c == what);
                let request = tallygate::gateway::PushRequest {
                    merge: merge.map(|at| GaugeRule::ALL[at]),
                    ttl: (what == 't').then_some(Ttl::After(std::time::Duration::from_secs(1))),
                    ..tallygate::gateway::PushRequest::new(
                        &grouping,
                        PushFormat::Text,
                        body.as_bytes(),
                    )
                };
                if gateway.push(&request).is_err() {
                    let after = tallygate_fuzz::scrape(&gateway, Format::Text100);
                    assert_eq!(after, before, "a refused push has changed something");
                }
            }
        }
        let shown =
            gateway.store().families().iter().map(|family| family.series().len()).sum::<usize>();
        assert_eq!(shown, gateway.store().series_count());
    }
});
