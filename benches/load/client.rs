//! The client: one thread, many connections, and a record of how long each request took.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

/// Appends the request with this number, head and body.
pub(crate) type Write = Rc<dyn Fn(u64, &mut Vec<u8>)>;

/// How much load to make, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// A new connection for each request.
    pub(crate) fresh: bool,
    /// The number of the first request.
    pub(crate) from: u64,
    /// Stop after this many requests, or after this time.
    pub(crate) count: u64,
    pub(crate) time: Duration,
    /// Requests per second over all connections; as fast as possible if `None`.
    pub(crate) rate: Option<f64>,
}

/// The result of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// CPU time of the client itself.
    pub(crate) busy_seconds: f64,
    /// Microseconds, ascending. With a rate, they count from when a request was due.
    pub(crate) latencies: Vec<u32>,
}

impl Outcome {
    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Milliseconds.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let at = (self.latencies.len() as f64 * q) as usize;
        let latency = self.latencies.get(at).or(self.latencies.last());
        f64::from(latency.copied().unwrap_or(0)) / 1000.0
    }
}

/// What the connections of one load share.
struct Shared {
    address: SocketAddr,
    load: Load,
    write: Write,
    next: Cell<u64>,
    started: Instant,
    latencies: RefCell<Vec<u32>>,
}

/// Sends requests until count or time has passed.
///
/// # Errors
/// If one of them is not answered with 2xx.
pub(crate) fn run(address: SocketAddr, load: Load, write: &Write) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(Shared {
        address,
        load,
        write: write.clone(),
        next: Cell::new(0),
        started: Instant::now(),
        latencies: RefCell::default(),
    });
    let busy = own_cpu();
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        let tasks: Vec<_> =
            (0..load.connections).map(|_| spawn_local(connection(shared.clone()))).collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        io::Result::Ok(())
    })?;
    let seconds = shared.started.elapsed().as_secs_f64();
    let mut latencies = shared.latencies.take();
    latencies.sort_unstable();
    Ok(Outcome { seconds, busy_seconds: own_cpu() - busy, latencies })
}

/// Seconds of CPU that this thread has used.
fn own_cpu() -> f64 {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    used.split(' ').next().and_then(|used| used.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

async fn connection(shared: Rc<Shared>) -> io::Result<()> {
    let load = shared.load;
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let mut stream = None;
    loop {
        let at = shared.next.get();
        if at >= load.count || shared.started.elapsed() >= load.time {
            return Ok(());
        }
        shared.next.set(at + 1);
        request.clear();
        (shared.write)(load.from + at, &mut request);
        let mut begun = Instant::now();
        if let Some(rate) = load.rate {
            let due = shared.started + Duration::from_secs_f64(at as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            // Not from now: the timer may wake a millisecond late, and waiting for a free connection is part
            // of what a stalled server costs.
            begun = due;
        }
        if load.fresh || stream.is_none() {
            let connected = TcpStream::connect(shared.address).await?;
            connected.set_nodelay(true)?;
            stream = Some(connected);
        }
        if let Some(stream) = &stream {
            send(stream, &request).await?;
            receive(stream, &mut answer, |_| {}).await?;
        }
        let took = begun.elapsed().as_micros();
        shared.latencies.borrow_mut().push(u32::try_from(took).unwrap_or(u32::MAX));
    }
}

/// Sends one request on a connection of its own. Returns the body of the answer.
pub(crate) fn fetch(address: SocketAddr, request: &[u8], keep: bool) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        send(&stream, request).await?;
        let (mut answer, mut body) = (Vec::new(), Vec::new());
        let keep = |piece: &[u8]| {
            if keep {
                body.extend_from_slice(piece);
            }
        };
        receive(&stream, &mut answer, keep).await?;
        Ok(body)
    })
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one answer, with a length or in chunks.
async fn receive(
    stream: &TcpStream,
    buffer: &mut Vec<u8>,
    mut body: impl FnMut(&[u8]),
) -> io::Result<()> {
    buffer.clear();
    let end = loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 2") {
        let rest = String::from_utf8_lossy(&buffer[end..]);
        return Err(io::Error::other(format!("{head}{rest}")));
    }
    buffer.drain(..end);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(mut left) = length.and_then(|length| length.parse::<usize>().ok()) {
        loop {
            let piece = left.min(buffer.len());
            body(&buffer[..piece]);
            left -= piece;
            buffer.clear();
            if left == 0 {
                return Ok(());
            }
            more(stream, buffer).await?;
        }
    }
    loop {
        let Some(line) = memchr::memmem::find(buffer, b"\r\n") else {
            more(stream, buffer).await?;
            continue;
        };
        let size = std::str::from_utf8(&buffer[..line]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(|| io::Error::other("no size of a chunk"))?;
        while buffer.len() < line + 2 + size + 2 {
            more(stream, buffer).await?;
        }
        body(&buffer[line + 2..line + 2 + size]);
        buffer.drain(..line + 2 + size + 2);
        if size == 0 {
            return Ok(());
        }
    }
}

async fn more(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    const PIECE: usize = 512 << 10;
    let start = buffer.len();
    // The answer to a push is short, but the pieces of a scrape are long.
    let room = if start == 0 { 4096 } else { PIECE };
    buffer.resize(start + room, 0);
    let read = loop {
        match stream.try_read(&mut buffer[start..]) {
            Ok(read) => break read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) => return Err(error),
        }
    };
    buffer.truncate(start + read);
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
