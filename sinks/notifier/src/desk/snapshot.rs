//! The desk on its way to the state and back. Cases stand in buckets, and a commit rewrites those that changed: so what is told
//! together stands together, a group, or those that came one after the other.

use std::collections::{BTreeMap, BTreeSet};

use schemas::EventTime;
use stream_core::{SnapshotReader, SnapshotWriter, StateError};

use super::{Case, Desk, Group, Manner};

/// Buckets of cases.
const BUCKETS: usize = 64;
/// Words that came one after the other and stand together.
const NEIGHBOURS: u64 = 256;

fn bucket(case: &Case) -> usize {
    let number = match &case.group {
        Some(group) => group.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))),
        None => case.words.front().or(case.told.as_ref()).map_or(0, |word| word.offset / NEIGHBOURS),
    };
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}

fn section(bucket: usize) -> String {
    format!("cases/{bucket:02}")
}

fn due_section(bucket: usize) -> String {
    format!("dues/{bucket:02}")
}

impl Desk {
    /// Writes it.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("groups", &self.groups)?;
        let mut buckets: Vec<Vec<(&String, &Case)>> = vec![Vec::new(); BUCKETS];
        for entry in &self.cases {
            buckets.get_mut(bucket(entry.1)).into_iter().for_each(|bucket| bucket.push(entry));
        }
        for (number, cases) in buckets.iter().enumerate().filter(|(_, cases)| !cases.is_empty()) {
            w.put(&section(number), cases)?;
            let due = |(fingerprint, case): &(&String, &Case)| {
                case.due.filter(|_| !case.words.is_empty()).map(|due| ((*fingerprint).clone(), due))
            };
            let dues: Vec<_> = cases.iter().filter_map(due).collect();
            if !self.manner.groups && !dues.is_empty() {
                w.put(&due_section(number), &dues)?;
            }
        }
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// If a section is damaged.
    pub fn restore(r: &SnapshotReader<'_>, manner: Manner) -> Result<Self, StateError> {
        let mut this = Self::new(manner);
        this.groups = r.get::<BTreeMap<String, Group>>("groups")?;
        for number in 0..BUCKETS {
            if r.section(&section(number)).is_some() {
                this.cases.extend(r.get::<Vec<(String, Case)>>(&section(number))?);
            }
            if r.section(&due_section(number)).is_some() {
                for (fingerprint, due) in r.get::<Vec<(String, EventTime)>>(&due_section(number))? {
                    this.cases.get_mut(&fingerprint).into_iter().for_each(|case| case.due = Some(due));
                }
            }
        }
        this.bytes = this.cases.values().map(Case::bytes).sum();
        let mut ungrouped = BTreeSet::new();
        for (fingerprint, case) in &mut this.cases {
            match case.group.as_ref().filter(|_| manner.groups).and_then(|key| this.groups.get_mut(key)) {
                Some(group) => {
                    if !case.words.is_empty() {
                        group.pending.insert(fingerprint.clone());
                    }
                    if case.told.is_some() {
                        group.firing.insert(fingerprint.clone());
                    }
                }
                // A destination may have had no groups until today, or may have none from today on.
                None => {
                    case.group = None;
                    ungrouped.extend(case.turn().map(|turn| (turn, fingerprint.clone())));
                }
            }
        }
        this.queue = ungrouped;
        if !manner.groups {
            this.groups.clear();
        }
        Ok(this)
    }
}
