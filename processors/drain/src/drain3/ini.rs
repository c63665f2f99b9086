//! `drain3.ini`: the settings of Drain3, and the dialect of Python's `configparser` in which they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The settings of [`Drain3`](super::Drain3), with the defaults of Drain3 0.9.11.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain3Settings {
    /// Least share of equal tokens for a line to join a cluster.
    pub sim_th: f64,
    /// Levels of the tree, root, token count and leaf included: 4 looks at the first token only.
    pub depth: usize,
    /// Most children of a node of the tree.
    pub max_children: usize,
    /// Most clusters, the least recently used one leaves; `None`: no limit.
    pub max_clusters: Option<usize>,
    /// Texts that part tokens as blanks do.
    pub extra_delimiters: Vec<String>,
    /// Masks in the order in which they are applied.
    pub masks: Vec<Drain3Mask>,
    /// What stands before the name of a mask in a template, and before `*`.
    pub mask_prefix: String,
    /// What stands behind.
    pub mask_suffix: String,
    /// Whether a token with a digit branches the tree as a parameter.
    pub parametrize_numeric_tokens: bool,
}

/// A pattern and the name that replaces what it finds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Drain3Mask {
    /// Regular expression, look-around allowed.
    #[serde(rename = "regex_pattern")]
    pub pattern: String,
    /// Name.
    #[serde(rename = "mask_with")]
    pub name: String,
}

impl Default for Drain3Settings {
    fn default() -> Self {
        Self {
            sim_th: 0.4,
            depth: 4,
            max_children: 100,
            max_clusters: None,
            extra_delimiters: Vec::new(),
            masks: Vec::new(),
            mask_prefix: "<".into(),
            mask_suffix: ">".into(),
            parametrize_numeric_tokens: true,
        }
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum Drain3Error {
    /// A line of the file is none that `configparser` reads.
    #[error("drain3.ini line {line}: expected {expected}, found {found:?}")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// What would do.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value that its key does not take.
    #[error("drain3.ini [{section}] {key}: expected {expected}, found {found:?}")]
    Value {
        /// Section.
        section: &'static str,
        /// Key.
        key: &'static str,
        /// What would do.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A mask that is no regular expression.
    #[error("drain3.ini [MASKING] masking: the pattern of mask {name:?} is no regular expression")]
    Pattern {
        /// Name of the mask.
        name: String,
        /// What the compiler says.
        source: Box<fancy_regex::Error>,
    },
}

/// Longest file that is read: a hundred masks are 10 KB.
const INI_BYTES_MAX: usize = 1 << 20;
/// Each mask is one more pass over every line.
const MASKS_MAX: usize = 64;
/// Deeper trees than that look at more leading tokens than lines have.
const DEPTH_MAX: usize = 16;
/// Bytes of the name of a mask, and of what stands around it: a template may hold one in each token.
const NAME_BYTES_MAX: usize = 64;
pub(super) const AFFIX_BYTES_MAX: usize = 8;
/// References within references, as `configparser` allows, and references in all.
const REFERENCE_DEPTH_MAX: usize = 10;
const REFERENCES_MAX: usize = 1_000;

const DRAIN: &str = "DRAIN";
const MASKING: &str = "MASKING";

impl Drain3Settings {
    /// Reads the text of a `drain3.ini`. Keys that do not change templates (snapshots, profiling) are passed over, as are unknown ones.
    ///
    /// ```
    /// let ini = "[DRAIN]\nsim_th = 0.5\nextra_delimiters = [\"_\"]\n[MASKING]\nmask_prefix = <:\nmask_suffix = :>\n";
    /// let settings = drain::Drain3Settings::from_ini(ini)?;
    /// assert_eq!((settings.sim_th, settings.depth, &*settings.mask_prefix), (0.5, 4, "<:"));
    /// # Ok::<(), drain::Drain3Error>(())
    /// ```
    ///
    /// # Errors
    /// Where Drain3 would raise one, and for an engine other than `Drain`.
    pub fn from_ini(text: &str) -> Result<Self, Drain3Error> {
        let ini = Ini::read(text)?;
        let default = Self::default();
        let engine = ini.get(DRAIN, "engine")?.unwrap_or_else(|| "Drain".into());
        if engine != "Drain" {
            return Err(Drain3Error::Value { section: DRAIN, key: "engine", expected: "Drain", found: engine });
        }
        let settings = Self {
            sim_th: ini.parse(DRAIN, "sim_th", "a number", |text| text.trim().parse().ok())?.unwrap_or(default.sim_th),
            depth: ini.integer(DRAIN, "depth")?.unwrap_or(default.depth),
            max_children: ini.integer(DRAIN, "max_children")?.unwrap_or(default.max_children),
            max_clusters: ini.integer(DRAIN, "max_clusters")?,
            extra_delimiters: ini.parse(DRAIN, "extra_delimiters", "a list of Python strings", python_strings)?.unwrap_or_default(),
            masks: ini.parse(MASKING, "masking", "a JSON list of {regex_pattern, mask_with}", masks)?.unwrap_or_default(),
            mask_prefix: ini.get(MASKING, "mask_prefix")?.unwrap_or(default.mask_prefix),
            mask_suffix: ini.get(MASKING, "mask_suffix")?.unwrap_or(default.mask_suffix),
            parametrize_numeric_tokens: ini
                .parse(DRAIN, "parametrize_numeric_tokens", "yes or no", truth)?
                .unwrap_or(default.parametrize_numeric_tokens),
        };
        settings.validate()?;
        Ok(settings)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// With key, expectation and value.
    pub fn validate(&self) -> Result<(), Drain3Error> {
        let check = |holds: bool, section, key, expected, found: &dyn ToString| {
            if holds { Ok(()) } else { Err(Drain3Error::Value { section, key, expected, found: found.to_string() }) }
        };
        check((0.0..=1.0).contains(&self.sim_th), DRAIN, "sim_th", "0 to 1", &self.sim_th)?;
        check((3..=DEPTH_MAX).contains(&self.depth), DRAIN, "depth", "3 to 16", &self.depth)?;
        check(self.max_children >= 1, DRAIN, "max_children", "1 or more", &self.max_children)?;
        check(self.max_clusters != Some(0), DRAIN, "max_clusters", "1 or more", &0)?;
        let empty = self.extra_delimiters.iter().any(String::is_empty);
        check(!empty, DRAIN, "extra_delimiters", "delimiters of at least one character", &"")?;
        check(self.masks.len() <= MASKS_MAX, MASKING, "masking", "at most 64 masks", &self.masks.len())?;
        // Python would read backslashes as references to groups of the pattern.
        for mask in &self.masks {
            let holds = !mask.name.contains('\\') && mask.name.len() <= NAME_BYTES_MAX;
            check(holds, MASKING, "masking", "names of at most 64 bytes without a backslash", &mask.name)?;
        }
        for (key, text) in [("mask_prefix", &self.mask_prefix), ("mask_suffix", &self.mask_suffix)] {
            check(!text.contains('\\') && text.len() <= AFFIX_BYTES_MAX, MASKING, key, "at most 8 bytes without a backslash", text)?;
        }
        Ok(())
    }
}

/// Sections, keys in lower case, and values as they stand.
struct Ini(BTreeMap<String, BTreeMap<String, String>>);

impl Ini {
    /// Reads lines as `configparser` does: a line that is indented more than its key goes on with the value; comments
    /// fill lines of their own; a key that comes twice is an error.
    fn read(text: &str) -> Result<Self, Drain3Error> {
        let error = |line: usize, expected, found: &str| Drain3Error::Line { line: line + 1, expected, found: shown(found) };
        if text.len() > INI_BYTES_MAX {
            return Err(error(0, "a file of at most 1 MiB", &text.len().to_string()));
        }
        let mut ini = Self(BTreeMap::new());
        let mut section: Option<String> = None;
        let mut key: Option<String> = None;
        let mut key_indent = usize::MAX;
        for (number, line) in text.lines().enumerate() {
            let content = line.trim();
            if content.starts_with(['#', ';']) {
                continue;
            }
            let value = section.as_ref().zip(key.as_ref()).and_then(|(section, key)| ini.0.get_mut(section)?.get_mut(key));
            if content.is_empty() {
                value.into_iter().for_each(|value| value.push('\n'));
                continue;
            }
            let indent = line.chars().take_while(|c| c.is_whitespace()).count();
            if let Some(value) = value
                && indent > key_indent
            {
                value.push('\n');
                value.push_str(content);
                continue;
            }
            key_indent = indent;
            if let Some((header, _)) = content.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).filter(|(name, _)| !name.is_empty())
            {
                if ini.0.insert(header.into(), BTreeMap::new()).is_some() {
                    return Err(error(number, "each section once", content));
                }
                (section, key) = (Some(header.into()), None);
                continue;
            }
            let Some(section) = &section else { return Err(error(number, "a [section] before the first key", content)) };
            let pair = content.split_once(['=', ':']).map(|(key, value)| (key.trim().to_lowercase(), value.trim()));
            let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else { return Err(error(number, "key = value", content)) };
            if ini.0.entry(section.clone()).or_default().insert(name.clone(), value.into()).is_some() {
                return Err(error(number, "each key once", content));
            }
            key = Some(name);
        }
        Ok(ini)
    }

    fn raw(&self, section: &str, key: &str) -> Option<&str> {
        let own = self.0.get(section)?;
        own.get(key).or_else(|| self.0.get("DEFAULT")?.get(key)).map(|value| value.trim_end())
    }

    fn get(&self, section: &'static str, key: &'static str) -> Result<Option<String>, Drain3Error> {
        let Some(raw) = self.raw(section, key) else { return Ok(None) };
        let (mut text, mut references) = (String::new(), REFERENCES_MAX);
        match self.interpolate(raw, section, REFERENCE_DEPTH_MAX, &mut references, &mut text) {
            Some(()) => Ok(Some(text)),
            None => Err(Drain3Error::Value { section, key, expected: "%% for each percent sign, or %(key)s", found: shown(raw) }),
        }
    }

    /// `%%` is a percent sign, `%(key)s` the value of a key of the same section.
    fn interpolate(&self, raw: &str, section: &str, depth: usize, references: &mut usize, out: &mut String) -> Option<()> {
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                out.push('%');
                rest = after;
            } else {
                let (name, after) = after.strip_prefix('(')?.split_once(")s")?;
                // Values that multiply in each of ten levels must fill neither time nor memory.
                *references = references.checked_sub(1)?;
                if depth == 0 || out.len() > INI_BYTES_MAX {
                    return None;
                }
                self.interpolate(self.raw(section, &name.to_lowercase())?, section, depth - 1, references, out)?;
                rest = after;
            }
        }
        out.push_str(rest);
        (out.len() <= INI_BYTES_MAX).then_some(())
    }

    fn parse<T>(
        &self,
        section: &'static str,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Drain3Error> {
        let Some(text) = self.get(section, key)? else { return Ok(None) };
        let value = parse(&text).ok_or_else(|| Drain3Error::Value { section, key, expected, found: shown(&text) })?;
        Ok(Some(value))
    }

    fn integer(&self, section: &'static str, key: &'static str) -> Result<Option<usize>, Drain3Error> {
        self.parse(section, key, "a whole number", |text| text.trim().parse().ok())
    }
}

fn masks(text: &str) -> Option<Vec<Drain3Mask>> {
    serde_json::from_str(text).ok()
}

fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A list or tuple of Python string literals; a single literal stands for its characters, since Python iterates over it.
fn python_strings(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let inner = match (text.chars().next()?, text.chars().next_back()?) {
        ('[', ']') | ('(', ')') if text.len() >= 2 => text.get(1..text.len() - 1)?,
        _ => {
            let (literal, rest) = python_string(text)?;
            return rest.trim().is_empty().then(|| literal.chars().map(String::from).collect());
        }
    };
    let mut strings = Vec::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let (literal, behind) = python_string(rest)?;
        strings.push(literal);
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(strings)
}

/// One literal in quotes and what follows it.
fn python_string(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next().filter(|(_, c)| matches!(c, '"' | '\''))?;
    let mut literal = String::new();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((literal, text.get(at + 1..)?));
        }
        if c != '\\' {
            literal.push(c);
            continue;
        }
        match chars.next()?.1 {
            'n' => literal.push('\n'),
            't' => literal.push('\t'),
            'r' => literal.push('\r'),
            same @ ('\\' | '\'' | '"') => literal.push(same),
            kind @ ('x' | 'u') => {
                let mut code = 0;
                for _ in 0..if kind == 'x' { 2 } else { 4 } {
                    code = code * 16 + chars.next()?.1.to_digit(16)?;
                }
                literal.push(char::from_u32(code)?);
            }
            other => literal.extend(['\\', other]),
        }
    }
    None
}

/// As much of a wrong value as a message needs.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Drain3Settings {
        Drain3Settings::from_ini(text).expect("read")
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(read(""), Drain3Settings::default());
        assert_eq!(read("# only this\n\n; and this\n"), Drain3Settings::default());
    }

    #[test]
    fn what_configparser_reads_is_read() {
        let ini = "[SNAPSHOT]\nanything = goes\n\n[MASKING]\nmasking = [\n      # in between\n   {\"regex_pattern\":\"\\\\d+%%\", \"mask_with\": \
                   \"NUM\", \"more\": 1},\n\n   {\"regex_pattern\":\"(?<=a )b\", \"mask_with\":\"B\"}\n   ]\nMASK_PREFIX = <:\nmask_suffix: \
                   :>\n[DRAIN]\ndepth=%(levels)s\nlevels = 6\nsim_th : .25\nextra_delimiters = [\"_\", '\\t', \"\\x3d\"]\nmax_clusters = \
                   12\nparametrize_numeric_tokens = No\n";
        let settings = read(ini);
        assert_eq!((settings.depth, settings.sim_th, settings.max_clusters), (6, 0.25, Some(12)));
        assert_eq!(settings.extra_delimiters, ["_", "\t", "="]);
        let masks: Vec<_> = settings.masks.iter().map(|mask| (mask.pattern.as_str(), mask.name.as_str())).collect();
        assert_eq!(masks, [("\\d+%", "NUM"), ("(?<=a )b", "B")]);
        assert_eq!((&*settings.mask_prefix, &*settings.mask_suffix, settings.parametrize_numeric_tokens), ("<:", ":>", false));
        assert_eq!(read("[DRAIN]\nextra_delimiters = '_:'").extra_delimiters, ["_", ":"], "Python iterates over a string");
    }

    #[test]
    fn what_it_refuses_is_refused_with_the_place() {
        for (ini, says) in [
            ("depth = 4", "line 1: expected a [section]"),
            ("[DRAIN]\ndepth", "line 2: expected key = value"),
            ("[DRAIN]\ndepth = 4\ndepth = 5", "line 3: expected each key once"),
            ("[DRAIN]\n[DRAIN]", "line 2: expected each section once"),
            ("[DRAIN]\ndepth = 2", "[DRAIN] depth: expected 3 to 16, found \"2\""),
            ("[DRAIN]\nsim_th = %x", "[DRAIN] sim_th: expected %% for each percent sign"),
            ("[DRAIN]\nsim_th = %(sim_th)s", "[DRAIN] sim_th: expected %% for each percent sign"),
            ("[DRAIN]\nextra_delimiters = [_]", "[DRAIN] extra_delimiters: expected a list of Python strings"),
            ("[DRAIN]\nextra_delimiters = ['']", "at least one character"),
            ("[DRAIN]\nengine = JaccardDrain", "[DRAIN] engine: expected Drain"),
            ("[MASKING]\nmasking = [{\"regex_pattern\": \"a\"}]", "[MASKING] masking: expected a JSON list"),
        ] {
            let error = Drain3Settings::from_ini(ini).expect_err(ini).to_string();
            assert!(error.contains(says), "{ini:?}: {error}");
        }
    }
}
