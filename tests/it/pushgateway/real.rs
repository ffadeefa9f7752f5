//! The real Pushgateway, as `tests/setup` has installed it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::harness::{Request, Stopped, eventually};

pub(crate) struct Real {
    _process: Stopped,
    pub(crate) address: SocketAddr,
}

/// Starts one with these flags and a free port. Debian's keeps groups in a file below `/var` unless
/// `--persistence.file` says otherwise.
#[track_caller]
pub(crate) fn start(flags: &[&str]) -> Real {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its number");
    drop(listener);
    let process = Command::new("prometheus-pushgateway")
        .arg(format!("--web.listen-address={address}"))
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("prometheus-pushgateway: {error}; run tests/setup first"));
    let real = Real { _process: Stopped(process), address };
    eventually("the real Pushgateway listens", || {
        std::net::TcpStream::connect(address).ok()?;
        (real.get("/-/ready").status == 200).then_some(())
    });
    real
}

impl Real {
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> crate::harness::Response {
        Request::new(self.address, "GET", path).send()
    }
}
