#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tallygate::auth::{
    Account, Identified, PasswordHash, PasswordMemory, Policy, Right, Rights, TokenHash,
};

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let hash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let account = Account {
        name: "alice".to_owned(),
        rights: Rights::all(),
        scope: None,
        password: Some(PasswordHash::parse(hash).expect("a hash")),
        tokens: vec![TokenHash::of(b"0123456789abcdef")],
    };
    Arc::new(
        Policy::new(vec![account], Rights::default(), PasswordMemory::default())
            .expect("one account"),
    )
});

fuzz_target!(|header: &[u8]| {
    // Only the one token and the one password let anybody in. Bcrypt is not run: it would take all the
    // time.
    if let Identified::Caller(caller) = POLICY.identify(Some(header), Right::Admin) {
        assert_eq!(caller.name.as_deref(), Some("alice"));
        assert!(header.trim_ascii_end().ends_with(b"0123456789abcdef"));
    }
});
