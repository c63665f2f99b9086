//! A document of maps that keep their order, and its block style in YAML 1.2.

use std::fmt::Write;

/// A part of a document.
#[derive(Debug, Clone)]
pub enum Node {
    /// A string.
    Text(String),
    /// An integer.
    Number(i64),
    /// A list.
    List(Vec<Node>),
    /// A map, in order.
    Map(Vec<(String, Node)>),
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl FromIterator<(String, Node)> for Node {
    fn from_iter<T: IntoIterator<Item = (String, Node)>>(entries: T) -> Self {
        Self::Map(entries.into_iter().collect())
    }
}

impl FromIterator<Node> for Node {
    fn from_iter<T: IntoIterator<Item = Node>>(items: T) -> Self {
        Self::List(items.into_iter().collect())
    }
}

/// A map, its entries as written.
macro_rules! map {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::yaml::Node::Map(vec![$((String::from($key), $crate::yaml::Node::from($value))),*])
    };
}
pub(crate) use map;

impl Node {
    /// The document as YAML, with these lines of comment before it.
    pub fn document(&self, comment: &[&str]) -> String {
        let mut text: String = comment.iter().map(|line| format!("# {line}\n")).collect();
        self.write(0, &mut text);
        text
    }

    /// Writes a block, each line of it indented.
    fn write(&self, indent: usize, into: &mut String) {
        match self {
            Self::Map(entries) => {
                for (key, value) in entries {
                    into.extend(std::iter::repeat_n(' ', indent));
                    into.push_str(&scalar(key));
                    into.push(':');
                    value.write_after(indent + 2, into);
                }
            }
            Self::List(items) => {
                for item in items {
                    let start = into.len();
                    match item {
                        // The first line of a block begins where the dash ends.
                        Self::Map(entries) if !entries.is_empty() => item.write(indent + 2, into),
                        _ => {
                            into.extend(std::iter::repeat_n(' ', indent + 1));
                            item.write_after(indent + 2, into);
                        }
                    }
                    into.replace_range(start + indent..=start + indent, "-");
                }
            }
            Self::Text(_) | Self::Number(_) => self.write_after(indent, into),
        }
    }

    /// Writes what follows a key or a dash: on the same line, if it fits there.
    fn write_after(&self, indent: usize, into: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Text(text) => writeln!(into, " {}", scalar(text)),
            Self::Number(number) => writeln!(into, " {number}"),
            Self::List(items) if items.is_empty() => writeln!(into, " []"),
            Self::Map(entries) if entries.is_empty() => writeln!(into, " {{}}"),
            Self::List(_) | Self::Map(_) => {
                into.push('\n');
                self.write(indent, into);
                Ok(())
            }
        };
    }
}

/// A string: plain where that is a string for every reader, else quoted as JSON, which YAML 1.2 contains.
fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || " ._/,;()='+-…".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.ends_with(' ');
    let is_reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if begins_well && !is_reserved && text.chars().all(is_word) {
        return text.into();
    }
    serde_json::Value::from(text).to_string()
}
