//! The servers under load: started on a free port, observed through `/proc`, and stopped by their
//! process id.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Null,
    /// With state in memory only.
    Gateway,
    /// Every push is on disk before it is answered.
    Synced,
    /// In pushgateway mode, in memory.
    Groups,
    PushgatewayChecked,
    PushgatewayUnchecked,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Null => "null server",
            Kind::Gateway => "Tallygate",
            Kind::Synced => "Tallygate, synced",
            Kind::Groups => "Tallygate, pushgateway mode",
            Kind::PushgatewayChecked => "Pushgateway, check on",
            Kind::PushgatewayUnchecked => "Pushgateway, check off",
        }
    }
}

/// A running server, which is stopped when dropped.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
    /// Where it keeps its state, if anywhere.
    folder: Option<PathBuf>,
}

/// CPU time used so far, by thread, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    threads: BTreeMap<u32, u64>,
    /// For the whole process, including threads that have ended; counted in hundredths of a second.
    process: u64,
}

impl Target {
    /// Starts it and waits until it listens.
    pub(crate) fn start(kind: Kind) -> io::Result<Target> {
        Target::start_in(kind, None)
    }

    /// `kept` is a folder with the state of a Pushgateway.
    fn start_in(kind: Kind, kept: Option<PathBuf>) -> io::Result<Target> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let mut folder = None;
        let mut command = match kind {
            Kind::Null => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["null", &port.to_string()]);
                command
            }
            Kind::Gateway | Kind::Synced => {
                let mut command = Command::new(binary());
                command.arg(format!("--web.listen-address={listen}"));
                command.arg("--limits.series=0");
                if kind == Kind::Synced {
                    let path = std::env::current_dir()?.join(format!("target/tmp/load-{port}"));
                    command.arg(format!("--store.path={}", path.display()));
                    command.arg("--store.ack=synced");
                    folder = Some(path);
                } else if has_store() {
                    command.arg("--store.path=");
                }
                command
            }
            Kind::Groups => {
                let mut command = Command::new(binary());
                command.args(["--mode=pushgateway", "--limits.series=0"]);
                command.arg(format!("--web.listen-address={listen}"));
                command
            }
            Kind::PushgatewayChecked | Kind::PushgatewayUnchecked => {
                let path = match kept {
                    Some(path) => path,
                    None => std::env::current_dir()?.join(format!("target/tmp/load-{port}")),
                };
                fs::create_dir_all(&path)?;
                let mut command = Command::new("prometheus-pushgateway");
                command.arg(format!("--web.listen-address={listen}"));
                // Debian's has a file below /var unless told otherwise.
                command.arg(format!("--persistence.file={}", path.join("groups").display()));
                command.arg("--persistence.interval=24h");
                command.arg("--web.enable-lifecycle");
                folder = Some(path);
                if kind == Kind::PushgatewayUnchecked {
                    command.arg("--push.disable-consistency-check");
                }
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut target = Target { kind, address, child, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || target.child.try_wait()?.is_some() {
                return Err(io::Error::other(format!("{} does not start", kind.word())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(target)
    }

    /// Restarts a Pushgateway with the same state, and with its check.
    ///
    /// # Errors
    /// If it does not stop or start.
    pub(crate) fn with_check(mut self) -> io::Result<Target> {
        let quit = b"PUT /-/quit HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n";
        crate::client::fetch(self.address, quit, false)?;
        self.child.wait()?;
        Target::start_in(Kind::PushgatewayChecked, self.folder.take())
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(self.proc("task")).into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            let used = fs::read_to_string(entry.path().join("schedstat")).ok();
            let used = used.and_then(|used| used.split(' ').next()?.parse().ok());
            if let Some((id, used)) = id.zip(used) {
                threads.insert(id, used);
            }
        }
        Cpu { threads, process: self.ticks() * 10_000_000 }
    }

    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times = fields.split_whitespace().skip(11).take(2);
        times.filter_map(|time| time.parse::<u64>().ok()).sum()
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Cpu {
    /// Nanoseconds used since `before`: from the threads, which is precise, unless one of them has
    /// ended.
    pub(crate) fn since(&self, before: &Cpu) -> u64 {
        let ended = before.threads.keys().any(|id| !self.threads.contains_key(id));
        if ended || self.threads.is_empty() {
            return self.process - before.process;
        }
        let used = |cpu: &Cpu| cpu.threads.values().sum::<u64>();
        used(self) - used(before)
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether the gateway can keep its state on disk.
pub(crate) fn has_store() -> bool {
    let help = Command::new(binary()).arg("--help").output();
    help.is_ok_and(|help| memchr::memmem::find(&help.stdout, b"--store.ack").is_some())
}

fn binary() -> String {
    std::env::var("TALLYGATE").unwrap_or_else(|_| "target/release/tallygate".to_owned())
}
