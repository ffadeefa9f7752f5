//! TLS at the main address: versions, ciphers, certificates of both sides, reload, and peers that are
//! slow or speak something else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::SanType;

use crate::harness::{
    Authority, Gateway, Identity, Request, TlsClient, directory, dns, eventually, flag, run, sample,
};

/// A certificate authority, a certificate for the gateway, and a web configuration file.
struct Tls {
    folder: PathBuf,
    authority: Authority,
}

impl Tls {
    /// `more` are further lines of the section, each indented by two blanks.
    fn new(more: &str) -> Tls {
        let (folder, authority) = (directory(), Authority::new("tests"));
        authority.server().write(&folder, "server");
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        let tls = Tls { folder, authority };
        tls.configure(&server(more));
        tls
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.folder.join("new"), text).unwrap();
        std::fs::rename(self.folder.join("new"), self.folder.join("web.yml")).unwrap();
    }

    fn run(&self, flags: &[&str]) -> Gateway {
        let start = flag(&format!("--web.config.file={}", self.path("web.yml")));
        let mut gateway = flags.iter().fold(start, |start, flag| start.flag(flag)).run();
        gateway.last_scrape(None);
        gateway
    }

    fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.authority.pem())
    }

    /// Runs curl with these arguments, trusting the gateway. It prints version and status.
    fn curl(&self, gateway: &Gateway, path: &str, arguments: &[&str]) -> (i32, String) {
        let output = Command::new("curl")
            .args(["--silent", "--output", "-", "--write-out", "\n%{http_version} %{http_code}"])
            .args(["--max-time", "20", "--cacert", &self.path("ca.crt")])
            .args(arguments)
            .arg(format!("https://localhost:{}{path}", gateway.address.port()))
            .output()
            .expect("curl runs; tests/setup installs it");
        let printed = String::from_utf8(output.stdout).unwrap();
        let last = printed.lines().last().unwrap_or_default().to_owned();
        (output.status.code().unwrap(), last)
    }

    /// Runs `openssl s_client` with these arguments, without sending a request.
    fn openssl(&self, gateway: &Gateway, arguments: &[&str]) -> Output {
        Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address.to_string(), "-brief"])
            .args(["-CAfile", &self.path("ca.crt"), "-verify_return_error"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs; tests/setup installs it")
    }
}

fn server(more: &str) -> String {
    format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}")
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn push(gateway: &Gateway) -> Request {
    gateway.request("POST", "/metrics/job/j").body("# TYPE a counter\na 1\n")
}

/// The exposition, fetched by this client.
fn scrape(gateway: &Gateway, client: &TlsClient) -> String {
    client.send(&gateway.request("GET", "/metrics")).unwrap().text()
}

#[test]
fn pushes_and_scrapes_over_http_1_and_2() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    for (http, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let expected = (0, format!("{version} 200"));
        let data = ["--data-binary", "a 1\n"];
        assert_eq!(tls.curl(&gateway, "/metrics/job/j", &[&[http], &data[..]].concat()), expected);
        assert_eq!(tls.curl(&gateway, "/metrics", &[http]), expected);
        assert_eq!(tls.curl(&gateway, "/-/ready", &[http, "--head"]), expected);
        let bad = tls.curl(&gateway, "/metrics/job", &[http, "--request", "DELETE"]);
        assert_eq!(bad, (0, format!("{version} 400")));
    }
    // A large body.
    let large = tls.path("large.txt");
    let lines: String = (0..20_000).map(|n| format!("b{{n=\"{n}\"}} 1\n")).collect();
    std::fs::write(&large, lines).unwrap();
    let upload = ["--http2", "--data-binary", &format!("@{large}")];
    assert_eq!(tls.curl(&gateway, "/metrics/job/l", &upload), (0, "2 200".to_owned()));
    // An unwanted body is read to its end, if it is not too large.
    let unwanted = "x".repeat(100_000);
    let upload = ["--http2", "--data-binary", &unwanted];
    assert_eq!(tls.curl(&gateway, "/nothing", &upload), (0, "2 404".to_owned()));
    let text = scrape(&gateway, &tls.client());
    assert_eq!(sample(&text, "a{job=\"j\"}"), Some(2.0));
    assert_eq!(sample(&text, "b{job=\"l\",n=\"19999\"}"), Some(1.0));
    let expiry = sample(&text, "tallygate_tls_cert_not_after_timestamp_seconds");
    assert_eq!(expiry, Some(4_070_908_800.0), "the first of January 2099");
    assert_eq!(sample(&text, "tallygate_web_config_last_reload_successful"), Some(1.0));
}

/// The same push repeatedly on one connection, so that it becomes known.
#[test]
fn known_pushes_over_http_1_and_2() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let urls = "/metrics/job/j?turn=[1-20]";
    for (http, expected) in [("--http1.1", 20.0), ("--http2", 40.0)] {
        let (code, _) = tls.curl(&gateway, urls, &[http, "--data-binary", "a_total 1\n"]);
        assert_eq!(code, 0);
        let text = scrape(&gateway, &tls.client());
        assert_eq!(sample(&text, "a_total{job=\"j\"}"), Some(expected));
    }
}

#[test]
fn http_2_can_be_turned_off_and_on() {
    let tls = Tls::new("http_server_config: {http2: false}\n");
    let gateway = tls.run(&[]);
    let version = || tls.curl(&gateway, "/-/ready", &["--http2"]).1;
    assert_eq!(version(), "1.1 200");
    tls.configure(&server(""));
    eventually("HTTP/2", || (version() == "2 200").then_some(()));
}

#[test]
fn certificates_may_stand_in_the_file() {
    let tls = Tls::new("");
    let Identity { certificate, key } = tls.authority.server();
    let indented = |pem: String| pem.replace('\n', "\n    ");
    let (certificate, key) = (indented(certificate), indented(key));
    tls.configure(&format!(
        "tls_server_config:\n  cert: |\n    {certificate}\n  key: |\n    {key}\n"
    ));
    let gateway = tls.run(&[]);
    assert_eq!(tls.client().send(&push(&gateway)).unwrap().status, 200);
}

#[test]
fn versions() {
    for (settings, works, fails) in [
        ("", &["-tls1_2", "-tls1_3"][..], &["-tls1_1", "-tls1"][..]),
        ("  min_version: TLS13\n", &["-tls1_3"], &["-tls1_2"]),
        ("  max_version: TLS12\n", &["-tls1_2"], &["-tls1_3"]),
    ] {
        let tls = Tls::new(settings);
        let gateway = tls.run(&[]);
        for version in works {
            let output = tls.openssl(&gateway, &[version]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let name = version.trim_start_matches("-tls").replace('_', ".");
            assert!(told.contains(&format!("Protocol version: TLSv{name}")), "{version}: {told}");
            assert!(told.contains("Verification: OK"), "{told}");
        }
        for version in fails {
            let output = tls.openssl(&gateway, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            assert!(!output.status.success(), "{settings}{version}");
        }
    }
}

#[test]
fn ciphers_and_curves() {
    let tls = Tls::new(
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  \
         curve_preferences: [CurveP384]\n",
    );
    let gateway = tls.run(&[]);
    for (arguments, works) in [
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"][..], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], false),
        (&["-tls1_3", "-groups", "P-384"], true),
        (&["-tls1_3", "-groups", "X25519:P-256"], false),
        (&["-tls1_2", "-groups", "P-256"], false),
    ] {
        let output = tls.openssl(&gateway, arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), works, "{arguments:?}: {told}");
    }
}

/// Clients with different certificates.
struct Clients {
    none: TlsClient,
    good: TlsClient,
    expired: TlsClient,
    other_ca: TlsClient,
    other_name: TlsClient,
}

impl Clients {
    fn new(tls: &Tls) -> Clients {
        let pem = tls.authority.pem();
        let shows = |identity: &Identity| TlsClient::with(&pem, identity);
        Clients {
            none: tls.client(),
            good: shows(&tls.authority.client("ci.example.org")),
            expired: shows(&tls.authority.issue(&[dns("ci.example.org")], 2021)),
            other_ca: shows(&Authority::new("others").client("ci.example.org")),
            other_name: shows(&tls.authority.client("eve.example.org")),
        }
    }
}

#[test]
fn certificates_of_clients() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let clients = Clients::new(&tls);
    let all = [
        ("none", &clients.none),
        ("good", &clients.good),
        ("expired", &clients.expired),
        ("of another CA", &clients.other_ca),
        ("of another name", &clients.other_name),
    ];
    let ca = "  client_ca_file: ca.crt\n";
    let sans = "  client_allowed_sans: [ops.example.org, ci.example.org]\n";
    let any = ["none", "good", "expired", "of another CA", "of another name"];
    for (mode, more, works) in [
        ("NoClientCert", "", &any[..]),
        ("RequestClientCert", "", &any),
        ("RequestClientCert", sans, &["none", "good", "expired", "of another CA"]),
        ("RequireAnyClientCert", "", &any[1..]),
        ("RequireClientCert", sans, &["good", "expired", "of another CA"]),
        ("VerifyClientCertIfGiven", ca, &["none", "good", "of another name"]),
        ("VerifyClientCertIfGiven", &format!("{ca}{sans}"), &["none", "good"]),
        ("RequireAndVerifyClientCert", ca, &["good", "of another name"]),
        ("RequireAndVerifyClientCert", &format!("{ca}{sans}"), &["good"]),
    ] {
        // The previous setting still applies to open connections.
        let mut open = eventually("a connection", || clients.good.connect(gateway.address).ok());
        let loads = gateway.log().iter().filter(|line| line.contains("users loaded")).count();
        tls.configure(&server(&format!("  client_auth_type: {mode}\n{more}")));
        eventually("the file is loaded", || {
            let log = gateway.log();
            let now = log.iter().filter(|line| line.contains("users loaded")).count();
            (now > loads).then_some(())
        });
        for (name, client) in all {
            let status =
                client.send(&gateway.request("GET", "/-/ready")).map(|answer| answer.status);
            assert_eq!(status.is_ok(), works.contains(&name), "{mode} {more}: {name}: {status:?}");
            assert_eq!(status.unwrap_or(200), 200);
        }
        assert_eq!(open.send(&gateway.request("GET", "/-/ready")).unwrap().status, 200);
    }
}

#[test]
fn names_of_every_kind() {
    let names = [
        ("ci.example.org", dns("ci.example.org")),
        ("ops@example.org", SanType::Rfc822Name("ops@example.org".try_into().unwrap())),
        ("10.1.2.3", SanType::IpAddress([10, 1, 2, 3].into())),
        ("2001:db8::1", SanType::IpAddress([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into())),
        ("spiffe://example.org/ci", SanType::URI("spiffe://example.org/ci".try_into().unwrap())),
    ];
    let tls = Tls::new("");
    for (allowed, san) in &names {
        tls.configure(&server(&format!(
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
             client_allowed_sans: ['{allowed}']\n"
        )));
        let gateway = tls.run(&[]);
        for (name, other) in &names {
            let sans = [dns("unrelated"), other.clone()];
            let identity = tls.authority.issue(&sans, 2099);
            let client = TlsClient::with(&tls.authority.pem(), &identity);
            let answer = client.send(&gateway.request("GET", "/-/ready"));
            assert_eq!(answer.is_ok(), other == san, "{name} where {allowed} may");
        }
        // The common name does not count as a name.
        let client = TlsClient::with(&tls.authority.pem(), &tls.authority.issue(&[], 2099));
        assert!(client.send(&gateway.request("GET", "/-/ready")).is_err());
    }
}

/// The same with common tools.
#[test]
fn curl_and_openssl_with_certificates() {
    let tls =
        Tls::new("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    tls.authority.client("ci").write(&tls.folder, "ci");
    Authority::new("others").client("ci").write(&tls.folder, "eve");
    let gateway = tls.run(&[]);
    let certificate = |name: &str| {
        [
            "--cert".to_owned(),
            tls.path(&format!("{name}.crt")),
            "--key".to_owned(),
            tls.path(&format!("{name}.key")),
        ]
    };
    let data = ["--data-binary", "a 1\n", "--http2"];
    let (ci, eve) = (certificate("ci"), certificate("eve"));
    let with = |files: &[String; 4]| {
        let arguments: Vec<&str> = files.iter().map(String::as_str).chain(data).collect();
        tls.curl(&gateway, "/metrics/job/j", &arguments)
    };
    assert_eq!(with(&ci), (0, "2 200".to_owned()));
    assert_ne!(with(&eve).0, 0);
    assert_ne!(tls.curl(&gateway, "/metrics/job/j", &data).0, 0);
    let openssl = |name: &str| {
        let (certificate, key) =
            (tls.path(&format!("{name}.crt")), tls.path(&format!("{name}.key")));
        tls.openssl(&gateway, &["-tls1_2", "-cert", &certificate, "-key", &key]).status.success()
    };
    assert!(openssl("ci"));
    assert!(!openssl("eve"));
    let client = TlsClient::with(&tls.authority.pem(), &tls.authority.client("ci"));
    assert_eq!(sample(&scrape(&gateway, &client), "a{job=\"j\"}"), Some(1.0));
}

/// Certificates change under load: nothing is lost or refused, and the new one is used.
#[test]
fn a_new_certificate_under_load() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let client = tls.client();
    let (stop, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for keep in [true, true, false, false] {
            let (client, request, stop, pushed) = (&client, push(&gateway), &stop, &pushed);
            let address = gateway.address;
            scope.spawn(move || {
                let mut connection = client.connect(address).unwrap();
                while !stop.load(Relaxed) {
                    if !keep {
                        connection = client.connect(address).unwrap();
                    }
                    assert_eq!(connection.send(&request).unwrap().status, 200);
                    pushed.fetch_add(1, Relaxed);
                }
            });
        }
        for year in [2031, 2032, 2033] {
            let names = [dns("localhost")];
            let identity = tls.authority.issue(&names, year);
            identity.write(&tls.folder, "server");
            let shown =
                rustls::pki_types::pem::PemObject::from_pem_slice(identity.certificate.as_bytes());
            let shown: rustls::pki_types::CertificateDer<'_> = shown.unwrap();
            eventually("the new certificate is shown", || {
                let mut connection = client.connect(gateway.address).ok()?;
                (*connection.certificate() == *shown).then_some(())
            });
        }
        stop.store(true, Relaxed);
    });
    let text = scrape(&gateway, &client);
    let pushed = pushed.load(Relaxed);
    assert!(pushed > 100, "{pushed}");
    assert_eq!(sample(&text, "a{job=\"j\"}"), Some(pushed as f64));
    let refused = text.lines().any(|line| {
        line.starts_with("tallygate_http_requests_total{") && !line.contains("code=\"200\"")
    });
    assert!(!refused, "{text}");
    let expiry = sample(&text, "tallygate_tls_cert_not_after_timestamp_seconds");
    assert_eq!(expiry, Some(1_988_150_400.0), "the first of January 2033");
}

#[test]
fn what_becomes_invalid_changes_nothing() {
    let tls =
        Tls::new("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    let mut gateway = tls.run(&[]);
    let stranger = tls.client();
    let client = TlsClient::with(&tls.authority.pem(), &tls.authority.client("ci"));
    let good = std::fs::read_to_string(tls.folder.join("web.yml")).unwrap();
    gateway.expect_log("web configuration and users not loaded");
    // The same reason is logged only once in a row, so neighbouring rows have different ones.
    for (text, reason) in [
        ("", "TLS cannot be turned off while running"),
        (&server("").replace("server.key", "ca.crt"), "key_file"),
        ("http_server_config: {http2: false}\n", "TLS cannot be turned off while running"),
        (
            &server("  client_auth_type: NoClientCert\n  client_ca_file: ca.crt\n"),
            "client_auth_type must say",
        ),
        ("tls_server_config: {}\n", "TLS cannot be turned off while running"),
        (&server("").replace("server.key", "gone.key"), "cannot read"),
        (&server("").replace("server.crt", "gone.crt"), "cannot read"),
    ] {
        let before = gateway.log().len();
        tls.configure(text);
        eventually(reason, || gateway.log()[before..].iter().find(|l| l.contains(reason)).cloned());
        assert!(stranger.send(&gateway.request("GET", "/-/ready")).is_err(), "{text}");
        let shown = scrape(&gateway, &client);
        assert_eq!(sample(&shown, "tallygate_web_config_last_reload_successful"), Some(0.0));
    }
    // A missing file may appear without a change to the configuration file.
    tls.configure(&good.replace("ca.crt", "late.crt"));
    gateway.await_log("late.crt");
    std::fs::copy(tls.folder.join("ca.crt"), tls.folder.join("late.crt")).unwrap();
    eventually("it is right again", || {
        let shown = scrape(&gateway, &client);
        (sample(&shown, "tallygate_web_config_last_reload_successful")? == 1.0).then_some(())
    });
}

/// The key belongs to another certificate, as happens while both are being replaced.
#[test]
fn half_of_a_pair_is_not_taken() {
    let tls = Tls::new("");
    let mut gateway = tls.run(&[]);
    gateway.expect_log("web configuration and users not loaded");
    let next = tls.authority.server();
    std::fs::write(tls.folder.join("server.key"), &next.key).unwrap();
    gateway.await_log("not loaded");
    assert_eq!(tls.client().send(&push(&gateway)).unwrap().status, 200);
    next.write(&tls.folder, "server");
    gateway.await_log("users loaded");
    assert_eq!(tls.client().send(&push(&gateway)).unwrap().status, 200);
}

#[test]
fn tls_is_turned_on_only_by_a_start() {
    let tls = Tls::new("");
    tls.configure("");
    let mut gateway = tls.run(&[]);
    gateway.last_scrape(Some("/metrics"));
    gateway.expect_log("TLS can be turned on only with the next start");
    tls.configure(&server(""));
    gateway.await_log("TLS can be turned on");
    gateway.accept("/metrics/job/j", "a 1\n");
}

/// Peers that send nothing, half a handshake, or nonsense do not hold others up, and are closed in
/// time.
#[test]
fn slow_handshakes_hold_nobody_up() {
    let tls = Tls::new("");
    let gateway = tls.run(&["--web.read-header-timeout=7s", "--limits.connections=400"]);
    let started = Instant::now();
    let mut silent: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    for (at, stream) in silent.iter_mut().enumerate() {
        let beginning: &[u8] = match at % 3 {
            0 => b"",
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            _ => b"\x16",
        };
        stream.write_all(beginning).unwrap();
    }
    let client = tls.client();
    for _ in 0..20 {
        assert_eq!(client.send(&push(&gateway)).unwrap().status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    // They count as connections, so their number is limited, too.
    let open = sample(&scrape(&gateway, &client), "tallygate_connections");
    assert!(open.unwrap() >= 300.0, "{open:?}");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut rest);
    }
    assert!(started.elapsed() > Duration::from_millis(6900), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    eventually("their places are free", || {
        (sample(&scrape(&gateway, &client), "tallygate_connections")? < 10.0).then_some(())
    });
    let failed = sample(&scrape(&gateway, &client), "tallygate_tls_handshake_failures_total");
    assert_eq!(failed, Some(300.0));
}

#[test]
fn connections_are_limited() {
    let tls = Tls::new("");
    let mut gateway = tls.run(&["--limits.connections=3"]);
    gateway.expect_log("connection refused");
    let client = tls.client();
    let mut open: Vec<_> = (0..3).map(|_| client.connect(gateway.address).unwrap()).collect();
    for connection in &mut open {
        assert_eq!(connection.send(&push(&gateway)).unwrap().status, 200);
    }
    assert!(client.send(&push(&gateway)).is_err());
    drop(open);
    eventually("a place is free", || client.send(&push(&gateway)).ok());
}

#[test]
fn plain_http_is_told_so() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let answer = push(&gateway).send();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("speaks HTTPS"), "{}", answer.text());
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.write_all(b"\x00\x01nonsense").unwrap();
    let mut rest = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut rest);
    assert_eq!(tls.client().send(&push(&gateway)).unwrap().status, 200);
}

#[test]
fn the_management_address_stays_plain() {
    let tls = Tls::new("");
    let gateway = tls.run(&["--web.management-address=127.0.0.1:0"]);
    let ready = Request::new(gateway.management(), "GET", "/-/ready").send();
    assert_eq!(ready.status, 200);
    let management = format!("--web.management-address={}", gateway.management());
    assert!(run(&["healthcheck", &management]).status.success());
    let text = Request::new(gateway.management(), "GET", "/metrics").send().text();
    assert!(sample(&text, "tallygate_tls_cert_not_after_timestamp_seconds").is_some());
}

/// The health check of a container needs no other address.
#[test]
fn the_health_check_speaks_tls() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let listen = format!("--web.listen-address={}", gateway.address);
    let web = format!("--web.config.file={}", tls.path("web.yml"));
    let output = run(&["healthcheck", &listen, &web]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, format!("ok: https://{}/-/healthy answers 200\n", gateway.address));
    let url = format!("https://localhost:{}/-/ready", gateway.address.port());
    assert!(run(&["healthcheck", &url, &web]).status.success());
    assert!(!run(&["healthcheck", &url]).status.success(), "there is nothing to trust");
    // The certificate of another server is not that of the gateway.
    let other = Tls::new("");
    let web = format!("--web.config.file={}", other.path("web.yml"));
    let output = run(&["healthcheck", &listen, &web]);
    assert_eq!(output.status.code(), Some(1));
}

/// An open connection without a request must not delay the end.
#[test]
fn it_stops_at_once_with_idle_connections() {
    let tls = Tls::new("");
    let mut gateway = tls.run(&["--web.shutdown-timeout=15s"]);
    let client = tls.client();
    let mut idle = client.connect(gateway.address).unwrap();
    assert_eq!(idle.send(&push(&gateway)).unwrap().status, 200);
    let started = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[test]
fn the_tools_speak_tls() {
    let tls = Tls::new("");
    let gateway = tls.run(&[]);
    let url = format!("https://localhost:{}", gateway.address.port());
    std::fs::write(tls.folder.join("body"), "a_total 1\n").unwrap();
    let (ca, body) = (format!("--ca-file={}", tls.path("ca.crt")), tls.path("body"));
    let pushed = run(&["push", "--job=j", &ca, &url, &body]);
    assert_eq!((pushed.status.code(), &*pushed.stderr), (Some(0), &b""[..]));
    let checked = run(&["check", &ca, &url]);
    assert_eq!((checked.status.code(), &*checked.stderr), (Some(0), &b""[..]));
    assert_eq!(sample(&scrape(&gateway, &tls.client()), "a_total{job=\"j\"}"), Some(1.0));

    // The tool sends nothing to a server that it does not trust, and does not try again.
    let unknown = run(&["push", "--job=j", &url, &body]);
    let err = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{err}");
    assert!(err.contains("certificate"), "{err}");
    let key = format!("--ca-file={}", tls.path("server.key"));
    let no_certificate = run(&["push", &key, &url, &body]);
    assert_eq!(no_certificate.status.code(), Some(1));
}
