//! Which requests are allowed, and what it costs to find out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The hash of `secret`, at the lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

fn account(name: &str, rights: &[Right]) -> Account {
    Account {
        name: name.to_owned(),
        rights: rights.iter().copied().collect(),
        scope: None,
        password: Some(PasswordHash::parse(HASH).unwrap()),
        tokens: vec![TokenHash::of(format!("token of {name}").replace(' ', "-").as_bytes())],
    }
}

fn policy(anonymous: &[Right]) -> Arc<Policy> {
    let scope = LabelScope::new([("job".to_owned(), vec!["checkout".to_owned()])]);
    let accounts = vec![
        account("ada", &Right::ALL),
        Account { scope, ..account("pusher", &[Right::Push]) },
        account("scraper", &[Right::Scrape]),
        Account { password: None, ..account("tokens-only", &[Right::Push]) },
    ];
    let memory = PasswordMemory::default();
    Arc::new(Policy::new(accounts, anonymous.iter().copied().collect(), memory).unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn ask(policy: &Arc<Policy>, header: Option<&str>, right: Right) -> Result<Caller, Refusal> {
    match policy.identify(header.map(str::as_bytes), right) {
        Identified::Caller(caller) => Ok(caller),
        Identified::Refused(refusal) => Err(refusal),
        Identified::Ask(check) => check.outcome(check.run()),
    }
}

#[test]
fn users_have_their_own_rights_and_no_others() {
    let policy = policy(&[]);
    for (user, rights) in [
        ("ada", &Right::ALL[..]),
        ("pusher", &[Right::Push, Right::Probe]),
        ("scraper", &[Right::Scrape, Right::Probe]),
    ] {
        for header in [basic(user, "secret"), format!("Bearer token-of-{user}")] {
            for right in Right::ALL {
                match (ask(&policy, Some(&header), right), rights.contains(&right)) {
                    (Ok(caller), true) => assert_eq!(caller.name.as_deref(), Some(user)),
                    (Err(refusal), false) => assert_eq!(refusal, Refusal::Right(right)),
                    (other, _) => panic!("{user} {right:?}: {other:?}"),
                }
            }
        }
    }
    let caller = ask(&policy, Some("Bearer token-of-pusher"), Right::Push).unwrap();
    assert!(caller.scope.is_some());
}

#[test]
fn nobody_else_has_any() {
    let policy = policy(&[]);
    for (header, refusal) in [
        (None, Refusal::Missing),
        (Some(basic("ada", "Secret")), Refusal::Wrong),
        (Some(basic("ada", "")), Refusal::Wrong),
        (Some(basic("Ada", "secret")), Refusal::Wrong),
        (Some(basic("", "")), Refusal::Wrong),
        (Some(basic("tokens-only", "secret")), Refusal::Wrong),
        (Some("Bearer token-of-eve".into()), Refusal::Wrong),
        (Some("Bearer token-of-ada2".into()), Refusal::Wrong),
        // A password is not a token, nor the reverse.
        (Some("Bearer secret".into()), Refusal::Wrong),
        (Some(basic("ada", "token-of-ada")), Refusal::Wrong),
        (Some("Digest x".into()), Refusal::Malformed(HeaderError::Scheme)),
    ] {
        for right in Right::ALL {
            let found = ask(&policy, header.as_deref(), right).unwrap_err();
            assert_eq!(found, refusal, "{header:?}");
        }
    }
}

#[test]
fn anonymous_rights_are_for_those_who_bring_no_credentials() {
    let policy = policy(&[Right::Probe, Right::Scrape]);
    for right in Right::ALL {
        let allowed = matches!(right, Right::Probe | Right::Scrape);
        assert_eq!(ask(&policy, None, right).is_ok(), allowed);
        assert_eq!(ask(&policy, Some(&basic("ada", "wrong")), right).unwrap_err(), Refusal::Wrong);
    }
    assert_eq!(ask(&policy, None, Right::Scrape).unwrap().name, None);
}

#[test]
fn known_and_unknown_users_cost_the_same_and_each_password_once() {
    let policy = policy(&[]);
    let cost = |header: &str| {
        let before = policy.passwords.memory().runs();
        for right in [Right::Push, Right::Scrape, Right::Push] {
            let _ = ask(&policy, Some(header), right);
        }
        policy.passwords.memory().runs() - before
    };
    for (user, password) in [
        ("ada", "secret"),
        ("ada", "wrong"),
        ("eve", "secret"),
        ("eve", "wrong"),
        ("tokens-only", "secret"),
        ("", ""),
    ] {
        assert_eq!(cost(&basic(user, password)), 1, "{user}");
        assert_eq!(cost(&basic(user, password)), 0, "{user} again");
    }
    assert_eq!(cost("Bearer token-of-ada"), 0);
    assert_eq!(cost("Bearer wrong"), 0);
}

#[test]
fn guesses_do_not_push_out_what_is_known() {
    let policy = policy(&[]);
    ask(&policy, Some(&basic("ada", "secret")), Right::Push).unwrap();
    for guess in 0..1010 {
        let _ = ask(&policy, Some(&basic("ada", &guess.to_string())), Right::Push);
    }
    let before = policy.passwords.memory().runs();
    ask(&policy, Some(&basic("ada", "secret")), Right::Push).unwrap();
    assert_eq!(policy.passwords.memory().runs(), before);
}

/// A reload must not make all clients wait for bcrypt again, nor let an old outcome decide about a new
/// hash.
#[test]
fn what_is_known_outlives_a_policy_as_long_as_it_holds() {
    let memory = PasswordMemory::default();
    let with = |hash: Option<&str>| {
        let password = hash.map(|hash| PasswordHash::parse(hash).unwrap());
        let account = Account { password, ..account("ada", &Right::ALL) };
        Arc::new(Policy::new(vec![account], Rights::default(), memory.clone()).unwrap())
    };
    let other = "$2b$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu";
    let header = basic("ada", "secret");
    for (hash, fine, runs) in [
        (Some(HASH), true, 1),
        (Some(HASH), true, 1),
        (Some(other), false, 2),
        (None, false, 3),
        (Some(other), false, 3),
        (Some(HASH), true, 3),
    ] {
        let asked = ask(&with(hash), Some(&header), Right::Push);
        assert_eq!((asked.is_ok(), memory.runs()), (fine, runs), "{hash:?}");
    }
}

#[test]
fn hashes_of_every_kind() {
    for prefix in ["2a", "2b", "2y"] {
        let hash = PasswordHash::parse(&format!("${prefix}{}", &HASH[3..])).unwrap();
        let password = Some(hash);
        let account = Account { password, tokens: Vec::new(), ..account("u", &[Right::Push]) };
        let policy = Arc::new(
            Policy::new(vec![account], Rights::default(), PasswordMemory::default()).unwrap(),
        );
        assert!(ask(&policy, Some(&basic("u", "secret")), Right::Push).is_ok(), "{prefix}");
    }
    for (text, error) in [
        ("", PasswordHashError::NotBcrypt),
        ("secret", PasswordHashError::NotBcrypt),
        (&HASH[1..], PasswordHashError::NotBcrypt),
        (&format!("{HASH}x"), PasswordHashError::NotBcrypt),
        (&HASH.replacen("2b", "2x", 1), PasswordHashError::NotBcrypt),
        (&HASH.replacen("2b", "6$", 1), PasswordHashError::NotBcrypt),
        (&HASH.replacen("$04$", "$03$", 1), PasswordHashError::NotBcrypt),
        (&HASH.replacen("$04$", "$xx$", 1), PasswordHashError::NotBcrypt),
        (&HASH.replacen("$04$", "$17$", 1), PasswordHashError::Cost(17)),
        (&format!("{}ü{}", &HASH[..30], &HASH[32..]), PasswordHashError::NotBcrypt),
    ] {
        assert_eq!(PasswordHash::parse(text), Err(error), "{text}");
    }
}

#[test]
fn accounts_must_differ() {
    let two = vec![account("a", &[]), account("a", &[])];
    let error = Policy::new(two, Rights::default(), PasswordMemory::default()).unwrap_err();
    assert_eq!(error, PolicyError::TwoUsers("a".into()));
    let tokens = vec![TokenHash::of(b"t")];
    let same = |name| Account { tokens: tokens.clone(), ..account(name, &[]) };
    let error =
        Policy::new(vec![same("a"), same("b")], Rights::default(), PasswordMemory::default())
            .unwrap_err();
    assert_eq!(error, PolicyError::SameToken("a".into(), "b".into()));
}

#[test]
fn nothing_shows_secrets() {
    let shown = format!("{:?}", policy(&[]));
    assert!(shown.contains("ada") && !shown.contains(&HASH[10..20]), "{shown}");
}
