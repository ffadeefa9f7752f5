//! The real binary on a port of its own, and an HTTP client that sends exactly what it is told.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A running gateway. Dropping it stops the process and fails the test if it has logged warnings
/// or errors that the test did not [`expect`](Gateway::expect_log).
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    pub management: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
    expected: Vec<String>,
}

/// How to start one.
#[derive(Default)]
pub struct Start {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Start {
    pub fn flag(mut self, flag: &str) -> Start {
        self.arguments.push(flag.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn run(self) -> Gateway {
        let own_address = self.arguments.iter().any(|a| a.starts_with("--web.listen-address"));
        let mut command = binary();
        if !own_address {
            command.arg("--web.listen-address=127.0.0.1:0");
        }
        command.args(["--web.drain-delay=0s", "--web.workers=2"]);
        let mut child = command
            .args(&self.arguments)
            .envs(self.environment)
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let sink = log.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let management = self.arguments.iter().any(|a| a.starts_with("--web.management-address"));
        let mut gateway = Gateway {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            management: None,
            log,
            expected: Vec::new(),
        };
        gateway.address = gateway.await_address("message=listening ");
        if management {
            gateway.management =
                Some(gateway.await_address("message=\"listening for management\""));
        }
        gateway
    }
}

/// The binary under test, with no configuration from the environment of the tests.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TALLYGATE__")) {
        command.env_remove(name);
    }
    command
}

pub fn start() -> Gateway {
    Start::default().run()
}

pub fn flag(flag: &str) -> Start {
    Start::default().flag(flag)
}

impl Gateway {
    /// A warning or error that contains this text is part of the test.
    pub fn expect_log(&mut self, text: &str) -> &mut Gateway {
        self.expected.push(text.to_owned());
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains the text.
    #[track_caller]
    pub fn await_log(&self, text: &str) -> String {
        eventually(&format!("log line with {text:?}"), || {
            self.log().into_iter().find(|line| line.contains(text))
        })
    }

    fn await_address(&self, line: &str) -> SocketAddr {
        let line = self.await_log(line);
        let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        address.and_then(|address| address.parse().ok()).expect("an address in the log")
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself; its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().unwrap()).code()
    }

    // === requests

    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    pub fn push(&self, path: &str, body: &str) -> Response {
        self.request("POST", path).body(body).send()
    }

    /// Pushes what must be accepted.
    #[track_caller]
    pub fn accept(&self, path: &str, body: &str) {
        let response = self.push(path, body);
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Pushes what must be refused, and checks that nothing has changed; the problem document.
    #[track_caller]
    pub fn refuse(&mut self, path: &str, body: &str, status: u16) -> serde_json::Value {
        self.expect_log("push refused");
        let before = self.pushed();
        let response = self.push(path, body);
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.pushed(), before, "a refused push must change nothing");
        serde_json::from_slice(&response.body).expect("a problem document")
    }

    /// The exposition without our own metrics.
    pub fn pushed(&self) -> String {
        let text = self.get("/metrics").text();
        let own = text.find("# HELP tallygate_").expect("our own metrics are at the end");
        text[..own].to_owned()
    }

    /// The value of one sample of the exposition, by its text before the value.
    #[track_caller]
    pub fn sample(&self, name_and_labels: &str) -> f64 {
        let text = self.get("/metrics").text();
        sample(&text, name_and_labels).unwrap_or_else(|| panic!("no {name_and_labels} in {text}"))
    }
}

pub fn sample(text: &str, name_and_labels: &str) -> Option<f64> {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the gateway:\n{}", self.log().join("\n"));
            return;
        }
        let loud = |line: &String| line.contains("level=warn") || line.contains("level=error");
        for line in self.log().iter().filter(|line| loud(line) || line.contains("panicked")) {
            let expected = self.expected.iter().any(|text| line.contains(text));
            assert!(expected, "unexpected in the log: {line}");
        }
    }
}

/// Tries again until there is something, for at most 20 seconds.
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A request, built byte by byte.
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Request {
        Request {
            address,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends the body in chunks, without a length.
    pub fn chunked(mut self) -> Request {
        self.chunked = true;
        self
    }

    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else if !self.body.is_empty() || matches!(&*self.method, "POST" | "PUT") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        head.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes();
        if !self.chunked {
            bytes.extend_from_slice(&self.body);
            return bytes;
        }
        for chunk in self.body.chunks(1000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub fn send(self) -> Response {
        let mut connection = Connection::open(self.address);
        connection.write(&self.bytes());
        connection.read_response()
    }
}

/// A connection that can be kept, stalled or broken at will.
pub struct Connection(pub BufReader<TcpStream>);

impl Connection {
    #[track_caller]
    pub fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection(BufReader::new(stream))
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The peer may have answered and closed already; reading tells.
        let _ = self.0.get_mut().write_all(bytes);
    }

    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.try_read_response().expect("an answer")
    }

    pub fn try_read_response(&mut self) -> std::io::Result<Response> {
        let mut status_line = String::new();
        if self.0.read_line(&mut status_line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                self.0.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim(), 16)
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk)?;
                response.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().expect("a length")];
            self.0.read_exact(&mut response.body)?;
        }
        Ok(response)
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
