//! Whether a page of metrics keeps the list: for the tests of every binary.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Kind, METRICS, Metric, Part};

/// What a page in the OpenMetrics text format lacks of the metrics of these parts, or has beyond the list: a family that is
/// missing, doubled, of the wrong type or without a row, a sample with other labels than its row says.
///
/// ```
/// use stream_runtime::metrics::{Metrics, Part, audit};
///
/// let page = Metrics::new(Default::default()).text();
/// assert_eq!(audit(&page, &[]), Vec::<String>::new());
/// assert!(audit(&page, &[Part::Source]).contains(&"nephoscope_spool_bytes: missing".to_string()));
/// ```
pub fn audit(page: &str, parts: &[Part]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').unwrap_or((line, ""));
        if families.insert(family, kind).is_some() {
            problems.push(format!("{family}: doubled"));
        }
    }
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let is_due = super::table::EVERY == metric.parts || metric.parts.iter().any(|part| parts.contains(part));
        match families.remove(metric.family()) {
            None if is_due => problems.push(format!("{}: missing", metric.name)),
            Some(found) if found != kind => problems.push(format!("{}: is a {found}, expected a {kind}", metric.name)),
            Some(_) if !is_due => problems.push(format!("{}: belongs to none of {parts:?}", metric.name)),
            _ => {}
        }
    }
    problems.extend(families.keys().map(|family| format!("{family}: has no row in the list")));
    problems.extend(page.lines().filter(|line| !line.starts_with('#')).filter_map(foreign_labels));
    problems
}

/// What is wrong with a sample line, if anything.
fn foreign_labels(line: &str) -> Option<String> {
    let name = line.split(['{', ' ']).next()?;
    let Some(metric) = METRICS.iter().find(|metric| is_series(metric, name)) else {
        return Some(format!("{name}: has no row in the list"));
    };
    let found: BTreeSet<&str> = label_names(line).into_iter().filter(|label| *label != "le").collect();
    let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
    (found != expected).then(|| format!("{name}: has labels {found:?}, expected {expected:?}"))
}

fn is_series(metric: &Metric, name: &str) -> bool {
    metric.series().iter().any(|series| series == name)
}

/// Names of the labels of a sample line; quotes and backslashes within values are escaped there.
fn label_names(line: &str) -> Vec<&str> {
    let Some(mut rest) = line.split_once('{').map(|(_, rest)| rest) else { return Vec::new() };
    let mut names = Vec::new();
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(','));
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = end.and_then(|end| value.get(end + 1..)).unwrap_or_default();
        if rest.starts_with('}') {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_breaks_the_list_is_told_of_each_fault() {
        let page = "# TYPE nephoscope_late counter\nnephoscope_late_total{stage=\"a\\\"}\",topic=\"b\"} 1\n\
                    # TYPE nephoscope_ready counter\n# TYPE nephoscope_ready counter\n# TYPE foreign gauge\nforeign 1\n# EOF\n";
        let problems = audit(page, &[Part::Processor]);
        for expected in [
            "nephoscope_ready: doubled",
            "nephoscope_ready: is a counter, expected a gauge",
            "nephoscope_records_total: missing",
            "foreign: has no row in the list",
            "nephoscope_late_total: has labels {\"stage\", \"topic\"}, expected {\"stage\"}",
        ] {
            assert!(problems.iter().any(|problem| problem == expected), "{expected}: {problems:#?}");
        }
        assert!(!problems.iter().any(|problem| problem.contains("spool")), "a processor has no spool: {problems:#?}");
    }
}
