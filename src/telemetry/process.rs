//! Figures of our own process from `/proc`, where there is one.

use std::fs;

/// What is known about this process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
}

/// Clock ticks per second in `/proc/self/stat`; fixed for user space on Linux (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    pub(super) fn read() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let number: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(number * 1024.0)
        };
        Process {
            cpu_seconds: cpu_seconds(),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            // The directory handle that counts them is one of them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as f64 - 1.0),
            max_fds: max_fds(),
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name, is in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some_and(|s| s >= 0.0));
        assert!(process.resident_bytes.is_some_and(|b| b > 100_000.0));
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds.is_some_and(|n| n >= 3.0) && process.max_fds >= process.open_fds);
    }
}
