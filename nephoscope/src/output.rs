//! What is printed: aligned tables and coloured words for people, JSON for programs.
//!
//! Colours and cutting at the edge happen only on a terminal (`NO_COLOR` is honoured); a pipe gets everything, plain.
//! Whatever comes from a log goes through [`plain`], since log content is hostile input.

use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use schemas::{AlertStatus, Severity, alert};
use serde::Serialize;

/// Bytes of a text from a log that are shown at most.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Headings.
pub const HEAD: Style = Style::new().bold();
/// What is less important.
pub const FAINT: Style = Style::new().dimmed();
/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What needs a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Neither good nor bad.
pub const PLAIN: Style = Style::new();

/// How the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Standard output, with what is known about it.
pub struct Output {
    /// How the answer is given.
    pub form: Form,
    stream: AutoStream<io::Stdout>,
    columns: Option<usize>,
}

impl Output {
    /// Standard output.
    pub fn new(form: Form) -> Self {
        let stdout = io::stdout();
        let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal());
        let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 20);
        Self { form, stream: AutoStream::auto(stdout), columns }
    }

    /// Whether a person sees it as it is written.
    pub fn is_terminal(&self) -> bool {
        self.columns.is_some()
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// One JSON document, indented.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn document(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.stream, value)?;
        writeln!(self.stream)
    }

    /// One JSON object on a line of its own.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(value)?;
        writeln!(self.stream, "{line}")?;
        self.stream.flush()
    }

    /// One line of text.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.stream, "{}", text.as_ref())?;
        self.stream.flush()
    }

    /// A table; its last column is cut at the terminal's edge.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        self.stream.write_all(table.render(self.columns).as_bytes())?;
        self.stream.flush()
    }

    /// The rows of a table, without its heads.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn rows(&mut self, table: &Table) -> io::Result<()> {
        let text = table.render(self.columns);
        let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
        self.stream.write_all(rows.as_bytes())?;
        self.stream.flush()
    }

    /// Empties the screen before the next picture, on a terminal.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn clear_screen(&mut self) -> io::Result<()> {
        if self.is_terminal() { write!(self.stream, "\x1b[H\x1b[2J") } else { Ok(()) }
    }
}

/// A word about the work itself, beside the answer: on standard error.
pub fn note(text: impl AsRef<str>) {
    // Nothing can be done if even that is closed.
    let _ = writeln!(anstream::stderr(), "{FAINT}nephoscope: {}{FAINT:#}", text.as_ref());
}

/// Why the command failed: on standard error.
pub fn complain(text: &str) {
    // Nothing can be done if even that is closed.
    let _ = writeln!(anstream::stderr(), "nephoscope: {BAD}error:{BAD:#} {text}");
}

/// `text` in a style.
pub fn styled(style: Style, text: impl AsRef<str>) -> String {
    format!("{style}{}{style:#}", text.as_ref())
}

/// Text from a log on one line, control characters and marks of direction escaped.
pub fn plain(text: &str) -> String {
    alert::one_line(text, TEXT_BYTES_MAX)
}

/// The colour of a severity.
pub fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::White.on(AnsiColor::Red).bold(),
        Severity::High => BAD,
        Severity::Warning => WARN,
        Severity::Info => AnsiColor::Cyan.on_default(),
        Severity::Low => FAINT,
    }
}

/// The colour of a status.
pub fn status_style(status: AlertStatus) -> Style {
    match status {
        AlertStatus::Firing => PLAIN,
        AlertStatus::Resolved => GOOD,
    }
}

/// Bytes with a unit that keeps them short.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A count with its thousands apart.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// On which side of its column a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table of styled cells.
#[derive(Debug, Default)]
pub struct Table {
    heads: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

/// A text and its style.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: PLAIN }
    }
}

impl Cell {
    /// A cell in a style.
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

impl Table {
    /// A table with these columns; a head that begins with `>` stands on the right, as its numbers do.
    pub fn new(heads: &[&'static str]) -> Self {
        let side = |head: &&'static str| head.strip_prefix('>').map_or((*head, Side::Left), |head| (head, Side::Right));
        Self { heads: heads.iter().map(side).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn render(&self, columns: Option<usize>) -> String {
        let heads: Vec<Cell> = self.heads.iter().map(|(head, _)| Cell::styled(HEAD, *head)).collect();
        let lines = || std::iter::once(&heads).chain(&self.rows);
        let width = |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let mut text = String::new();
        for row in lines() {
            let mut left = columns;
            for (column, cell) in row.iter().enumerate() {
                let is_last = column + 1 == row.len();
                let padding = " ".repeat(widths[column].saturating_sub(cell.text.chars().count()));
                let shown = match left.filter(|_| is_last) {
                    Some(room) => cut(&cell.text, room),
                    None => cell.text.clone(),
                };
                let shown = styled(cell.style, shown);
                match (self.heads[column].1, is_last) {
                    (Side::Right, _) => text.extend([padding.as_str(), &shown]),
                    (Side::Left, true) => text.push_str(&shown),
                    (Side::Left, false) => text.extend([shown.as_str(), &padding]),
                }
                if !is_last {
                    text.push_str("  ");
                    left = left.map(|room| room.saturating_sub(widths[column] + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// The beginning of a text that fits, with an ellipsis if something is missing.
fn cut(text: &str, columns: usize) -> String {
    let columns = columns.max(8);
    if text.chars().count() <= columns {
        return text.into();
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> String {
        let mut table = Table::new(&["NAME", ">COUNT", "TEXT"]);
        table.row(["a".into(), count(1_234).into(), "short".into()]);
        table.row(["longer".into(), count(7).into(), "a text that is too long for the edge".into()]);
        anstream::adapter::strip_str(&table.render(Some(30))).to_string()
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_cut_at_the_edge() {
        let expected = "NAME    COUNT  TEXT\na       1,234  short\nlonger      7  a text that is…\n";
        assert_eq!(table(), expected);
    }

    #[test]
    fn bytes_and_counts_are_short() {
        assert_eq!([bytes(0), bytes(1_023), bytes(1_536), bytes(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([count(0), count(999), count(1_000), count(12_345_678)], ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn what_a_log_says_cannot_move_the_cursor() {
        assert_eq!(plain("a\x1b[2Jb\r\nc"), "a\\u{1b}[2Jb\\r\\nc");
    }
}
