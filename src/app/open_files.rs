//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for the store, listeners and logs: everything but client connections.
const OTHER_FILES: u64 = 100;

/// Raises the soft limit to the hard one. The soft one is often 1,024 for the sake of old programs, and
/// would be reached long before `limits.connections`: then the store could not begin a new file.
///
/// Returns a warning if there is not enough room for `connections` even so.
pub(super) fn allow_for(connections: usize) -> Option<String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // A limit that cannot be raised may still be high enough.
    let lifted = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if lifted { maximum } else { current };
    let allowed = allowed.filter(|&files| files < connections as u64 + OTHER_FILES)?;
    Some(format!(
        "the process may open {allowed} files, which is too few for {connections} connections: \
         raise its limit (ulimit -n, or LimitNOFILE of systemd), or lower limits.connections"
    ))
}
