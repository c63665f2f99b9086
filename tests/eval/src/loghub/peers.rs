//! Other parsers in their default configuration.

/// Crate `logdrain`.
pub(super) struct Logdrain(logdrain::Miner);

impl Logdrain {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(logdrain::Miner::builder().build()?))
    }

    /// Number and template of the cluster of a line.
    pub(super) fn add(&mut self, line: &str) -> (u64, String) {
        let id = self.0.add(line).cluster_id;
        (id, self.0.cluster(id).map(|cluster| cluster.template().to_owned()).unwrap_or_default())
    }

    pub(super) fn only_add(&mut self, line: &str) {
        std::hint::black_box(self.0.add(line));
    }
}

/// Crate `drain3`.
pub(super) struct CrateDrain3(drain3::Matcher);

impl CrateDrain3 {
    pub(super) fn new() -> Self {
        Self(drain3::Matcher::new(drain3::Config::builder().build()))
    }

    /// Number and template of the cluster of a line; a line that it refuses has none.
    pub(super) fn add(&mut self, line: &str) -> (u64, String) {
        let Ok(template) = self.0.add_log_message(line) else { return (u64::MAX, String::new()) };
        let mut literal = template.tokens().iter();
        let token = |index| if template.is_param(index) { "<*>" } else { literal.next().map_or("", |token| token) };
        let tokens: Vec<&str> = (0..template.token_count()).map(token).collect();
        (template.id() as u64, tokens.join(" "))
    }

    pub(super) fn only_add(&mut self, line: &str) {
        let _ = std::hint::black_box(self.0.add_log_message(line));
    }
}
