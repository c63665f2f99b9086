//! Which sequence numbers came: the sliding window of IPsec's anti-replay service (RFC 4303, appendix A2), 64 wide.

/// How many numbers below the highest are remembered.
const WIDTH: u64 = u64::BITS as u64;

/// What a number was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The highest so far; so many numbers were left out before it.
    Ahead {
        /// Numbers between the last highest and this one.
        skipped: u64,
    },
    /// One that had been left out.
    Late,
    /// One that had come before, or so old that nobody knows.
    Repeated,
}

/// The numbers that came in one life of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceWindow {
    highest: u64,
    /// Bit n: number `highest - n` came.
    bits: u64,
}

impl SequenceWindow {
    /// The first number that is heard of a life; what was said before it is unknown, not missing.
    pub fn new(first: u64) -> Self {
        Self { highest: first, bits: 1 }
    }

    /// The highest number.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Takes a number.
    ///
    /// ```
    /// use heartbeat::{Seen, SequenceWindow};
    /// let mut window = SequenceWindow::new(5);
    /// assert_eq!(window.take(8), Seen::Ahead { skipped: 2 });
    /// assert_eq!(window.take(7), Seen::Late);
    /// assert_eq!(window.take(7), Seen::Repeated);
    /// ```
    pub fn take(&mut self, number: u64) -> Seen {
        if number > self.highest {
            let step = number - self.highest;
            self.bits = if step < WIDTH { self.bits << step | 1 } else { 1 };
            self.highest = number;
            return Seen::Ahead { skipped: step - 1 };
        }
        let back = self.highest - number;
        if back >= WIDTH || self.bits & (1 << back) != 0 {
            return Seen::Repeated;
        }
        self.bits |= 1 << back;
        Seen::Late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_that_forgets_what_lies_far_back(numbers in prop::collection::vec(prop_oneof![0_u64..200, Just(u64::MAX), Just(u64::MAX - 3)], 1..60)) {
            let mut window = SequenceWindow::new(numbers[0]);
            let mut came = std::collections::BTreeSet::from([numbers[0]]);
            for &number in &numbers[1..] {
                let highest = *came.last().expect("one");
                let expected = match number {
                    number if number > highest => Seen::Ahead { skipped: number - highest - 1 },
                    number if highest - number >= WIDTH || came.contains(&number) => Seen::Repeated,
                    // Below the first nothing is known to have been left out, but it had not come either.
                    _ => Seen::Late,
                };
                prop_assert_eq!(window.take(number), expected);
                came.insert(number);
                prop_assert_eq!(window.highest(), *came.last().expect("one"));
            }
        }
    }
}
