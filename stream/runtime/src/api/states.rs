//! The states of processors, for those who want to know what one remembers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use stream_core::{Partition, TopicName, TopicPartition};

use super::{
    Shared, blocking, bus_failed,
    extract::{ApiError, Params},
};

/// The largest value that is shown; a state itself may have 128 MiB.
const VALUE_BYTES_MAX: usize = 16 << 20;

/// All instances.
pub(super) async fn states(State(shared): State<Arc<Shared>>) -> Result<Json<serde_json::Value>, ApiError> {
    let states = blocking(move || shared.inspect.states().map_err(|error| bus_failed(&error))).await?;
    let view = |state: &crate::inspect::StateStatus| {
        serde_json::json!({
            "processor": state.processor,
            "topic": state.at.topic.as_str(),
            "partition": state.at.partition.0,
            "keys": state.keys,
            "bytes": state.bytes,
        })
    };
    Ok(Json(serde_json::json!({ "states": states.iter().map(view).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateParams {
    /// The one key whose value is wanted too.
    key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    key: String,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// The keys of one instance; of one key the value.
pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    Path((processor, topic, partition)): Path<(String, String, u32)>,
    Params(params): Params<StateParams>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let at = TopicPartition::new(&TopicName::new(&topic), Partition(partition));
    let (name, place) = (processor.clone(), at.clone());
    let image = blocking(move || shared.inspect.state(&name, &place).map_err(|error| bus_failed(&error))).await?;
    if image.is_empty() {
        return Err(ApiError::not_found(format!("{processor} has no state for {at}")).expected("an instance of /api/states"));
    }
    if let Some(key) = &params.key
        && let Some(bytes) = image.get(key).map(Vec::len).filter(|bytes| *bytes > VALUE_BYTES_MAX)
    {
        return Err(ApiError::too_large(format!("{key} has {bytes} bytes")).expected(format!("at most {VALUE_BYTES_MAX}")));
    }
    let view = |(key, value): (String, Vec<u8>)| {
        let value_base64 = (params.key.as_deref() == Some(key.as_str())).then(|| STANDARD.encode(&value));
        KeyView { key, bytes: value.len(), value_base64 }
    };
    let wanted = |key: &String| params.key.as_ref().is_none_or(|wanted| wanted == key);
    let keys: Vec<_> = image.into_iter().filter(|(key, _)| wanted(key)).map(view).collect();
    Ok(Json(serde_json::json!({ "processor": processor, "topic": topic, "partition": partition, "keys": keys })))
}
