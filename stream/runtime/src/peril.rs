//! Moments inside a call to a real bus at which a test lets its process die or stand still. Without feature `sim` there is
//! nobody to strike, and each place that names one compiles to nothing. (On the model bus every call is at risk by itself.)

/// A moment of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A batch is complete, and its transaction not begun.
    Begin,
    /// Every record of the transaction is on the brokers, and nothing else.
    Sent,
    /// The positions of the group are in the transaction too.
    Positioned,
    /// The transaction is committed, and nobody has been told.
    Committed,
}

impl Moment {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Begin, Self::Sent, Self::Positioned, Self::Committed];
}

#[cfg(feature = "sim")]
pub(crate) use at_risk::pass;
#[cfg(feature = "sim")]
pub use at_risk::strike_with;

#[cfg(not(feature = "sim"))]
pub(crate) const fn pass(_: Moment) {}

#[cfg(feature = "sim")]
mod at_risk {
    use std::cell::RefCell;

    use super::Moment;

    /// What happens to this thread at each moment.
    type Strike = Box<dyn FnMut(Moment)>;

    thread_local! {
        static STRIKE: RefCell<Option<Strike>> = const { RefCell::new(None) };
    }

    /// Whatever this thread runs from now on is in the hands of `strike`, which may sleep or unwind.
    pub fn strike_with(strike: Strike) {
        STRIKE.set(Some(strike));
    }

    /// A moment is here.
    pub(crate) fn pass(moment: Moment) {
        // Taken out while it strikes: if it unwinds, whoever clears up is not struck again.
        if let Some(mut strike) = STRIKE.take() {
            strike(moment);
            STRIKE.set(Some(strike));
        }
    }
}
