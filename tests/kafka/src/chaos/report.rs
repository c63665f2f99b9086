//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::ledger::Verdict;

/// How often a fault happened, and how often there was nobody that it could happen to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// It happened.
    pub done: u32,
    /// There was nobody, or what it needs was away itself.
    pub not_now: u32,
}

/// What a run did and found.
#[derive(Debug, Default)]
pub struct Report {
    /// What the run was: length, seed, sizes.
    pub title: String,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, Count>,
    /// How often a process ended by itself, by its last words; it was started again. A zombie that finds its place taken may.
    pub exits: BTreeMap<String, u32>,
    /// Promises broken, other than by the books.
    pub findings: Vec<String>,
    /// The longest gap between outputs of one partition that each fault brought, where they were made one by one.
    pub gaps: Vec<(&'static str, Duration)>,
    /// Time from the end of the faults until all was read and worked off.
    pub settled: Duration,
    /// What the books say.
    pub verdict: Verdict,
}

impl Report {
    /// Faults that happened.
    pub fn done(&self) -> u32 {
        self.faults.values().map(|count| count.done).sum()
    }

    /// Nothing lost, nothing doubled, no promise broken.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(f, "{}\n", self.title)?;
        writeln!(f, "{:<42}{:>8}{:>10}", "fault", "done", "not now")?;
        for (name, count) in &self.faults {
            writeln!(f, "{name:<42}{:>8}{:>10}", count.done, count.not_now)?;
        }
        writeln!(f, "{:<42}{:>8}\n", "all", self.done())?;
        for (name, gap) in &self.gaps {
            writeln!(f, "{name:<42}{:>8.1} s without output", gap.as_secs_f64())?;
        }
        writeln!(f, "{:<34}{:>12}{:>8}{:>10}", "", "records", "lost", "doubled")?;
        writeln!(f, "{:<34}{:>12}", "lines written", verdict.lines)?;
        writeln!(f, "{:<34}{:>12}{:>8}{:>10}", "in, by line number", verdict.inputs, verdict.lines_lost, verdict.lines_doubled)?;
        writeln!(
            f,
            "{:<34}{:>12}{:>8}{:>10}",
            "out, by coordinates of the input", verdict.outputs, verdict.outputs_lost, verdict.outputs_doubled
        )?;
        writeln!(f, "strange {}, out of order {}, dead letters {}", verdict.strange, verdict.disordered, verdict.dead_letters)?;
        let gap_s = verdict.gap_ms_max as f64 / 1_000.0;
        writeln!(f, "longest gap between outputs of one partition {gap_s:.1} s")?;
        writeln!(f, "all worked off {:.1} s after the last fault", self.settled.as_secs_f64())?;
        for (words, times) in &self.exits {
            writeln!(f, "ended by themselves, {times} x: {words}")?;
        }
        for finding in &self.findings {
            writeln!(f, "FINDING: {finding}")?;
        }
        write!(f, "{}", if self.is_clean() { "clean: nothing lost, nothing doubled" } else { "NOT CLEAN" })
    }
}
