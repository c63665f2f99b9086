//! The built-in shapes, what they must not take, and that they are linear.

use drain::{Masker, ParamType};
use rustix::time::{ClockId, clock_gettime};

fn found(line: &str) -> Vec<(&str, ParamType)> {
    let mut spans = Vec::new();
    Masker::new(&[]).expect("no rules").spans(line, &mut spans);
    spans.iter().map(|span| (&line[span.start..span.end], span.kind)).collect()
}

#[test]
fn each_shape_is_found_as_a_whole() {
    use ParamType::*;
    let cases: &[(&str, &str, ParamType)] = &[
        ("get https://h.example:8443/a?b=c, then", "https://h.example:8443/a?b=c", Url),
        ("from 00:0d:60:e9:1d:dc up", "00:0d:60:e9:1d:dc", Mac),
        ("from 00-0D-60-E9-1D-DC up", "00-0D-60-E9-1D-DC", Mac),
        ("dest: 10.251.30.6 done", "10.251.30.6", Ipv4),
        ("bound to fe80::1ff:fe23:4567:890a now", "fe80::1ff:fe23:4567:890a", Ipv6),
        ("peer ::1 refused", "::1", Ipv6),
        ("peer ::ffff:10 refused", "::ffff:10", Ipv6),
        ("chip FF:F2:9F:16:E2:23:00:0D:60:E9 in", "FF:F2:9F:16:E2:23:00:0D:60:E9", Ipv6),
        ("at 2005-06-03 15:42:50.67 it", "2005-06-03 15:42:50.67", Date),
        ("at 2005-06-03-15.42.50.675872 it", "2005-06-03-15.42.50.675872", Date),
        ("at 2024-05-03T15:42:50,123+02:00 it", "2024-05-03T15:42:50,123+02:00", Date),
        ("at 03/May/2024 it", "03/May/2024", Date),
        ("at Fri Jun 17 07:07:00 2005 it", "Fri Jun 17 07:07:00 2005", Date),
        ("at Fri Jul 01 08:16:53 PDT 2005 it", "Fri Jul 01 08:16:53 PDT 2005", Date),
        ("took 00:12:44 all", "00:12:44", Time),
        ("via proxy.example.org:5070 now", "proxy.example.org", Host),
        ("via localhost:5070 now", "localhost", Host),
        ("mail to ada@example.org now", "ada@example.org", Name),
        ("open /var/log/syslog. Done", "/var/log/syslog", Path),
        ("open C:\\Windows\\a\\*_std.sqm, now", "\\Windows\\a\\*_std.sqm", Path),
        ("at 0x00004ed8 now", "0x00004ed8", Hex),
        ("core deadbeef07 now", "deadbeef07", Hex),
        ("took 3.5 KB all", "3.5 KB", Quantity),
        ("took 35ms all", "35ms", Quantity),
        ("lifetime <1 sec all", "<1 sec", Quantity),
        ("count 1,234,567 now", "1,234,567", Number),
        ("delta -12.5 now", "12.5", Number),
        ("llFriendUIN = ******2341 now", "******2341", Text),
        ("already <*> here", "<*>", Text),
    ];
    for (line, value, kind) in cases {
        let spans = found(line);
        assert!(
            spans.iter().any(|(v, k)| v.trim_start_matches(['-']) == *value && k == kind),
            "{line:?}: expected {value:?} as {kind:?}, found {spans:?}"
        );
    }
}

#[test]
fn words_are_not_values() {
    for line in [
        "May fail on Sun hosts",
        "std::vector and Foo::bar",
        "error: no such file",
        "java.io.IOException at org.apache.Foo$Bar",
        "node/link/service card",
        "added facade decade",
        "a - b / c",
        "emphasis *** here",
    ] {
        assert_eq!(found(line), [], "{line:?}");
    }
}

#[test]
fn a_port_is_a_value_of_its_own() {
    assert_eq!(found("10.0.0.1:8080"), [("10.0.0.1", ParamType::Ipv4), ("8080", ParamType::Number)]);
}

/// CPU time of this thread in nanoseconds, the least of three runs.
fn cost(masker: &Masker, line: &str) -> u64 {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let mut spans = Vec::new();
    let run = |_| {
        let start = now();
        masker.spans(line, &mut spans);
        now() - start
    };
    (0..3).map(run).min().unwrap_or(0)
}

#[test]
fn time_per_byte_is_flat_from_kilobytes_to_a_megabyte() {
    let masker = Masker::new(&[]).expect("no rules");
    let seeds = [
        "a",
        "1",
        "a.",
        "a:",
        "a:b:",
        "::",
        "1,234,",
        "1.",
        "1.2.",
        "12:34:",
        "2024-",
        "2024-05-03 ",
        "/",
        "/a",
        "<",
        "<*>",
        "*",
        "@",
        "a@",
        "$",
        "-",
        "Jun ",
        "Fri Jun 5 ",
        "://",
        "a://",
        "ff:",
        "00:",
        "0x",
        "1 ",
        "1 KB",
        ".",
        "...",
        "é",
        "_",
        "a_1",
        "word ",
        "<1 sec",
        "~",
        "\\",
        "%1",
    ];
    for seed in seeds {
        let line = |bytes: usize| seed.repeat(bytes / seed.len());
        let (short, long) = (line(1 << 15), line(1 << 20));
        // A quadratic scanner needs 32 times the time per byte; noise of a busy machine stays far below 8.
        let (short, long) =
            (cost(&masker, &short).max(20_000) as f64 / f64::from(1 << 15), cost(&masker, &long) as f64 / f64::from(1 << 20));
        assert!(long < 8.0 * short, "{seed:?}: {short:.1} ns per byte at 32 KiB, {long:.1} at 1 MiB");
    }
}
