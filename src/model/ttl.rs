//! How long a series lives after the last push that contained it (DESIGN 6).

use std::time::Duration;

/// Ordered by length: [`Ttl::Never`] is the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    After(Duration),
    #[default]
    Never,
}

impl Ttl {
    /// Zero means never.
    pub fn from_duration(ttl: Duration) -> Ttl {
        if ttl.is_zero() { Ttl::Never } else { Ttl::After(ttl) }
    }

    /// Zero if never.
    pub fn duration(self) -> Duration {
        match self {
            Ttl::After(ttl) => ttl,
            Ttl::Never => Duration::ZERO,
        }
    }

    /// Whole seconds, rounded up, so that a short time does not become never; zero if never.
    pub fn seconds(self) -> u32 {
        let ttl = self.duration();
        let up = u64::from(ttl.subsec_nanos() > 0);
        u32::try_from(ttl.as_secs().saturating_add(up)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_the_longest() {
        let hour = Ttl::from_duration(Duration::from_secs(3600));
        assert_eq!(Ttl::from_duration(Duration::ZERO), Ttl::Never);
        assert_eq!(hour.min(Ttl::Never), hour);
        assert_eq!(hour.duration(), Duration::from_secs(3600));
    }

    #[test]
    fn whole_seconds() {
        for (ttl, seconds) in [
            (Ttl::Never, 0),
            (Ttl::After(Duration::from_millis(1)), 1),
            (Ttl::After(Duration::from_millis(1001)), 2),
            (Ttl::After(Duration::from_secs(60)), 60),
            (Ttl::After(Duration::MAX), u32::MAX),
        ] {
            assert_eq!(ttl.seconds(), seconds, "{ttl:?}");
        }
    }
}
