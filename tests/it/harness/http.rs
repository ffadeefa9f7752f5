//! An HTTP client that sends exactly what it is told.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request, built byte by byte.
#[derive(Clone)]
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Request {
        Request {
            address,
            method: method.to_owned(),
            path: path.to_owned(),
            version: "1.1",
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends the body in chunks, without a length.
    pub(crate) fn chunked(mut self) -> Request {
        self.chunked = true;
        self
    }

    /// Speaks HTTP/1.0.
    pub(crate) fn http10(mut self) -> Request {
        self.version = "1.0";
        self
    }

    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/{}\r\nHost: localhost\r\n", self.method, self.path, self.version);
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

    pub(crate) fn bytes(&self) -> Vec<u8> {
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
    pub(crate) fn send(self) -> Response {
        Connection::open(self.address).send(&self)
    }
}

/// A query with these selectors.
pub(crate) fn matching(selectors: &[&str]) -> String {
    let pairs = selectors.iter().map(|selector| ("match[]", selector));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A connection that can be kept, stalled or broken at will.
pub(crate) struct Connection<S = TcpStream>(BufReader<S>);

impl Connection {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Connection {
        Connection::over(TcpStream::connect(address).expect("the gateway listens"))
    }

    pub(crate) fn over(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection::of(stream)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn of(stream: S) -> Connection<S> {
        Connection(BufReader::new(stream))
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The peer may have answered and closed already; reading will show that.
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    #[track_caller]
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.write(request.bytes());
        if request.method == "HEAD" { self.read_head().expect("an answer") } else { self.read() }
    }

    #[track_caller]
    pub(crate) fn read(&mut self) -> Response {
        self.try_read().expect("an answer")
    }

    /// Fails if the peer has closed, before or in the middle of the answer.
    pub(crate) fn try_read(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        if response.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut response.body)?;
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().expect("a length")];
            self.0.read_exact(&mut response.body)?;
        } else if response.status >= 200 && response.status != 204 {
            self.0.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads the answer without its body.
    pub(crate) fn read_head(&mut self) -> io::Result<Response> {
        let mut status_line = String::new();
        if self.0.read_line(&mut status_line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
        Ok(Response { status, headers, body: Vec::new() })
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut size = String::new();
            self.0.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads until the peer closes the connection. Returns what arrived even if it was reset.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }

    /// Whether the peer has closed the connection; waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    #[track_caller]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
