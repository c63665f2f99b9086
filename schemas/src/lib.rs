//! The contract on the wire: what stands on each topic, and how it is written there.
//!
//! * **Data topics** carry Avro in [single-object encoding](codec): each value names its own schema, so no registry is needed.
//! * **Alert topics** (alerts, incidents) carry one JSON object per record with [CloudEvents](cloudevents) headers, so that any tool can subscribe.
//! * `avsc/<subject>/v<N>.avsc` are the published Avro schemas, frozen by `avsc/LOCK`, and `json/<subject>/v<N>.schema.json` those of JSON topics;
//!   `examples/` shows each of them at its usual, least and worst, and every processor is tested on all of them.
//! * [`topics`] is the table of all topics: key, partitions, retention, who writes and who reads.
//!
//! ```
//! use schemas::{Subject, TemplateRecord};
//!
//! let record = TemplateRecord { template: "session opened for user <*>".into(), count: 3, ..TemplateRecord::default() };
//! let bytes = record.to_bytes().expect("fits the limits");
//! assert_eq!(&bytes[..2], &[0xC3, 0x01]); // Avro single-object encoding
//! assert_eq!(TemplateRecord::from_bytes(&bytes).expect("our own encoding"), record);
//! ```

pub mod alert;
pub mod cloudevents;
pub mod codec;
pub mod feedback;
pub mod heartbeat;
pub mod incident;
mod log_view;
pub mod logs;
mod raw_bytes;
pub mod silence;
pub mod template;
pub mod time;
pub mod topics;
pub mod verdict;
mod wire;

pub use alert::{Alert, AlertStatus, Evidence, Model, Severity};
pub use codec::{CodecError, Subject};
pub use feedback::{Feedback, FeedbackKind};
pub use heartbeat::{Heartbeat, HeartbeatKind};
pub use incident::{Cause, Incident, IncidentAction, IncidentAlert, IncidentStatus, Node, NodeKind, TimelineEntry, TimelineKind};
pub use log_view::LogRecordView;
pub use logs::{
    ChangeKind, LogRecord, LogSource, MatchKind, Parameter, ParseStatus, ParsedLog, SourceKind, TemplateChange, TemplateRecord, TimeSource,
};
pub use silence::Silence;
pub use template::{TemplateId, canonical};
pub use time::EventTime;
pub use verdict::{FailureClass, Verdict, VerdictKind, VerdictScope};
