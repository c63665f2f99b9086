//! Which alerts go where: a list of routes, the first that takes an alert wins, one with `continue` lets the next be asked too.

use schemas::{Alert, EventTime, Severity};
use serde::Serialize;
use stream_core::ConfigError;

use crate::{
    config::{Config, Destination, RouteConfig, SECTION, Tell, wrong},
    matcher::{Matcher, parse_all},
    story,
    window::Window,
};

/// How alerts are put together on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// What they have in common.
    pub by: Vec<String>,
    /// How long they wait for company.
    pub wait_ms: i64,
    /// How long they wait in any case, also those that are critical or go each for itself: for the incident that speaks for them.
    pub wait_ms_min: i64,
    /// The least time between two messages.
    pub interval_ms: i64,
    /// What is told of a story.
    pub tell: Tell,
}

impl Grouping {
    /// Alerts that no route puts together any more.
    pub fn at_once() -> Self {
        Self { by: Vec::new(), wait_ms: 0, wait_ms_min: 0, interval_ms: 0, tell: Tell::Alerts }
    }

    /// The way of the incidents of this way: each for itself, and nothing to wait for.
    pub fn of_incidents(&self) -> Self {
        Self { by: vec![story::LABEL.into()], wait_ms: 0, wait_ms_min: 0, ..self.clone() }
    }

    /// How long something of this severity waits.
    pub fn wait_ms_of(&self, severity: Severity) -> i64 {
        if severity == Severity::Critical { self.wait_ms_min } else { self.wait_ms.max(self.wait_ms_min) }
    }
}

/// All routes, in order.
#[derive(Debug, Clone)]
pub struct Routes(Vec<Route>);

#[derive(Debug, Clone)]
struct Route {
    matchers: Vec<Matcher>,
    times: Vec<Window>,
    /// Destinations, and what each is told.
    to: Vec<(String, Grouping)>,
    goes_on: bool,
}

/// What one route made of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Number of the route, from 0.
    pub route: usize,
    /// Whether it takes the alert.
    pub takes: bool,
    /// Each condition, what the alert says, and whether it holds.
    pub because: Vec<Condition>,
    /// Where it leads to.
    pub to: Vec<String>,
    /// Whether it was asked at all: those behind the first that took it are not.
    pub asked: bool,
}

/// A condition of a route and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// As it is configured.
    pub condition: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Routes {
    /// The routes of a configuration; one that leads everywhere, if it has none.
    ///
    /// # Errors
    /// If a route cannot be meant, or an alert could find none.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let everywhere =
            || vec![RouteConfig { to: config.destinations().into_keys().map(String::from).collect(), ..RouteConfig::default() }];
        let routes = if config.routes.is_empty() { everywhere() } else { config.routes.clone() };
        let ends = routes.last().is_some_and(|last| last.matchers.is_empty() && last.times.is_empty());
        if !ends {
            let expected = "a last route without match and times, so that every alert has a place; its to may be empty";
            return Err(wrong(format!("{SECTION}.routes"), expected, "conditions on the last one"));
        }
        routes.into_iter().enumerate().map(|(index, route)| Route::new(index, route, config)).collect::<Result<_, _>>().map(Self)
    }

    /// How an alert that goes to a destination is put together with others; none if it does not go there.
    pub fn to(&self, destination: &str, alert: &Alert, now: EventTime) -> Option<&Grouping> {
        let mut ways = self.taken(alert, now).flat_map(|route| &route.to);
        ways.find(|(to, _)| to == destination).map(|(_, grouping)| grouping)
    }

    /// All destinations of an alert, in order.
    pub fn destinations(&self, alert: &Alert, now: EventTime) -> Vec<&str> {
        let mut all = Vec::new();
        for (to, _) in self.taken(alert, now).flat_map(|route| &route.to) {
            if !all.contains(&to.as_str()) {
                all.push(to.as_str());
            }
        }
        all
    }

    fn taken<'a, 'b>(&'a self, alert: &'b Alert, now: EventTime) -> impl Iterator<Item = &'a Route> + use<'a, 'b> {
        let mut is_over = false;
        self.0.iter().filter(move |route| route.takes(alert, now)).take_while(move |route| !std::mem::replace(&mut is_over, !route.goes_on))
    }

    /// What each route makes of an alert, and why.
    pub fn explain(&self, alert: &Alert, now: EventTime) -> Vec<Step> {
        let mut asked = true;
        let explain = |(number, route): (usize, &Route)| {
            let takes = route.takes(alert, now);
            let step = Step { route: number, takes, because: route.conditions(alert, now), to: route.names(), asked };
            asked &= !takes || route.goes_on;
            step
        };
        self.0.iter().enumerate().map(explain).collect()
    }
}

impl Route {
    fn new(index: usize, route: RouteConfig, config: &Config) -> Result<Self, ConfigError> {
        let key = |name: &str| format!("{SECTION}.routes[{index}].{name}");
        let matchers = parse_all(&route.matchers).map_err(|error| wrong(key("match"), error.expected, error.found))?;
        let windows = route.times.iter().map(|text| text.parse::<Window>());
        let times = windows.collect::<Result<_, _>>().map_err(|error| wrong(key("times"), error.expected, error.found))?;
        let destinations = config.destinations();
        let way = |to: String| {
            let own = destinations.get(to.as_str()).map(Destination::tell);
            let tell = route.tell.or(own).unwrap_or_default();
            let grouping = Grouping {
                by: route.group_by.clone().unwrap_or_else(|| config.group_by.clone()),
                wait_ms: route.group_wait_ms.unwrap_or(config.group_wait_ms),
                wait_ms_min: if tell == Tell::Incidents { config.incident_wait_ms } else { 0 },
                interval_ms: route.group_interval_ms.unwrap_or(config.group_interval_ms),
                tell,
            };
            (to, grouping)
        };
        Ok(Self { matchers, times, to: route.to.iter().cloned().map(way).collect(), goes_on: route.goes_on })
    }

    fn names(&self) -> Vec<String> {
        self.to.iter().map(|(name, _)| name.clone()).collect()
    }

    fn takes(&self, alert: &Alert, now: EventTime) -> bool {
        let is_time = self.times.is_empty() || self.times.iter().any(|window| window.contains(now));
        is_time && self.matchers.iter().all(|matcher| matcher.matches(alert))
    }

    fn conditions(&self, alert: &Alert, now: EventTime) -> Vec<Condition> {
        let matched = self.matchers.iter().map(|matcher| Condition {
            condition: matcher.to_string(),
            found: matcher.found_in(alert),
            holds: matcher.matches(alert),
        });
        let timed = (!self.times.is_empty()).then(|| Condition {
            condition: self.times.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            found: now.to_string(),
            holds: self.times.iter().any(|window| window.contains(now)),
        });
        matched.chain(timed).collect()
    }
}

#[cfg(test)]
mod tests {
    use schemas::Severity;

    use super::*;
    use crate::config::ConsoleConfig;

    const NOW: EventTime = EventTime::from_millis(1_700_000_000_000); // a Tuesday, 22:13 UTC

    fn route(matchers: &[&str], to: &[&str]) -> RouteConfig {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
        RouteConfig { matchers: owned(matchers), to: owned(to), ..RouteConfig::default() }
    }

    fn routes(routes: Vec<RouteConfig>) -> Routes {
        let console = ["chat", "pager", "archive"].map(|name| (name.to_string(), ConsoleConfig::default())).into();
        let config = Config { routes, console, ..Config::default() };
        config.check().expect("can be meant");
        Routes::new(&config).expect("can be meant")
    }

    fn alert(severity: Severity, host: &str) -> Alert {
        Alert { severity, name: "TemplateBurst".into(), labels: [("host".into(), host.into())].into(), ..Alert::default() }
    }

    #[test]
    fn the_first_that_matches_wins() {
        let routes = routes(vec![route(&["host=lab"], &[]), route(&["severity=~\"high|critical\""], &["pager"]), route(&[], &["chat"])]);
        let to = |severity, host| routes.destinations(&alert(severity, host), NOW);
        assert_eq!(to(Severity::Critical, "web"), ["pager"]);
        assert_eq!(to(Severity::Info, "web"), ["chat"]);
        assert_eq!(to(Severity::Critical, "lab"), [""; 0]);
        assert!(routes.to("pager", &alert(Severity::High, "web"), NOW).is_some());
        assert!(routes.to("chat", &alert(Severity::High, "web"), NOW).is_none());
    }

    #[test]
    fn one_that_continues_lets_the_next_be_asked() {
        let goes_on = RouteConfig { goes_on: true, ..route(&[], &["archive"]) };
        let routes = routes(vec![goes_on, route(&["severity=critical"], &["pager", "archive"]), route(&[], &["chat"])]);
        assert_eq!(routes.destinations(&alert(Severity::Critical, "web"), NOW), ["archive", "pager"]);
        assert_eq!(routes.destinations(&alert(Severity::Low, "web"), NOW), ["archive", "chat"]);
    }

    #[test]
    fn a_route_holds_at_its_times() {
        let daytime = RouteConfig { times: vec!["mon-fri 08:00-18:00 UTC".into()], ..route(&[], &["chat"]) };
        let routes = routes(vec![daytime, route(&[], &["pager"])]);
        let at = |time| routes.destinations(&alert(Severity::High, "web"), time);
        assert_eq!(at(NOW), ["pager"]);
        assert_eq!(at(NOW.plus_millis(-10 * 3_600_000)), ["chat"]);
    }

    #[test]
    fn without_routes_everything_goes_everywhere() {
        assert_eq!(routes(vec![]).destinations(&alert(Severity::Low, "web"), NOW), ["archive", "chat", "pager"]);
    }

    #[test]
    fn what_a_route_says_about_groups_holds_on_its_way() {
        let own = RouteConfig { group_by: Some(vec!["service".into()]), group_wait_ms: Some(1), ..route(&["host=web"], &["chat"]) };
        let routes = routes(vec![own, route(&[], &["chat"])]);
        let grouping = |host| routes.to("chat", &alert(Severity::Low, host), NOW).cloned().expect("goes there");
        let by = vec!["host".into(), "name".into()];
        let usual = Grouping { by, wait_ms: 10_000, wait_ms_min: 0, interval_ms: 300_000, tell: Tell::Alerts };
        assert_eq!(grouping("web"), Grouping { by: vec!["service".into()], wait_ms: 1, ..usual.clone() });
        assert_eq!(grouping("db"), usual);
    }

    #[test]
    fn an_explanation_names_each_condition_and_what_was_found() {
        let routes = routes(vec![route(&["host=lab", "severity=low"], &["chat"]), route(&[], &["pager"]), route(&[], &["archive"])]);
        let steps = routes.explain(&alert(Severity::Low, "web"), NOW);
        let taken: Vec<_> = steps.iter().map(|step| (step.takes, step.asked)).collect();
        assert_eq!(taken, [(false, true), (true, true), (true, false)]);
        let condition = |condition: &str, found: &str, holds| Condition { condition: condition.into(), found: found.into(), holds };
        assert_eq!(steps[0].because, [condition("host=\"lab\"", "web", false), condition("severity=\"low\"", "low", true)]);
    }
}
