//! A day of heartbeats in a moment: what the register says, and that nothing is counted twice or left out.

use heartbeat::{Limits, Pulse, Refused, Register};
use proptest::prelude::*;
use schemas::{Heartbeat, HeartbeatKind};

const SECOND: i64 = 1_000_000;
const LIMITS: Limits = Limits { names_max: 3, forget_after_us: 3_600 * SECOND, summary_us: 10 * SECOND, listening_us: 2 * SECOND };

fn register() -> Register {
    Register::new("watch-1", 1, LIMITS)
}

fn pulse(name: &str, run: u64, sequence: u64) -> Pulse {
    Pulse { name: name.into(), is_vm: false, is_farewell: false, run, sequence }
}

/// What is said of others than the receiver.
fn said(register: &mut Register, now_us: i64) -> Vec<Heartbeat> {
    register.due(now_us).into_iter().filter(|heartbeat| heartbeat.kind != HeartbeatKind::Listening).collect()
}

fn kinds(said: &[Heartbeat]) -> Vec<HeartbeatKind> {
    said.iter().map(|heartbeat| heartbeat.kind).collect()
}

#[test]
fn a_life_is_told_in_changes_and_summaries() {
    let mut register = register();
    let mut told = Vec::new();
    for second in 0..60_i64 {
        if second % 3 == 0 && !(30..50).contains(&second) {
            register.hear(&pulse("host-a", 7, second as u64 / 3 + 1), second * SECOND).expect("is heard");
        }
        told.extend(said(&mut register, second * SECOND));
    }
    for sequence in [20, 21] {
        register.hear(&Pulse { is_farewell: true, ..pulse("host-a", 7, sequence) }, 60 * SECOND).expect("is heard");
    }
    told.extend(said(&mut register, 60 * SECOND));
    use HeartbeatKind::{Farewell, First, Returned, Summary};
    // 0: first; 10, 20, 30: summaries of what came in between; 40, 50: silence; 51: back, seven were left out.
    assert_eq!(kinds(&told), [First, Summary, Summary, Summary, Returned, Farewell]);
    assert_eq!(told.iter().map(|heartbeat| heartbeat.pulses).sum::<i64>(), 14, "up to the first goodbye");
    assert_eq!(told.iter().map(|heartbeat| heartbeat.missing).collect::<Vec<_>>(), [0, 0, 0, 0, 7, 0]);
    assert_eq!(told[3].last_pulse, Some(27 * SECOND), "the silence began here");
    assert!(told.iter().all(|heartbeat| heartbeat.run == "0000000000000007" && heartbeat.receiver == "watch-1"));
}

#[test]
fn a_new_life_is_told_and_a_former_one_proves_nothing() {
    let mut register = register();
    for (run, sequence) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        register.hear(&pulse("vm", run, sequence), 0).expect("is heard");
    }
    assert_eq!(register.hear(&pulse("vm", 1, 3), 0), Err(Refused::FormerLife));
    assert_eq!(kinds(&said(&mut register, 0)), [HeartbeatKind::First, HeartbeatKind::Restarted, HeartbeatKind::Restarted]);
}

#[test]
fn what_was_said_before_is_no_sign_of_life() {
    let mut register = register();
    for sequence in [1, 2, 3] {
        register.hear(&pulse("vm", 1, sequence), 0).expect("is heard");
    }
    for _ in 0..5 {
        register.hear(&pulse("vm", 1, 3), 9 * SECOND).expect("a repeat is no error");
    }
    let summary = said(&mut register, 10 * SECOND).pop().expect("a summary");
    assert_eq!((summary.pulses, summary.repeated, summary.last_pulse), (2, 5, Some(0)));
    assert!(said(&mut register, 20 * SECOND).is_empty(), "it is silent");
}

#[test]
fn names_are_bounded_and_the_silent_are_forgotten() {
    let mut register = register();
    for name in ["a", "b", "c"] {
        register.hear(&pulse(name, 1, 1), 0).expect("is heard");
    }
    assert_eq!(register.hear(&pulse("d", 1, 1), 0), Err(Refused::TooManyNames));
    register.hear(&pulse("a", 1, 2), 3_600 * SECOND).expect("is heard");
    register.due(3_600 * SECOND);
    assert_eq!(register.len(), 1);
    register.hear(&pulse("d", 1, 1), 3_600 * SECOND).expect("there is room again");
}

#[test]
fn the_receiver_says_that_it_hears_although_nobody_speaks_any_more() {
    let mut register = register();
    assert_eq!(register.due(0), [], "whom could it miss?");
    register.hear(&pulse("a", 1, 1), SECOND).expect("is heard");
    let told: Vec<Heartbeat> = (2..=10).flat_map(|second| register.due(second * SECOND)).collect();
    let own: Vec<&Heartbeat> = told.iter().filter(|heartbeat| heartbeat.kind == HeartbeatKind::Listening).collect();
    assert_eq!(own.len(), 5);
    assert!(own.iter().all(|heartbeat| heartbeat.last_pulse == Some(SECOND) && heartbeat.total == 1));
    assert_eq!(own.iter().map(|heartbeat| heartbeat.pulses).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_receiver_that_ends_says_what_it_heard() {
    let mut register = register();
    for sequence in 1..=4 {
        register.hear(&pulse("a", 1, sequence), 0).expect("is heard");
    }
    register.due(0);
    let rest = register.rest(SECOND);
    assert_eq!((kinds(&rest), rest[0].pulses), (vec![HeartbeatKind::Summary], 3));
}

proptest! {
    /// Whatever is lost, doubled or put out of order on the way: each pulse counts once, and numbers that never came are missing.
    #[test]
    fn counts_add_up(deliveries in prop::collection::vec((0_u64..40, 0_i64..4), 1..200)) {
        let mut register = register();
        let (mut now, mut came, mut told) = (0, std::collections::BTreeSet::new(), Vec::new());
        let first = deliveries[0].0 + 1;
        for (number, pause) in deliveries {
            now += pause * SECOND;
            let number = number + 1;
            register.hear(&pulse("a", 1, number), now).expect("is heard");
            came.insert(number);
            told.extend(said(&mut register, now));
        }
        told.extend(said(&mut register, now + 10 * SECOND));
        prop_assert_eq!(told.iter().map(|heartbeat| heartbeat.pulses).sum::<i64>(), came.len() as i64);
        prop_assert!(told.windows(2).all(|pair| pair[0].time <= pair[1].time));
        let highest = *came.last().expect("one");
        prop_assert_eq!(told.last().map(|heartbeat| heartbeat.sequence), Some(highest as i64));
        if came.first() == Some(&first) && told.len() == 2 {
            // One word at the beginning and one at the end: what came late in between is not missing any more.
            let missing = (first..=highest).filter(|number| !came.contains(number)).count();
            prop_assert_eq!(told[1].missing, missing as i64);
        }
    }
}
