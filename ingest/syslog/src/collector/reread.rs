//! Sources that can be read again: files, the kernel ring, the journal. They begin where the cursor on the bus stands, so a
//! crash neither loses nor doubles a line of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use schemas::LogRecord;

use super::Stop;
use super::blocks::{Closed, Outlet};
use super::cursor::Position;
use super::status::SourceGauge;

/// Longest pause between two looks at a source; also the delay of a line in a file. inotify would be quicker but needs the
/// same look beside it (queue overflows, limits on watches, network file systems), and one behaviour is easier to trust.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// One line and where its source stands after it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: LogRecord,
    /// Its place among the lines of other sources: its own time, or that of the line before if it has none.
    pub(crate) order_us: i64,
    /// Name of the source in the cursor.
    pub(crate) source: Arc<str>,
    /// None if it does not move on.
    pub(crate) position: Option<Position>,
    pub(crate) gauge: SourceGauge,
}

/// What a source has to say.
#[derive(Debug)]
pub(crate) enum Step {
    Line(Box<Entry>),
    /// It is gone for good: its position may go too.
    Forget(Arc<str>),
}

impl Step {
    fn order_us(&self) -> i64 {
        match self {
            Self::Line(entry) => entry.order_us,
            Self::Forget(_) => i64::MIN,
        }
    }

    fn emit(self, outlet: &mut Outlet) -> Result<(), Closed> {
        match self {
            Self::Line(entry) => {
                if entry.position.is_some() {
                    outlet.at(&entry.source, entry.position);
                }
                outlet.push(entry.record, &entry.gauge)
            }
            Self::Forget(source) => {
                outlet.at(&source, None);
                Ok(())
            }
        }
    }
}

/// What is read of the past at the first start of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    /// From here,
    pub(crate) since_us: i64,
    /// to the start of the collector.
    pub(crate) until_us: i64,
}

/// A source that can be read again. Trouble is its own affair: it says so in its status and tries again.
pub(crate) trait Reread: Send {
    /// The next line, in the source's own order; none if none is there now.
    fn next(&mut self) -> Option<Step>;

    /// From here on what comes is new.
    fn caught_up(&mut self);

    /// Waits until there may be more, at most [`LOOK`].
    fn wait(&mut self);
}

/// Reads the past of all sources in the order of event time, until each has come to its end or to the present.
pub(crate) fn catch_up(sources: &mut [Box<dyn Reread>], present_us: i64, outlet: &mut Outlet, stop: &Stop) -> Result<(), Closed> {
    let mut heads = Heads::default();
    for (index, source) in sources.iter_mut().enumerate() {
        heads.offer(index, source.next());
    }
    while let Some((index, step)) = heads.next()
        && !stop.is_set()
    {
        let is_past = step.order_us() < present_us;
        step.emit(outlet)?;
        if is_past && let Some(source) = sources.get_mut(index) {
            heads.offer(index, source.next());
        }
    }
    for source in sources {
        source.caught_up();
    }
    outlet.flush()
}

/// Follows one source until it is time to stop.
pub(crate) fn follow(source: &mut dyn Reread, outlet: &mut Outlet, stop: &Stop) -> Result<(), Closed> {
    while !stop.is_set() {
        match source.next() {
            Some(step) => step.emit(outlet)?,
            None => {
                outlet.flush()?;
                source.wait();
            }
        }
    }
    outlet.flush()
}

/// The next step of each of several sources; gives them out by time, at equal times in the order of the sources.
#[derive(Debug, Default)]
pub(crate) struct Heads(BinaryHeap<Reverse<Head>>);

#[derive(Debug)]
struct Head {
    index: usize,
    step: Step,
}

impl Heads {
    pub(crate) fn offer(&mut self, index: usize, step: Option<Step>) {
        self.0.extend(step.map(|step| Reverse(Head { index, step })));
    }

    pub(crate) fn next(&mut self) -> Option<(usize, Step)> {
        self.0.pop().map(|Reverse(head)| (head.index, head.step))
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.0.iter().any(|Reverse(head)| head.index == index)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.step.order_us(), self.index).cmp(&(other.step.order_us(), other.index))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use schemas::SourceKind;

    use super::*;
    use crate::collector::blocks::queue;
    use crate::collector::status::{SourceState, Watch};

    /// A source with lines of these times.
    struct Script {
        key: Arc<str>,
        gauge: SourceGauge,
        times_us: VecDeque<i64>,
        is_caught_up: bool,
    }

    impl Script {
        fn new(index: usize, times_us: &[i64]) -> Self {
            let gauge = Watch::default().add(SourceKind::File, &index.to_string(), SourceState::CatchingUp, "");
            Self { key: index.to_string().into(), gauge, times_us: times_us.iter().copied().collect(), is_caught_up: false }
        }
    }

    impl Reread for Script {
        fn next(&mut self) -> Option<Step> {
            let order_us = self.times_us.pop_front()?;
            let record = LogRecord { host: self.key.to_string(), event_time: order_us, ..LogRecord::default() };
            let position = Some(Position::Journal(order_us.to_string()));
            Some(Step::Line(Box::new(Entry { record, order_us, source: self.key.clone(), position, gauge: self.gauge.clone() })))
        }

        fn caught_up(&mut self) {
            self.is_caught_up = true;
        }

        fn wait(&mut self) {}
    }

    const PRESENT_US: i64 = 100;

    proptest! {
        /// Of sources that are in order themselves the past comes out in order, whole, and nothing of the present is read
        /// further than the first line that shows that it has begun.
        #[test]
        fn the_past_of_all_sources_is_merged_by_time(mut times in prop::collection::vec(prop::collection::vec(0i64..130, 0..30), 0..5)) {
            times.iter_mut().for_each(|times| times.sort_unstable());
            let mut sources: Vec<Box<dyn Reread>> = Vec::new();
            for (index, times) in times.iter().enumerate() {
                sources.push(Box::new(Script::new(index, times)));
            }
            let (queue, blocks) = queue();
            catch_up(&mut sources, PRESENT_US, &mut queue.outlet(), &Stop::default()).expect("the queue has room");
            drop(queue);
            let published: Vec<i64> = blocks.records_for_test().iter().map(|record| record.event_time).collect();
            let mut expected: Vec<i64> = Vec::new();
            for times in &times {
                let first_new = times.iter().position(|time| *time >= PRESENT_US).map_or(times.len(), |at| at + 1);
                expected.extend(&times[..first_new]);
            }
            expected.sort_unstable();
            prop_assert_eq!(published, expected);
        }
    }

    #[test]
    fn a_source_out_of_order_keeps_its_own_order() {
        let mut sources: Vec<Box<dyn Reread>> = vec![Box::new(Script::new(0, &[5, 1, 6])), Box::new(Script::new(1, &[2, 7]))];
        let (queue, blocks) = queue();
        catch_up(&mut sources, PRESENT_US, &mut queue.outlet(), &Stop::default()).expect("the queue has room");
        drop(queue);
        let published = blocks.records_for_test();
        let of = |host: &str| published.iter().filter(|r| r.host == host).map(|r| r.event_time).collect::<Vec<_>>();
        assert_eq!((of("0"), of("1")), (vec![5, 1, 6], vec![2, 7]));
    }
}
