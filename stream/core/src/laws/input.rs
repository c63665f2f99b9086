//! What the kit feeds to a processor: records good, damaged and arbitrary, and silence between them.

use proptest::{collection::vec, option, prelude::*, sample::Index};

use crate::HeaderBuffer;

/// Steps of a run at most. Long runs come from a processor's own tests; these look for laws that break early.
const STEPS_MAX: usize = 64;

/// A run: its steps, where it is restored, and how its last snapshot is damaged.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub steps: Vec<Step>,
    /// Steps before which the state goes through a snapshot.
    pub splits: Vec<usize>,
    pub damage: Damage,
}

/// One step of a run.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Record(Box<Line>),
    /// Silence of this length since the last record or tick.
    Idle {
        ms: i64,
    },
}

/// A record without its place.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Offsets have gaps: transaction markers and compaction leave them.
    pub offsets_skipped: u64,
    pub append_gap_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<u8>,
}

/// A change of one byte, a cut, or an addition in one section of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    section: Index,
    place: Index,
    kind: DamageKind,
}

#[derive(Debug, Clone)]
enum DamageKind {
    Replace(u8),
    Cut,
    Append(Vec<u8>),
    Drop,
}

impl Damage {
    pub(super) fn apply(&self, sections: &mut Vec<(String, Vec<u8>)>) {
        if sections.is_empty() {
            return;
        }
        let index = self.section.index(sections.len());
        if matches!(self.kind, DamageKind::Drop) {
            sections.remove(index);
        } else if let Some((_, bytes)) = sections.get_mut(index) {
            self.kind.apply(self.place, bytes);
        }
    }
}

impl DamageKind {
    fn apply(&self, place: Index, bytes: &mut Vec<u8>) {
        let at = if bytes.is_empty() { 0 } else { place.index(bytes.len()) };
        match self {
            Self::Replace(with) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = *with),
            Self::Cut => bytes.truncate(at),
            Self::Append(more) => bytes.extend(more),
            Self::Drop => bytes.clear(),
        }
    }
}

pub(super) fn input(values: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Input> {
    let step =
        prop_oneof![9 => line(values).prop_map(|line| Step::Record(Box::new(line))), 1 => (0..40_000i64).prop_map(|ms| Step::Idle { ms })];
    let splits = vec(any::<Index>(), 0..4);
    (vec(step, 0..STEPS_MAX), splits, damage()).prop_map(|(steps, splits, damage)| {
        let mut splits: Vec<usize> = splits.into_iter().map(|split| split.index(steps.len() + 1)).collect();
        splits.sort_unstable();
        splits.dedup();
        Input { steps, splits, damage }
    })
}

fn line(values: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Line> {
    let spoilt = (values.clone(), any::<Index>(), kind()).prop_map(|(mut value, place, kind)| {
        kind.apply(place, &mut value);
        value
    });
    let value = prop_oneof![
        14 => values.prop_map(Some),
        3 => spoilt.prop_map(Some),
        2 => vec(any::<u8>(), 0..200).prop_map(Some),
        1 => Just(None),
    ];
    let key = prop_oneof![3 => "[a-c]{1,2}".prop_map(|key| Some(key.into_bytes())), 1 => option::of(vec(any::<u8>(), 0..40))];
    // Most records follow each other closely; some come after a gap that closes windows, few after one that ends alerts.
    let append_gap_ms = prop_oneof![2 => Just(0), 6 => 0..2_000i64, 2 => 0..120_000i64, 1 => 0..8_000_000i64];
    let offsets_skipped = prop_oneof![8 => Just(0), 1 => 1..3u64];
    (offsets_skipped, append_gap_ms, key, value, headers()).prop_map(|(offsets_skipped, append_gap_ms, key, value, headers)| Line {
        offsets_skipped,
        append_gap_ms,
        key,
        value,
        headers,
    })
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let good = vec(("[a-z]{1,4}", option::of(vec(any::<u8>(), 0..8))), 0..3).prop_map(|headers| {
        let mut buffer = HeaderBuffer::default();
        for (name, value) in &headers {
            buffer.push(name, value.as_deref());
        }
        buffer.as_headers().encoded().to_vec()
    });
    prop_oneof![6 => Just(Vec::new()), 2 => good, 1 => vec(any::<u8>(), 0..16)]
}

fn damage() -> impl Strategy<Value = Damage> {
    (any::<Index>(), any::<Index>(), kind()).prop_map(|(section, place, kind)| Damage { section, place, kind })
}

fn kind() -> impl Strategy<Value = DamageKind> {
    prop_oneof![
        4 => any::<u8>().prop_map(DamageKind::Replace),
        2 => Just(DamageKind::Cut),
        1 => vec(any::<u8>(), 1..9).prop_map(DamageKind::Append),
        1 => Just(DamageKind::Drop),
    ]
}
