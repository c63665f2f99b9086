//! A real rsyslogd with a configuration of its own, for the tests that talk to one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ended by its own handle.
pub(crate) struct Rsyslogd(Child);

impl Rsyslogd {
    /// Reads the lines of `input` and does with them what `rest` says.
    pub(crate) fn start(folder: &Path, input: &Path, rest: &str) -> Self {
        let child = Command::new("rsyslogd")
            .args(["-n", "-f", &write(folder, input, rest), "-i", &folder.join("pid").display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("rsyslogd starts"))
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the configuration; gives its path.
pub(crate) fn write(folder: &Path, input: &Path, rest: &str) -> String {
    let (config, work) = (folder.join("rsyslog.conf"), folder.join("work"));
    fs::create_dir_all(&work).expect("a folder");
    let text = format!(
        "global(workDirectory=\"{}\" maxMessageSize=\"64k\")\n\
         module(load=\"imfile\" mode=\"inotify\")\n\
         input(type=\"imfile\" file=\"{}\" tag=\"relay:\")\n{rest}\n",
        work.display(),
        input.display(),
    );
    fs::write(&config, text).expect("writes");
    config.display().to_string()
}

/// A ready configuration of `deploy/rsyslog`, the very file with these places filled in: each must be there.
pub(crate) fn ready(name: &str, places: &[(&str, &str)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rsyslog").join(name);
    let text = fs::read_to_string(path).expect("is there");
    places.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} in {name}");
        text.replace(from, to)
    })
}

/// Has this rsyslogd such a module?
pub(crate) fn has_module(name: &str) -> bool {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.iter().any(|folder| Path::new(folder).join("rsyslog").join(format!("{name}.so")).exists())
}
