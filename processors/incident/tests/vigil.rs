//! Who is called silent, and who is not.

use incident::{Config, IncidentProcessor};
use schemas::{AlertStatus, EventTime, Heartbeat, HeartbeatKind, Subject, topics};
use stream_core::{EventClock, Headers, Instance, Offset, Outbox, Partition, Processor, Record, TopicName, TopicPartition};

const T0: i64 = 1_767_225_600;
