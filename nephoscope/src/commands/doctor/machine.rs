//! Settings of the kernel, limits and the clock.

use std::{
    fs,
    process::{Command, Stdio},
};

use rustix::process::{Resource, getrlimit};
use schemas::EventTime;
use stream_runtime::time::wall_clock;

use super::Finding;
use crate::output::{bytes, count};

const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";
/// Connections, segment files of all topics, sockets.
const FILES_GOOD: u64 = 4_096;
/// This program was not written before: 2025-01-01.
const CLOCK_MIN: EventTime = EventTime::from_millis(1_735_689_600_000);

/// All of them.
pub fn all(udp_rcvbuf_bytes: usize) -> Vec<Finding> {
    vec![udp_buffer(udp_rcvbuf_bytes as u64), open_files(), clock()]
}

/// How much of a burst of datagrams the kernel holds while we are busy.
fn udp_buffer(wanted: u64) -> Finding {
    const WHAT: &str = "UDP buffer";
    let Some(most) = fs::read_to_string(RMEM_MAX).ok().and_then(|text| text.trim().parse::<u64>().ok()) else {
        return Finding::warn(WHAT, format!("{RMEM_MAX} cannot be read"), "nothing to do: the kernel's default is used");
    };
    if most >= wanted || rustix::process::geteuid().is_root() {
        return Finding::ok(WHAT, format!("{} for bursts of datagrams", bytes(wanted)));
    }
    Finding::warn(
        WHAT,
        format!("net.core.rmem_max allows {} of {}; a burst may overrun it, and is then counted as lost", bytes(most), bytes(wanted)),
        format!("sudo sysctl net.core.rmem_max={wanted}, and the same in /etc/sysctl.d/"),
    )
}

fn open_files() -> Finding {
    const WHAT: &str = "open files";
    let most = getrlimit(Resource::Nofile).current;
    match most {
        Some(most) if most < FILES_GOOD => Finding::warn(
            WHAT,
            format!("at most {}", count(most)),
            format!("raise it: `ulimit -n {FILES_GOOD}`, or LimitNOFILE= in the unit"),
        ),
        Some(most) => Finding::ok(WHAT, format!("at most {}", count(most))),
        None => Finding::ok(WHAT, "without limit"),
    }
}

/// Alerts compare times of several machines, so the clock matters.
fn clock() -> Finding {
    const WHAT: &str = "clock";
    let now = wall_clock();
    if now < CLOCK_MIN {
        return Finding::fail(WHAT, format!("it is not {now}"), "set it: times of log lines cannot be right");
    }
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null()).output();
    let answer =
        asked.ok().filter(|output| output.status.success()).map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    match answer.as_deref() {
        Some("yes") => Finding::ok(WHAT, format!("{now}, synchronised")),
        Some("no") => Finding::warn(WHAT, format!("{now}, not synchronised"), "sudo timedatectl set-ntp true"),
        _ => Finding::ok(WHAT, format!("{now}; nobody here can say whether it is synchronised")),
    }
}
