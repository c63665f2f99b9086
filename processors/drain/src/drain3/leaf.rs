//! The clusters of a leaf, and a first look at all of them at once.
//!
//! Drain3 compares a line with each cluster of its leaf, token by token. Lines for which there is no branch share one leaf, where
//! thousands of clusters may lie. So the hashes of their tokens stand here by position: how many agree with a line is then
//! counted for all clusters in one pass over an array for each of its tokens. Equal tokens have equal hashes, hence no cluster
//! is more like the line than this count says, and only one that could be the best needs to be compared itself.

use std::hash::BuildHasher;

use super::branches::Number;
use crate::tree::Hasher;

/// The mark of a parameter; no token has it.
const PARAM: u32 = 0;

/// Clusters with equally many tokens, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf {
    numbers: Vec<Number>,
    /// For each position of the templates the marks of all clusters.
    columns: Vec<Vec<u32>>,
    /// How many tokens of each are parameters.
    params: Vec<u32>,
}

/// What a first look found; kept for its memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// For each cluster of the leaf, how many of its tokens may be equal to the line's at most.
    agreeing: Vec<u32>,
}

/// Stands for a token of a line.
fn mark(token: &str) -> u32 {
    Hasher::default().hash_one(token) as u32 | 1
}

impl Leaf {
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(crate) fn numbers(&self) -> &[Number] {
        &self.numbers
    }

    /// Adds a cluster with a number above all others.
    pub(crate) fn push(&mut self, number: Number, tokens: &[Box<str>], param: &str) {
        self.numbers.push(number);
        self.columns.resize_with(tokens.len(), Vec::new);
        let mut params = 0;
        for (column, token) in self.columns.iter_mut().zip(tokens) {
            let is_param = **token == *param;
            params += u32::from(is_param);
            column.push(if is_param { PARAM } else { mark(token) });
        }
        self.params.push(params);
    }

    pub(crate) fn remove(&mut self, number: Number) {
        let Ok(index) = self.numbers.binary_search(&number) else { return };
        self.numbers.remove(index);
        self.params.remove(index);
        for column in &mut self.columns {
            column.remove(index);
        }
    }

    /// A token of a template has become a parameter.
    pub(crate) fn widen(&mut self, number: Number, position: usize) {
        let Ok(index) = self.numbers.binary_search(&number) else { return };
        let mark = self.columns.get_mut(position).and_then(|column| column.get_mut(index));
        if let (Some(mark), Some(params)) = (mark, self.params.get_mut(index)) {
            *params += u32::from(*mark != PARAM);
            *mark = PARAM;
        }
    }
}

impl Sight {
    /// Looks at a whole leaf: each cluster with how many of its tokens may be equal to the line's, and how many are parameters.
    pub(crate) fn of<'a>(
        &'a mut self,
        leaf: &'a Leaf,
        line: impl Iterator<Item = &'a str>,
    ) -> impl Iterator<Item = (Number, usize, usize)> + 'a {
        self.agreeing.clear();
        self.agreeing.resize(leaf.numbers.len(), 0);
        for (column, token) in leaf.columns.iter().zip(line) {
            let expected = mark(token);
            // Without a branch, so that the compiler compares eight at a time.
            self.agreeing.iter_mut().zip(column).for_each(|(agreeing, mark)| *agreeing += u32::from(*mark == expected));
        }
        let found = leaf.numbers.iter().zip(&self.agreeing).zip(&leaf.params);
        found.map(|((number, agreeing), params)| (*number, *agreeing as usize, *params as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAM: &str = "<*>";

    fn template() -> impl Strategy<Value = Vec<Box<str>>> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c", PARAM]).prop_map(Into::into), 3)
    }

    proptest! {
        /// However clusters came, went and widened: what the first look says is what comparing each gives.
        #[test]
        fn the_first_look_counts_what_is_equal_and_what_is_a_parameter(
            mut templates in prop::collection::vec(template(), 1..20),
            widened in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3), 0..8),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            line in prop::collection::vec(prop::sample::select(vec!["a", "b", "d"]), 3),
        ) {
            let mut leaf = Leaf::default();
            for (number, tokens) in templates.iter().enumerate() {
                leaf.push(number as Number, tokens, PARAM);
            }
            for (index, position) in widened {
                let index = index.index(templates.len());
                leaf.widen(index as Number, position);
                templates[index][position] = PARAM.into();
            }
            let removed: Vec<usize> = removed.iter().map(|index| index.index(templates.len())).collect();
            removed.iter().for_each(|number| leaf.remove(*number as Number));
            let count = |tokens: &[Box<str>], is_meant: &dyn Fn(&str, &str) -> bool| {
                tokens.iter().zip(&line).filter(|(token, theirs)| is_meant(token, theirs)).count()
            };
            let expected: Vec<(Number, usize, usize)> = templates
                .iter()
                .enumerate()
                .filter(|(number, _)| !removed.contains(number))
                .map(|(number, tokens)| (number as Number, count(tokens, &|a, b| a == b), count(tokens, &|a, _| a == PARAM)))
                .collect();
            let mut sight = Sight::default();
            prop_assert_eq!(sight.of(&leaf, line.iter().copied()).collect::<Vec<_>>(), expected);
        }
    }
}
