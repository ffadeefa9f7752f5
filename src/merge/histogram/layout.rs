//! Bucket bounds, which many series share.

use std::ops::Deref;

use triomphe::ThinArc;

/// Upper bounds, ascending, without `+Inf`; shared by the series of a family. One pointer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout(ThinArc<(), f64>);

impl Layout {
    /// Whether there is another reference to this list.
    pub fn is_shared(&self) -> bool {
        ThinArc::strong_count(&self.0) > 1
    }

    /// The index of this bound, searched from `from`; that of the `+Inf` bucket if it is not among the
    /// bounds.
    pub(super) fn slot(&self, from: usize, bound: f64) -> usize {
        let ahead = &self[from..];
        ahead.iter().position(|&other| other == bound).map_or(self.len(), |at| from + at)
    }
}

impl Deref for Layout {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0.slice
    }
}

impl From<&[f64]> for Layout {
    fn from(bounds: &[f64]) -> Layout {
        Layout(ThinArc::from_header_and_slice((), bounds))
    }
}

impl From<Vec<f64>> for Layout {
    fn from(bounds: Vec<f64>) -> Layout {
        Layout::from(&*bounds)
    }
}

impl Default for Layout {
    fn default() -> Layout {
        Layout::from(&[][..])
    }
}
