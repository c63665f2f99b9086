//! One record of a log, borrowed from where it lies.

use schemas::EventTime;

use crate::{Offset, Partition, TopicName, TopicPartition};

/// The largest key and value together that any bus carries; below librdkafka's default `message.max.bytes` of 1,000,000.
pub const RECORD_BYTES_MAX: usize = 900_000;

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Topic that it stands in.
    pub topic: &'a TopicName,
    /// Partition that it stands in.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// When the bus stored it: part of the log, so using it is deterministic. Never decreases within a partition.
    pub appended_at: EventTime,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
}

impl Record<'_> {
    /// The partition that it stands in.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic, self.partition)
    }
}

/// Headers of a record: order and duplicates are kept. Encoded as `(varint length, name, varint length + 1 or 0, value)*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Reads headers that [`HeaderBuffer`] wrote. What follows a damaged entry is not seen.
    pub const fn from_encoded(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The encoded form.
    pub const fn encoded(self) -> &'a [u8] {
        self.0
    }

    /// Name and value of each, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = take_varint(&mut rest)?;
            let name = std::str::from_utf8(take(&mut rest, length)?).ok()?;
            let value = match take_varint(&mut rest)? {
                0 => None,
                length => Some(take(&mut rest, length - 1)?),
            };
            Some((name, value))
        })
    }

    /// The first value under a name, if it is text.
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| *key == name).and_then(|(_, value)| std::str::from_utf8(value?).ok())
    }
}

/// Headers being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderBuffer(Vec<u8>);

impl HeaderBuffer {
    /// Appends one header.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        put_varint(&mut self.0, name.len() as u64);
        self.0.extend(name.as_bytes());
        put_varint(&mut self.0, value.map_or(0, |value| value.len() as u64 + 1));
        self.0.extend(value.unwrap_or_default());
    }

    /// The headers so far.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }
}

/// Appends a LEB128 integer.
fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<usize> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *from.first()?;
        *from = from.get(1..)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_keep_order_duplicates_and_nulls(list in proptest::collection::vec(("[a-c]{0,3}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))), 0..8)) {
            let mut buffer = HeaderBuffer::default();
            for (name, value) in &list {
                buffer.push(name, value.as_deref());
            }
            let back: Vec<_> = buffer.as_headers().iter().map(|(n, v)| (n.to_string(), v.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Headers::from_encoded(&bytes).iter().count();
        }
    }
}
