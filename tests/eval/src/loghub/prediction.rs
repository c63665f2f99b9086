//! Which group a parser puts each line into.

use std::collections::HashMap;
use std::sync::Arc;

use drain::{ChangeKind, Drain, Match, TemplateId};

use super::accuracy::Labelled;

/// When a line's group is read off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// At the end of the file: a line belongs to what its template has become.
    Final,
    /// At once: a line belongs to the template it was published with.
    Online,
}

/// Groups by union: when a template supersedes another, their lines are of one group from then on.
#[derive(Default)]
struct Lineage {
    /// Parent of each group; a root is its own.
    parents: Vec<usize>,
    texts: Vec<Arc<str>>,
    /// The group that a live template stands for.
    live: HashMap<TemplateId, usize>,
}

impl Lineage {
    fn group(&mut self, id: TemplateId, text: &Arc<str>) -> usize {
        let next = self.parents.len();
        let group = *self.live.entry(id).or_insert(next);
        if group == next {
            self.parents.push(next);
            self.texts.push(Arc::clone(text));
        }
        group
    }

    fn root(&self, mut group: usize) -> usize {
        while self.parents[group] != group {
            group = self.parents[group];
        }
        group
    }
}

/// Parses `lines` and labels each with its group and the text of that group.
pub(super) fn predict(drain: &mut Drain, lines: &[String], view: View) -> Vec<Labelled> {
    let mut lineage = Lineage::default();
    let mut groups = Vec::with_capacity(lines.len());
    for line in lines {
        let parsed = drain.parse(line, 0);
        for event in parsed.events.iter().filter(|_| view == View::Final) {
            let gone = event.superseded_by.is_some() || event.change.kind == ChangeKind::Evicted;
            if !gone {
                continue;
            }
            let Some(old) = lineage.live.remove(&event.template.id) else { continue };
            let heir = event.superseded_by.and_then(|id| parsed.events.iter().find(|e| e.template.id == id));
            if let Some(heir) = heir {
                let new = lineage.group(heir.template.id, &heir.template.text);
                lineage.parents[old] = new;
            }
        }
        let (id, text) = (parsed.template_id, Arc::clone(parsed.template));
        debug_assert_eq!(parsed.matched == Match::Unknown, id == TemplateId::UNKNOWN);
        groups.push(lineage.group(id, &text));
    }
    let label = |group: usize| {
        let root = lineage.root(group);
        Labelled { group: root.to_string(), text: lineage.texts[root].to_string() }
    };
    groups.into_iter().map(label).collect()
}

/// The same for parsers whose clusters have numbers that stay. `add` gives the number and template of a line's cluster; online, a
/// line's group is both as they were at that moment.
pub(super) fn by_cluster(lines: &[String], view: View, mut add: impl FnMut(&str) -> (u64, String)) -> Vec<Labelled> {
    let mut templates: HashMap<u64, String> = HashMap::new();
    let mut groups = Vec::with_capacity(lines.len());
    for line in lines {
        let (cluster, text) = add(line);
        groups.push((cluster, if view == View::Online { text.clone() } else { String::new() }));
        templates.insert(cluster, text);
    }
    let label = |(cluster, online): (u64, String)| match view {
        View::Online => Labelled { group: format!("{cluster} {online}"), text: online },
        View::Final => Labelled { group: cluster.to_string(), text: templates.get(&cluster).cloned().unwrap_or_default() },
    };
    groups.into_iter().map(label).collect()
}
