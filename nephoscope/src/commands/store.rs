//! `store`: the store on disk, while nothing runs.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use serde_json::json;
use stream_runtime::{
    bus::Bus,
    embedded::{self, CheckReport, EmbeddedBus, Finding},
    loss::Loss,
    time::wall_clock,
};

use crate::{
    cli::{Global, StoreRepair},
    origin,
    output::{BAD, GOOD, Output, bytes, count, note, plain, styled},
};

/// Who tells of what a repair cut off.
const REPAIR: &str = "store-repair";

/// Reads every chunk of the log and every page of the store. Fails if something is wrong.
pub fn check(global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let directory = origin::data_dir(global)?;
    let report = embedded::check(&directory)?;
    tell(&report, &directory, out)?;
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cuts what [`check`] finds damaged, and publishes the loss.
pub fn repair(args: &StoreRepair, global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    if !args.yes {
        let code = check(global, out)?;
        if code != ExitCode::SUCCESS {
            note("nothing has been changed; --yes cuts each damaged partition there");
        }
        return Ok(code);
    }
    let (settings, _) = origin::settings(global)?;
    let directory = origin::data_dir(global)?;
    let report = embedded::repair(&directory)?;
    tell(&report, &directory, out)?;
    let bus = EmbeddedBus::open(&directory, settings.embedded).context("the repaired store cannot be opened")?;
    publish(&report, &bus)?;
    bus.close();
    Ok(ExitCode::SUCCESS)
}

/// Whoever watches the alerts hears of it at the next start.
fn publish(report: &CheckReport, bus: &EmbeddedBus) -> anyhow::Result<()> {
    let loss = Loss::default();
    for Finding { at, lost, .. } in &report.findings {
        if let (Some(at), Some(lost)) = (at, lost) {
            loss.report(REPAIR, at.topic.as_str(), "damaged", lost.end.saturating_sub(lost.start));
        }
    }
    let mut publisher = bus.publisher(REPAIR)?;
    loss.publish(wall_clock(), publisher.as_mut()).context("the loss cannot be published")
}

fn tell(report: &CheckReport, directory: &Path, out: &mut Output) -> anyhow::Result<()> {
    if out.is_json() {
        let finding = |finding: &Finding| {
            let lost = finding.lost.as_ref().map(|lost| json!({ "from": lost.start, "to": lost.end }));
            json!({ "at": finding.at.as_ref().map(ToString::to_string), "what": finding.what, "lost": lost })
        };
        let findings: Vec<_> = report.findings.iter().map(finding).collect();
        return Ok(out.document(&json!({
            "partitions": report.partitions, "chunks": report.chunks, "records": report.records, "bytes": report.bytes, "findings": findings,
        }))?);
    }
    let (partitions, records) = (report.partitions, count(report.records));
    out.line(format!(
        "{}: {partitions} partitions, {records} records in {} chunks, {}",
        directory.display(),
        count(report.chunks),
        bytes(report.bytes)
    ))?;
    for finding in &report.findings {
        out.line(styled(BAD, plain(&finding.to_string())))?;
    }
    if report.findings.is_empty() {
        out.line(styled(GOOD, "everything can be read"))?;
    }
    Ok(())
}
