//! `store`: the store on disk, while nothing runs.

use std::process::ExitCode;

use serde_json::json;
use stream_runtime::embedded;

use crate::{
    cli::Global,
    origin,
    output::{BAD, GOOD, Output, bytes, count, plain, styled},
};

/// Reads every chunk of the log and every page of the store. Fails if something is wrong.
pub fn check(global: &Global, out: &mut Output) -> anyhow::Result<ExitCode> {
    let directory = origin::data_dir(global)?;
    let report = embedded::check(&directory)?;
    let code = if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if out.is_json() {
        let finding = |finding: &embedded::Finding| {
            let lost_from = finding.lost_from.map(|offset| offset.0);
            json!({ "at": finding.at.as_ref().map(ToString::to_string), "what": finding.what, "lostFrom": lost_from })
        };
        let findings: Vec<_> = report.findings.iter().map(finding).collect();
        out.document(&json!({
            "partitions": report.partitions, "chunks": report.chunks, "records": report.records, "bytes": report.bytes, "findings": findings,
        }))?;
        return Ok(code);
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
    Ok(code)
}
