//! `GET /api/groups`: how far each processor has come in each partition that it reads.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use stream_core::NextOffset;

use super::{Shared, blocking, bus_failed, extract::ApiError};
use crate::inspect::GroupStatus;

#[derive(Serialize)]
pub(super) struct GroupsView {
    groups: Vec<GroupView>,
}

#[derive(Serialize)]
struct GroupView {
    processor: String,
    topic: String,
    partition: u32,
    /// The offset that it processes next, as it was committed last.
    position: u64,
    /// The position after the last record of the partition.
    end: u64,
    /// Records between the two.
    lag: u64,
}

/// All processors that ever committed, whether they run or not.
pub(super) async fn groups(State(shared): State<Arc<Shared>>) -> Result<Json<GroupsView>, ApiError> {
    blocking(move || groups_blocking(&shared)).await.map(Json)
}

fn groups_blocking(shared: &Shared) -> Result<GroupsView, ApiError> {
    let mut groups = shared.inspect.groups().map_err(|error| bus_failed(&error))?;
    groups.sort_by(|a, b| (&a.processor, &a.at).cmp(&(&b.processor, &b.at)));
    // Looked at later than the positions, so that none lies behind its end.
    let topics = shared.inspect.topics().map_err(|error| bus_failed(&error))?;
    let end = |group: &GroupStatus| {
        let topic = topics.iter().find(|topic| topic.name == group.at.topic)?;
        topic.partitions.get(group.at.partition.0 as usize).map(|partition| partition.next)
    };
    let view = |group: GroupStatus| {
        // Without its topic there is nothing left to be read.
        let NextOffset(end) = end(&group).unwrap_or(group.position);
        GroupView {
            processor: group.processor,
            topic: group.at.topic.to_string(),
            partition: group.at.partition.0,
            position: group.position.0,
            end,
            lag: end.saturating_sub(group.position.0),
        }
    };
    Ok(GroupsView { groups: groups.into_iter().map(view).collect() })
}
