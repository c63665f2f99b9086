//! Who says so: the name under which a correction is recorded.

use anyhow::bail;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// The name that was given, else that of the user who runs this command.
///
/// # Errors
/// If it is empty or too long.
#[allow(clippy::disallowed_methods, reason = "who runs a command stands in its environment")]
pub fn named(by: Option<&str>) -> anyhow::Result<String> {
    let user = || ["USER", "LOGNAME"].into_iter().find_map(|variable| std::env::var(variable).ok().filter(|name| !name.is_empty()));
    let name = match by {
        Some(by) => by.trim().to_string(),
        None => user().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        bail!("--by: expected a name of 1 to {NAME_BYTES_MAX} bytes, found {} bytes", name.len());
    }
    Ok(name)
}
