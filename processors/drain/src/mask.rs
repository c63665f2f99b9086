//! Masks: one linear pass over the bytes of a line that finds what is a value by its shape alone.
//!
//! Drain3 masks with a list of backtracking regular expressions, each over the whole line; that is up to two thirds of
//! its run time (SkyAPM aiops-engine #10). Here the line is walked once, word by word. A shape is tried only at the start of
//! a word, and every try looks ahead a bounded number of bytes or consumes what it looked at, so the work is linear in
//! the line whatever it holds. Rules of the user (`regex` crate, no look-around, hence linear per match) run first.

mod shape;

use regex::{Regex, RegexBuilder};

use crate::config::{ConfigError, MaskRule};
use shape::Shapes;

/// What kind of value a mask found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamType {
    /// A user rule, by its position in the configuration.
    Custom(u16),
    /// `scheme://…`
    Url,
    /// Six pairs of hex digits.
    Mac,
    /// IPv4 address.
    Ipv4,
    /// IPv6 address or another run of hex groups joined by colons.
    Ipv6,
    /// Date, with or without time of day.
    Date,
    /// Time of day or a duration written like one.
    Time,
    /// Host name before a port.
    Host,
    /// Dotted name, `Outer$Inner` or `user@node`.
    Name,
    /// Path of at least two segments.
    Path,
    /// Hexadecimal number.
    Hex,
    /// Number with a unit.
    Quantity,
    /// Number.
    Number,
    /// Numbers joined by commas.
    List,
    /// Word that no shape describes: it holds a digit, stands in an identity slot or varies between lines.
    Word,
    /// Frames of a stack trace.
    Stack,
    /// More than one value, or a value with what surrounds it.
    Text,
}

impl ParamType {
    /// Name of the type as published; user rules carry their own name instead (see [`Masker::names`]).
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom(_) => "custom",
            Self::Url => "url",
            Self::Mac => "mac",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Date => "date",
            Self::Time => "time",
            Self::Host => "host",
            Self::Name => "name",
            Self::Path => "path",
            Self::Hex => "hex",
            Self::Quantity => "quantity",
            Self::Number => "number",
            Self::List => "list",
            Self::Word => "word",
            Self::Stack => "stack",
            Self::Text => "text",
        }
    }
}

/// A masked byte range of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What was found there.
    pub kind: ParamType,
}

/// Finds the masked ranges of lines.
///
/// ```
/// use drain::{Masker, ParamType};
/// let masker = Masker::new(&[])?;
/// let mut spans = Vec::new();
/// let line = "Accepted connection from 10.0.0.7 after 3 ms";
/// masker.spans(line, &mut spans);
/// let found: Vec<_> = spans.iter().map(|s| (&line[s.start..s.end], s.kind)).collect();
/// assert_eq!(found, [("10.0.0.7", ParamType::Ipv4), ("3 ms", ParamType::Quantity)]);
/// # Ok::<(), drain::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Masker {
    rules: Vec<Regex>,
    names: Vec<String>,
}

/// Upper bound of a compiled user rule; a rule beyond it is refused at start instead of filling memory.
const RULE_BYTES_MAX: usize = 1 << 20;
/// Each rule is one more pass over every line.
const RULES_MAX: usize = 64;

impl Masker {
    /// Compiles the rules of the user, which run before the built-in shapes, in their order.
    pub fn new(rules: &[MaskRule]) -> Result<Self, ConfigError> {
        if rules.len() > RULES_MAX {
            return Err(ConfigError::OutOfRange { key: "masks", expected: "at most 64 rules", found: rules.len().to_string() });
        }
        let compile = |rule: &MaskRule| {
            RegexBuilder::new(&rule.pattern)
                .size_limit(RULE_BYTES_MAX)
                .build()
                .map_err(|source| ConfigError::Mask { name: rule.name.clone(), source: Box::new(source) })
        };
        let names = rules.iter().map(|rule| rule.name.clone()).collect();
        Ok(Self { rules: rules.iter().map(compile).collect::<Result<_, _>>()?, names })
    }

    /// Names of the user rules, by the number in [`ParamType::Custom`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Replaces the content of `spans` by the masked ranges of `line`: sorted, disjoint, none empty.
    pub fn spans(&self, line: &str, spans: &mut Vec<Span>) {
        spans.clear();
        if self.rules.is_empty() {
            Shapes::new(line.as_bytes(), line.len()).scan(0, spans);
            return;
        }
        let own = self.rule_spans(line);
        let mut from = 0;
        for span in own {
            Shapes::new(line.as_bytes(), span.start).scan(from, spans);
            spans.push(span);
            from = span.end;
        }
        Shapes::new(line.as_bytes(), line.len()).scan(from, spans);
    }

    /// Matches of the user rules: an earlier rule wins where two overlap.
    fn rule_spans(&self, line: &str) -> Vec<Span> {
        let mut found: Vec<Span> = Vec::new();
        for (index, regex) in self.rules.iter().enumerate() {
            let kind = ParamType::Custom(u16::try_from(index).unwrap_or(u16::MAX));
            let earlier = found.len();
            for m in regex.find_iter(line).filter(|m| !m.is_empty()) {
                let known = found.get(..earlier).unwrap_or_default();
                let next = known.partition_point(|span| span.end <= m.start());
                if known.get(next).is_none_or(|span| m.end() <= span.start) {
                    found.push(Span { start: m.start(), end: m.end(), kind });
                }
            }
            found.sort_by_key(|span| span.start);
        }
        found
    }
}
