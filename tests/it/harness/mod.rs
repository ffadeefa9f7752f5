//! The real binary on a port of its own, and what the tests use to talk to it and to check it.

mod body;
mod http;
mod outside;
mod tls;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use body::{Coding, Message, decoded, encoded, histogram, message, value};
pub(crate) use http::{Connection, Request, Response, matching};
pub(crate) use outside::{Stopped, client, prometheus, promtool_accepts, promtool_lint, run};
pub(crate) use tls::{Authority, Identity, TlsClient, dns};

/// A running gateway. Dropping it stops the process, and fails the test if the last exposition
/// cannot be read by promtool, or if there are warnings or errors in the log that the test did not
/// [`expect`](Gateway::expect_log).
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    management: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
    expected: Vec<String>,
    file: Option<PathBuf>,
    /// Its working directory, with its store.
    pub(crate) directory: Arc<Scratch>,
    /// Where to scrape in the end; `None` if a test has made that impossible.
    last_scrape: Option<String>,
}

/// How to start a gateway.
#[derive(Default)]
pub(crate) struct Start {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    file: Option<PathBuf>,
    directory: Option<Arc<Scratch>>,
    wrapper: Vec<String>,
}

/// Flags that all tests start with unless they override them: a free port, and no waiting.
const DEFAULTS: [&str; 3] =
    ["--web.listen-address=127.0.0.1:0", "--web.drain-delay=0s", "--web.workers=2"];

impl Start {
    pub(crate) fn flag(mut self, flag: &str) -> Start {
        self.arguments.push(flag.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this configuration file.
    pub(crate) fn config(mut self, yaml: &str) -> Start {
        let file = file("tallygate.yaml", yaml);
        self.arguments.push(format!("--config.file={}", file.display()));
        self.file = Some(file);
        self
    }

    /// In the directory of an earlier gateway, with its store.
    pub(crate) fn in_directory(mut self, directory: &Arc<Scratch>) -> Start {
        self.directory = Some(directory.clone());
        self
    }

    /// As an argument of another program, which must replace itself with the gateway.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Start {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn has(&self, flag: &str) -> bool {
        let (name, _) = flag.split_once('=').unwrap_or((flag, ""));
        self.arguments.iter().any(|argument| argument.split('=').next() == Some(name))
    }

    /// Just the process, which need not log anything.
    pub(crate) fn spawn(&self, directory: &Scratch) -> Child {
        let mut command = match &*self.wrapper {
            [] => binary(),
            [program, arguments @ ..] => {
                let mut command = unconfigured(program);
                command.args(arguments).arg(BINARY);
                command
            }
        };
        command.current_dir(&directory.0);
        command.args(DEFAULTS.iter().filter(|flag| !self.has(flag)));
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command.stderr(Stdio::piped()).stdin(Stdio::null());
        command.spawn().expect("the binary starts")
    }

    pub(crate) fn run(self) -> Gateway {
        let management = self.has("--web.management-address");
        let mut gateway = self.run_unready();
        // On a slow disk it may listen before the store is loaded.
        gateway.await_ready();
        if management {
            gateway.management = Some(gateway.await_address(true));
        }
        gateway
    }

    /// The same, but the gateway may still be loading its store.
    pub(crate) fn run_unready(self) -> Gateway {
        let directory = self.directory.clone().unwrap_or_else(|| Arc::new(Scratch::default()));
        let mut child = self.spawn(&directory);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let sink = log.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Gateway {
            child,
            address,
            management: None,
            log,
            expected: Vec::new(),
            file: self.file,
            directory,
            last_scrape: Some("/metrics".to_owned()),
        };
        gateway.address = gateway.await_address(false);
        gateway
    }
}

/// The binary under test, without configuration from the environment of the tests.
pub(crate) fn binary() -> Command {
    unconfigured(BINARY)
}

const BINARY: &str = env!("CARGO_BIN_EXE_tallygate");

fn unconfigured(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TALLYGATE__")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn start() -> Gateway {
    Start::default().run()
}

pub(crate) fn flag(flag: &str) -> Start {
    Start::default().flag(flag)
}

pub(crate) fn config(yaml: &str) -> Start {
    Start::default().config(yaml)
}

/// A directory of this test run, which is removed with its last user.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch(directory())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty directory of this test run.
pub(crate) fn directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("a directory below target/");
    directory
}

/// A file with this content, in a directory of its own.
pub(crate) fn file(name: &str, content: &str) -> PathBuf {
    let path = directory().join(name);
    std::fs::write(&path, content).expect("a file below target/");
    path
}

impl Gateway {
    /// Says that the test expects warnings or errors with this text.
    pub(crate) fn expect_log(&mut self, text: &str) -> &mut Gateway {
        self.expected.push(text.to_owned());
        self
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The address for probes and our own metrics.
    #[track_caller]
    pub(crate) fn management(&self) -> SocketAddr {
        self.management.expect("started with a management address")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains the text.
    #[track_caller]
    pub(crate) fn await_log(&self, text: &str) -> String {
        eventually(&format!("log line with {text:?}"), || {
            self.log().into_iter().find(|line| line.contains(text))
        })
    }

    #[track_caller]
    pub(crate) fn await_ready(&self) {
        eventually("the gateway is ready", || {
            let is_ready = |line: &String| line.ends_with("=ready") || line.contains("\"ready\"");
            self.log().iter().any(is_ready).then_some(())
        });
    }

    fn await_address(&mut self, management: bool) -> SocketAddr {
        eventually("the gateway listens", || {
            let log = self.log();
            assert!(self.is_running(), "it ended instead of listening");
            let line = log.iter().find(|line| {
                line.contains("listening") && line.contains("for management") == management
            })?;
            let from = line.split("address").nth(1)?.trim_start_matches(['=', '"', ':']);
            from.split([' ', '"']).next()?.parse().ok()
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let status = kill.arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself. Returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().unwrap()).code()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sets where to find the exposition for promtool in the end, if anywhere.
    pub(crate) fn last_scrape(&mut self, path: Option<&str>) {
        self.last_scrape = path.map(str::to_owned);
    }

    /// Changes the file that the gateway was started with. A reload must follow.
    pub(crate) fn rewrite_config(&self, yaml: &str) {
        let file = self.file.as_ref().expect("started with a file");
        std::fs::write(file, yaml).expect("write the file anew");
    }

    // === requests

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    pub(crate) fn push(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", path).body(body).send()
    }

    /// Pushes a body that must be accepted.
    #[track_caller]
    pub(crate) fn accept(&self, path: &str, body: impl AsRef<[u8]>) {
        self.accept_request(self.request("POST", path).body(body));
    }

    #[track_caller]
    pub(crate) fn accept_request(&self, request: Request) {
        let response = request.send();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.text(), "");
    }

    /// Pushes a body that must be refused, and checks that nothing has changed. Returns the problem
    /// document.
    #[track_caller]
    pub(crate) fn refuse(
        &mut self,
        path: &str,
        body: impl AsRef<[u8]>,
        status: u16,
    ) -> serde_json::Value {
        self.refuse_request(self.request("POST", path).body(body), status)
    }

    #[track_caller]
    pub(crate) fn refuse_request(&mut self, request: Request, status: u16) -> serde_json::Value {
        self.expect_log("push refused");
        let before = self.pushed();
        let response = request.send();
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.pushed(), before, "a refused push must change nothing");
        let problem = response.json();
        assert_eq!(problem["status"], status);
        problem
    }

    /// The exposition without our own metrics.
    pub(crate) fn pushed(&self) -> String {
        let text = self.get("/metrics").text();
        let own = text.find("# HELP tallygate_").expect("our own metrics are at the end");
        text[..own].to_owned()
    }

    /// The value of one sample of the exposition, by its text before the value.
    #[track_caller]
    pub(crate) fn sample(&self, name_and_labels: &str) -> f64 {
        let text = self.get("/metrics").text();
        sample(&text, name_and_labels).unwrap_or_else(|| panic!("no {name_and_labels} in {text}"))
    }
}

pub(crate) fn sample(text: &str, name_and_labels: &str) -> Option<f64> {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let scrape = self.last_scrape.take().filter(|_| !thread::panicking() && self.is_running());
        let exposition = scrape.map(|path| self.get(&path).text());
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(directory) = self.file.as_ref().and_then(|file| file.parent()) {
            let _ = std::fs::remove_dir_all(directory);
        }
        if let Some(exposition) = exposition {
            promtool_accepts(&exposition);
        }
        if thread::panicking() {
            eprintln!("log of the gateway:\n{}", self.log().join("\n"));
            return;
        }
        let is_loud = |line: &String| {
            let loud = ["level=warn", "level=error", "\"WARN\"", "\"ERROR\"", "panicked"];
            loud.iter().any(|word| line.contains(word))
        };
        for line in self.log().iter().filter(|line| is_loud(line)) {
            let expected = self.expected.iter().any(|text| line.contains(text));
            assert!(expected, "unexpected in the log: {line}");
        }
    }
}

/// Repeats the attempt until it returns something, for at most a minute.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
