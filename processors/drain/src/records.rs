//! What the processor publishes: lines with their templates, and templates.

use std::fmt::Write;

use schemas::{ChangeKind as PublishedKind, EventTime, LogRecordView, MatchKind, Parameter, ParsedLog, TemplateChange, TemplateRecord};
use stream_core::Record;

use crate::{
    change::{Change, ChangeKind, Match, TemplateEvent},
    drain::Parsed,
    template::TemplateId,
};

/// Attributes of a line that are passed on.
const ATTRIBUTES_MAX: usize = 32;
/// Bytes of a name or value that is passed on.
const TEXT_BYTES_MAX: usize = 1_024;

/// One parsed line, filled anew for each record, so that its texts are allocated once.
#[derive(Debug, Default)]
pub(crate) struct ParsedLine {
    pub log: ParsedLog,
    spare: Vec<Parameter>,
}

impl ParsedLine {
    /// Takes over what the line brings along. It has no template yet.
    pub(crate) fn begin(&mut self, line: &LogRecordView<'_>, record: &Record<'_>) {
        let log = &mut self.log;
        set(&mut log.host, line.host);
        log.event_time = line.event_time.micros();
        log.observed_time = line.observed_time.micros();
        log.severity = line.severity;
        set_optional(&mut log.app_name, line.app_name);
        log.source_kind = line.source_kind;
        set(&mut log.source_name, line.source_name);
        log.attributes.clear();
        log.attributes.extend(line.attributes().take(ATTRIBUTES_MAX).map(|(name, value)| (cut(name).into(), cut(value).into())));
        log.raw_partition = i32::try_from(record.partition.0).unwrap_or(i32::MAX);
        log.raw_offset = i64::try_from(record.offset.0).unwrap_or(i64::MAX);
        set_id(&mut log.template_id, TemplateId::UNKNOWN);
        set_id(&mut log.cluster_id, TemplateId::UNKNOWN);
        log.template_version = 0;
        log.template.clear();
        log.r#match = MatchKind::Skipped;
        log.change = None;
        self.spare.append(&mut log.params);
        log.params_truncated = false;
    }

    /// Adds the template and its values, and the severity that the line gives itself if its transport gave none.
    pub(crate) fn parsed(&mut self, parsed: &Parsed<'_>) {
        let log = &mut self.log;
        set_id(&mut log.template_id, parsed.template_id);
        set_id(&mut log.cluster_id, parsed.cluster_id);
        log.template_version = i32::try_from(parsed.version).unwrap_or(i32::MAX);
        log.template.push_str(parsed.template);
        log.r#match = match parsed.matched {
            Match::Exact => MatchKind::Exact,
            Match::Tree => MatchKind::Tree,
            Match::New => MatchKind::New,
            Match::Unknown => MatchKind::Unknown,
        };
        log.change = parsed.change.map(change);
        for param in parsed.params {
            let mut parameter = self.spare.pop().unwrap_or_default();
            set(&mut parameter.r#type, parsed.type_name(*param));
            set_optional(&mut parameter.name, param.name(parsed.source));
            set(&mut parameter.value, param.value(parsed.source));
            log.params.push(parameter);
        }
        log.params_truncated = parsed.params_truncated;
        log.severity = log.severity.or(parsed.severity.map(i32::from));
    }
}

/// A template as it is published.
pub(crate) fn template_record(event: &TemplateEvent, instance: &str) -> TemplateRecord {
    let template = &event.template;
    TemplateRecord { change: change(&event.change), ..report(template, event.superseded_by, instance) }
}

/// A template that did not change, with its present count.
pub(crate) fn report(template: &crate::TemplateInfo, superseded_by: Option<TemplateId>, instance: &str) -> TemplateRecord {
    TemplateRecord {
        template_id: template.id.to_string(),
        cluster_id: template.cluster_id.to_string(),
        version: i32::try_from(template.version).unwrap_or(i32::MAX),
        template: template.text.to_string(),
        tokens: i32::try_from(template.tokens).unwrap_or(i32::MAX),
        first_seen: EventTime(template.first_seen).micros(),
        last_seen: EventTime(template.last_seen).micros(),
        count: i64::try_from(template.count).unwrap_or(i64::MAX),
        instance: instance.into(),
        change: TemplateChange::default(),
        superseded_by: superseded_by.map(|id| id.to_string()),
        example: None,
    }
}

fn change(change: &Change) -> TemplateChange {
    let kind = match change.kind {
        ChangeKind::Created => PublishedKind::Created,
        ChangeKind::Generalised => PublishedKind::Generalised,
        ChangeKind::Merged => PublishedKind::Merged,
        ChangeKind::Evicted => PublishedKind::Evicted,
        ChangeKind::Seeded => PublishedKind::Seeded,
    };
    TemplateChange { kind, from: change.from.iter().map(TemplateId::to_string).collect() }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

fn set(text: &mut String, to: &str) {
    text.clear();
    text.push_str(cut(to));
}

fn set_optional(text: &mut Option<String>, to: Option<&str>) {
    match (text.as_mut(), to) {
        (Some(text), Some(to)) => set(text, to),
        _ => *text = to.map(|to| cut(to).into()),
    }
}

fn set_id(text: &mut String, id: TemplateId) {
    text.clear();
    let _ = write!(text, "{id}"); // writing to a string cannot fail
}
