//! The arguments of `feedback`.

use clap::{Args, Subcommand};
use schemas::EventTime;

use crate::moment;

#[derive(Debug, Subcommand)]
pub enum Feedback {
    /// An alert was none: what the host said then is normal for it from now on
    #[command(name = "false_alarm", after_help = FALSE_ALARM_EXAMPLES)]
    FalseAlarm(FalseAlarm),
    /// A host failed and nobody told: what it has said since is not taken for normal
    #[command(after_help = MISSED_EXAMPLES)]
    Missed(Missed),
    /// Take a correction back: all is as if it had not been said
    #[command(
        after_help = "Examples:\n  nephoscope feedback undo 5f0c2a9b\n  nephoscope feedback undo 5f0c2a9b --note 'it failed after all'"
    )]
    Undo(Undo),
    /// List the corrections, the newest first, and which of them were taken back
    #[command(after_help = "Examples:\n  nephoscope feedback list\n  nephoscope feedback list --json")]
    List,
}

/// Who says so, and why: the same for every correction.
#[derive(Debug, Args)]
pub struct Said {
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Who says so [default: the user who runs this]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `feedback false_alarm`.
#[derive(Debug, Args)]
pub struct FalseAlarm {
    /// Id or fingerprint of the alert, or how it begins
    #[arg(value_name = "ID|FINGERPRINT")]
    pub alert: String,
    #[command(flatten)]
    pub said: Said,
}

const FALSE_ALARM_EXAMPLES: &str = "\
The alert ends, and the same lines in the same surroundings are quiet from now on. It can be taken back.

Examples:
  nephoscope feedback false_alarm 832b9dae
  nephoscope feedback false_alarm 832b9dae --note 'a load test, announced'";

/// `feedback missed`.
#[derive(Debug, Args)]
pub struct Missed {
    /// The host
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Since when it was failing: a span such as 15m, 2h, 1d (that long ago), or a time in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment::since)]
    pub at: EventTime,
    /// Unlearn only what goes with this template: its id, or how it begins
    #[arg(long, value_name = "TEMPLATE ID")]
    pub template: Option<String>,
    #[command(flatten)]
    pub said: Said,
}

const MISSED_EXAMPLES: &str = "\
What the host has said since then is unlearnt, so that it is new when it comes again. To have the very line told at once,
say that it tells of a failure: nephoscope verdicts set TEMPLATE faulty.

Examples:
  nephoscope feedback missed db-7 --at 2h
  nephoscope feedback missed db-7 --at 2026-02-03T04:05:06Z --template 0c042ead --note 'sdb died, ticket 4711'";

/// `feedback undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// Id of the correction, or how it begins; `feedback list` shows it
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub said: Said,
}
