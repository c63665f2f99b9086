//! How long a destination that takes nothing is left alone: twice as long each time, up to a minute.

use std::time::Duration;

use schemas::{EventTime, alert::hex16};

/// The first pause.
const FIRST_MS: u64 = 500;
/// The longest pause of our own.
const LONGEST_MS: u64 = 60_000;
/// The longest pause that a destination may ask for.
const ASKED_MS_MAX: u64 = 3_600_000;

/// What a destination did to us lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patience {
    failures: u32,
    until: Option<EventTime>,
    /// The pause after a failure of which it is not known yet when it was over, and when the request began.
    fresh: Option<(i64, EventTime)>,
}

impl Patience {
    /// It took something.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It took nothing. Returns when it is tried again: after what it asked for, else after a pause that doubles, and that
    /// `name` moves by up to a quarter, so that not everybody comes back at once.
    pub fn failed(&mut self, now: EventTime, asked: Option<Duration>, name: &str) -> EventTime {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_MS.saturating_mul(1 << (self.failures - 1).min(20)).min(LONGEST_MS);
        let digits = hex16(format!("{name}\0{}", self.failures).as_bytes());
        let draw = u64::from_str_radix(digits.get(..4).unwrap_or("0"), 16).unwrap_or(0);
        let own = doubled - doubled / 4 + (doubled / 2) * draw / 0xFFFF;
        let asked = asked.map(|asked| u64::try_from(asked.as_millis()).unwrap_or(ASKED_MS_MAX).min(ASKED_MS_MAX));
        let pause = asked.unwrap_or(0).max(own);
        let pause_ms = i64::try_from(pause).unwrap_or(i64::MAX);
        let until = now.plus_millis(pause_ms);
        (self.until, self.fresh) = (Some(until), Some((pause_ms, now)));
        until
    }

    /// Time has come to `now`. A request that failed may have taken longer than the pause after it, so the pause begins when the
    /// clock is looked at again: else one that hangs would be asked again at once, and hold up whoever wants to stop.
    pub fn look(&mut self, now: EventTime) {
        if let Some((pause_ms, _)) = self.fresh.take_if(|(_, begun)| *begun < now) {
            self.until = Some(now.plus_millis(pause_ms));
        }
    }

    /// When it is tried again, if that is not yet.
    pub fn rests_until(&self, now: EventTime) -> Option<EventTime> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute_and_differ_by_name() {
        let now = EventTime::from_millis(1_000);
        let (mut patience, mut other) = (Patience::default(), Patience::default());
        let mut differs = false;
        for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let [pause, another] =
                [patience.failed(now, None, "chat"), other.failed(now, None, "mail")].map(|until| until.millis_since(now));
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(&pause), "{expected}: {pause}");
            differs |= pause != another;
        }
        assert!(differs);
        patience.succeeded();
        assert_eq!(patience.rests_until(now), None);
        assert!(patience.failed(now, None, "chat").millis_since(now) < 1_000);
    }

    #[test]
    fn a_pause_begins_when_the_request_is_over() {
        let begun = EventTime::from_millis(0);
        let mut patience = Patience::default();
        let pause_ms = patience.failed(begun, None, "chat").millis();
        patience.look(begun);
        assert_eq!(patience.rests_until(begun), Some(begun.plus_millis(pause_ms)));
        let over = begun.plus_millis(10_000);
        patience.look(over);
        assert_eq!(patience.rests_until(over), Some(over.plus_millis(pause_ms)));
        patience.look(over.plus_millis(1));
        assert_eq!(patience.rests_until(over.plus_millis(pause_ms)), None, "it is put off once");
    }

    #[test]
    fn what_is_asked_for_is_given_within_reason() {
        let now = EventTime::from_millis(0);
        let asked = |seconds| Patience::default().failed(now, Some(Duration::from_secs(seconds)), "chat").millis();
        assert_eq!((asked(30), asked(1_000_000)), (30_000, 3_600_000));
        assert!(asked(0) >= 375, "never at once");
        let mut patience = Patience::default();
        let until = patience.failed(now, Some(Duration::from_secs(5)), "chat");
        assert_eq!((patience.rests_until(now), patience.rests_until(until)), (Some(until), None));
    }
}
