//! The template tree of one instance, in the mode that its configuration names.

use std::sync::Arc;

use crate::change::{Change, Match, TemplateEvent, TemplateInfo};
use crate::config::{Config, ConfigError, Mode};
use crate::drain3::Reference;
use crate::guarded::Guarded;
use crate::mask::ParamType;
use crate::param::Param;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::template::{TemplateId, canonical};

/// Templates that seeds may make: each is told with the first line, and a line has a limited number of outputs.
const SEEDED_MAX: usize = 4_096;

/// The template tree of one instance.
///
/// ```
/// use drain::{Config, Drain, Match};
/// let mut drain = Drain::new(&Config::default())?;
/// let line = "Accepted password for ada from 10.0.0.7 port 51234";
/// drain.parse(line, 0);
/// let parsed = drain.parse("Accepted password for ada from 10.0.0.9 port 40022", 1);
/// assert_eq!(&**parsed.template, "Accepted password for ada from <*> port <*>");
/// assert_eq!(parsed.matched, Match::Exact);
/// # Ok::<(), drain::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Drain(Method);

#[derive(Clone, Debug)]
enum Method {
    Guarded(Box<Guarded>),
    Drain3(Box<Reference>),
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    /// Id of the template, [`TemplateId::UNKNOWN`] if there is none.
    pub template_id: TemplateId,
    /// Id of the first template of the cluster.
    pub cluster_id: TemplateId,
    /// Counts the templates of the cluster, from 1; 0 for the unknown template.
    pub version: u32,
    /// Canonical text; empty for the unknown template.
    pub template: &'a Arc<str>,
    /// How the line was matched.
    pub matched: Match,
    /// What this line changed about its own template.
    pub change: Option<&'a Change>,
    /// The values at the placeholders, in order, then those beside the sentence of a structured line.
    pub params: &'a [Param],
    /// Whether values were left out or cut.
    pub params_truncated: bool,
    /// Every template that came or went with this line.
    pub events: &'a [TemplateEvent],
    /// What [`params`](Self::params) are ranges of: the line; for JSON and logfmt, its sentence and what was beside it.
    pub source: &'a str,
    /// Syslog severity that a structured line gives itself.
    pub severity: Option<u8>,
    pub(crate) mask_names: &'a [String],
}

impl<'a> Parsed<'a> {
    pub(crate) fn unknown(source: &'a str, text: &'a Arc<str>, events: &'a [TemplateEvent]) -> Self {
        Self {
            template_id: TemplateId::UNKNOWN,
            cluster_id: TemplateId::UNKNOWN,
            version: 0,
            template: text,
            matched: Match::Unknown,
            change: None,
            params: &[],
            params_truncated: false,
            events,
            source,
            severity: None,
            mask_names: &[],
        }
    }

    /// Type under which a value is published: the user's name for a mask of theirs, else that of its kind.
    pub fn type_name(&self, param: Param) -> &'a str {
        match param.kind {
            ParamType::Custom(rule) => self.mask_names.get(usize::from(rule)).map_or(param.kind.name(), String::as_str),
            kind => kind.name(),
        }
    }
}

/// Calls the same method of whichever mode it is.
macro_rules! either {
    ($drain:expr, $method:ident => $call:expr) => {
        match $drain {
            Method::Guarded($method) => $call,
            Method::Drain3($method) => $call,
        }
    };
}

impl Drain {
    /// An empty tree with the seeds of the configuration. Their events are in [`Drain::events`].
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut drain = Self::unseeded(config)?;
        drain.plant(config);
        Ok(drain)
    }

    fn unseeded(config: &Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(match config.mode {
            Mode::Guarded => Method::Guarded(Box::new(Guarded::new(config)?)),
            Mode::Drain3 => Method::Drain3(Box::new(Reference::new(config)?)),
        }))
    }

    /// Finds or makes the template of a line. `now` is the event time of the line in nanoseconds; it drives the explosion guard.
    pub fn parse<'a>(&'a mut self, line: &'a str, now: i64) -> Parsed<'a> {
        either!(&mut self.0, method => method.parse(line, now))
    }

    /// The events of the last call of [`Drain::new`], [`Drain::restore`] or [`Drain::parse`].
    pub fn events(&self) -> &[TemplateEvent] {
        either!(&self.0, method => method.events())
    }

    /// All live templates, by id.
    pub fn templates(&self) -> impl Iterator<Item = TemplateInfo> + use<> {
        let templates: Vec<_> = either!(&self.0, method => method.templates().collect());
        templates.into_iter()
    }

    /// A live template.
    pub fn template(&self, id: TemplateId) -> Option<TemplateInfo> {
        either!(&self.0, method => method.template(id))
    }

    /// Whether the explosion guard holds back new templates at `now`.
    pub fn is_paused(&self, now: i64) -> bool {
        either!(&self.0, method => method.is_paused(now))
    }

    /// The whole state.
    pub fn snapshot(&self) -> Snapshot {
        either!(&self.0, method => method.snapshot())
    }

    /// The tree that gave `snapshot` in the same mode. From here on it does what that one does, if the configuration is the same;
    /// under a smaller cap the least recent templates are left out, and seeds that are new to the state are planted.
    ///
    /// # Errors
    /// If the snapshot is damaged, or the configuration cannot work.
    pub fn restore(config: &Config, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        Self::unseeded(config)?.restored(config, snapshot)
    }

    /// See [`Drain::restore`]: `self` is a tree of the same configuration.
    pub(crate) fn restored(&self, config: &Config, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let mut drain = Self(match &self.0 {
            Method::Guarded(method) => Method::Guarded(Box::new(method.restored(snapshot)?)),
            Method::Drain3(method) => Method::Drain3(Box::new(method.restored(snapshot)?)),
        });
        drain.plant(config);
        Ok(drain)
    }

    /// The largest snapshot that these caps allow, both sections together.
    pub fn state_bytes_bound(config: &Config) -> u64 {
        match config.mode {
            Mode::Guarded => Guarded::state_bytes_bound(config),
            Mode::Drain3 => Reference::state_bytes_bound(config),
        }
    }

    /// Bytes that its templates need in a state, with their rows in the catalogue.
    pub(crate) fn state_bytes(&self) -> usize {
        either!(&self.0, method => method.state_bytes())
    }

    /// Plants the seeds that this state has not seen: templates first, then logs, line by line.
    fn plant(&mut self, config: &Config) {
        either!(&mut self.0, method => {
            method.clear_events();
            for text in &config.seed_templates {
                let text = canonical(text);
                if method.seeds.len() < SEEDED_MAX && is_news(&mut method.seeds, &text) {
                    method.seed(&text);
                }
            }
            if !config.files.seed_log.is_empty() && is_news(&mut method.seeds, &config.files.seed_log) {
                for line in config.files.seed_log.lines() {
                    if method.len() < SEEDED_MAX.min(config.clusters_max) {
                        method.learn_seed(line);
                    }
                }
            }
        });
    }
}

/// Remembers a seed; whether it was not known.
fn is_news(seeds: &mut Vec<TemplateId>, text: &str) -> bool {
    let id = TemplateId::of(text);
    let is_news = !seeds.contains(&id);
    if is_news {
        seeds.push(id);
    }
    is_news
}
