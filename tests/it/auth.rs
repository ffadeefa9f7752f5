//! Who may do what: every route with every role, labels that pushes are bound to, and changes to the
//! files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tallygate::telemetry::Handler;

use crate::harness::{
    Connection, Gateway, Request, Response, directory, eventually, flag, run, sample,
};
use crate::routes::{METHODS, TABLE};

/// The hash of `secret`, at the lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// With the hashes of `token-of-pusher`, `token-of-scraper`, …
const USERS: &str = "
users:
  pusher:
    token_sha256: PUSHER
    rights: [push]
  scraper:
    password_bcrypt: HASH
    token_sha256: SCRAPER
    rights: [scrape]
  admin:
    token_sha256: ADMIN
    rights: [admin]
  prober:
    token_sha256: PROBER
    rights: [probe]
  checkout:
    password_bcrypt: HASH
    token_sha256: CHECKOUT
    rights: [push]
    labels: {job: checkout, team: [a, b]}
  both:
    password_bcrypt: HASH
    rights: [push, scrape]
";

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn users() -> String {
    let mut users = USERS.replace("HASH", HASH);
    for name in ["pusher", "scraper", "admin", "prober", "checkout"] {
        users = users.replace(&name.to_uppercase(), &sha256(&token(name)));
    }
    users
}

fn token(name: &str) -> String {
    format!("token-of-{name}")
}

fn bearer(name: &str) -> String {
    format!("Bearer {}", token(name))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Both files, which tests change while the gateway runs.
struct Files(PathBuf);

impl Files {
    fn new(web: &str, users: Option<&str>) -> Files {
        let files = Files(directory());
        files.write("web.yml", web);
        if let Some(users) = users {
            files.write("users.yml", users);
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Replaces the file atomically, as anybody should.
    fn write(&self, name: &str, text: &str) {
        let new = self.0.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.0.join(name)).unwrap();
    }

    fn run(&self, flags: &[&str]) -> Gateway {
        let mut start = flag(&format!("--web.config.file={}", self.path("web.yml")));
        if self.0.join("users.yml").exists() {
            start = start.flag(&format!("--auth.file={}", self.path("users.yml")));
        }
        let mut gateway = flags.iter().fold(start, |start, flag| start.flag(flag)).run();
        gateway.last_scrape(None);
        gateway.expect_log("request refused for who sent it");
        gateway
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn with(request: Request, credentials: Option<&str>) -> Request {
    match credentials {
        Some(credentials) => request.header("Authorization", credentials),
        None => request,
    }
}

fn push(gateway: &Gateway, credentials: &str, path: &str, body: &str) -> Response {
    let request = gateway.request("POST", path).body(body);
    with(request, Some(credentials)).send()
}

fn sums(gateway: &Gateway) -> String {
    let request = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper")));
    let text = request.send().text();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("tally"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The right that a request needs, written down independently of the code.
fn right(method: &str, path: &str, status: &str) -> &'static str {
    let path = path.split('?').next().unwrap().trim_start_matches('/');
    match method {
        _ if matches!(status, "404" | "405") || method == "OPTIONS" => "probe",
        _ if matches!(path, "-/healthy" | "-/ready") => "probe",
        "DELETE" if path == "api/v1/series" => "admin",
        _ if matches!(path, "-/quit" | "-/reload" | "api/v1/admin/wipe") => "admin",
        "POST" | "PUT" | "DELETE" => "push",
        _ => "scrape",
    }
}

/// A role: its name, its credentials, and its rights, or `None` for unknown users.
type Role = (&'static str, Option<String>, Option<&'static [&'static str]>);

fn roles() -> Vec<Role> {
    vec![
        ("nobody", None, None),
        ("wrong password", Some(basic("scraper", "Secret")), None),
        ("unknown user", Some(basic("eve", "secret")), None),
        ("wrong token", Some(bearer("eve")), None),
        ("another scheme", Some("Digest abc".to_owned()), None),
        (
            "of the web file",
            Some(basic("root", "secret")),
            Some(&["push", "scrape", "admin", "probe"]),
        ),
        ("pusher", Some(bearer("pusher")), Some(&["push", "probe"])),
        ("scraper", Some(bearer("scraper")), Some(&["scrape", "probe"])),
        ("scraper by password", Some(basic("scraper", "secret")), Some(&["scrape", "probe"])),
        ("admin", Some(bearer("admin")), Some(&["admin", "probe"])),
        ("prober", Some(bearer("prober")), Some(&["probe"])),
        ("both", Some(basic("both", "secret")), Some(&["push", "scrape", "probe"])),
    ]
}

/// While a password is checked, nobody reads the body.
#[test]
fn bodies_that_stall_behind_a_password_get_408() {
    let files = Files::new("", Some(&users()));
    let mut gateway = files.run(&["--web.read-body-timeout=300ms"]);
    gateway.expect_log("push refused");
    // A different sender each time, so that no password is known already.
    for (user, sent) in [("scraper", ""), ("checkout", ""), ("both", "a_")] {
        let path = "/metrics/job/checkout/team/a";
        let push = gateway.request("POST", path).body("a_total 1\n");
        let push = with(push, Some(&basic(user, "secret")));
        let mut connection = Connection::open(gateway.address);
        let started = Instant::now();
        connection.write([push.head_bytes(), sent.into()].concat());
        let expected = if user == "scraper" { 403 } else { 408 };
        assert_eq!(connection.read().status, expected, "{user}");
        assert!(connection.is_closed());
        assert!(started.elapsed() < Duration::from_secs(10), "{user}");
    }
}

/// What is remembered of a push to a path does not include the right to push there.
#[test]
fn known_pushes_of_another_sender() {
    let files = Files::new("", Some(&users()));
    let mut gateway = files.run(&[]);
    gateway.expect_log("push refused");
    let body = "a_total 1\n";
    for _ in 0..5 {
        for path in ["/metrics/job/other", "/metrics/job/checkout/team/a"] {
            assert_eq!(push(&gateway, &bearer("pusher"), path, body).status, 200);
        }
        let checkout = bearer("checkout");
        assert_eq!(push(&gateway, &checkout, "/metrics/job/other", body).status, 403);
        assert_eq!(push(&gateway, &checkout, "/metrics/job/checkout/team/a", body).status, 200);
        assert_eq!(push(&gateway, &bearer("scraper"), "/metrics/job/other", body).status, 403);
    }
    assert_eq!(sums(&gateway), "a_total{job=\"checkout\",team=\"a\"} 10\na_total{job=\"other\"} 5");
}

#[test]
fn every_route_with_every_role() {
    let files = Files::new(&format!("basic_auth_users: {{root: {HASH}}}\n"), Some(&users()));
    let mut gateway = files.run(&["--web.enable-admin-api", "--web.enable-lifecycle"]);
    gateway.expect_log("push refused");
    let mut tried = 0;
    for (path, statuses) in TABLE {
        for (method, status) in METHODS.into_iter().zip(statuses) {
            let needed = right(method, path, status);
            for (role, credentials, rights) in roles() {
                let answer = with(gateway.request(method, path), credentials.as_deref()).send();
                let expected = match (rights, *status) {
                    (None, _) => 401,
                    (Some(rights), _) if !rights.contains(&needed) => 403,
                    (_, "A") => 202,
                    (_, "A400") => 400,
                    (_, "L") => 200,
                    (_, status) => status.parse().unwrap(),
                };
                assert_eq!(answer.status, expected, "{role}: {method} {path}");
                check_refusal(method, needed, &answer);
                tried += 1;
            }
        }
    }
    assert!(tried > 2000, "{tried}");
    // The route that ends the process comes last.
    for (role, credentials, rights) in roles() {
        if rights.is_some_and(|rights| rights.contains(&"admin")) {
            continue;
        }
        let answer = with(gateway.request("PUT", "/-/quit"), credentials.as_deref()).send();
        assert_eq!(answer.status, if rights.is_some() { 403 } else { 401 }, "{role}");
    }
    every_handler_was_tried(&gateway);
    let log = gateway.log().join("\n");
    for secret in ["secret", "Secret", &token("pusher"), &sha256(&token("pusher")), HASH] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert_eq!(with(gateway.request("PUT", "/-/quit"), Some(&bearer("admin"))).send().status, 200);
    gateway.expect_log("stop requested");
    let line = gateway.await_log("stop requested over HTTP");
    assert!(line.contains("peer=127.0.0.1:") && line.contains("user=admin"), "{line}");
    assert_eq!(gateway.wait(), Some(0));
}

fn check_refusal(method: &str, needed: &str, answer: &Response) {
    let challenges: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| &**value)
        .collect();
    let expected: &[&str] = match answer.status {
        401 => &["Basic realm=\"tallygate\", charset=\"UTF-8\"", "Bearer realm=\"tallygate\""],
        _ => &[],
    };
    assert_eq!(challenges, expected);
    if answer.status == 403 && method != "HEAD" {
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(detail, format!("this user lacks the right {needed}"));
    }
}

/// A new route has a new handler, so it has to be added to the table.
fn every_handler_was_tried(gateway: &Gateway) {
    let request = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper")));
    let text = request.send().text();
    for handler in Handler::ALL {
        let sample =
            format!("tallygate_http_requests_total{{code=\"401\",handler=\"{}\"", handler.word());
        assert!(text.contains(&sample), "{} is not in the table of routes", handler.word());
    }
}

#[test]
fn without_users_everybody_may_do_everything() {
    let files = Files::new("rate_limit: {}\n", None);
    let mut gateway = files.run(&[]);
    gateway.last_scrape(Some("/metrics"));
    gateway.accept("/metrics/job/j", "a 1\n");
    // Credentials that are not needed do no harm.
    assert_eq!(push(&gateway, &basic("x", "y"), "/metrics/job/j", "a 1\n").status, 200);
    assert_eq!(gateway.sample("a{job=\"j\"}"), 2.0);
}

#[test]
fn a_file_of_users_without_any_lets_nobody_in() {
    let files = Files::new("", Some("anonymous: [probe]\n"));
    let gateway = files.run(&[]);
    assert_eq!(gateway.get("/-/healthy").status, 200);
    assert_eq!(gateway.get("/nothing").status, 404);
    assert_eq!(gateway.get("/metrics").status, 401);
    assert_eq!(gateway.push("/metrics/job/j", "a 1\n").status, 401);
}

#[test]
fn the_management_address_asks_nobody() {
    let files = Files::new("rate_limit: {interval: 1h, burst: 1}\n", Some(&users()));
    let gateway = files.run(&["--web.management-address=127.0.0.1:0"]);
    let at_management = |path: &str| Request::new(gateway.management(), "GET", path).send();
    for path in ["/-/healthy", "/-/ready", "/metrics", "/metrics"] {
        assert_eq!(at_management(path).status, 200, "{path}");
    }
    assert_eq!(at_management("/metrics/job/j").status, 404);
    assert_eq!(gateway.get("/-/healthy").status, 401);
    let management = format!("--web.management-address={}", gateway.management());
    let web = format!("--web.config.file={}", files.path("web.yml"));
    assert!(run(&["healthcheck", &management, &web]).status.success());
}

#[test]
fn the_health_check_needs_no_password() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    let listen = format!("--web.listen-address={}", gateway.address);
    let output = run(&["healthcheck", &listen]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("/-/healthy answers 401\n"));
}

#[test]
fn check_config_reads_the_other_files_too() {
    let files = Files::new("nonsense: 1\n", Some("users: {a: {rights: [pull]}}\n"));
    let flags = [
        format!("--web.config.file={}", files.path("web.yml")),
        format!("--auth.file={}", files.path("users.yml")),
    ];
    let check = || run(&["check-config", &flags[0], &flags[1]]);
    let output = check();
    assert_eq!(output.status.code(), Some(64));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("web.yml: unknown key nonsense"), "{errors}");
    assert!(errors.contains("users.yml: users.a.rights: \"pull\" is unknown"), "{errors}");
    files.write("web.yml", "");
    files.write("users.yml", &users());
    assert!(check().status.success());
}

#[test]
fn it_is_told_before_the_body_is_sent() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    let mut connection = Connection::open(gateway.address);
    let started = Instant::now();
    connection.write("POST /metrics/job/j HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(connection.read().status, 401);
    assert!(started.elapsed() < Duration::from_secs(10));
    // A small body is read and discarded, and the connection can be used again.
    let mut connection = Connection::open(gateway.address);
    let push = gateway.request("POST", "/metrics/job/j").body("a 1\n");
    assert_eq!(connection.send(&push).status, 401);
    assert_eq!(connection.send(&with(push, Some(&bearer("pusher")))).status, 200);
    assert_eq!(sums(&gateway), "a{job=\"j\"} 1");
}

#[test]
fn two_headers_are_one_too_many() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    let request = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper")));
    assert_eq!(with(request.clone(), Some(&bearer("eve"))).send().status, 401);
    assert_eq!(with(request, Some(&bearer("scraper"))).send().status, 401);
}

#[test]
fn refusals_are_counted_by_reason() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    for (credentials, path, times) in [
        (None, "/metrics", 1),
        (Some("Digest x".to_owned()), "/metrics", 2),
        (Some(basic("eve", "x")), "/metrics", 3),
        (Some(bearer("prober")), "/metrics", 4),
    ] {
        for _ in 0..times {
            with(gateway.request("GET", path), credentials.as_deref()).send();
        }
    }
    for _ in 0..5 {
        assert_eq!(push(&gateway, &bearer("checkout"), "/metrics/job/other", "a 1\n").status, 403);
    }
    let text = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper"))).send().text();
    for (reason, times) in
        [("missing", 1), ("malformed", 2), ("wrong", 3), ("right", 4), ("labels", 5)]
    {
        let line = format!("tallygate_auth_refusals_total{{reason=\"{reason}\"}} {times}\n");
        assert!(text.contains(&line), "{line}");
    }
    assert!(text.contains("tallygate_pushes_total{outcome=\"forbidden\"} 5\n"));
    let mut gateway = gateway;
    gateway.expect_log("push refused");
}

#[test]
fn pushes_are_bound_to_labels() {
    let files = Files::new("", Some(&users()));
    let mut gateway = files.run(&[]);
    gateway.expect_log("push refused");
    let mine = bearer("checkout");
    let body = "a{job=\"other\",team=\"z\",x=\"1\"} 1\n";
    assert_eq!(push(&gateway, &mine, "/metrics/job/checkout/team/a", body).status, 200);
    assert_eq!(
        push(&gateway, &mine, "/metrics/team/b/job/checkout/instance/i", "a 1\n").status,
        200
    );
    assert_eq!(
        push(&gateway, &mine, "/metrics/job@base64/Y2hlY2tvdXQ/team@base64/YQ==", body).status,
        200
    );
    assert_eq!(
        push(&gateway, &basic("checkout", "secret"), "/metrics/job/checkout/team/a", body).status,
        200
    );
    assert_eq!(push(&gateway, &mine, "/metrics/job/checkout/U__team/a", body).status, 200);
    let before = sums(&gateway);
    assert_eq!(
        before,
        "a{instance=\"i\",job=\"checkout\",team=\"b\"} 1\na{job=\"checkout\",team=\"a\",x=\"1\"} 4"
    );
    for (path, body) in [
        ("/metrics/job/other/team/a", "a 1\n"),
        ("/metrics/job/checkout/team/c", "a 1\n"),
        ("/metrics/job/checkout", "a 1\n"),
        ("/metrics/job/checkout", "a{team=\"a\"} 1\n"),
        ("/metrics/team/a", "a{job=\"checkout\"} 1\n"),
        ("/metrics", "a{job=\"checkout\",team=\"a\"} 1\n"),
        ("/metrics/", "a 1\n"),
        // An empty value means no label, so the label could come from the body.
        ("/metrics/job/checkout/team/", "a{team=\"z\"} 1\n"),
        ("/metrics/job@base64/=/team/a", "a{job=\"other\"} 1\n"),
        ("/metrics/job/checkout/team/A", "a 1\n"),
        ("/metrics/job/checkout%20/team/a", "a 1\n"),
        // The first of two jobs counts, but the last of two other labels.
        ("/metrics/job/other/job/checkout/team/a", "a 1\n"),
        ("/metrics/job/checkout/team/a/team/z", "a 1\n"),
    ] {
        let answer = push(&gateway, &mine, path, body);
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        if path.len() > "/metrics/".len() {
            let delete = with(gateway.request("DELETE", path), Some(&mine)).send();
            assert_eq!(delete.status, 403, "DELETE {path}");
        }
        assert_eq!(sums(&gateway), before, "{path}");
    }
    let answer = push(&gateway, &mine, "/metrics/job/other/team/a", "a 1\n");
    assert_eq!(answer.json()["detail"], "label job is \"other\", but may only be checkout");
    let answer = push(&gateway, &mine, "/metrics/job/checkout", "a 1\n");
    assert_eq!(answer.json()["detail"], "the path must have the label team with the value a or b");
    // Malformed requests still get 400.
    assert_eq!(push(&gateway, &mine, "/metrics/job/checkout/team", "a 1\n").status, 400);
    assert_eq!(push(&gateway, &mine, "/metrics/job/checkout/team/a", "nonsense{\n").status, 400);
    // Other users are not bound.
    assert_eq!(push(&gateway, &bearer("pusher"), "/metrics/job/other", "a 1\n").status, 200);
    let delete =
        with(gateway.request("DELETE", "/metrics/team/a/job/checkout"), Some(&mine)).send();
    assert_eq!(delete.status, 202);
    assert_eq!(
        sums(&gateway),
        "a{instance=\"i\",job=\"checkout\",team=\"b\"} 1\na{job=\"other\"} 1"
    );
}

/// Keys are separate per user: nobody can use up the keys of others, or find out about them.
#[test]
fn idempotency_keys_belong_to_users() {
    let files = Files::new(&format!("basic_auth_users: {{root: {HASH}}}\n"), Some(&users()));
    let gateway = files.run(&[]);
    for (credentials, replayed) in [
        (bearer("pusher"), None),
        (bearer("pusher"), Some("?1")),
        (basic("root", "secret"), None),
        (basic("both", "secret"), None),
        (basic("both", "secret"), Some("?1")),
    ] {
        let request = gateway.request("POST", "/metrics/job/j").body("a 1\n");
        let request = request.header("Idempotency-Key", "\"the same\"");
        let answer = with(request, Some(&credentials)).send();
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (200, replayed));
    }
    assert_eq!(sums(&gateway), "a{job=\"j\"} 3");
}

/// Rules of the operator may remove a label, but must not let a sender choose another value.
#[test]
fn rules_do_not_loosen_what_binds() {
    let files = Files::new("", Some(&users()));
    let rules = "rules:\n\
        - match: '{job=\"checkout\",as!=\"\"}'\n  rename_labels: {as: job}\n\
        - match: 'dropped'\n  drop: true\n\
        - match: 'shared'\n  drop_labels: [job, team]\n";
    files.write("tallygate.yaml", rules);
    let config = format!("--config.file={}", files.path("tallygate.yaml"));
    let mut gateway = files.run(&[&config]);
    gateway.expect_log("push refused");
    let mine = bearer("checkout");
    let path = "/metrics/job/checkout/team/a";
    let answer = push(&gateway, &mine, path, "b 1\na{as=\"other\"} 1\n");
    assert_eq!(answer.status, 403);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(
        detail,
        "after the rules of this gateway, label job is \"other\", but may only be checkout"
    );
    assert_eq!(sums(&gateway), "", "it is refused whole");
    assert_eq!(push(&gateway, &mine, path, "a{as=\"checkout\"} 1\n").status, 200);
    assert_eq!(push(&gateway, &mine, path, "dropped{as=\"other\"} 1\nshared 1\n").status, 200);
    assert_eq!(push(&gateway, &bearer("pusher"), path, "a{as=\"other\"} 1\n").status, 200);
    assert_eq!(
        sums(&gateway),
        "a{job=\"checkout\",team=\"a\"} 1\na{job=\"other\",team=\"a\"} 1\nshared 1"
    );
}

#[test]
fn headers_stand_on_every_answer() {
    let files = Files::new(
        &format!(
            "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    \
             Strict-Transport-Security: max-age=60\n    X-Content-Type-Options: nosniff\n\
             basic_auth_users: {{root: {HASH}}}\n"
        ),
        None,
    );
    let gateway = files.run(&[]);
    for (method, path, credentials, status) in [
        ("GET", "/metrics", Some("secret"), 200),
        ("POST", "/metrics/job/j", Some("secret"), 200),
        ("GET", "/nothing", Some("secret"), 404),
        ("PATCH", "/metrics", Some("secret"), 405),
        ("GET", "/metrics", Some("wrong"), 401),
        ("GET", "/metrics", None, 401),
    ] {
        let credentials = credentials.map(|password| basic("root", password));
        let answer = with(gateway.request(method, path), credentials.as_deref()).send();
        assert_eq!(answer.status, status);
        for (name, value) in [
            ("x-frame-options", "deny"),
            ("strict-transport-security", "max-age=60"),
            ("x-content-type-options", "nosniff"),
        ] {
            let values: Vec<_> = answer.headers.iter().filter(|(other, _)| other == name).collect();
            assert_eq!(values.len(), 1, "{method} {path}: {name}");
            assert_eq!(values[0].1, value, "{method} {path}");
        }
    }
}

#[test]
fn a_rate_limit_comes_before_everything() {
    let files = Files::new("rate_limit: {interval: 1h, burst: 3}\n", Some(&users()));
    let gateway = files.run(&[]);
    for status in [200, 401, 200, 429, 429] {
        let credentials = if status == 401 { None } else { Some(bearer("scraper")) };
        let answer = with(gateway.request("GET", "/-/ready"), credentials.as_deref()).send();
        assert_eq!(answer.status, status);
        let wait = answer.header("retry-after").map(|wait| wait.parse::<u32>().unwrap());
        assert_eq!(wait.is_some(), status == 429);
        assert!(wait.is_none_or(|wait| (3500..=3601).contains(&wait)), "{wait:?}");
    }
    // It can change while running.
    files.write("web.yml", "rate_limit: {interval: 1ms, burst: 100}\n");
    eventually("the new limit", || {
        let answer = with(gateway.request("GET", "/-/ready"), Some(&bearer("scraper"))).send();
        (answer.status == 200).then_some(())
    });
}

#[test]
fn users_come_and_go_while_it_runs() {
    let files = Files::new("", Some(&users()));
    let mut gateway = files.run(&["--web.enable-lifecycle"]);
    let status = |gateway: &Gateway, credentials: &str| {
        with(gateway.request("GET", "/metrics"), Some(credentials)).send().status
    };
    assert_eq!(status(&gateway, &basic("scraper", "secret")), 200);
    assert_eq!(status(&gateway, &basic("root", "secret")), 401);

    files.write("web.yml", &format!("basic_auth_users: {{root: {HASH}}}\n"));
    eventually("a new user", || (status(&gateway, &basic("root", "secret")) == 200).then_some(()));

    // A user is removed, whose credentials were right a moment ago.
    files.write("users.yml", &users().replace("  scraper:", "  renamed:"));
    eventually("a user is gone", || {
        (status(&gateway, &basic("scraper", "secret")) == 401).then_some(())
    });
    assert_eq!(status(&gateway, &bearer("scraper")), 200, "its token is the renamed one's");

    // A file that cannot be read changes nothing.
    for (name, text, reason) in [
        (
            "users.yml",
            "users: {root: {password_bcrypt: x, rights: [push]}}\n",
            "a bcrypt hash is expected",
        ),
        (
            "users.yml",
            &format!("users: {{root: {{password_bcrypt: {HASH}, rights: [push]}}}}\n"),
            "there are two users",
        ),
        ("users.yml", "nonsense: [\n", "it is not a table in YAML"),
        ("web.yml", "nonsense: 1\n", "unknown key nonsense"),
    ] {
        gateway.expect_log("web configuration and users not loaded");
        files.write(name, text);
        gateway.await_log(reason);
        assert_eq!(status(&gateway, &basic("root", "secret")), 200);
        assert_eq!(status(&gateway, &bearer("scraper")), 200);
        assert_eq!(status(&gateway, &basic("eve", "secret")), 401);
        let text = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper"))).send().text();
        assert!(text.contains("tallygate_web_config_last_reload_successful 0\n"));
        if name == "web.yml" {
            break;
        }
        files.write("users.yml", &users());
        eventually("it is right again", || {
            let request = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper")));
            request.send().text().contains("_reload_successful 1\n# ").then_some(())
        });
    }

    // `/-/reload` says what is wrong.
    gateway.expect_log("configuration");
    let reload = |gateway: &Gateway| {
        with(gateway.request("POST", "/-/reload"), Some(&bearer("admin"))).send()
    };
    let answer = reload(&gateway);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("unknown key nonsense"), "{}", answer.text());
    files.write("web.yml", "");
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(status(&gateway, &basic("root", "secret")), 401);
}

/// As with the real Pushgateway, in the mode that replaces it.
#[test]
fn in_pushgateway_mode_a_broken_file_breaks_everything() {
    let files = Files::new(&format!("basic_auth_users: {{root: {HASH}}}\n"), None);
    let mut gateway = files.run(&["--mode=pushgateway"]);
    gateway.expect_log("web configuration and users not loaded");
    let get = |path: &str, password: &str| {
        with(gateway.request("GET", path), Some(&basic("root", password))).send()
    };
    assert_eq!(get("/metrics", "secret").status, 200);
    let answer = get("/metrics", "wrong");
    assert_eq!((answer.status, answer.text().as_str()), (401, "wrong credentials\n"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    for (text, status) in [("nonsense: 1\n", 500), ("", 500), ("", 500)] {
        files.write("web.yml", text);
        eventually("the file is seen", || {
            (get("/metrics", "secret").status == status).then_some(())
        });
        for (path, password) in [("/-/healthy", "secret"), ("/metrics", "wrong"), ("/nothing", "x")]
        {
            let answer = get(path, password);
            assert_eq!(answer.status, status, "{path}");
            assert!(answer.text().starts_with("the web configuration file has become invalid"));
        }
    }
    files.write("web.yml", &format!("basic_auth_users: {{root: {HASH}}}\n"));
    eventually("it is right again", || (get("/metrics", "secret").status == 200).then_some(()));
    assert_eq!(get("/metrics", "wrong").status, 401);
}

#[test]
fn pushgateway_mode_has_the_same_rights_and_labels() {
    let files = Files::new("", Some(&users()));
    let mut gateway =
        files.run(&["--mode=pushgateway", "--web.enable-admin-api", "--web.enable-lifecycle"]);
    gateway.expect_log("push refused");
    for (method, path, needed, status) in [
        ("PUT", "/metrics/job/j", "push", 200),
        ("POST", "/metrics/job@base64/ag/a/b", "push", 200),
        ("DELETE", "/metrics/job/j", "push", 202),
        ("GET", "/metrics", "scrape", 200),
        ("GET", "/", "scrape", 200),
        ("GET", "/status", "scrape", 200),
        ("GET", "/api/v1/status", "scrape", 200),
        ("GET", "/api/v1/metrics", "scrape", 200),
        ("GET", "/static/nothing", "scrape", 404),
        ("PUT", "/api/v1/admin/wipe", "admin", 202),
        ("POST", "/-/reload", "admin", 200),
        ("GET", "/-/healthy", "probe", 200),
        ("GET", "/-/ready", "probe", 200),
        ("GET", "/-/quit", "probe", 405),
        ("OPTIONS", "/api/v1/metrics", "probe", 200),
        ("OPTIONS", "/metrics/job/j", "probe", 200),
        ("PATCH", "/metrics", "probe", 405),
        ("GET", "/nothing", "probe", 404),
    ] {
        for (role, credentials, rights) in roles() {
            if role == "of the web file" {
                continue;
            }
            let answer = with(gateway.request(method, path), credentials.as_deref()).send();
            let expected = match rights {
                None => 401,
                Some(rights) if rights.contains(&needed) => status,
                Some(_) => 403,
            };
            assert_eq!(answer.status, expected, "{role}: {method} {path}");
        }
    }
    let mine = bearer("checkout");
    for (path, status) in [
        ("/metrics/job/checkout/team/a", 200),
        ("/metrics/job@base64/Y2hlY2tvdXQ/team@base64/YQ", 200),
        ("/metrics/job/checkout%2Fteam/a", 200),
        ("/metrics/job/checkout/team/z/team/a", 200),
        ("/metrics/job/checkout", 403),
        ("/metrics/job/other/team/a", 403),
        ("/metrics/job/other/team/a/job/checkout", 403),
        ("/metrics/job/checkout/team/", 403),
        ("/metrics/job/checkout/team/a/team/z", 403),
        ("/metrics/job/checkout%2Fteam/z", 403),
    ] {
        for method in ["PUT", "POST", "DELETE"] {
            let request = gateway.request(method, path).body("a{job=\"other\",team=\"z\"} 1\n");
            let answer = with(request, Some(&mine)).send();
            let status = if method == "DELETE" && status == 200 { 202 } else { status };
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
    }
    let text = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper"))).send().text();
    assert!(!text.contains("job=\"other\"") && !text.contains("team=\"z\""), "{text}");
}

/// An editor may empty a file before it writes it.
#[test]
fn a_file_without_users_does_not_let_everybody_in() {
    let files = Files::new(&format!("basic_auth_users: {{root: {HASH}}}\n"), None);
    let mut gateway = files.run(&[]);
    gateway.expect_log("web configuration and users not loaded");
    for text in ["", "basic_auth_users: {}\n"] {
        files.write("web.yml", text);
        gateway.await_log("the last user cannot go while running");
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(gateway.get("/metrics").status, 401, "{text}");
    }
    let root = with(gateway.request("GET", "/metrics"), Some(&basic("root", "secret"))).send();
    assert_eq!(root.status, 200);
}

#[test]
fn a_file_with_a_token_may_change() {
    let files =
        Files::new("", Some("users: {ci: {token_file: ci-token, rights: [push, scrape]}}\n"));
    files.write("ci-token", "the-first-token-of-ci\n");
    let gateway = files.run(&[]);
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        with(gateway.request("GET", "/metrics"), Some(&bearer)).send().status
    };
    assert_eq!(status("the-first-token-of-ci"), 200);
    assert_eq!(status("the-next-token-of-ci!"), 401);
    files.write("ci-token", "the-next-token-of-ci!");
    eventually("the next token", || (status("the-next-token-of-ci!") == 200).then_some(()));
    assert_eq!(status("the-first-token-of-ci"), 401);
}

/// Strangers who guess passwords do not keep known users out.
#[test]
fn guesses_leave_room_for_others() {
    // A comparison takes about a quarter of a second.
    let slow = HASH.replacen("$04$", "$12$", 1);
    let users =
        users().replace(&format!("password_bcrypt: {HASH}"), &format!("password_bcrypt: {slow}"));
    let files = Files::new("", Some(&users));
    let gateway = files.run(&[]);
    let guesses = (0..80).map(|guess| {
        let credentials = basic("scraper", &guess.to_string());
        let mut connection = Connection::open(gateway.address);
        connection.write(with(gateway.request("GET", "/metrics"), Some(&credentials)).bytes());
        connection
    });
    let guesses: Vec<_> = guesses.collect();
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(push(&gateway, &bearer("pusher"), "/metrics/job/j", "a 1\n").status, 200);
    }
    // Waiting for all of them would take a quarter of a minute.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    // By now, 64 are waiting or were wrong; the others were turned away.
    let scrape = with(gateway.request("GET", "/metrics"), Some(&bearer("scraper")));
    eventually("too many guesses are turned away", || {
        let busy =
            sample(&scrape.clone().send().text(), "tallygate_auth_refusals_total{reason=\"busy\"}");
        (1.0..=16.0).contains(&busy?).then_some(())
    });
    drop(guesses);
}

#[test]
fn bad_files_end_the_start_before_a_port_is_bound() {
    let files = Files::new("", None);
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The port is taken: an attempt to bind it would show in the error.
    let listen = format!("--web.listen-address={}", listen.local_addr().unwrap());
    for (flag, text, reason) in [
        ("--web.config.file", "nonsense: 1\n", "unknown key nonsense"),
        ("--web.config.file", "basic_auth_users: {a: secret}\n", "a bcrypt hash is expected"),
        (
            "--web.config.file",
            "tls_server_config: {cert_file: gone, key_file: gone}\n",
            "cannot read",
        ),
        ("--web.config.file", "tls_server_config: {cert: x, key: y}\n", "certificate"),
        ("--auth.file", "users: {a: {rights: [push]}}\n", "nobody could be this user"),
    ] {
        files.write("bad.yml", text);
        let output = run(&[&listen, &format!("{flag}={}", files.path("bad.yml"))]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{text}");
        assert!(errors.contains(reason), "{errors}");
        assert!(!errors.contains("secret") && !errors.contains("in use"), "{errors}");
    }
    let output = run(&[&listen, &format!("--web.config.file={}", files.path("none.yml"))]);
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.yml: cannot read it"));
}

#[test]
fn each_user_has_keys_of_their_own() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    for (user, replayed) in
        [("pusher", None), ("pusher", Some("?1")), ("checkout", None), ("checkout", Some("?1"))]
    {
        let request = gateway.request("POST", "/metrics/job/checkout/team/a").body("a_total 1\n");
        let request = request.header("Authorization", &bearer(user));
        let response = request.header("Idempotency-Key", "k").send();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("idempotent-replayed"), replayed, "{user}");
    }
}

#[test]
fn the_tools_have_credentials_from_files_and_variables() {
    let files = Files::new("", Some(&users()));
    let gateway = files.run(&[]);
    files.write("token", &format!("{}\n", token("pusher")));
    files.write("password", "both:secret\n");
    files.write("wrong", "both:wrong\n");
    files.write("body", "a_total 1\n");
    let (url, body) = (gateway.url("/metrics/job/j"), files.path("body"));
    let bearer = format!("--bearer-token-file={}", files.path("token"));
    let basic = |file: &str| format!("--basic-auth-file={}", files.path(file));
    let (right, wrong) = (basic("password"), basic("wrong"));
    for (flag, variable, code, said) in [
        (Some(&*bearer), None, 0, ""),
        (Some(&*right), None, 0, ""),
        (None, Some(("TALLYGATE_BEARER_TOKEN", "token-of-pusher")), 0, ""),
        (None, Some(("TALLYGATE_BASIC_AUTH", "both:secret")), 0, ""),
        (Some(&*wrong), None, 1, "401 Unauthorized"),
        (None, None, 1, "401 Unauthorized"),
    ] {
        let mut command = crate::harness::binary();
        command.arg("push").args(flag).args([&url, &body]).envs(variable);
        let output = command.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flag:?} {variable:?}: {err}");
        assert!(
            err.contains(said) && !err.contains("secret") && !err.contains("token-of"),
            "{err}"
        );
    }
    let scraped = gateway.request("GET", "/metrics");
    let text = scraped.header("Authorization", &self::bearer("scraper")).send().text();
    assert_eq!(sample(&text, "a_total{job=\"j\"}"), Some(4.0));
}
