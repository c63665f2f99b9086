//! The severity that a structured line gives itself.

/// Keys that hold it.
const KEYS: [&str; 5] = ["level", "severity", "lvl", "loglevel", "log.level"];

pub(super) fn is_key(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Syslog severity of a level: names as the loggers of the common languages write them, numbers of syslog (0 to 7) or of pino and
/// bunyan (10, 20 … 60).
pub(super) fn severity(level: &str, is_number: bool) -> Option<u8> {
    if is_number {
        return match level.parse().ok()? {
            severity @ 0..=7 => Some(severity),
            10 | 20 => Some(7),
            30 => Some(6),
            40 => Some(4),
            50 => Some(3),
            60 => Some(2),
            _ => None,
        };
    }
    const NAMES: [(&str, u8); 18] = [
        ("trace", 7),
        ("debug", 7),
        ("info", 6),
        ("information", 6),
        ("informational", 6),
        ("notice", 5),
        ("warn", 4),
        ("warning", 4),
        ("err", 3),
        ("error", 3),
        ("crit", 2),
        ("critical", 2),
        ("fatal", 2),
        ("panic", 2),
        ("dpanic", 2),
        ("alert", 1),
        ("emerg", 0),
        ("emergency", 0),
    ];
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(level)).map(|(_, severity)| *severity)
}
