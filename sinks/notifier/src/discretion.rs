//! What need not be told at a destination: silences, and incidents that speak for their alerts.

use schemas::{Alert, EventTime};
use stream_core::{ConfigError, Record, Reject};

use crate::{
    board::Standing,
    config::{Config, Tell},
    desk::Desk,
    inhibition::Incidents,
    route::{Grouping, Routes},
    silence::Silences,
    story,
    word::Word,
};

/// The routes to a destination, and what is held back there.
#[derive(Debug, Clone)]
pub(crate) struct Discretion {
    destination: String,
    routes: Routes,
    pub(crate) silences: Silences,
    pub(crate) incidents: Incidents,
}

impl Discretion {
    pub(crate) fn new(config: &Config, destination: &str) -> Result<Self, ConfigError> {
        let routes = Routes::new(config)?;
        Ok(Self { destination: destination.into(), routes, silences: Silences::default(), incidents: Incidents::default() })
    }

    /// The way of an alert to the destination; none if it does not go there.
    pub(crate) fn way(&self, alert: &Alert, now: EventTime) -> Option<&Grouping> {
        self.routes.to(&self.destination, alert, now)
    }

    /// Takes note of an incident.
    pub(crate) fn hear(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        self.incidents.apply(record)
    }

    /// Puts on the desk what is new about incidents that are told here.
    pub(crate) fn brief(&mut self, desk: &mut Desk, now: EventTime, standing: &mut Standing) {
        for news in self.incidents.take_news() {
            let way = self.way(&news.alert, now).filter(|way| way.tell == Tell::Incidents).map(Grouping::of_incidents);
            let is_known = desk.knows(&news.alert.fingerprint);
            let way = match way {
                Some(way) if news.word.is_firing() && !self.withholds(&news.word, &news.alert, now, standing) => way,
                // The end of what was told is told, wherever its way leads by now.
                way if !news.word.is_firing() && is_known => way.unwrap_or_else(Grouping::at_once),
                _ => continue,
            };
            if news.has_grown {
                desk.take_growth(news.word, &news.alert, &way, now);
            } else {
                desk.take(news.word, &news.alert, &way, now);
            }
        }
        self.incidents.look(|id| desk.knows(id));
    }

    /// Whether a beginning is not to be told, counted.
    pub(crate) fn withholds(&self, word: &Word, alert: &Alert, now: EventTime, standing: &mut Standing) -> bool {
        if let Some(silence) = self.silence(alert, now) {
            *standing.silenced.entry(silence).or_default() += 1;
            return true;
        }
        let Some((_, tell)) = self.speaker(word, alert, now) else { return false };
        match tell {
            Tell::Incidents => standing.folded += 1,
            Tell::Alerts => standing.inhibited += 1,
        }
        true
    }

    /// The incident that speaks for an alert here, and what is told here.
    pub(crate) fn speaker(&self, word: &Word, alert: &Alert, now: EventTime) -> Option<(&str, Tell)> {
        if story::is_told_by(alert) {
            return None;
        }
        let tell = self.way(alert, now).map_or(Tell::Alerts, |way| way.tell);
        // Clocks of others may be ahead; the record was not there before it was appended.
        let begun = alert.started_at.min(word.appended_at);
        self.incidents.over(alert, begun, tell).map(|incident| (incident, tell))
    }

    /// The silence over an alert. One over all that an incident is made of is over the incident.
    fn silence(&self, alert: &Alert, now: EventTime) -> Option<String> {
        let over = |alert: &Alert| self.silences.over(alert, now).map(|silence| silence.id.clone());
        over(alert).or_else(|| {
            let kinds = if story::is_told_by(alert) { self.incidents.kinds(&alert.fingerprint) } else { Vec::new() };
            kinds.iter().map(over).reduce(|first, next| first.filter(|_| next.is_some())).flatten()
        })
    }
}
