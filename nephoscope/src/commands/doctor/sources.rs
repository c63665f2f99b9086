//! What of this machine's own logs can be read, and why not.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Command, Stdio},
};

use rustix::fs::OFlags;

use super::Finding;

const KMSG: &str = "/dev/kmsg";
const DMESG_RESTRICT: &str = "/proc/sys/kernel/dmesg_restrict";
/// The files that distributions write without a journal, or beside it.
const LOG_FILES: [&str; 4] = ["/var/log/syslog", "/var/log/messages", "/var/log/kern.log", "/var/log/auth.log"];

/// Journal, kernel ring, files; and a verdict on all of them together.
pub fn all() -> Vec<Finding> {
    let (journal, kernel, files) = (journal(), kernel(), files());
    let is_any_read = [&journal, &kernel].iter().any(|finding| finding.advice.is_none()) || files.iter().any(|file| file.advice.is_none());
    let mut findings = vec![journal, kernel];
    findings.extend(files);
    if !is_any_read {
        findings.push(Finding::warn(
            "own logs",
            "nothing of this machine's own logs can be read",
            "run it with more rights; whatever is sent by syslog is watched nevertheless",
        ));
    }
    findings
}

fn journal() -> Finding {
    const WHAT: &str = "journal";
    let ran = Command::new("journalctl").args(["--lines=1", "--quiet", "--output=cat"]).stdin(Stdio::null()).output();
    let output = match ran {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::warn(
                WHAT,
                "there is no journalctl",
                "nothing to do where no systemd runs: kernel ring and files are read instead",
            );
        }
        Err(error) => return Finding::warn(WHAT, format!("journalctl cannot be run: {error}"), "see whether systemd is well"),
    };
    let complaint = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("").to_string();
    match (output.status.success(), output.stdout.is_empty()) {
        (true, false) if complaint.is_empty() => Finding::ok(WHAT, "is readable"),
        (true, false) => {
            Finding::warn(WHAT, complaint, "sudo adduser $USER systemd-journal, then log in again: only then is all of it seen")
        }
        (true, true) if rustix::process::geteuid().is_root() => Finding::warn(
            WHAT,
            "there is none, or it is empty",
            "nothing to do where no systemd runs: kernel ring and files are read instead",
        ),
        (true, true) => {
            Finding::warn(WHAT, "is empty, or not readable for this user", "sudo adduser $USER systemd-journal, then log in again")
        }
        (false, _) => {
            Finding::warn(WHAT, format!("is not readable: {complaint}"), "nothing to do where no systemd runs; else see `journalctl`")
        }
    }
}

fn kernel() -> Finding {
    const WHAT: &str = "kernel ring";
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let Err(error) = OpenOptions::new().read(true).custom_flags(flags).open(KMSG) else {
        return Finding::ok(WHAT, format!("{KMSG} is readable"));
    };
    let is_restricted = fs::read_to_string(DMESG_RESTRICT).is_ok_and(|value| value.trim() == "1");
    let (why, advice) = match error.kind() {
        ErrorKind::PermissionDenied if is_restricted => {
            ("kernel.dmesg_restrict is 1", "run as root, give CAP_SYSLOG, or `sudo sysctl kernel.dmesg_restrict=0`")
        }
        ErrorKind::PermissionDenied => ("this user may not", "run as root, or give this user the right to read it"),
        ErrorKind::NotFound => ("it is not there, as in many containers", "watch the kernel from outside of the container"),
        _ => ("the system refuses", "run as root"),
    };
    Finding::warn(WHAT, format!("{KMSG} cannot be read: {why} ({error})"), advice)
}

fn files() -> Vec<Finding> {
    let present: Vec<_> = LOG_FILES.iter().filter(|path| Path::new(path).exists()).collect();
    if present.is_empty() {
        return vec![Finding::ok("log files", "none of the usual ones are there; the journal has everything, where there is one")];
    }
    let look = |path: &&&str| match File::open(path) {
        Ok(_) => Finding::ok("log file", format!("{path} is readable")),
        Err(error) => Finding::warn("log file", format!("{path} is not readable: {error}"), "sudo adduser $USER adm, then log in again"),
    };
    present.iter().map(look).collect()
}
