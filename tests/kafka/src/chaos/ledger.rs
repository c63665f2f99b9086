//! The books: what was written, what arrived on the bus, what came out of it, each exactly once or not.
//!
//! A line is known by its number, an output by the coordinates of its input. Both are counted, never compared as sets: a
//! record that is there twice must show. Order is kept too: lines of one file stay in order within a partition, and so do the
//! outputs of one input partition, whoever worked on it meanwhile.

use std::collections::BTreeMap;

/// Counts of every line, input and output that were seen.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: Vec<u8>,
    inputs: BTreeMap<u32, Vec<Seen>>,
    last_line: BTreeMap<(u32, usize), u64>,
    last_output: BTreeMap<(u32, u32), u64>,
    last_output_ms: BTreeMap<u32, i64>,
    files: usize,
    pauses: Vec<Pause>,
    verdict: Verdict,
}

/// A time without outputs of one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When the last output before it was stored, milliseconds since the epoch.
    pub from_ms: i64,
    /// When the first one after it was stored.
    pub to_ms: i64,
}

/// A shorter pause is the rhythm of commits.
const PAUSE_MS_MIN: i64 = 200;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    input: u8,
    outputs: u8,
}

/// What the books say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines written to the files.
    pub lines: u64,
    /// Records on the input topic.
    pub inputs: u64,
    /// Records on the output topic.
    pub outputs: u64,
    /// Lines that never arrived.
    pub lines_lost: u64,
    /// Arrivals beyond the first, all lines.
    pub lines_doubled: u64,
    /// Inputs without an output.
    pub outputs_lost: u64,
    /// Outputs beyond the first, all inputs.
    pub outputs_doubled: u64,
    /// Inputs that were no line of ours (an aborted record that shows), and outputs of no input.
    pub strange: u64,
    /// Lines or outputs that came before one that precedes them.
    pub disordered: u64,
    /// Records that a processor gave up.
    pub dead_letters: u64,
    /// The longest time between two outputs of one input partition.
    pub gap_ms_max: i64,
}

impl Verdict {
    /// Nothing lost, nothing doubled, nothing that should not be there, everything in order.
    pub fn is_clean(&self) -> bool {
        let wrongs = [
            self.lines_lost,
            self.lines_doubled,
            self.outputs_lost,
            self.outputs_doubled,
            self.strange,
            self.disordered,
            self.dead_letters,
        ];
        self.lines > 0 && wrongs.iter().all(|&wrong| wrong == 0)
    }
}

impl Ledger {
    /// Books for lines that were dealt to this many files in turn: number `n` went to file `n mod files`.
    pub fn new(files: usize) -> Self {
        Self { files: files.max(1), ..Self::default() }
    }

    /// A record on the input topic; `line` is the number that it carries, if it carries one.
    pub fn input(&mut self, partition: u32, offset: u64, line: Option<u64>) {
        self.verdict.inputs += 1;
        let seen = at(self.inputs.entry(partition).or_default(), offset);
        seen.input = seen.input.saturating_add(1);
        let Some(line) = line else {
            self.verdict.strange += 1;
            return;
        };
        let count = at(&mut self.lines, line);
        *count = count.saturating_add(1);
        let file = usize::try_from(line).unwrap_or(usize::MAX) % self.files;
        let last = self.last_line.insert((partition, file), line);
        self.verdict.disordered += u64::from(last.is_some_and(|last| last >= line));
    }

    /// A record on the output topic, in `partition`, of the input at these coordinates, stored at `appended_ms`.
    pub fn output(&mut self, partition: u32, input_partition: u32, input_offset: u64, appended_ms: i64) {
        self.verdict.outputs += 1;
        let seen = at(self.inputs.entry(input_partition).or_default(), input_offset);
        seen.outputs = seen.outputs.saturating_add(1);
        let last = self.last_output.insert((partition, input_partition), input_offset);
        self.verdict.disordered += u64::from(last.is_some_and(|last| last >= input_offset));
        if let Some(last_ms) = self.last_output_ms.insert(input_partition, appended_ms) {
            self.verdict.gap_ms_max = self.verdict.gap_ms_max.max(appended_ms - last_ms);
            if appended_ms - last_ms >= PAUSE_MS_MIN {
                self.pauses.push(Pause { from_ms: last_ms, to_ms: appended_ms });
            }
        }
    }

    /// The longest time without outputs of one partition that ended between these two times: what happened in them made it.
    pub fn longest_pause_ms(&self, from_ms: i64, to_ms: i64) -> i64 {
        let within = self.pauses.iter().filter(|pause| (from_ms..to_ms).contains(&pause.to_ms));
        within.map(|pause| pause.to_ms - pause.from_ms).max().unwrap_or(0)
    }

    /// A record that a processor gave up.
    pub fn dead_letter(&mut self) {
        self.verdict.dead_letters += 1;
    }

    /// The verdict, if the lines 0 to `written` − 1 were written.
    pub fn close(mut self, written: u64) -> Verdict {
        let known = usize::try_from(written).unwrap_or(usize::MAX);
        if self.lines.len() < known {
            self.lines.resize(known, 0);
        }
        let (ours, never_written) = self.lines.split_at(known);
        let verdict = &mut self.verdict;
        verdict.lines = written;
        verdict.lines_lost = ours.iter().filter(|&&count| count == 0).count() as u64;
        verdict.lines_doubled = ours.iter().map(|&count| u64::from(count.saturating_sub(1))).sum();
        verdict.strange += never_written.iter().map(|&count| u64::from(count)).sum::<u64>();
        for seen in self.inputs.values().flatten() {
            let (input, outputs) = (u64::from(seen.input), u64::from(seen.outputs));
            verdict.strange += if input == 0 { outputs } else { 0 };
            verdict.outputs_lost += u64::from(input > 0 && outputs == 0);
            verdict.outputs_doubled += if input > 0 { outputs.saturating_sub(1) } else { 0 };
        }
        self.verdict
    }
}

/// The entry at `index`, made if it is not there. Numbers and offsets are dense, so a vector is the smallest map of them.
fn at<T: Clone + Default>(entries: &mut Vec<T>, index: u64) -> &mut T {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if entries.len() <= index {
        entries.resize(index + 1, T::default());
    }
    &mut entries[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: u64 = 100;

    /// One made record of a clean run, in the order in which a reader meets them.
    #[derive(Clone, Copy)]
    enum Record {
        Input { partition: u32, offset: u64, line: Option<u64> },
        Output { partition: u32, input: (u32, u64), appended_ms: i64 },
        DeadLetter,
    }
    use Record::{DeadLetter, Input, Output};

    /// Two files, two partitions, offsets with gaps as control records leave them.
    fn clean() -> Vec<Record> {
        let place = |line: u64| ((line % 2) as u32, line / 2 + line / 20);
        let input = |line| Input { partition: place(line).0, offset: place(line).1, line: Some(line) };
        let output = |line| Output { partition: 5, input: place(line), appended_ms: 1_000 + 10 * line as i64 };
        (0..LINES).map(input).chain((0..LINES).map(output)).collect()
    }

    fn verdict(records: &[Record]) -> Verdict {
        let mut ledger = Ledger::new(2);
        for record in records {
            match *record {
                Input { partition, offset, line } => ledger.input(partition, offset, line),
                Output { partition, input, appended_ms } => ledger.output(partition, input.0, input.1, appended_ms),
                DeadLetter => ledger.dead_letter(),
            }
        }
        ledger.close(LINES)
    }

    /// The verdict on a run in which `spoil` changed something.
    fn spoilt(spoil: impl FnOnce(&mut Vec<Record>)) -> Verdict {
        let mut records = clean();
        spoil(&mut records);
        let verdict = verdict(&records);
        assert!(!verdict.is_clean(), "{verdict:?}");
        verdict
    }

    #[test]
    fn a_clean_run_is_clean_and_its_longest_gap_is_found() {
        let verdict = verdict(&clean());
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.lines, verdict.inputs, verdict.outputs, verdict.gap_ms_max), (LINES, LINES, LINES, 20));
    }

    #[test]
    fn a_pause_belongs_to_the_time_in_which_it_lay() {
        let mut ledger = Ledger::new(1);
        for (offset, appended_ms) in [1_000, 1_050, 4_050, 4_100, 9_100].into_iter().enumerate() {
            ledger.output(0, 0, offset as u64, appended_ms);
        }
        let pauses = [(0, 1_060), (2_000, 3_000), (3_000, 5_000), (5_000, 20_000)];
        assert_eq!(pauses.map(|(from_ms, to_ms)| ledger.longest_pause_ms(from_ms, to_ms)), [0, 0, 3_000, 5_000]);
    }

    #[test]
    fn a_run_of_nothing_is_not_clean() {
        assert!(!Ledger::new(2).close(0).is_clean());
    }

    #[test]
    fn a_lost_output_shows() {
        let verdict = spoilt(|records| {
            records.remove(150);
        });
        assert_eq!(verdict.outputs_lost, 1);
    }

    #[test]
    fn a_doubled_output_shows_and_so_does_its_order() {
        let verdict = spoilt(|records| records.push(records[150]));
        assert_eq!((verdict.outputs_doubled, verdict.disordered), (1, 1));
    }

    #[test]
    fn an_output_doubled_in_another_partition_shows() {
        let again = |record| match record {
            Output { input, appended_ms, .. } => Output { partition: 6, input, appended_ms },
            other => other,
        };
        assert_eq!(spoilt(|records| records.push(again(records[150]))).outputs_doubled, 1);
    }

    #[test]
    fn outputs_in_another_order_show() {
        let verdict = spoilt(|records| records.swap(150, 152));
        assert_eq!((verdict.disordered, verdict.outputs_lost, verdict.outputs_doubled), (1, 0, 0));
    }

    #[test]
    fn a_lost_line_shows_with_the_output_that_it_had() {
        let verdict = spoilt(|records| {
            records.remove(50);
        });
        assert_eq!((verdict.lines_lost, verdict.strange), (1, 1));
    }

    #[test]
    fn a_doubled_line_shows_though_it_has_an_offset_and_an_output_of_its_own() {
        let verdict = spoilt(|records| {
            records.insert(LINES as usize, Input { partition: 0, offset: 90, line: Some(98) });
            records.push(Output { partition: 5, input: (0, 90), appended_ms: 3_000 });
        });
        assert_eq!((verdict.lines_doubled, verdict.outputs_doubled, verdict.outputs_lost), (1, 0, 0));
    }

    #[test]
    fn an_aborted_record_that_shows_is_strange() {
        assert_eq!(spoilt(|records| records.push(Input { partition: 0, offset: 91, line: None })).strange, 1);
    }

    #[test]
    fn a_line_that_nobody_wrote_is_strange() {
        assert_eq!(spoilt(|records| records.push(Input { partition: 0, offset: 91, line: Some(LINES) })).strange, 1);
    }

    #[test]
    fn an_output_of_no_input_is_strange() {
        assert_eq!(spoilt(|records| records.push(Output { partition: 5, input: (0, 95), appended_ms: 3_000 })).strange, 1);
    }

    #[test]
    fn a_dead_letter_shows() {
        assert_eq!(spoilt(|records| records.push(DeadLetter)).dead_letters, 1);
    }
}
