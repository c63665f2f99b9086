//! The label sets, one type for each: a label that has no field here cannot be exposed.

use prometheus_client::encoding::EncodeLabelSet;

macro_rules! label_sets {
    ($($name:ident { $($field:ident),* })+) => {
        $(
            #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
            pub(super) struct $name {
                $(pub(super) $field: String),*
            }
        )+
    };
}

label_sets! {
    Consumed { stage, messaging_system, messaging_destination_name, messaging_consumer_group_name }
    Sent { stage, messaging_system, messaging_destination_name, error_type }
    Processing { stage, messaging_system, messaging_destination_name, messaging_consumer_group_name, error_type }
    OfStage { stage }
    OfTopic { stage, topic }
    OfPartition { stage, topic, partition }
    Rejected { stage, topic, reason }
    WithResult { stage, result }
    WithCause { stage, cause }
    WithKind { stage, kind }
    Dropped { component, topic, cause }
    Refused { component, cause }
    Thread { thread }
    Build { version }
}
