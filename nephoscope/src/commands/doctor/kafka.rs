//! `doctor kafka`: proves a cluster. What is proven, and how, stands in `stream_runtime::kafka::probe`.

use std::process::ExitCode;

use anyhow::Context;
use stream_runtime::kafka::probe::{self, Check, Report};

use super::{Finding, Verdict, exit_code, print};
use crate::{
    cli::Global,
    output::{FAINT, Output, note, styled},
    up::Configuration,
};

/// Examines the cluster. Fails if Nephoscope must not run on it.
pub fn run(global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let Configuration { process, .. } = Configuration::read(global).context("nothing can be examined before this is mended")?;
    if out.is_terminal() {
        note(format!("examining {}; this takes half a minute at most", process.kafka.bootstrap()));
    }
    let report = probe::run(&process.bus, &process.kafka, &process.topics);
    if out.is_json() {
        out.document(&report)?;
    } else {
        print_report(&report, out)?;
    }
    Ok(exit_code(Some(verdict(report.verdict()))))
}

fn print_report(report: &Report, out: &mut Output) -> anyhow::Result<()> {
    out.line(styled(FAINT, format!("Kafka at {}", report.bootstrap)))?;
    print(&report.checks.iter().map(finding).collect::<Vec<_>>(), out)
}

fn finding(check: &Check) -> Finding {
    let place = check.broker.iter().map(|broker| format!(" (broker {broker})")).collect::<String>();
    let found = match &check.expected {
        Some(expected) => format!("expected {expected}; what came: {}{place}", check.found),
        None => format!("{}{place}", check.found),
    };
    Finding { verdict: verdict(check.verdict), what: check.step.clone(), found, advice: check.advice.clone() }
}

const fn verdict(verdict: probe::Verdict) -> Verdict {
    match verdict {
        probe::Verdict::Note => Verdict::Note,
        probe::Verdict::Ok => Verdict::Ok,
        probe::Verdict::Warn => Verdict::Warn,
        probe::Verdict::Fail => Verdict::Fail,
    }
}
