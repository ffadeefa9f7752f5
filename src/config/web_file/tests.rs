//! What the reader of the web configuration file accepts and refuses.

use super::*;

const HASH: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";

fn parse(text: &str) -> Result<WebFile, Vec<String>> {
    WebFile::parse(text, Path::new("/etc/web"))
}

#[track_caller]
fn accepted(text: &str) -> WebFile {
    parse(text).unwrap_or_else(|problems| panic!("{problems:?}: {text}"))
}

/// A server section with these further lines.
fn tls(more: &str) -> String {
    format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}")
}

#[test]
fn an_empty_file_is_plain_http_for_everybody() {
    for text in ["", "\n", "# nothing\n", "---\n# nothing", "basic_auth_users:\n", "{}"] {
        let file = accepted(text);
        assert!(file.tls.is_none() && file.users.is_empty() && file.rate_limit.is_none());
        assert!(file.http2 && file.headers.is_empty() && file.warnings.is_empty());
    }
}

#[test]
fn everything_at_once() {
    let file = accepted(&format!(
        "tls_server_config:
  cert_file: server.crt
  key_file: /abs/server.key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [push.example.org, 10.0.0.1]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256, X25519]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1; mode=block
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: {HASH}
  bob.smith@example.org: '{HASH}'
rate_limit:
  interval: 1s
  burst: 20
"
    ));
    let tls = file.tls.unwrap();
    let files: Vec<_> = tls.files().into_iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(files, ["/etc/web/server.crt", "/abs/server.key", "/etc/web/ca.crt"]);
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
    assert_eq!(tls.client_allowed_sans, ["push.example.org", "10.0.0.1"]);
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls13, TlsVersion::Tls13));
    assert_eq!(tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    assert_eq!(tls.curves, ["CurveP256", "X25519"]);
    assert!(!file.http2);
    assert_eq!(file.headers.len(), 5);
    assert_eq!(file.headers[0].1, "default-src 'self'");
    let users: Vec<_> = file.users.iter().map(|user| &*user.name).collect();
    assert_eq!(users, ["alice", "bob.smith@example.org"]);
    assert!(file.users.iter().all(|user| user.rights == Rights::all()));
    let limit = file.rate_limit.unwrap();
    assert_eq!((limit.interval, limit.burst), (Duration::from_secs(1), 20));
}

#[test]
fn certificates_may_stand_in_the_file() {
    let file = accepted(
        "tls_server_config:\n  cert: |\n    PEM\n    LINES\n  key: KEY\n  client_ca: CA\n  \
         client_auth_type: VerifyClientCertIfGiven\n",
    );
    let tls = file.tls.unwrap();
    assert_eq!(tls.certificate.read().unwrap(), b"PEM\nLINES\n");
    assert_eq!(tls.key.read().unwrap(), b"KEY");
    assert!(tls.files().is_empty());
    assert!(!format!("{tls:?}").contains("KEY"));
}

#[test]
fn what_is_not_offered_here_is_left_out_with_a_warning() {
    let file = accepted(&tls(
        "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n  \
         curve_preferences: [CurveP521, CurveP384]\n",
    ));
    assert_eq!(
        file.warnings,
        [
            "cipher_suites: TLS_RSA_WITH_AES_128_CBC_SHA is not offered here, so it is left out",
            "curve_preferences: CurveP521 is not offered here, so it is left out",
        ]
    );
    let tls = file.tls.unwrap();
    assert_eq!(tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
    assert_eq!(tls.curves, ["CurveP384"]);
}

#[test]
fn every_way_of_asking_clients() {
    for (word, auth) in ClientAuth::WORDS {
        let ca = if auth.verifies() { "  client_ca_file: ca\n" } else { "" };
        let file = accepted(&tls(&format!("  client_auth_type: {word}\n{ca}")));
        assert_eq!(file.tls.unwrap().client_auth, auth, "{word}");
    }
}

#[test]
fn a_rate_limit_of_zero_is_none() {
    for text in
        ["{interval: 0s, burst: 5}", "{interval: 1s}", "{burst: 5}", "{interval: 0, burst: 0}"]
    {
        assert_eq!(accepted(&format!("rate_limit: {text}")).rate_limit, None, "{text}");
    }
}

#[test]
fn refused() {
    let missing = "it is missing, and TLS needs a certificate with its key";
    for (text, problem) in [
        ("[]".to_owned(), "it is not a table in YAML"),
        ("a: b: c".to_owned(), "it is not a table in YAML"),
        ("tls_server_config: yes".to_owned(), "tls_server_config: a table is expected"),
        (
            "tls_sever_config: {}".to_owned(),
            "unknown key tls_sever_config; did you mean tls_server_config?",
        ),
        (
            "tls_server_config: {cert_fil: x, cert: c, key: k}".to_owned(),
            "unknown key tls_server_config.cert_fil; did you mean cert_file?",
        ),
        (
            "tls_server_config: {cert_file: x}".to_owned(),
            &format!("tls_server_config.key_file or key: {missing}"),
        ),
        (
            "tls_server_config: {key: x}".to_owned(),
            &format!("tls_server_config.cert_file or cert: {missing}"),
        ),
        (
            "tls_server_config: {min_version: TLS13}".to_owned(),
            &format!("tls_server_config.cert_file or cert: {missing}"),
        ),
        (
            tls("  cert: x\n"),
            "tls_server_config.cert: either it or cert_file can be given, not both",
        ),
        (
            tls("  min_version: TLS11\n"),
            "tls_server_config.min_version: TLS 1.0 and 1.1 are broken",
        ),
        (
            tls("  max_version: TLS10\n"),
            "tls_server_config.max_version: TLS 1.0 and 1.1 are broken",
        ),
        (
            tls("  min_version: TLS1.2\n"),
            "tls_server_config.min_version: \"TLS1.2\" is unknown; did you mean TLS12?",
        ),
        (
            tls("  min_version: TLS13\n  max_version: TLS12\n"),
            "tls_server_config.min_version: it is above max_version",
        ),
        (
            tls("  client_ca_file: ca\n"),
            "tls_server_config.client_ca_file: client_auth_type must say",
        ),
        (
            tls("  client_auth_type: RequireAndVerifyClientCert\n"),
            "tls_server_config.client_auth_type: it needs a client_ca_file",
        ),
        (
            tls("  client_auth_type: RequireAndVerifyClientCerts\n"),
            "did you mean RequireAndVerifyClientCert?",
        ),
        (
            tls("  client_allowed_sans: [x]\n"),
            "tls_server_config.client_allowed_sans: client_auth_type must ask",
        ),
        (
            tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]\n"),
            "did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
        ),
        (
            tls("  max_version: TLS12\n  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n"),
            "tls_server_config.cipher_suites: none of them is offered here",
        ),
        (
            tls("  curve_preferences: [CurveP521]\n"),
            "tls_server_config.curve_preferences: none of them is offered here",
        ),
        (
            tls("  prefer_server_cipher_suites: maybe\n"),
            "tls_server_config.prefer_server_cipher_suites: accepted are true and false",
        ),
        (
            "http_server_config: {http3: true}".to_owned(),
            "unknown key http_server_config.http3; did you mean http2?",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}".to_owned(),
            "http_server_config.headers.X-Frame-Options: accepted are deny and sameorigin",
        ),
        (
            "http_server_config: {headers: {Server: x}}".to_owned(),
            "unknown key http_server_config.headers.Server",
        ),
        (
            "http_server_config: {headers: {Content-Security-Policy: \"a\\r\\nb\"}}".to_owned(),
            "http_server_config.headers.Content-Security-Policy: a header holds printable ASCII only",
        ),
        (
            "basic_auth_users: {alice: secret}".to_owned(),
            "basic_auth_users.alice: a bcrypt hash is expected",
        ),
        ("basic_auth_users: {alice: }".to_owned(), "basic_auth_users.alice: it has no value"),
        (
            format!("basic_auth_users: {{'a:b': {HASH}}}"),
            "basic_auth_users.a:b: a user name in basic authentication has no colon",
        ),
        ("rate_limit: {interval: 5, burst: 1}".to_owned(), "rate_limit.interval: it has no unit"),
        (
            "rate_limit: {interval: 1s, burst: -1}".to_owned(),
            "rate_limit.burst: a whole number is expected",
        ),
    ] {
        let problems = parse(&text).map(|_| ()).expect_err(&text);
        assert!(problems.iter().any(|p| p.contains(problem)), "{problem}: {problems:?}");
    }
}

#[test]
fn all_mistakes_are_told_and_no_secret_is() {
    let text = "tls_server_config: {key: hunter2, nonsense: 1}\nbasic_auth_users: {a: hunter2}\n\
                rate_limit: {burst: x}\nmore: 1\n";
    let problems = parse(text).unwrap_err();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(!problems.join(" ").contains("hunter2"), "{problems:?}");
}
