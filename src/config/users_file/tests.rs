//! What the reader of the users' file accepts and refuses.

use super::*;

const HASH: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";
const SHA256: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn parse(text: &str) -> Result<UsersFile, Vec<String>> {
    UsersFile::parse(text, Path::new("/etc/tally"), &|path| match path.to_str() {
        Some("/etc/tally/token") => Ok("0123456789abcdef\n".to_owned()),
        Some("/etc/tally/short") => Ok("0123456789abcde".to_owned()),
        Some("/etc/tally/blank") => Ok("0123456789 abcdef".to_owned()),
        _ => Err("cannot read it: no such file".to_owned()),
    })
}

#[test]
fn accepted() {
    let file = parse(&format!(
        "anonymous: [probe]
users:
  checkout:
    password_bcrypt: {HASH}
    rights: [push]
    labels: {{job: checkout, team: [a, b]}}
  prometheus:
    token_sha256: {SHA256}
    rights: scrape
  ops:
    token_sha256: ['{SHA256}']
    token_file: [token, /etc/tally/token]
    password_bcrypt: {HASH}
    rights: [push, scrape, admin]
"
    ))
    .unwrap();
    assert_eq!(file.anonymous, Rights::from_iter([Right::Probe]));
    let [checkout, ops, prometheus] = &file.accounts[..] else { panic!("{:?}", file.accounts) };
    assert_eq!((&*checkout.name, &*prometheus.name), ("checkout", "prometheus"));
    assert_eq!(checkout.rights, Rights::from_iter([Right::Push]));
    assert!(checkout.scope.is_some() && prometheus.scope.is_none());
    assert_eq!(prometheus.rights, Rights::from_iter([Right::Scrape]));
    assert_eq!(ops.tokens.len(), 3);
    assert_eq!(ops.tokens[1], TokenHash::of(b"0123456789abcdef"));
    assert_eq!(file.token_files.len(), 2);
    for text in ["", "users:\n", "anonymous: []\nusers: {}\n"] {
        let file = parse(text).unwrap();
        assert!(file.accounts.is_empty() && file.anonymous == Rights::default());
    }
}

#[test]
fn refused() {
    let user =
        |more: &str| format!("users: {{u: {{token_sha256: {SHA256}, rights: [push], {more}}}}}");
    for (text, problem) in [
        ("user: {}".to_owned(), "unknown key user; did you mean users?"),
        ("users: [a]".to_owned(), "users: a table is expected"),
        ("users: {u: x}".to_owned(), "users.u: a table is expected"),
        (
            "anonymous: [read]".to_owned(),
            "anonymous: \"read\" is unknown; accepted are push, scrape, admin, probe",
        ),
        (
            "users: {u: {rights: [push]}}".to_owned(),
            "users.u.password_bcrypt, token_sha256 or token_file: one of them must be there",
        ),
        (format!("users: {{u: {{token_sha256: {SHA256}}}}}"), "users.u.rights: which?"),
        (user("right: x"), "unknown key users.u.right; did you mean rights?"),
        (user("password: secret"), "unknown key users.u.password; did you mean password_bcrypt?"),
        (user("password_bcrypt: secret"), "users.u.password_bcrypt: a bcrypt hash is expected"),
        (
            "users: {u: {token_sha256: abc, rights: [push]}}".to_owned(),
            "users.u.token_sha256: a SHA-256 in 64 hexadecimal digits",
        ),
        (user("token_file: gone"), "users.u.token_file: /etc/tally/gone: cannot read it"),
        (
            user("token_file: short"),
            "users.u.token_file: /etc/tally/short: a token has at least 16",
        ),
        (user("token_file: blank"), "users.u.token_file: /etc/tally/blank: a token is one line"),
        (user("labels: {job: }"), "users.u.labels.job: a value or a list of values is expected"),
        (user("labels: {job: []}"), "users.u.labels.job: a value or a list of values is expected"),
        (user("labels: {job: ''}"), "users.u.labels.job: a value or a list of values is expected"),
        (
            user("labels: {__name__: a}"),
            "users.u.labels.__name__: it cannot be the name of a label",
        ),
        (
            format!(
                "users: {{u: {{token_sha256: {SHA256}, rights: [push, admin], labels: {{job: a}}}}}}"
            ),
            "users.u.labels: who may remove everything",
        ),
        (
            format!(
                "users: {{u: {{token_sha256: {SHA256}, rights: [scrape], labels: {{job: a}}}}}}"
            ),
            "users.u.labels: they bind pushes",
        ),
        (
            format!("users: {{'u:v': {{password_bcrypt: {HASH}, rights: [push]}}}}"),
            "users.u:v.password_bcrypt: a user name with a password has no colon",
        ),
    ] {
        let problems = parse(&text).map(|_| ()).expect_err(&text);
        assert!(problems.iter().any(|p| p.contains(problem)), "{problem}: {problems:?}");
        assert!(!problems.join(" ").contains("secret"), "{problems:?}");
    }
}
