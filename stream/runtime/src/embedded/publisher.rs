//! The way of a collector onto the embedded bus.

use std::sync::{Arc, PoisonError};

use super::{
    queue::{CursorMove, CursorOwner, Draft, Outcome},
    rows::{self, CursorRow},
    shared::{Shared, closed},
    store::Table,
};
use crate::{
    bus::BusError,
    inspect::Appended,
    publish::{Cursor, Publish, PublishBatch, PublishError},
};

/// The publisher of one source.
pub struct EmbeddedPublisher {
    shared: Arc<Shared>,
    source: String,
    epoch: u64,
    cursor: Option<Cursor>,
}

impl EmbeddedPublisher {
    pub(super) fn open(shared: &Arc<Shared>, source: &str) -> Result<Self, BusError> {
        let epoch = {
            let mut publishers = shared.publishers.lock().unwrap_or_else(PoisonError::into_inner);
            let epoch = publishers.entry(source.to_owned()).or_default();
            *epoch += 1;
            *epoch
        };
        // What the older publisher had handed in before it was fenced is settled when the committer comes to this.
        shared.queue.run(|_| ()).ok_or_else(closed)?;
        let value = shared.store.get(Table::Cursors, source.as_bytes())?;
        let row = value.map(|value| rows::decode::<CursorRow>(Table::Cursors, source.as_bytes(), &value)).transpose()?;
        Ok(Self { shared: Arc::clone(shared), source: source.to_owned(), epoch, cursor: row.map(Cursor::from) })
    }
}

impl Publish for EmbeddedPublisher {
    fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        let sequence = self.cursor.as_ref().map_or(0, |cursor| cursor.sequence) + 1;
        let position = position.to_vec();
        let moved = CursorMove { source: self.source.clone(), owner: CursorOwner::Publisher(self.epoch), sequence, position };
        let cursor = Cursor { sequence, position: moved.position.clone() };
        submit(&self.shared, records, moved)?;
        self.cursor = Some(cursor);
        Ok(())
    }
}

/// Publishes for a source that counts for itself.
pub(super) fn append(
    shared: &Shared,
    source: &str,
    sequence: u64,
    records: &PublishBatch,
    position: &[u8],
) -> Result<Appended, PublishError> {
    let moved = CursorMove { source: source.to_owned(), owner: CursorOwner::Remote, sequence, position: position.to_vec() };
    submit(shared, records, moved)
}

fn submit(shared: &Shared, records: &PublishBatch, cursor: CursorMove) -> Result<Appended, PublishError> {
    let mut draft = Draft::default();
    for record in records.records() {
        if !draft.push(&shared.topics, record.topic, record.key, record.value, record.headers.encoded()) {
            return Err(PublishError::Closed(format!("{} publishes to topic {}, which does not exist", cursor.source, record.topic)));
        }
    }
    draft.cursor = Some(cursor);
    match shared.queue.commit(draft) {
        Outcome::Done => Ok(Appended::New),
        Outcome::Known => Ok(Appended::Known),
        Outcome::Retry(what) => Err(PublishError::Retry(what)),
        Outcome::Superseded(what) => Err(PublishError::Closed(what)),
        Outcome::Unknown(what) => Err(PublishError::Unknown(what)),
        Outcome::Closed => Err(PublishError::Closed("the bus is closed".into())),
    }
}
