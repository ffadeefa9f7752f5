//! Which numbers of a sequence were seen: the highest one, and a bit for each of the 128 up to it, like the
//! anti-replay window of IPsec (RFC 4303). Gaps are fine. Below the window, nothing is known.

/// How many numbers a window remembers one by one.
pub const WINDOW: u64 = 128;

/// Which of the last [`WINDOW`] numbers were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    high: u64,
    /// Bit `n` stands for `high - n`; bit 0 is always set.
    seen: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    New,
    Seen,
    /// Too far below the highest number to tell.
    Below,
}

impl Window {
    pub(super) fn starting_at(number: u64) -> Window {
        Window { high: number, seen: 1 }
    }

    /// `None` if no window can look like this.
    pub(super) fn from_parts(high: u64, seen: u128) -> Option<Window> {
        (seen & 1 == 1).then_some(Window { high, seen })
    }

    pub(super) fn parts(self) -> (u64, u128) {
        (self.high, self.seen)
    }

    pub(super) fn look(self, number: u64) -> Look {
        match self.high.checked_sub(number) {
            None => Look::New,
            Some(WINDOW..) => Look::Below,
            Some(below) if self.seen >> below & 1 == 1 => Look::Seen,
            Some(_) => Look::New,
        }
    }

    /// A number below the window changes nothing.
    pub(super) fn add(&mut self, number: u64) {
        match number.checked_sub(self.high) {
            Some(ahead @ 1..WINDOW) => self.seen = self.seen << ahead | 1,
            Some(WINDOW..) => self.seen = 1,
            Some(0) => {}
            None => {
                if let below @ ..WINDOW = self.high - number {
                    self.seen |= 1 << below;
                }
                return;
            }
        }
        self.high = number;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_window() {
        let mut window = Window::starting_at(200);
        window.add(73);
        assert_eq!(window.look(73), Look::Seen);
        assert_eq!(window.look(72), Look::Below);
        assert_eq!(window.look(74), Look::New);
        assert_eq!(window.look(201), Look::New);
        window.add(72);
        assert_eq!(window.look(72), Look::Below);
        window.add(u64::MAX);
        assert_eq!(window.look(u64::MAX), Look::Seen);
        assert_eq!(window.look(u64::MAX - 127), Look::New);
        assert_eq!(window.look(u64::MAX - 128), Look::Below);
        assert_eq!(window.look(0), Look::Below);
    }

    proptest! {
        /// Against the set of all numbers that were added.
        #[test]
        fn it_knows_what_a_set_knows(
            first in 0_u64..400,
            numbers in prop::collection::vec((0_u64..400, any::<bool>()), 0..200),
            base in prop_oneof![Just(0), Just(u64::MAX - 400), any::<u32>().prop_map(u64::from)],
        ) {
            let mut window = Window::starting_at(base + first);
            let mut all = BTreeSet::from([base + first]);
            for (number, add) in numbers {
                let number = base + number;
                let high = *all.last().unwrap();
                let expected = if number <= high && high - number >= WINDOW {
                    Look::Below
                } else if all.contains(&number) {
                    Look::Seen
                } else {
                    Look::New
                };
                prop_assert_eq!(window.look(number), expected);
                if add && expected != Look::Below {
                    window.add(number);
                    all.insert(number);
                }
                let (high, seen) = window.parts();
                prop_assert_eq!(Window::from_parts(high, seen), Some(window));
            }
        }
    }
}
