//! Templates that have become others: their windows and what still waits under the old id follow.

use std::collections::{BTreeMap, VecDeque};

use schemas::TemplateId;

/// Old ids that are remembered, the earliest superseded is forgotten.
pub(crate) const ALIASES_MAX: usize = 8_192;

/// Which template stands for one that has been superseded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases {
    heirs: BTreeMap<TemplateId, TemplateId>,
    order: VecDeque<TemplateId>,
}

impl Aliases {
    /// `from` has become `to`; so has everything that had become `from`.
    pub(crate) fn supersede(&mut self, from: TemplateId, to: TemplateId) {
        self.revive(to);
        self.heirs.values_mut().filter(|heir| **heir == from).for_each(|heir| *heir = to);
        if self.heirs.insert(from, to).is_none() {
            self.order.push_back(from);
        }
        if self.order.len() > ALIASES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.heirs.remove(&oldest);
        }
    }

    /// A template is in use, under its own name.
    pub(crate) fn revive(&mut self, id: TemplateId) {
        if self.heirs.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }

    /// What stands for a template now.
    pub(crate) fn resolve(&self, id: TemplateId) -> TemplateId {
        self.heirs.get(&id).copied().unwrap_or(id)
    }

    pub(crate) fn rows(&self) -> Vec<(TemplateId, TemplateId)> {
        self.order.iter().filter_map(|from| Some((*from, *self.heirs.get(from)?))).collect()
    }

    pub(crate) fn from_rows(rows: Vec<(TemplateId, TemplateId)>) -> Self {
        let order = rows.iter().map(|(from, _)| *from).collect();
        Self { heirs: rows.into_iter().collect(), order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> TemplateId {
        TemplateId::of(&n.to_string())
    }

    #[test]
    fn chains_lead_to_the_last_and_what_lives_again_is_itself() {
        let mut aliases = Aliases::default();
        aliases.supersede(id(1), id(2));
        aliases.supersede(id(2), id(3));
        assert_eq!([1, 2, 3].map(|n| aliases.resolve(id(n))), [id(3); 3]);
        aliases.revive(id(1));
        assert_eq!(aliases.resolve(id(1)), id(1));
        aliases.supersede(id(3), id(2));
        assert_eq!(aliases.resolve(id(3)), id(2), "there and back is no circle");
        assert_eq!(Aliases::from_rows(aliases.rows()).rows(), aliases.rows());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut aliases = Aliases::default();
        for n in 0..=ALIASES_MAX {
            aliases.supersede(id(n), id(1_000_000));
        }
        assert_eq!(aliases.rows().len(), ALIASES_MAX);
        assert_eq!(aliases.resolve(id(0)), id(0));
    }
}
