//! The condition grammar: what we know about how machines speak, as text files under `grammar/`.
//!
//! Two kinds of files. *Products* name resources and the conditions they can be in; every pair is a line, in both word orders.
//! *Sayings* are lines as programs write them. A section head says what its lines mean:
//!
//! ```text
//! # a comment
//! [faulty memory]            of sayings: label, class, weight if not 1
//! {Out of memory|OOM}: Killed process <*>
//! [normal x2]
//! session {opened|closed} for user <*>
//! ```
//!
//! `{a|b}` means each in turn, `{a|}` either or nothing. The more alternatives a saying has, the less each counts (n to the power
//! of −¼): they are half one thing that is said. Products count least: they fill the gaps between sayings.

use std::collections::BTreeSet;

use schemas::FailureClass;

/// What a line is an example of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// It tells of a failure or its approach, of this class.
    Faulty(FailureClass),
    /// It is part of normal work.
    Normal,
}

/// A line to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// A template text.
    pub text: String,
    /// What it is an example of.
    pub label: Label,
    /// How much it counts.
    pub weight: f64,
}

/// A line of a grammar file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grammar/{file}, line {line}: expected {expected}, found {found:?}")]
pub struct GrammarError {
    file: &'static str,
    line: usize,
    expected: &'static str,
    found: String,
}

/// Alternatives that one line may unfold into.
const UNFOLDED_MAX: usize = 4096;

/// Weight of a product beside a saying: nobody has ever said most of them.
const PRODUCT_WEIGHT: f64 = 0.05;

const RESOURCES: (&str, &str) = ("resources.txt", include_str!("../grammar/resources.txt"));
const CONDITIONS: (&str, &str) = ("conditions.txt", include_str!("../grammar/conditions.txt"));
/// Sayings, in the order in which they are trained on.
const SAYINGS: &[(&str, &str)] = &[
    ("storage.txt", include_str!("../grammar/storage.txt")),
    ("memory.txt", include_str!("../grammar/memory.txt")),
    ("processors.txt", include_str!("../grammar/processors.txt")),
    ("network.txt", include_str!("../grammar/network.txt")),
    ("software.txt", include_str!("../grammar/software.txt")),
    ("clusters.txt", include_str!("../grammar/clusters.txt")),
    ("boot.txt", include_str!("../grammar/boot.txt")),
    ("daily.txt", include_str!("../grammar/daily.txt")),
    ("services.txt", include_str!("../grammar/services.txt")),
    ("signs.txt", include_str!("../grammar/signs.txt")),
    ("works.txt", include_str!("../grammar/works.txt")),
    ("hosts.txt", include_str!("../grammar/hosts.txt")),
];

/// All lines of the grammar, in the order of the files. What a saying says of a text stands against a product.
///
/// # Errors
/// [`GrammarError`] for a line that is none.
pub fn examples() -> Result<Vec<Example>, GrammarError> {
    let mut sayings = Vec::new();
    for (file, text) in SAYINGS {
        for section in sections(file, text)? {
            let (label, weight) = section.meaning()?;
            for line in &section.lines {
                let texts = unfold(line);
                let weight = weight / libm::sqrt(libm::sqrt(texts.len() as f64));
                sayings.extend(texts.into_iter().map(|text| Example { text, label, weight }));
            }
        }
    }
    let said: BTreeSet<&str> = sayings.iter().map(|example| example.text.as_str()).collect();
    let mut examples = products()?;
    examples.retain(|example| !said.contains(example.text.as_str()));
    examples.extend(sayings);
    Ok(examples)
}

/// Every resource in every condition that fits its class, both word orders.
fn products() -> Result<Vec<Example>, GrammarError> {
    let conditions: Vec<_> = sections(CONDITIONS.0, CONDITIONS.1)?.into_iter().map(|s| Ok((s.product()?, s))).collect::<Result<_, _>>()?;
    let mut examples = Vec::new();
    for resources in sections(RESOURCES.0, RESOURCES.1)? {
        let class = resources.class(resources.head)?;
        for ((is_faulty, of), section) in &conditions {
            if of.is_some_and(|of| of != class) {
                continue;
            }
            let label = if *is_faulty { Label::Faulty(class) } else { Label::Normal };
            for resource in &resources.lines {
                for condition in &section.lines {
                    let orders = [format!("{resource} {condition}"), format!("{condition} {resource}")];
                    examples.extend(orders.map(|text| Example { text, label, weight: PRODUCT_WEIGHT }));
                }
            }
        }
    }
    Ok(examples)
}

/// A head in brackets, the number of its line, and the lines under it.
struct Section<'a> {
    file: &'static str,
    number: usize,
    head: &'a str,
    lines: Vec<&'a str>,
}

fn sections<'a>(file: &'static str, text: &'a str) -> Result<Vec<Section<'a>>, GrammarError> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with("# ") || line == "#" {
            continue;
        }
        let head = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|head| is_head(head));
        match (head, sections.last_mut()) {
            (Some(head), _) => sections.push(Section { file, number, head, lines: Vec::new() }),
            (None, Some(section)) => section.lines.push(line),
            (None, None) => return Err(GrammarError { file, line: number, expected: "a section head", found: line.into() }),
        }
    }
    Ok(sections)
}

/// Log lines may stand in brackets too; a head is lower-case words of ours.
fn is_head(text: &str) -> bool {
    let known = |word: &str| matches!(word, "faulty" | "normal" | "any") || class(word).is_some() || weight(word).is_some();
    !text.is_empty() && text.split(' ').all(known)
}

fn class(word: &str) -> Option<FailureClass> {
    use FailureClass::{BufferIo, Cpu, Disk, Memory, Network, Software, Unknown};
    [Disk, BufferIo, Cpu, Memory, Network, Software, Unknown].into_iter().find(|class| class.name() == word)
}

fn weight(word: &str) -> Option<f64> {
    word.strip_prefix('x').and_then(|number| number.parse().ok()).filter(|weight: &f64| weight.is_finite() && *weight > 0.0)
}

impl Section<'_> {
    fn wrong(&self, expected: &'static str) -> GrammarError {
        GrammarError { file: self.file, line: self.number, expected, found: self.head.into() }
    }

    fn class(&self, word: &str) -> Result<FailureClass, GrammarError> {
        class(word).ok_or_else(|| self.wrong("a failure class"))
    }

    /// Of conditions: `faulty any`, `faulty disk`, `normal any` … The class is none where it is any.
    fn product(&self) -> Result<(bool, Option<FailureClass>), GrammarError> {
        let (label, of) = self.head.split_once(' ').ok_or_else(|| self.wrong("faulty or normal, and a class or any"))?;
        let of = if of == "any" { None } else { Some(self.class(of)?) };
        match label {
            "faulty" => Ok((true, of)),
            "normal" => Ok((false, of)),
            _ => Err(self.wrong("faulty or normal")),
        }
    }

    /// Of sayings: `faulty <class> [x<weight>]` or `normal [x<weight>]`.
    fn meaning(&self) -> Result<(Label, f64), GrammarError> {
        let words: Vec<&str> = self.head.split(' ').collect();
        let weight_of = |word: Option<&&str>| word.map_or(Ok(1.0), |word| weight(word).ok_or_else(|| self.wrong("a weight as x2")));
        match words.as_slice() {
            ["faulty", class, rest @ ..] if rest.len() < 2 => Ok((Label::Faulty(self.class(class)?), weight_of(rest.first())?)),
            ["normal", rest @ ..] if rest.len() < 2 => Ok((Label::Normal, weight_of(rest.first())?)),
            _ => Err(self.wrong("faulty <class> or normal, and perhaps a weight")),
        }
    }
}

/// Every text that a line with `{a|b}` stands for, in order. Braces without a bar are part of the text.
fn unfold(line: &str) -> Vec<String> {
    let (texts, _) = sequence(line, false);
    texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Reads up to the bar or brace that ends a choice (`inside` one), or to the end. Returns the texts and what follows.
fn sequence(text: &str, inside: bool) -> (Vec<String>, &str) {
    let mut texts = vec![String::new()];
    let mut rest = text;
    loop {
        let at = rest.find(if inside { &['{', '|', '}'][..] } else { &['{'][..] }).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(at);
        texts.iter_mut().for_each(|text| text.push_str(plain));
        let Some(after) = tail.strip_prefix('{') else {
            return (texts, tail);
        };
        let (options, after) = choice(after);
        if texts.len() * options.len() <= UNFOLDED_MAX {
            texts = texts.iter().flat_map(|text| options.iter().map(move |option| format!("{text}{option}"))).collect();
        }
        rest = after;
    }
}

/// Reads the alternatives behind an opening brace.
fn choice(text: &str) -> (Vec<String>, &str) {
    let mut options = Vec::new();
    let mut rest = text;
    let mut bars = 0;
    loop {
        let (texts, tail) = sequence(rest, true);
        options.extend(texts);
        if let Some(after) = tail.strip_prefix('|') {
            bars += 1;
            rest = after;
            continue;
        }
        let after = tail.strip_prefix('}').unwrap_or(tail);
        if bars == 0 {
            options.iter_mut().for_each(|option| *option = format!("{{{option}}}"));
        }
        return (options, after);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn alternatives_unfold_in_order() {
        assert_eq!(unfold("a {b|c} {d|}"), ["a b d", "a b", "a c d", "a c"]);
        assert_eq!(unfold("plain <*>"), ["plain <*>"]);
        assert_eq!(unfold("a {b{|c|d}|e}"), ["a b", "a bc", "a bd", "a e"]);
        assert_eq!(unfold("{x|status: { DRDY ERR }}: {<*>}"), ["x: {<*>}", "status: { DRDY ERR }: {<*>}"]);
        assert_eq!(unfold("{a|b"), ["a", "b"]);
    }

    #[test]
    fn a_log_line_in_brackets_is_no_head() {
        let found = sections("x", "[faulty disk x3]\n[sdb] Attached SCSI disk]\n# words\n#[x]").unwrap();
        assert_eq!((found.len(), found[0].lines.len()), (1, 2));
        assert_eq!(found[0].meaning(), Ok((Label::Faulty(FailureClass::Disk), 3.0)));
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let error = sections("x.txt", "\nlost").err().unwrap();
        assert_eq!(error.to_string(), "grammar/x.txt, line 2: expected a section head, found \"lost\"");
        assert!(sections("x", "[faulty]").unwrap()[0].meaning().is_err());
    }

    /// A text must not be taught as both, or both lessons are lost.
    #[test]
    fn the_shipped_grammar_is_understood_and_does_not_contradict_itself() {
        let mut labels: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
        for example in examples().unwrap() {
            labels.entry(example.text).or_default().insert(example.label == Label::Normal);
        }
        let both: Vec<&String> = labels.iter().filter(|(_, labels)| labels.len() > 1).map(|(text, _)| text).collect();
        assert!(both.is_empty(), "{both:#?}");
        assert!(labels.len() > 10_000, "{}", labels.len());
    }
}
