//! Answers in the order of the requests, each once what it answers for is safe.

use std::collections::VecDeque;
use std::io::Write;

#[derive(Debug)]
enum Body {
    /// `200 OK` and nothing else: that to each message.
    Ok,
    Text(String),
}

#[derive(Debug)]
struct Answer {
    txnr: u32,
    /// It may go when so many records are safe.
    due: u64,
    body: Body,
}

/// Answers that wait.
///
/// ```
/// use syslog::relp::Answers;
///
/// let mut answers = Answers::default();
/// answers.ok(2, 1); // the first record of this connection
/// answers.ok(3, 2);
/// let mut bytes = Vec::new();
/// answers.take(1, &mut bytes);
/// assert_eq!((bytes.as_slice(), answers.len()), (&b"2 rsp 6 200 OK\n"[..], 1));
/// ```
#[derive(Debug, Default)]
pub struct Answers {
    waiting: VecDeque<Answer>,
}

impl Answers {
    /// The message of transaction `txnr` is taken once `due` records of the connection are safe.
    pub fn ok(&mut self, txnr: u32, due: u64) {
        self.waiting.push_back(Answer { txnr, due, body: Body::Ok });
    }

    /// Another answer, in its place among the others.
    pub fn text(&mut self, txnr: u32, due: u64, text: String) {
        self.waiting.push_back(Answer { txnr, due, body: Body::Text(text) });
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends the frames of all that may go when `safe` records are.
    pub fn take(&mut self, safe: u64, into: &mut Vec<u8>) {
        while self.waiting.front().is_some_and(|answer| answer.due <= safe)
            && let Some(answer) = self.waiting.pop_front()
        {
            let text = match &answer.body {
                Body::Ok => "200 OK",
                Body::Text(text) => text,
            };
            // Writing to a vector cannot fail.
            let _ = writeln!(into, "{} rsp {} {text}", answer.txnr, text.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever becomes safe when: answers come in the order of the requests, none before its record is safe, and none
        /// stays when all are.
        #[test]
        fn no_answer_is_early_out_of_order_or_forgotten(records in prop::collection::vec(0u64..3, 1..40), safe in prop::collection::vec(0u64..90, 0..20)) {
            let mut answers = Answers::default();
            let mut due = 0;
            let mut dues = Vec::new();
            for (n, more) in records.iter().enumerate() {
                due += more; // a message that was dropped by a limit adds none
                dues.push(due);
                answers.ok(n as u32 + 1, due);
            }
            let (mut highest, mut bytes) = (0, Vec::new());
            for safe in safe {
                highest = highest.max(safe);
                answers.take(safe, &mut bytes);
                let gone = records.len() - answers.len();
                prop_assert!(dues[..gone].iter().all(|due| *due <= highest));
                prop_assert!(dues.get(gone).is_none_or(|due| *due > safe));
            }
            answers.take(due, &mut bytes);
            prop_assert!(answers.is_empty());
            let expected: String = (1..=records.len()).map(|txnr| format!("{txnr} rsp 6 200 OK\n")).collect();
            prop_assert_eq!(String::from_utf8(bytes).expect("text"), expected);
        }
    }
}
