//! The page in a real browser: a headless Chromium, controlled by its driver.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Request, Scratch, Stopped, eventually};

/// A window with a profile of its own.
struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Stopped,
    _profile: Scratch,
}

impl Browser {
    fn open(url: &str) -> Browser {
        let profile = Scratch::default();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; run tests/setup first"));
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let port = lines
            .find_map(|line| {
                let line = line.ok()?;
                line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
            })
            .expect("it tells its port");
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=900,700",
            &format!("--user-data-dir={}", profile.0.display()),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let process = Stopped(process);
        let session = command(driver, "POST", "", &capabilities);
        let session = session["sessionId"].as_str().expect("an id").to_owned();
        let browser = Browser { driver, session, _process: process, _profile: profile };
        browser.post("url", &json!({ "url": url }));
        browser
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        command(self.driver, "POST", &format!("/{}/{what}", self.session), body)
    }

    /// The value of an expression in the page.
    fn value(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": format!("return {script}"), "args": []}))
    }

    /// The titles of the groups, once there are this many.
    #[track_caller]
    fn await_groups(&self, count: usize) -> Vec<String> {
        let titles = "Array.from(document.querySelectorAll('#groups > details > summary'), \
                      (one) => Array.from(one.querySelectorAll('.label'), (l) => l.innerText).join(' '))";
        eventually("the page shows the groups", || {
            let titles: Vec<String> = serde_json::from_value(self.value(titles)).expect("texts");
            (titles.len() == count).then_some(titles)
        })
    }

    fn click(&self, css: &str) {
        let find = json!({"using": "css selector", "value": css});
        let element = self.post("element", &find);
        let id = element.as_object().and_then(|one| one.values().next()?.as_str()).expect("an id");
        self.post(&format!("element/{id}/click"), &json!({}));
    }

    /// The messages on the console: errors of scripts, violations of the policy, failed loads.
    fn console(&self) -> Value {
        self.post("se/log", &json!({"type": "browser"}))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver stops its browser only on request.
        let path = format!("/session/{}", self.session);
        let _ = Request::new(self.driver, "DELETE", &path).send();
    }
}

#[track_caller]
fn command(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let request = Request::new(driver, method, &format!("/session{path}"));
    let response = request.header("Content-Type", "application/json").body(body.to_string()).send();
    let mut answer = response.json();
    assert_eq!(response.status, 200, "{path}: {answer}");
    answer["value"].take()
}

#[test]
fn a_group_is_deleted_by_its_button() {
    let gateway = super::start();
    gateway.accept("/metrics/job/kept", "# TYPE x gauge\nx{a=\"<b>1</b>\"} 1\n");
    // `/a"b` and `<script>alert(1)</script>`
    let odd = "/metrics/job@base64/L2EiYg/l@base64/PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg";
    gateway.accept(odd, "# HELP x <img src=x onerror=alert(1)>\n# TYPE x gauge\nx 2\n");

    let browser = Browser::open(&gateway.url("/"));
    let groups = browser.await_groups(2);
    let title = "job=\"/a\"b\" l=\"<script>alert(1)</script>\"";
    assert_eq!(groups, [title, "job=\"kept\""]);
    // Pushed content is shown as text in the details, too.
    browser.click("#groups > details:nth-child(1) > summary .label");
    let inner = "#groups > details:nth-child(1) > details:last-child";
    browser.click(&format!("{inner} > summary strong"));
    let text = eventually("the family is unfolded", || {
        let text = browser.value(&format!("document.querySelector('{inner} > .note')?.innerText"));
        text.as_str().map(str::to_owned)
    });
    assert_eq!(text, "<img src=x onerror=alert(1)>");
    assert_eq!(browser.value("document.querySelectorAll('main script, main img').length"), 0);

    browser.click("#groups > details:nth-child(1) > summary .delete");
    let question =
        Request::new(browser.driver, "GET", &format!("/session/{}/alert/text", browser.session));
    let question = question.send().json();
    let asked = "Delete all metrics of the group job=\"/a\"b\", l=\"<script>alert(1)</script>\"?";
    assert_eq!(question["value"], asked);
    browser.post("alert/accept", &json!({}));
    assert_eq!(browser.await_groups(1), ["job=\"kept\""]);
    let left = gateway.get("/api/v1/metrics").json();
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["data"][0]["labels"], json!({"job": "kept"}));

    browser.click("#show-status");
    let status = browser.value("document.querySelector('#status').innerText");
    assert!(status.as_str().is_some_and(|text| text.contains("web.enable-admin-api")), "{status}");
    assert_eq!(browser.console(), json!([]), "the console is silent");
}
