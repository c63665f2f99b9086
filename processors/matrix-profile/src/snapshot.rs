//! The state as bytes and back: a section for each part, sorted or in order of use.

use std::collections::{BTreeMap, VecDeque};

use schemas::{EventTime, Model, TemplateId};
use serde::{Deserialize, Serialize};
use stream_core::{AlertBook, SnapshotReader, SnapshotWriter, StateError};

use crate::{
    alias::{ALIASES_MAX, Aliases},
    config::Config,
    corrections::{CORRECTIONS_MAX, Corrections, REMOVED_MAX},
    host::{Heard, Host},
    predictions::{PREDICTIONS_MAX, Prediction, WINDOWS_MAX},
    reorder::{INSTANCE_MAX, Reorder},
    sequence::Line,
    store::{M, Window},
    vector::TEXT_BYTES_MAX,
    vocabulary::{TEMPLATES_MAX, Vocabulary},
    watch::Watch,
};

/// Version of the layout below.
pub(crate) const STATE_VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct HostRow {
    number: u32,
    name: String,
    seen: u32,
    recent: Vec<Line>,
    heard: Vec<Heard>,
    heard_at: EventTime,
    novel: u32,
    /// The least recently shown first.
    windows: Vec<(Window, EventTime, bool)>,
}

#[derive(Serialize, Deserialize)]
struct Rest {
    aliases: Vec<(TemplateId, TemplateId)>,
    told: BTreeMap<String, Prediction>,
    corrections: Corrections,
    next_number: u32,
    highest: EventTime,
}

/// Bytes of the largest snapshot under these caps.
pub(crate) fn state_bytes_bound(config: &Config) -> u64 {
    // A window: four ids, a time, a mark, and the length of the list that it stands in.
    const WINDOW: usize = M * 8 + 10 + 1 + 1;
    const HEARD: usize = 8 + 2 + 2 * (1 + 2 + 128) + 5 + 10 + 1;
    const HOST: usize = 5 + 255 + 5 + M * (8 + 8 + 1) + M * HEARD + 10 + 5 + 16;
    // The reorder buffer knows every host's newest time and the last key that left.
    const ORDER: usize = 5 + 10 + 1 + 10 + 10;
    const PREDICTION: usize = 40 + 255 + WINDOWS_MAX * (8 + WINDOW) + 20;
    const CORRECTION: usize = 260 + 255 + REMOVED_MAX * (2 + 2 * WINDOW) + 4;
    const VERDICT: usize = 8 + 1 + 1 + 1 + 10 + 2;
    let hosts = config.hosts_max * (HOST + ORDER + config.store_max * WINDOW);
    let shared = TEMPLATES_MAX * (8 + 3 + TEXT_BYTES_MAX)
        + INSTANCE_MAX * (10 + 5 + 20 + HEARD)
        + ALIASES_MAX * 16
        + PREDICTIONS_MAX * PREDICTION
        + CORRECTIONS_MAX * CORRECTION
        + verdict::ENTRIES_MAX * VERDICT;
    const FRAMES: usize = 1_024;
    (hosts + shared + FRAMES) as u64 + AlertBook::STATE_BYTES_BOUND
}

impl Watch {
    pub(crate) fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("verdicts", &self.verdicts)?;
        w.put("templates", &self.vocabulary.rows().collect::<Vec<_>>())?;
        let row = |(number, host): (&u32, &Host)| HostRow {
            number: *number,
            name: host.name.clone(),
            seen: host.sequence.seen,
            recent: host.sequence.recent.iter().copied().collect(),
            heard: host.heard.iter().cloned().collect(),
            heard_at: host.heard_at,
            novel: host.novel,
            windows: host.sequence.store.iter().map(|(window, stored)| (*window, stored.learned_at, stored.is_pinned)).collect(),
        };
        w.put("hosts", &self.hosts.iter().map(row).collect::<Vec<_>>())?;
        w.put("waiting", &self.reorder.rows())?;
        let rest = Rest {
            aliases: self.aliases.rows(),
            told: self.predictions.told.clone(),
            corrections: self.corrections.clone(),
            next_number: self.next_number,
            highest: self.highest,
        };
        w.put("rest", &rest)?;
        self.predictions.book.snapshot(w)
    }

    /// Comes back; under smaller caps the least recent is left out.
    pub(crate) fn restore(r: &SnapshotReader<'_>, config: &Config, model: Model) -> Result<Self, StateError> {
        let mut watch = Self::new(config, AlertBook::restore(r, model)?);
        watch.verdicts = r.get("verdicts")?;
        let templates: Vec<(TemplateId, String)> = r.get("templates")?;
        watch.vocabulary = Vocabulary::default();
        for (id, text) in &templates {
            watch.vocabulary.meet(*id, text);
        }
        let mut rows: Vec<HostRow> = r.get("hosts")?;
        watch.reorder = Reorder::from_rows(config.reorder_ms, r.get("waiting")?);
        if rows.len() > config.hosts_max {
            rows.sort_by_key(|row| (row.heard_at, row.number));
            let surplus = rows.len() - config.hosts_max;
            rows.drain(..surplus).for_each(|row| watch.reorder.forget(row.number, &mut |_| {}));
        }
        for row in rows {
            watch.numbers.insert(row.name.clone(), row.number);
            watch.hosts.insert(row.number, host(row, config));
        }
        let rest: Rest = r.get("rest")?;
        watch.aliases = Aliases::from_rows(rest.aliases);
        (watch.predictions.told, watch.corrections) = (rest.told, rest.corrections);
        (watch.next_number, watch.highest) = (rest.next_number, rest.highest);
        Ok(watch)
    }
}

fn host(row: HostRow, config: &Config) -> Host {
    let mut host = Host::new(&row.name, &config.scoring());
    host.sequence.seen = row.seen;
    host.sequence.recent = row.recent.into_iter().take(M).collect();
    host.heard = row.heard.into_iter().take(M).collect::<VecDeque<_>>();
    (host.heard_at, host.novel) = (row.heard_at, row.novel);
    for (window, learned_at, is_pinned) in row.windows {
        let window = Window::new(*window.templates());
        host.sequence.store.push(window, learned_at);
        host.sequence.store.pin(&window, is_pinned);
    }
    host
}
