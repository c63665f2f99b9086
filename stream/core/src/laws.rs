//! The laws of a processor as a test kit: one line in a processor's tests holds it to all that need no bus.
//!
//! ```no_run
//! # use stream_core::*;
//! # fn example<P: Processor>(config: P::Config, records: impl proptest::strategy::Strategy<Value = Vec<u8>> + 'static) {
//! laws::check::<P>(&config, records);
//! # }
//! ```
//!
//! `records` makes values as the processor expects them, with event times around [`EPOCH`]. The kit mixes them with
//! damaged and arbitrary bytes, keys, headers and tombstones, with steps of append time from nothing to hours, and with
//! idle ticks. Then it checks:
//!
//! 1. **Total**: no input panics or breaks an output limit.
//! 2. **Deterministic**: a second run gives the same outputs, ids, clock and snapshot, byte for byte.
//! 3. **Restorable**: `restore(snapshot(a))` then `b` equals `a` then `b`, wherever the input is split.
//! 4. **Canonical snapshots**: the snapshot of a restored state is the snapshot that it came from.
//! 5. **Pure rejects**: a rejected record leaves the state as it was, moves no watermark and puts out nothing.
//! 6. **Bounded**: no snapshot is larger than [`Processor::state_bytes_bound`].
//! 7. **Damage is an error**: restoring a damaged snapshot may fail but never panics.
//!
//! The crash law over whole schedules of crashes, aborts and rebalances is the business of the runtime's simulator.

mod input;
mod run;

use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestCaseResult, TestError, TestRunner},
};
use schemas::EventTime;

use crate::{EventClock, Partition, Processor, TopicPartition};
use input::{Damage, Input, Step};
use run::{Entry, Run};

/// Append times of the kit's records begin here: 2023-11-14T22:13:20Z.
pub const EPOCH: EventTime = EventTime::from_millis(1_700_000_000_000);

/// Holds `P` under this configuration to the laws, for each of its input topics.
///
/// # Panics
/// If a law is broken: with the law, the place, and the smallest input found that breaks it.
pub fn check<P: Processor>(config: &P::Config, values: impl Strategy<Value = Vec<u8>> + 'static) {
    let values = values.boxed();
    for topic in P::inputs(config) {
        let at = TopicPartition::new(&topic, Partition(3));
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        match runner.run(&input::input(values.clone()), |input| all_laws::<P>(config, &at, &input)) {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => panic!("{} breaks a law on {at}: {reason}\nsmallest input: {input:#?}", P::NAME),
            Err(TestError::Abort(reason)) => panic!("{}: the kit gave up on {at}: {reason}", P::NAME),
        }
    }
}

fn all_laws<P: Processor>(config: &P::Config, at: &TopicPartition, input: &Input) -> TestCaseResult {
    let straight = total::<P>(config, at, &input.steps)?;
    deterministic(config, at, &input.steps, &straight)?;
    restorable(config, at, input, &straight)?;
    damage_is_an_error::<P>(config, at, &straight, &input.damage)
}

/// Laws 1 and 6: the undisturbed run that the others are compared with.
fn total<'a, P: Processor>(config: &'a P::Config, at: &TopicPartition, steps: &[Step]) -> Result<Run<'a, P>, TestCaseError> {
    let mut run = Run::<P>::new(config, at)?;
    for step in steps {
        run.apply(step)?;
    }
    bounded(&run)?;
    Ok(run)
}

/// Laws 2 and 5: the first run says which records are rejected, so that the second can look at them from both sides.
fn deterministic<P: Processor>(config: &P::Config, at: &TopicPartition, steps: &[Step], straight: &Run<'_, P>) -> TestCaseResult {
    let mut run = Run::<P>::new(config, at)?;
    for (index, step) in steps.iter().enumerate() {
        let rejected = straight.entries.get(index).is_some_and(Entry::is_rejected);
        let before = if rejected { Some((run.sections()?, run.instance.clock)) } else { None };
        run.apply(step)?;
        if let Some((sections, clock)) = before {
            let fail = |what: &str| TestCaseError::fail(format!("pure rejects: step {index} was rejected, but {what}"));
            let entry_is_silent = run.entries.last().is_some_and(|entry| entry.outputs.is_empty());
            if !entry_is_silent {
                return Err(fail("put something out"));
            }
            // A rejected record still ends a silence: idle ticks count from it.
            let now = run.instance.clock;
            if now != (EventClock { appended_at: now.appended_at, at_last_record: now.watermark, ..clock }) {
                return Err(fail("moved the clock"));
            }
            if run.sections()? != sections {
                return Err(fail("changed the state"));
            }
        }
    }
    same("deterministic: the second run", straight, &run)
}

/// Laws 3, 4 and 6, with a restore at each split.
fn restorable<P: Processor>(config: &P::Config, at: &TopicPartition, input: &Input, straight: &Run<'_, P>) -> TestCaseResult {
    let mut run = Run::<P>::new(config, at)?;
    for (index, step) in input.steps.iter().enumerate() {
        if input.splits.contains(&index) {
            bounded(&run)?;
            run.restore().map_err(|reason| TestCaseError::fail(format!("restorable: before step {index}: {reason}")))?;
        }
        run.apply(step)?;
    }
    run.restore().map_err(|reason| TestCaseError::fail(format!("restorable: at the end: {reason}")))?;
    same(&format!("restorable: the run restored before steps {:?}", input.splits), straight, &run)
}

/// Law 7.
fn damage_is_an_error<P: Processor>(config: &P::Config, at: &TopicPartition, run: &Run<'_, P>, damage: &Damage) -> TestCaseResult {
    let mut sections = run.sections()?;
    damage.apply(&mut sections);
    match run::restore_quietly::<P>(&sections, config, at) {
        Ok(_) => Ok(()),
        Err(panic) => Err(TestCaseError::fail(format!("damage is an error: restore panicked: {panic}"))),
    }
}

fn bounded<P: Processor>(run: &Run<'_, P>) -> TestCaseResult {
    let bytes: usize = run.sections()?.iter().map(|(name, bytes)| name.len() + bytes.len()).sum();
    let bound = P::state_bytes_bound(run.config);
    prop_assert!(bytes as u64 <= bound, "bounded: the snapshot after {} steps has {bytes} bytes, the bound is {bound}", run.entries.len());
    Ok(())
}

/// Outputs, clock and snapshot of two runs are equal.
fn same<P: Processor>(what: &str, straight: &Run<'_, P>, other: &Run<'_, P>) -> TestCaseResult {
    for (index, (expected, found)) in straight.entries.iter().zip(&other.entries).enumerate() {
        prop_assert_eq!(expected, found, "{} differs at step {}", what, index);
    }
    prop_assert_eq!(straight.instance.clock, other.instance.clock, "{} ends with another clock", what);
    for ((name, expected), (name_found, found)) in straight.sections()?.iter().zip(&other.sections()?) {
        prop_assert!(name == name_found && expected == found, "{what} ends with another state in section {name:?}");
    }
    prop_assert_eq!(straight.sections()?.len(), other.sections()?.len(), "{} ends with other sections", what);
    Ok(())
}
