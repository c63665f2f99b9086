//! `feedback`: how a person corrects what the system learnt, and takes it back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use schemas::{Feedback, FeedbackKind, topics};
use serde::Serialize;
use stream_runtime::{secret::random_hex, time::wall_clock};

use super::{alerts, verdicts::Book};
use crate::{
    cli::{FalseAlarm, Missed, Said, Undo},
    moment::ago,
    origin::Origin,
    output::{Cell, FAINT, Output, PLAIN, Table, plain},
    person,
    publication::Publication,
    redact::Redactor,
};

/// Bytes of an id. It must never come twice, but may be given by how it begins.
const ID_BYTES: usize = 8;
/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 4_096;
/// Bytes of a host name (RFC 1035 allows 253).
const HOST_BYTES_MAX: usize = 253;

/// Says that an alert was none.
pub fn false_alarm(args: &FalseAlarm, origin: &Origin, redactor: &Redactor, out: &mut Output) -> anyhow::Result<()> {
    let (alert, _) = alerts::find(&args.alert, origin, redactor, &origin.topic(topics::ALERTS)?)?;
    let learners = topics::find(topics::FEEDBACK).map_or(&[][..], |topic| topic.read_by);
    if !alert.source.iter().any(|part| learners.contains(&part.as_str())) {
        bail!(
            "{} comes from {}, which learns nothing from feedback: `nephoscope silence add --match name={}` holds it back, and \
             `nephoscope verdicts set` says what a kind of line means",
            plain(&alert.name),
            plain(&alert.source.join(", ")),
            plain(&alert.name)
        );
    }
    let host = alert.labels.get("host").cloned();
    publish(Feedback { kind: FeedbackKind::FalseAlarm, subject: alert.fingerprint, host, ..Feedback::default() }, &args.said, origin, out)
}

/// Says that a host failed and nobody told.
pub fn missed(args: &Missed, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    if args.host.is_empty() || args.host.len() > HOST_BYTES_MAX {
        bail!("expected a host name of 1 to {HOST_BYTES_MAX} bytes, found {}", args.host.len());
    }
    if args.at > wall_clock() {
        bail!("--at: expected a time that is past, found {}", args.at);
    }
    let value = match &args.template {
        Some(template) => Some(Book::read(origin)?.find(template)?.0.to_string()),
        None => None,
    };
    let feedback = Feedback { kind: FeedbackKind::Missed, subject: args.host.clone(), value, at: args.at, ..Feedback::default() };
    publish(feedback, &args.said, origin, out)
}

/// Takes a correction back.
pub fn undo(args: &Undo, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let (all, undone) = corrections(origin)?;
    let wanted = args.id.trim().to_ascii_lowercase();
    let mut found = all.iter().filter(|correction| correction.id.starts_with(&wanted) && correction.kind != FeedbackKind::Undo);
    let correction = match (found.next(), found.next()) {
        (Some(correction), None) if !wanted.is_empty() => correction,
        (None, _) => bail!("no correction begins with {wanted:?}; `nephoscope feedback list` shows them"),
        _ => bail!("more than one correction begins with {wanted:?}; `nephoscope feedback list` shows them"),
    };
    if undone.contains(&correction.id) {
        bail!("correction {} has been taken back already", plain(&correction.id));
    }
    let feedback = Feedback {
        kind: FeedbackKind::Undo,
        subject: correction.subject.clone(),
        host: correction.host.clone(),
        undo_of: Some(correction.id.clone()),
        ..Feedback::default()
    };
    publish(feedback, &args.said, origin, out)
}

/// Gives a correction what all have in common, and publishes it.
fn publish(feedback: Feedback, said: &Said, origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    if let Some(note) = said.note.as_ref().filter(|note| note.len() > NOTE_BYTES_MAX) {
        bail!("--note: expected at most {NOTE_BYTES_MAX} bytes, found {}", note.len());
    }
    // What is spoken of happened now, unless the kind says when.
    let at = if feedback.kind == FeedbackKind::Missed { feedback.at } else { wall_clock() };
    let (id, by) = (random_hex(ID_BYTES)?, person::named(said.by.as_deref())?);
    let feedback = Feedback { id, at, by, note: said.note.clone(), ..feedback };
    Publication::to(topics::FEEDBACK).json(&feedback.subject, &feedback).send(origin, "feedback")?;
    if out.is_json() {
        return Ok(out.document(&feedback)?);
    }
    let id = &feedback.id;
    let text = match &feedback.undo_of {
        Some(of) => format!("correction {} is taken back", plain(of)),
        None => format!("correction {id} is on its way; `nephoscope feedback undo {id}` takes it back"),
    };
    Ok(out.line(text)?)
}

/// All corrections, each once, oldest first; and the ids of those that were taken back.
fn corrections(origin: &Origin) -> anyhow::Result<(Vec<Feedback>, BTreeSet<String>)> {
    let mut all = BTreeMap::new();
    origin.scan_since(&origin.topic(topics::FEEDBACK)?, None, |record| {
        if let Some(feedback) = record.value_as::<Feedback>() {
            all.entry(feedback.id.clone()).or_insert((record.appended_at, feedback));
        }
        Ok(())
    })?;
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by(|(a, one), (b, other)| (a, &one.id).cmp(&(b, &other.id)));
    let undone = all.iter().filter_map(|(_, feedback)| feedback.undo_of.clone()).collect();
    Ok((all.into_iter().map(|(_, feedback)| feedback).collect(), undone))
}

/// A correction and whether it holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    feedback: Feedback,
    is_undone: bool,
}

/// Lists the corrections.
pub fn list(origin: &Origin, out: &mut Output) -> anyhow::Result<()> {
    let (mut all, undone) = corrections(origin)?;
    all.reverse();
    let listed: Vec<Listed> = all.into_iter().map(|feedback| Listed { is_undone: undone.contains(&feedback.id), feedback }).collect();
    if out.is_json() {
        return Ok(out.document(&listed)?);
    }
    if listed.is_empty() {
        return Ok(out.line("nobody has corrected anything")?);
    }
    let now = wall_clock();
    let mut table = Table::new(&["ID", "KIND", "STATE", "OF", "BY", "SUBJECT", "HOST", "NOTE"]);
    for Listed { feedback, is_undone } in &listed {
        let (style, state) = if *is_undone { (FAINT, "undone") } else { (PLAIN, "holds") };
        table.row([
            plain(&feedback.id).into(),
            plain(&kind(feedback)).into(),
            Cell::styled(style, state),
            ago(feedback.at, now).into(),
            plain(&feedback.by).into(),
            plain(feedback.undo_of.as_deref().unwrap_or(&feedback.subject)).into(),
            feedback.host.as_deref().map_or_else(|| "-".into(), plain).into(),
            feedback.note.as_deref().map_or_else(String::new, plain).into(),
        ]);
    }
    Ok(out.table(&table)?)
}

fn kind(feedback: &Feedback) -> String {
    let name = serde_json::to_value(feedback.kind).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or("other").into()
}
