//! Requests of browsers for a page of another site, before and with a push (clients R17).

use crate::harness::{Gateway, Request, Response, flag, start};

const PAGE: &str = "https://app.example.org";

fn preflight(gateway: &Gateway, origin: &str, method: &str) -> Response {
    gateway
        .request("OPTIONS", "/metrics/job/j")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
        .send()
}

fn from(origin: &str, request: Request) -> Request {
    request.header("Origin", origin)
}

fn cors_headers(response: &Response) -> Vec<&str> {
    let names = response.headers.iter().map(|(name, _)| &**name);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[test]
fn by_default_no_page_is_let_in() {
    let gateway = start();
    let answer = preflight(&gateway, PAGE, "PUT");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("allow"), Some("DELETE, OPTIONS, POST, PUT"));
    assert!(cors_headers(&answer).is_empty());
    let push = from(PAGE, gateway.request("POST", "/metrics/job/j").body("a 1\n")).send();
    assert!(cors_headers(&push).is_empty());
    assert_eq!(push.header("vary"), None);
}

#[test]
fn named_pages_may_push_and_read() {
    let mut gateway =
        flag(&format!("--web.cors-allowed-origins=http://localhost:3000,{PAGE}")).run();
    gateway.expect_log("push refused");
    for method in ["POST", "PUT", "DELETE", "GET"] {
        let answer = preflight(&gateway, PAGE, method);
        assert_eq!((answer.status, answer.text().as_str()), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(methods.split(", ").any(|allowed| allowed == method), "{methods}");
        let allowed = answer.header("access-control-allow-headers").unwrap().to_lowercase();
        for header in [
            "authorization",
            "content-type",
            "content-encoding",
            "idempotency-key",
            "push-merge",
            "push-mode",
            "push-ttl",
            "push-time",
            "push-source",
            "push-epoch",
            "push-seq",
            "push-final",
        ] {
            assert!(allowed.split(", ").any(|name| name == header), "{header}: {allowed}");
        }
    }
    for (method, path, body, status) in [
        ("POST", "/metrics/job/j", "a 1\n", 200),
        ("POST", "/metrics/job/j", "nonsense{\n", 400),
        ("PUT", "/metrics/job", "", 400),
        ("GET", "/nothing", "", 404),
        ("PATCH", "/metrics", "", 405),
        ("GET", "/metrics", "", 200),
        ("DELETE", "/metrics/job/x", "", 202),
    ] {
        let answer = from(PAGE, gateway.request(method, path).body(body)).send();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{method} {path}");
        let varies = answer.headers.iter().filter(|(name, _)| name == "vary");
        assert!(varies.clone().any(|(_, value)| value == "Origin"), "{method} {path}");
    }
}

#[test]
fn other_pages_are_told_nothing() {
    let gateway = flag(&format!("--web.cors-allowed-origins={PAGE}")).run();
    for origin in [
        "https://evil.example.org",
        "https://app.example.org.evil",
        "null",
        "http://app.example.org",
        "",
    ] {
        let answer = preflight(&gateway, origin, "POST");
        assert_eq!(answer.status, 200, "{origin}: as any OPTIONS");
        assert!(cors_headers(&answer).is_empty(), "{origin}");
        // Otherwise, a cache could return the answer for another page.
        assert_eq!(answer.header("vary"), Some("Origin"));
        let push = from(origin, gateway.request("POST", "/metrics/job/j").body("a 1\n")).send();
        assert!(cors_headers(&push).is_empty(), "{origin}");
    }
    let answer = gateway.request("OPTIONS", "/metrics/job/j").header("Origin", PAGE).send();
    assert_eq!(answer.status, 200, "without a method it is no preflight");
}

#[test]
fn any_page_comes_without_credentials() {
    let gateway = flag("--web.cors-allowed-origins=*").run();
    for answer in [
        preflight(&gateway, PAGE, "POST"),
        from(PAGE, gateway.request("POST", "/metrics/job/j").body("a 1\n")).send(),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), None);
    }
}

#[test]
fn the_management_address_is_for_no_page() {
    let gateway =
        flag("--web.cors-allowed-origins=*").flag("--web.management-address=127.0.0.1:0").run();
    let answer = from(PAGE, Request::new(gateway.management(), "GET", "/metrics")).send();
    assert_eq!(answer.status, 200);
    assert!(cors_headers(&answer).is_empty());
}
