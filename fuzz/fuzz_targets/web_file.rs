#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tallygate::auth::{PasswordMemory, Policy};
use tallygate::config::{UsersFile, WebFile};

fuzz_target!(|text: &str| {
    // An accepted file makes a policy, unless two users cannot be told apart.
    let mut accounts = Vec::new();
    if let Ok(file) = WebFile::parse(text, Path::new("/etc")) {
        assert!(file.tls.is_none_or(|tls| tls.min_version <= tls.max_version));
        accounts.extend(file.users);
    }
    let token = |_: &Path| Ok("0123456789abcdef".to_owned());
    if let Ok(file) = UsersFile::parse(text, Path::new("/etc"), &token) {
        accounts.extend(file.accounts);
        let _ = Policy::new(accounts, file.anonymous, PasswordMemory::default());
    }
});
