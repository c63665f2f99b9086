//! The arguments of `verdicts`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use schemas::{FailureClass, VerdictKind, VerdictScope};

#[derive(Debug, Subcommand)]
pub enum Verdicts {
    /// List what is thought of each kind of line: does it tell of a failure, how surely, of what, and who says so
    #[command(after_help = LIST_EXAMPLES)]
    List(VerdictsList),
    /// Say what a kind of line means; your word is heard before every other, until you take it back
    #[command(after_help = SET_EXAMPLES)]
    Set(VerdictsSet),
    /// Take back what was said of a kind of line
    #[command(after_help = UNDO_EXAMPLES)]
    Undo(VerdictsUndo),
    /// Read verdicts from a CSV file into the table
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(VerdictsImport),
    /// Write what people and the table say as CSV, ready to be imported elsewhere
    #[command(after_help = "Examples:\n  nephoscope verdicts export > verdicts.csv\n  nephoscope verdicts export --json")]
    Export,
}

/// `verdicts list`.
#[derive(Debug, Args)]
pub struct VerdictsList {
    /// Only those that are thought to be this
    #[arg(long, value_enum, value_name = "WORD")]
    pub verdict: Option<WordArg>,
    /// Only what people and the table say, not what the model that is built in guesses
    #[arg(long)]
    pub given: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

const LIST_EXAMPLES: &str = "\
The likeliest to tell of a failure come first. Who says so: an operator (a person), the table (imports, answers of a language
model), or local: the model that is built in, which guesses from the text. The first of them that speaks is heard.

Examples:
  nephoscope verdicts list
  nephoscope verdicts list --verdict faulty --limit 20
  nephoscope verdicts list --given --json";

/// `verdicts set`.
#[derive(Debug, Args)]
pub struct VerdictsSet {
    /// Id of the template, or how it begins; `templates list` and alerts show it
    #[arg(value_name = "TEMPLATE ID")]
    pub template: String,
    /// What a line of this kind tells of
    #[arg(value_enum, value_name = "WORD")]
    pub verdict: WordArg,
    /// What is failing, if it tells of a failure [default: what the local model thinks]
    #[arg(long, value_enum, value_name = "CLASS")]
    pub class: Option<ClassArg>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who says so [default: the user who runs this]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

const SET_EXAMPLES: &str = "\
Examples:
  nephoscope verdicts set 0c042ead4b207399 normal --reason 'printed at each start since 4.2'
  nephoscope verdicts set 9a4c10 faulty --class disk";

/// `verdicts undo`.
#[derive(Debug, Args)]
pub struct VerdictsUndo {
    /// Id of the template, or how it begins
    #[arg(value_name = "TEMPLATE ID")]
    pub template: String,
    /// Take back the table's word instead of the operator's
    #[arg(long)]
    pub table: bool,
}

const UNDO_EXAMPLES: &str = "\
Examples:
  nephoscope verdicts undo 0c042ead4b207399
  nephoscope verdicts undo 0c042ead4b207399 --table";

/// `verdicts import`.
#[derive(Debug, Args)]
pub struct VerdictsImport {
    /// The file; its first line names the columns
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Column of the template text
    #[arg(long, default_value = "template", value_name = "NAME")]
    pub template_column: String,
    /// Column of the verdict: faulty, normal or unsure; true and 1 are faulty, false and 0 normal
    #[arg(long, default_value = "verdict", value_name = "NAME")]
    pub verdict_column: String,
    /// Take them over as your own word, which is heard before the table's
    #[arg(long)]
    pub as_operator: bool,
    /// Who says so [default: the user who runs this]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Say what would be imported, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

const IMPORT_EXAMPLES: &str = "\
Templates are matched by their text; <*> and <:NAME:> stand for values. Columns failure_class and reason are read if they are
there. Nothing is imported unless every line can be read.

Examples:
  nephoscope verdicts import verdicts.csv
  nephoscope verdicts import labels.csv --template-column text --verdict-column is_faulty --dry-run";

/// Values of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WordArg {
    /// It tells of a failure or of its approach
    Faulty,
    /// It is part of normal work
    Normal,
    /// It may be either
    Unsure,
}

impl From<WordArg> for VerdictKind {
    fn from(arg: WordArg) -> Self {
        match arg {
            WordArg::Faulty => Self::Faulty,
            WordArg::Normal => Self::Normal,
            WordArg::Unsure => Self::Unsure,
        }
    }
}

/// Values of `--class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ClassArg {
    Disk,
    BufferIo,
    Cpu,
    Memory,
    Network,
    Software,
}

impl From<ClassArg> for FailureClass {
    fn from(arg: ClassArg) -> Self {
        match arg {
            ClassArg::Disk => Self::Disk,
            ClassArg::BufferIo => Self::BufferIo,
            ClassArg::Cpu => Self::Cpu,
            ClassArg::Memory => Self::Memory,
            ClassArg::Network => Self::Network,
            ClassArg::Software => Self::Software,
        }
    }
}

impl VerdictsUndo {
    /// Whose word is taken back.
    pub fn scope(&self) -> VerdictScope {
        if self.table { VerdictScope::Model } else { VerdictScope::Operator }
    }
}

impl VerdictsImport {
    /// Whose word it becomes.
    pub fn scope(&self) -> VerdictScope {
        if self.as_operator { VerdictScope::Operator } else { VerdictScope::Model }
    }
}
