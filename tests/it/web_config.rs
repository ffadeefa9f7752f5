//! The web configuration file, compared with the real Pushgateway: the same file and requests have the
//! same outcome.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Authority, Gateway, Request, Stopped, directory, dns, eventually, flag};

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// Both servers, with the same file.
struct Both {
    folder: PathBuf,
    ours: Gateway,
    _real: Stopped,
    real: SocketAddr,
}

impl Both {
    fn new(folder: PathBuf, web: &str) -> Both {
        let file = folder.join("web.yml");
        std::fs::write(&file, web).unwrap();
        let file = format!("--web.config.file={}", file.display());
        let mut ours = flag(&file).run();
        ours.last_scrape(None);
        ours.expect_log("request refused for who sent it");
        let real = free_address();
        let process = Command::new("prometheus-pushgateway")
            // Debian's keeps a file by default.
            .args([&format!("--web.listen-address={real}"), &file, "--persistence.file="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("prometheus-pushgateway: {error}; run tests/setup first")
            });
        let process = Stopped(process);
        eventually("the real Pushgateway listens", || TcpStream::connect(real).ok());
        Both { folder, ours, _real: process, real }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.ours.address, self.real]
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn passwords_and_headers() {
    let web = format!(
        "basic_auth_users: {{alice: '{HASH}', 'b c': '{HASH}'}}\n\
         http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    \
         X-Content-Type-Options: nosniff\n    Content-Security-Policy: default-src 'self'\n"
    );
    let both = Both::new(directory(), &web);
    let encode = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (credentials, known) in [
        (None, false),
        (Some(encode("alice:secret")), true),
        (Some(encode("alice:secret").replacen("Basic", "bAsIc", 1)), true),
        (Some(encode("b c:secret")), true),
        (Some(encode("alice:Secret")), false),
        (Some(encode("alice:")), false),
        (Some(encode("Alice:secret")), false),
        (Some(encode("bob:secret")), false),
        (Some(encode("alice")), false),
        (Some("Basic !".to_owned()), false),
        (Some("Bearer secret".to_owned()), false),
        (Some(String::new()), false),
    ] {
        for (method, path, status) in [
            ("GET", "/metrics", 200),
            ("GET", "/-/healthy", 200),
            ("GET", "/-/ready", 200),
            ("PUT", "/metrics/job/j", 200),
            ("DELETE", "/metrics/job/j", 202),
            ("GET", "/api/v1/status", 200),
            ("GET", "/nothing", 404),
        ] {
            let answers = both.addresses().map(|address| {
                let request = Request::new(address, method, path);
                let answer = match &credentials {
                    Some(credentials) => request.header("Authorization", credentials).send(),
                    None => request.send(),
                };
                let challenge = answer.header("www-authenticate").map(|c| c.starts_with("Basic"));
                let headers =
                    ["x-frame-options", "x-content-type-options", "content-security-policy"]
                        .map(|name| answer.header(name).map(str::to_owned));
                (answer.status, challenge, headers)
            });
            let [ours, real] = answers;
            assert_eq!(ours, real, "{credentials:?} {method} {path}");
            assert_eq!(ours.0, if known { status } else { 401 }, "{credentials:?} {method} {path}");
        }
    }
}

/// Whether the handshake of `openssl s_client` succeeds with each, and what was negotiated.
fn handshakes(both: &Both, arguments: &[&str]) -> [Option<String>; 2] {
    both.addresses().map(|address| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-brief"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs; tests/setup installs it");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = |name: &str| told.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        let both = (line("Protocol version"), line("Ciphersuite"));
        output.status.success().then(|| format!("{both:?}"))
    })
}

fn with_certificate(folder: &Path, more: &str) -> String {
    let authority = Authority::new("tests");
    authority.server().write(folder, "server");
    std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    authority.client("ci").write(folder, "ci");
    authority.issue(&[dns("ci")], 2021).write(folder, "expired");
    Authority::new("others").client("ci").write(folder, "eve");
    format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}")
}

#[test]
fn versions_ciphers_and_curves() {
    for more in [
        "",
        "  min_version: TLS13\n",
        "  max_version: TLS12\n",
        // Go insists on this suite for HTTP/2.
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
        "  curve_preferences: [CurveP384]\n",
    ] {
        let folder = directory();
        let web = with_certificate(&folder, more);
        let both = Both::new(folder, &web);
        for arguments in [
            &["-tls1_3"][..],
            &["-tls1_2"],
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            &["-tls1_3", "-groups", "P-384"],
            &["-tls1_3", "-groups", "P-256"],
            &["-tls1_3", "-groups", "X25519"],
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        ] {
            let [ours, real] = handshakes(&both, arguments).map(|found| {
                // Which of several ciphers is chosen is up to the server.
                let chosen = arguments.iter().any(|argument| argument.starts_with("-cipher"));
                found.map(
                    |told| if chosen { told } else { told.split(',').next().unwrap().to_owned() },
                )
            });
            assert_eq!(ours, real, "{more} {arguments:?}");
        }
    }
}

#[test]
fn certificates_of_clients() {
    for (mode, ca) in [
        ("NoClientCert", false),
        ("RequestClientCert", false),
        ("RequireAnyClientCert", false),
        ("VerifyClientCertIfGiven", true),
        ("RequireAndVerifyClientCert", true),
    ] {
        let folder = directory();
        let ca = if ca { "  client_ca_file: ca.crt\n" } else { "" };
        let web = with_certificate(&folder, &format!("  client_auth_type: {mode}\n{ca}"));
        let both = Both::new(folder, &web);
        for shown in ["", "ci", "expired", "eve"] {
            let file =
                |ending: &str| both.folder.join(format!("{shown}.{ending}")).display().to_string();
            let (certificate, key) = (file("crt"), file("key"));
            let mut arguments = vec!["-tls1_2"];
            if !shown.is_empty() {
                arguments.extend(["-cert", &certificate, "-key", &key]);
            }
            let [ours, real] = handshakes(&both, &arguments);
            assert_eq!(ours.is_some(), real.is_some(), "{mode}: {shown:?}");
        }
    }
}
