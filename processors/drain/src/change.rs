//! What happens to templates, told as it happens.

use std::sync::Arc;

use crate::template::TemplateId;
use crate::tree::Cluster;

/// Most superseded ids that a change names.
pub const FROM_MAX: usize = 64;

/// How a line was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The line's masked text is the template.
    Exact,
    /// The template has placeholders where the line has words, perhaps since this very line.
    Tree,
    /// No template fitted: the line made one.
    New,
    /// No template fitted and none may be made (inference mode, explosion guard).
    Unknown,
}

/// What happened to a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A line that fitted nowhere made it.
    Created,
    /// It is an older template with more placeholders.
    Generalised,
    /// It replaces several templates.
    Merged,
    /// It left, least recently matched of all, to make room.
    Evicted,
    /// It was given before the first line.
    Seeded,
}

/// A change and the templates it supersedes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Ids of the superseded templates, sorted, at most [`FROM_MAX`].
    pub from: Vec<TemplateId>,
}

/// A live template, or one that has just been superseded or evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateInfo {
    /// Content hash of the text.
    pub id: TemplateId,
    /// Id of the first template of the cluster.
    pub cluster_id: TemplateId,
    /// Counts the templates of the cluster, from 1.
    pub version: u32,
    /// Canonical text.
    pub text: Arc<str>,
    /// Words and placeholders, without delimiters.
    pub tokens: usize,
    /// Event time of the first line, in nanoseconds since 1970.
    pub first_seen: i64,
    /// Event time of the newest line.
    pub last_seen: i64,
    /// Lines so far.
    pub count: u64,
}

/// One record for the topic of templates: a new template, or one that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateEvent {
    /// The template.
    pub template: TemplateInfo,
    /// What happened to it; for a superseded template, what superseded it.
    pub change: Change,
    /// The template that stands for it from now on.
    pub superseded_by: Option<TemplateId>,
}

impl From<&Cluster> for TemplateInfo {
    fn from(cluster: &Cluster) -> Self {
        Self {
            id: cluster.template.id,
            cluster_id: cluster.cluster_id,
            version: cluster.version,
            text: Arc::clone(&cluster.template.text),
            tokens: cluster.template.parts.iter().filter(|part| part.kind.is_content()).count(),
            first_seen: cluster.first_seen,
            last_seen: cluster.last_seen,
            count: cluster.count,
        }
    }
}
