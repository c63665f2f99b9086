//! One mask of Drain3: a pattern that may look around.
//!
//! Nearly all masks in use have the form that Drain3's documentation gives: something between two characters that are no letters or
//! digits, looked at and not taken. A backtracking matcher tries that at every character of a line. The same matches are found in one pass by
//! the linear engine, when it takes the neighbours along and only what stands between counts.

use fancy_regex::RegexBuilder;

/// Steps that a mask may take over one line before it is given up there: Python would pin a core instead.
const STEPS_MAX: usize = 200_000;
/// Upper bound of a compiled mask.
const MASK_BYTES_MAX: usize = 1 << 20;

/// Drain3's way to say that no letter or digit stands before, and behind.
const BEFORE: &str = "((?<=[^A-Za-z0-9])|^)";
const BEHIND: &str = "((?=[^A-Za-z0-9])|$)";

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Group 1 of the patterns is the match; as many characters before it belong to the pattern only. At the start of a line the
    /// first applies, which needs none of them.
    Linear { first: regex::Regex, later: regex::Regex, before: usize },
    /// Whatever else there is.
    Backtracking(fancy_regex::Regex),
}

impl Rule {
    pub(super) fn new(pattern: &str) -> Result<Self, Box<fancy_regex::Error>> {
        // It also says what is no pattern at all.
        let general =
            RegexBuilder::new(pattern).backtrack_limit(STEPS_MAX).delegate_size_limit(MASK_BYTES_MAX).build().map_err(Box::new)?;
        Ok(linear(pattern).unwrap_or(Self::Backtracking(general)))
    }

    /// The first match that begins at `from` or behind. A pattern that runs out of steps finds no more in this line.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Linear { first, later, before } => {
                let regex = if from == 0 { first } else { later };
                let context = text.get(..from)?.char_indices().rev().take(*before).last().map_or(from, |(at, _)| at);
                let found = regex.captures_at(text, context)?.get(1)?;
                Some((found.start(), found.end()))
            }
            Self::Backtracking(regex) => regex.find_from_pos(text, from).ok().flatten().map(|found| (found.start(), found.end())),
        }
    }
}

/// The pattern for the linear engine, if it looks around at its ends only and in one of the ways in use.
fn linear(pattern: &str) -> Option<Rule> {
    let (body, ahead, before) = match pattern.strip_prefix(BEFORE) {
        Some(body) => (body, "[^A-Za-z0-9]".to_owned(), 1),
        None => {
            let (literal, body) = pattern.strip_prefix("(?<=")?.split_once(')')?;
            let plain = literal.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | ':' | '=' | '<' | '>'));
            (body, plain.then(|| literal.to_owned())?, literal.chars().count())
        }
    };
    let (body, behind) = body.strip_suffix(BEHIND).map_or((body, ""), |body| (body, "(?:[^A-Za-z0-9]|$)"));
    if has_alternatives(body) {
        return None;
    }
    let compile = |ahead: &str| regex::RegexBuilder::new(&format!("{ahead}({body}){behind}")).size_limit(MASK_BYTES_MAX).build().ok();
    let later = compile(&ahead)?;
    let first = if pattern.starts_with(BEFORE) { compile(&format!("(?:^|{ahead})"))? } else { later.clone() };
    Some(Rule::Linear { first, later, before })
}

/// Whether a `|` stands outside all groups and classes: then the ends belong to one alternative each. What is read wrongly here, as a
/// `]` that begins a class, is taken for having some.
fn has_alternatives(body: &str) -> bool {
    let (mut depth, mut in_class) = (0_i32, false);
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' if !in_class => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth -= 1,
            '|' if depth <= 0 => return true,
            _ => {}
        }
    }
    depth != 0 || in_class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rule: &Rule, text: &str) -> Vec<String> {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some((start, end)) = rule.find(text, from) {
            assert!(from <= start && start < end);
            found.push(text[start..end].to_owned());
            from = end;
        }
        found
    }

    #[test]
    fn the_forms_in_use_are_linear_and_find_what_backtracking_finds() {
        let texts = [
            "12 -34,56",
            "-1-2",
            "1-2",
            ",1",
            "a1 1a 1_2 10.0.0.1",
            "7",
            "é8é 9",
            "cmd \"a b\" cmd \"c\"",
            "12 12 12x 0x1F, 0xg",
            "",
            "aa:bb:cc:dd: aa:bb:cc:dd",
        ];
        for body in [r"([\-\+]?\d+)", r"(0x[a-f0-9A-F]+)", r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))", r"([0-9a-f]{1,} ?){2,}"] {
            let pattern = format!("{BEFORE}{body}{BEHIND}");
            let fast = Rule::new(&pattern).expect("valid");
            assert!(matches!(fast, Rule::Linear { .. }));
            let slow = Rule::Backtracking(fancy_regex::Regex::new(&pattern).expect("valid"));
            for text in texts {
                assert_eq!(all(&fast, text), all(&slow, text), "{pattern} in {text:?}");
            }
        }
        let command = Rule::new("(?<=cmd )(\".+?\")").expect("valid");
        assert!(matches!(command, Rule::Linear { .. }));
        assert_eq!(all(&command, "cmd \"a b\" cmd \"c\""), ["\"a b\"", "\"c\""]);
    }

    #[test]
    fn other_forms_backtrack() {
        for pattern in [r"(?<=[a-z])\d+", r"(a)\1", "(?<=a )b|c", "((?<=[^A-Za-z0-9])|^)a|b((?=[^A-Za-z0-9])|$)", r"(?<=x )\d+(?! again)"] {
            assert!(matches!(Rule::new(pattern), Ok(Rule::Backtracking(_))), "{pattern}");
        }
        assert!(Rule::new("(").is_err());
    }
}
