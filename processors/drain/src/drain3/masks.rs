//! The masks of Drain3, and its tokens.
//!
//! Each mask is a substitution over the whole text that the masks before it have left, as `re.sub` does it. For each byte of the
//! masked text it is kept where in the line it came from, so that the value behind a mask can be told.

use std::sync::LazyLock;

use regex::Regex as Classes;

use super::ini::{Drain3Error, Drain3Settings};
use super::rule::Rule;

/// What is done to a line before it meets the tree.
#[derive(Clone, Debug)]
pub(crate) struct Masks {
    /// Patterns and what they become in a template.
    rules: Vec<(Rule, String)>,
    names: Vec<String>,
    delimiters: Vec<String>,
    /// What a parameter is in a template: prefix, `*`, suffix.
    pub param: String,
    prefix: String,
}

/// Numeric_Type=Decimal of the Unicode Character Database.
static DECIMAL: LazyLock<Option<Classes>> = LazyLock::new(|| Classes::new(r"\p{Nd}").ok());

/// How much of a line is looked at, and how much is kept; Drain3 itself knows no bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub line_bytes_max: usize,
    pub tokens_max: usize,
    /// Of the masked text.
    pub text_bytes_max: usize,
    /// Of the tokens of all templates.
    pub templates_bytes_max: usize,
    /// Nodes of the tree before branches without clusters are forgotten.
    pub nodes_max: usize,
}

impl Bounds {
    pub(crate) const NONE: Self = Self {
        line_bytes_max: usize::MAX,
        tokens_max: usize::MAX,
        text_bytes_max: usize::MAX,
        templates_bytes_max: usize::MAX,
        nodes_max: usize::MAX,
    };
}

/// A masked and tokenised line, reused from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masked {
    text: String,
    /// For each byte of `text`, and for its end, where in the line it came from.
    origin: Vec<u32>,
    tokens: Vec<(usize, usize)>,
    next: (String, Vec<u32>),
    line_bytes: usize,
    /// Some of the line lies beyond the bounds.
    pub is_cut: bool,
}

impl Masked {
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn token(&self, index: usize) -> &str {
        self.tokens.get(index).and_then(|(start, end)| self.text.get(*start..*end)).unwrap_or_default()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|(start, end)| self.text.get(*start..*end).unwrap_or_default())
    }

    /// Where in the line the bytes `range` of token `index` came from.
    pub(crate) fn origin(&self, index: usize, range: std::ops::Range<usize>) -> (usize, usize) {
        let start = self.tokens.get(index).map_or(0, |token| token.0);
        let at = |offset: usize| self.origin.get(start + offset).copied().unwrap_or_default() as usize;
        (at(range.start), at(range.end))
    }

    /// Puts `with` in the place of each range that `find` gives, from left to right; `find` looks from a byte on.
    fn substitute(&mut self, with: &str, mut find: impl FnMut(&str, usize) -> Option<(usize, usize)>) {
        let (text, origin) = &mut self.next;
        text.clear();
        origin.clear();
        let (mut copied, mut from) = (0, 0);
        while from <= self.text.len()
            && let Some((start, end)) = find(&self.text, from)
        {
            text.push_str(self.text.get(copied..start).unwrap_or_default());
            origin.extend_from_slice(self.origin.get(copied..start).unwrap_or_default());
            text.push_str(with);
            origin.extend(std::iter::repeat_n(self.origin.get(start).copied().unwrap_or_default(), with.len()));
            copied = end;
            // Behind an empty match the next one begins at least a character further.
            from =
                if end > start { end } else { end + self.text.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8) };
        }
        if from == 0 {
            return;
        }
        text.push_str(self.text.get(copied..).unwrap_or_default());
        origin.extend_from_slice(self.origin.get(copied..).unwrap_or_default());
        std::mem::swap(&mut self.text, text);
        std::mem::swap(&mut self.origin, origin);
    }
}

impl Masks {
    pub(crate) fn new(settings: &Drain3Settings) -> Result<Self, Drain3Error> {
        let written = |name: &str| format!("{}{name}{}", settings.mask_prefix, settings.mask_suffix);
        let mut rules = Vec::new();
        for mask in &settings.masks {
            let rule = Rule::new(&mask.pattern).map_err(|source| Drain3Error::Pattern { name: mask.name.clone(), source })?;
            rules.push((rule, written(&mask.name)));
        }
        Ok(Self {
            rules,
            names: settings.masks.iter().map(|mask| mask.name.clone()).collect(),
            delimiters: settings.extra_delimiters.clone(),
            param: written("*"),
            prefix: settings.mask_prefix.clone(),
        })
    }

    /// Names of the rules.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Masks and tokenises a line.
    pub(crate) fn read(&self, line: &str, bounds: &Bounds, masked: &mut Masked) {
        let head = line.get(..line.floor_char_boundary(bounds.line_bytes_max.min(line.len()))).unwrap_or_default();
        masked.begin(head, line.len());
        for (rule, written) in &self.rules {
            masked.substitute(written, |text, from| rule.find(text, from));
        }
        let trimmed = masked.text.trim_matches(is_space);
        let (start, end) = (masked.text.len() - masked.text.trim_start_matches(is_space).len(), trimmed.len());
        masked.text.truncate(start + end);
        masked.text.drain(..start);
        masked.origin.truncate(start + end + 1);
        masked.origin.drain(..start);
        for delimiter in &self.delimiters {
            masked.substitute(" ", |text, from| {
                let at = from + text.get(from..)?.find(delimiter.as_str())?;
                Some((at, at + delimiter.len()))
            });
        }
        masked.split(bounds);
    }

    /// Tokenises the text of a template, in which nothing is masked any more.
    pub(crate) fn split(&self, text: &str, bounds: &Bounds, masked: &mut Masked) {
        masked.begin(text, text.len());
        masked.split(bounds);
    }

    /// The masks and parameters that a token of a template or masked line holds: byte range, and the rule (`None`: parameter).
    pub(crate) fn placeholders(&self, token: &str) -> Vec<(std::ops::Range<usize>, Option<usize>)> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = token.get(from..).and_then(|rest| rest.find(&self.prefix)).map(|at| from + at) {
            match token
                .get(at..)
                .and_then(|rest| self.placeholder(rest))
                .filter(|(length, _)| !self.prefix.is_empty() || *length == token.len())
            {
                Some((length, rule)) => {
                    found.push((at..at + length, rule));
                    from = at + length;
                }
                None => from = at + token.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
            }
        }
        found
    }

    /// The longest placeholder that `text` begins with.
    fn placeholder(&self, text: &str) -> Option<(usize, Option<usize>)> {
        let named = self.rules.iter().enumerate().map(|(index, (_, written))| (written.as_str(), Some(index)));
        let all = named.chain([(self.param.as_str(), None)]);
        let begins = all.filter(|(written, _)| !written.is_empty() && text.starts_with(written));
        begins.map(|(written, rule)| (written.len(), rule)).max_by_key(|(length, rule)| (*length, rule.map(std::cmp::Reverse)))
    }

    /// Whether Python's `str.isdigit` holds for a character.
    pub(crate) fn has_digit(token: &str) -> bool {
        if token.is_ascii() {
            return token.bytes().any(|byte| byte.is_ascii_digit());
        }
        token.chars().any(is_digit_sign) || DECIMAL.as_ref().is_some_and(|decimal| decimal.is_match(token))
    }
}

impl Masked {
    fn begin(&mut self, head: &str, line_bytes: usize) {
        self.text.clear();
        self.text.push_str(head);
        self.origin.clear();
        self.origin.extend((0..=head.len()).map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
        self.line_bytes = line_bytes;
        self.is_cut = head.len() < line_bytes;
    }

    /// Puts one more token in the place of what was left out.
    pub(crate) fn close(&mut self, token: &str) {
        let from = self.tokens.last().map_or(0, |last| last.1);
        let origin = self.origin.get(from).copied().unwrap_or_default();
        self.text.truncate(from);
        self.origin.truncate(from);
        self.text.push(' ');
        self.text.push_str(token);
        self.origin.extend(std::iter::repeat_n(origin, 1 + token.len()));
        self.origin.push(u32::try_from(self.line_bytes).unwrap_or(u32::MAX));
        self.tokens.push((from + 1, self.text.len()));
    }

    /// Finds the tokens; what lies beyond the bounds is left out.
    fn split(&mut self, bounds: &Bounds) {
        self.tokens.clear();
        let mut start = None;
        for (at, c) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            match (is_space(c), start) {
                (true, Some(from)) => {
                    if self.tokens.len() >= bounds.tokens_max || at > bounds.text_bytes_max {
                        self.is_cut = true;
                        return;
                    }
                    self.tokens.push((from, at));
                    start = None;
                }
                (false, None) => start = Some(at),
                _ => {}
            }
        }
    }
}

/// Python's `str.isspace`: Unicode's white space and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Digits that are no decimal digits: Numeric_Type=Digit of the Unicode Character Database.
fn is_digit_sign(c: char) -> bool {
    matches!(
        u32::from(c),
        0xb2..=0xb3 | 0xb9 | 0x1369..=0x1371 | 0x19da | 0x2070 | 0x2074..=0x2079 | 0x2080..=0x2089 | 0x2460..=0x2468 | 0x2474..=0x247c
            | 0x2488..=0x2490 | 0x24ea | 0x24f5..=0x24fd | 0x24ff | 0x2776..=0x277e | 0x2780..=0x2788 | 0x278a..=0x2792
            | 0x10a40..=0x10a43 | 0x10e60..=0x10e68 | 0x11052..=0x1105a | 0x1f100..=0x1f10a
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain3::Drain3Mask;

    fn masks(rules: &[(&str, &str)], delimiters: &[&str]) -> Masks {
        let masks = rules.iter().map(|(pattern, name)| Drain3Mask { pattern: (*pattern).into(), name: (*name).into() }).collect();
        let extra_delimiters = delimiters.iter().map(|delimiter| (*delimiter).into()).collect();
        Masks::new(&Drain3Settings { masks, extra_delimiters, ..Drain3Settings::default() }).expect("valid")
    }

    fn tokens(masks: &Masks, line: &str) -> Vec<String> {
        let mut masked = Masked::default();
        masks.read(line, &Bounds::NONE, &mut masked);
        masked.tokens().map(str::to_owned).collect()
    }

    #[test]
    fn masks_apply_in_order_to_what_the_earlier_ones_left() {
        let masks = masks(&[(r"((?<=[^A-Za-z0-9])|^)(\d+)((?=[^A-Za-z0-9])|$)", "NUM"), ("<NUM>-<NUM>", "RANGE")], &["_"]);
        assert_eq!(tokens(&masks, " 12-34 of a5_7 \u{1c}x "), ["<RANGE>", "of", "a5", "<NUM>", "x"]);
    }

    #[test]
    fn a_value_is_found_again_in_the_line() {
        let masks = masks(&[(r"\d+", "NUMBER"), ("<NUMBER>ms", "TIME")], &["::"]);
        let (line, mut masked) = ("took::1234ms of 5 s", Masked::default());
        masks.read(line, &Bounds::NONE, &mut masked);
        let all: Vec<_> =
            (0..masked.len()).map(|index| masked.origin(index, 0..masked.token(index).len())).map(|(a, b)| &line[a..b]).collect();
        assert_eq!(all, ["took", "1234ms", "of", "5", "s"]);
        assert_eq!(masks.placeholders("a<TIME>=<*><NUMBER>"), [(1..7, Some(1)), (8..11, None), (11..19, Some(0))]);
    }

    #[test]
    fn an_empty_match_ends() {
        assert_eq!(tokens(&masks(&[("x*", "X")], &[]), "axb"), ["<X>a<X><X>b<X>"]);
    }

    #[test]
    fn a_pattern_without_end_is_given_up() {
        let masks = masks(&[("(?=(a+)+b)(a+)+b", "X")], &[]);
        assert_eq!(tokens(&masks, &"a".repeat(60)), ["a".repeat(60)]);
    }

    #[test]
    fn digits_are_those_of_python() {
        assert!(["a1", "x²", "٣", "①"].iter().all(|token| Masks::has_digit(token)));
        assert!(["a", "½", "Ⅷ", "é", ""].iter().all(|token| !Masks::has_digit(token)));
    }
}
