//! Failure words: the simplest judge, kept as the reference that a model has to beat and as a second voice.
//!
//! The stems come from the texts of errno, the names of syslog severities (RFC 5424, table 2) and the results of systemd units; none
//! was chosen by looking at a corpus of logs.

/// A word that begins with one of these speaks of failure.
const STEMS: [&str; 62] = [
    "abort",
    "alert",
    "bad",
    "broken",
    "bug",
    "cannot",
    "conflict",
    "coredump",
    "corrupt",
    "crash",
    "critical",
    "damage",
    "dead",
    "degrad",
    "denied",
    "die",
    "down",
    "emerg",
    "err",
    "exceed",
    "except",
    "exhaust",
    "expire",
    "fail",
    "fatal",
    "fault",
    "full",
    "halt",
    "hang",
    "hung",
    "illegal",
    "inconsisten",
    "insufficient",
    "interrupt",
    "invalid",
    "kill",
    "leak",
    "lockup",
    "lost",
    "miss",
    "oom",
    "oops",
    "overflow",
    "overheat",
    "overrun",
    "panic",
    "poison",
    "refused",
    "reject",
    "reset",
    "segfault",
    "shortage",
    "stale",
    "stall",
    "starv",
    "throttl",
    "timeout",
    "unable",
    "unavailable",
    "unexpected",
    "unreachable",
    "violation",
];
/// Before a failure word, at most two words away, these cancel it.
const NEGATIONS: [&str; 7] = ["0", "no", "not", "never", "non", "without", "zero"];
/// Anywhere in the line, these say that it is over.
const RECOVERIES: [&str; 6] = ["recovered", "recovery", "resolved", "restored", "cleared", "succeeded"];
/// That many different failure words are as sure as it gets.
const WORDS_ENOUGH: f64 = 3.0;

/// Counts failure words.
#[derive(Clone, Copy, Debug)]
pub struct Lexicon;

impl Lexicon {
    /// min(1, distinct failure words / 3); negated ones do not count.
    ///
    /// ```
    /// use verdict::Lexicon;
    /// assert!(Lexicon::score("fatal error: disk failed") == 1.0);
    /// assert_eq!(Lexicon::score("0 errors, no bad blocks"), 0.0);
    /// ```
    pub fn score(text: &str) -> f64 {
        let lower = text.to_ascii_lowercase();
        let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        if words.iter().any(|word| RECOVERIES.contains(word)) {
            return 0.0;
        }
        let mut stems = [false; STEMS.len()];
        for (at, word) in words.iter().enumerate() {
            let before = words.get(at.saturating_sub(2)..at).unwrap_or_default();
            if !before.iter().any(|word| NEGATIONS.contains(word)) {
                stems.iter_mut().zip(STEMS).for_each(|(found, stem)| *found |= word.starts_with(stem));
            }
        }
        let distinct = stems.iter().filter(|found| **found).count() as f64;
        (distinct / WORDS_ENOUGH).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_words_add_up_to_one() {
        assert_eq!(Lexicon::score("started"), 0.0);
        assert_eq!(Lexicon::score("error error errors"), 1.0 / 3.0);
        assert_eq!(Lexicon::score("panic: fatal error, halted"), 1.0);
    }

    #[test]
    fn negation_and_recovery_cancel() {
        assert_eq!(Lexicon::score("finished with 0 errors"), 0.0);
        assert_eq!(Lexicon::score("no medium error"), 0.0);
        assert_eq!(Lexicon::score("link failed, recovered"), 0.0);
        assert!(Lexicon::score("no route, connection refused") > 0.0);
    }

    #[test]
    fn stems_are_sorted_and_none_hides_another() {
        assert!(STEMS.is_sorted());
        assert!(STEMS.windows(2).all(|pair| !pair[1].starts_with(pair[0])));
    }
}
