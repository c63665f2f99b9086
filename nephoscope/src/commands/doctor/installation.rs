//! The data directory, who holds it, and how the instance in it does.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::fs::{Access, access, statvfs};
use serde_json::Value;

use super::Finding;
use crate::{
    client::{Client, ClientError},
    holder::Holder,
    output::bytes,
};

/// Below this the store's own limit of 4 GiB cannot be reached.
const FREE_BYTES_GOOD: u64 = 5 << 30;
/// Below this commits will soon wait.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// A durable write takes less on any disk that is not in trouble.
const SYNC_MS_GOOD: u128 = 30;
const SYNCS: u32 = 5;

/// Whether the data directory can be used, and how fast its disk is.
pub fn data_dir(dir: &Path) -> Vec<Finding> {
    const WHAT: &str = "data directory";
    let existing: PathBuf = match dir.ancestors().find(|path| path.exists()) {
        Some(path) if path.as_os_str().is_empty() => ".".into(),
        Some(path) => path.into(),
        None => ".".into(),
    };
    let shown = dir.display();
    let advice = "run it as the user that owns it, or choose another with --data-dir or [bus] data_dir";
    if !existing.is_dir() {
        return vec![Finding::fail(WHAT, format!("{} is no directory", existing.display()), advice)];
    }
    if access(&existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return vec![Finding::fail(WHAT, format!("{} is not writable for this user", existing.display()), advice)];
    }
    let found = if dir.exists() { format!("{shown} is writable") } else { format!("{shown} will be created") };
    let mut findings = vec![Finding::ok(WHAT, found), free_space(&existing)];
    if dir.is_dir() {
        findings.extend(sync_time(dir));
    }
    findings
}

fn free_space(dir: &Path) -> Finding {
    const WHAT: &str = "free space";
    let free = match statvfs(dir) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Finding::warn(WHAT, format!("cannot be asked of {}: {error}", dir.display()), "look with `df`"),
    };
    let advice = "make room, or lower [embedded] bytes_max (4 GiB); when the disk is full everything waits, nothing is lost";
    match free {
        FREE_BYTES_GOOD.. => Finding::ok(WHAT, bytes(free)),
        FREE_BYTES_MIN.. => Finding::warn(WHAT, format!("{}, less than the store may grow to", bytes(free)), advice),
        _ => Finding::fail(WHAT, bytes(free), advice),
    }
}

/// The longest of a few small durable writes.
#[allow(clippy::disallowed_methods, reason = "a disk is measured with a clock")]
fn sync_time(dir: &Path) -> Option<Finding> {
    const WHAT: &str = "disk";
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let measure = || -> std::io::Result<u128> {
        let mut file = File::create(&path)?;
        let mut longest = 0;
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&[0; 4_096])?;
            file.sync_data()?;
            longest = longest.max(start.elapsed().as_millis());
        }
        Ok(longest)
    };
    let measured = measure();
    // Nothing depends on it: a leftover of 20 KiB harms nobody.
    let _ = fs::remove_file(&path);
    match measured {
        Ok(ms) if ms <= SYNC_MS_GOOD => Some(Finding::ok(WHAT, format!("a durable write takes {ms} ms at most"))),
        Ok(ms) => Some(Finding::warn(
            WHAT,
            format!("a durable write takes up to {ms} ms"),
            "alerts will come that much later; a faster disk for the data directory helps, so does [embedded] durability = \"os\"",
        )),
        Err(error) => Some(Finding::fail(WHAT, format!("cannot write to {}: {error}", dir.display()), "look at the disk")),
    }
}

/// What is known about a running instance.
pub struct Instance {
    /// What to say about it.
    pub findings: Vec<Finding>,
    /// Its process, if one holds the data directory.
    pub pid: Option<u32>,
}

/// Who holds the data directory, and whether it answers.
pub fn instance(client: &Client, dir: &Path) -> Instance {
    const WHAT: &str = "instance";
    let holder = Holder::of(dir);
    let pid = holder.pid();
    let findings = match (client.fetch("/readyz"), holder) {
        (Ok(answer), _) => vec![health(client, answer.status, &answer.body, pid)],
        (Err(error), Holder::Nobody) if error.is_absent() => vec![Finding::ok(WHAT, "none runs; nobody holds the data directory")],
        (Err(error), Holder::Nobody) => {
            vec![Finding::fail(WHAT, with_causes(&error), "see whether that is the address of `nephoscope up`")]
        }
        (Err(error), Holder::Process(_)) => {
            let found = format!("{holder} holds {}, but {}", dir.display(), with_causes(&error));
            vec![Finding::fail(WHAT, found, "if it has just been started, wait; else look at its log, and stop it")]
        }
    };
    Instance { findings, pid }
}

fn health(client: &Client, status: u16, body: &[u8], pid: Option<u32>) -> Finding {
    const WHAT: &str = "instance";
    let about: Option<Value> = client.get("/api/status", std::time::Duration::ZERO).ok();
    let version = about.as_ref().and_then(|about| about.get("version")?.as_str()).unwrap_or("of unknown version");
    let who = pid.map_or_else(|| client.endpoint().to_string(), |pid| format!("process {pid}"));
    match status {
        200 if version == env!("CARGO_PKG_VERSION") => Finding::ok(WHAT, format!("{who}, nephoscope {version}, is ready")),
        200 => Finding::warn(
            WHAT,
            format!("{who} is nephoscope {version}, this is {}", env!("CARGO_PKG_VERSION")),
            "restart it, so that both are the same",
        ),
        401 | 403 => Finding::warn(WHAT, format!("{who} runs, but wants a token"), "give --token-file"),
        _ => {
            let missing: Option<Value> = serde_json::from_slice(body).ok();
            let parts = missing.as_ref().and_then(|missing| missing.get("missing")?.as_array()).into_iter().flatten();
            let part = |part: &Value| Some(format!("{}: {}", part.get("part")?.as_str()?, part.get("why")?.as_str()?));
            let parts: Vec<_> = parts.filter_map(part).collect();
            let found = format!("{who}, nephoscope {version}, is not ready: {}", parts.join("; "));
            Finding::fail(WHAT, found, "`nephoscope status` and its log say more")
        }
    }
}

fn with_causes(error: &ClientError) -> String {
    stream_runtime::engine::error_chain(error)
}
