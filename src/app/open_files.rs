//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store, listeners, logs, and what else is no connection of a client.
const OTHER_FILES: u64 = 100;

/// Lifts the soft limit to the hard one. The soft one is often 1,024 for the sake of old programs, and
/// would be reached long before `limits.connections`: the store could then not begin a new file.
///
/// What there is to tell if `connections` do not fit even so.
pub(super) fn allow_for(connections: usize) -> Option<String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where the limit cannot be changed, it may still be large enough.
    let lifted = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if lifted { maximum } else { current };
    let allowed = allowed.filter(|&files| files < connections as u64 + OTHER_FILES)?;
    Some(format!(
        "the process may open {allowed} files, which is too few for {connections} connections: \
         raise its limit (ulimit -n, or LimitNOFILE of systemd), or lower limits.connections"
    ))
}
