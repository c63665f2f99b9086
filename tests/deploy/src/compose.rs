//! The compose file: what runs, what each service may use, reach and be reached by, and on what it waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{FileError, interpolation, yaml};

/// Folders of the host that a service may see, read-only.
const HOST_PATHS: [&str; 4] = ["/etc/machine-id", "/proc", "/run/log", "/var/log"];
const LOOPBACK: &str = "127.0.0.1:";

/// A compose file, every variable at its default.
#[derive(Debug)]
pub struct Compose {
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
    volumes: BTreeSet<String>,
    /// Faults that show while it is read.
    problems: Vec<String>,
}

/// A service; keys that nobody looked at are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the Compose Specification")]
pub struct Service {
    pub image: String,
    pub build: Option<String>,
    #[serde(default)]
    pub profiles: Vec<String>,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Value>,
    #[serde(default)]
    pub volumes: Vec<String>,
    #[serde(default)]
    pub ports: Vec<String>,
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    pub cap_drop: Vec<String>,
    #[serde(default)]
    pub security_opt: Vec<String>,
    #[serde(default)]
    pub group_add: Vec<String>,
    #[serde(default)]
    pub tmpfs: Vec<String>,
    #[serde(default)]
    pub read_only: bool,
    pub restart: Option<String>,
    pub stop_grace_period: Option<String>,
    pub mem_limit: Option<String>,
    pub healthcheck: Option<HealthCheck>,
    pub uts: Option<String>,
}

/// How a service is asked for its health.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the Compose Specification")]
pub struct HealthCheck {
    #[serde(default)]
    pub test: Vec<String>,
    #[serde(default)]
    pub disable: bool,
    pub interval: Option<String>,
    pub timeout: Option<String>,
    pub start_period: Option<String>,
    pub retries: Option<u32>,
}

/// What another service must have reached before this one starts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the Compose Specification")]
pub struct Dependency {
    pub condition: Condition,
}

/// States to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of the Compose Specification")]
pub enum Condition {
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

impl Service {
    /// Whether it runs the image of this repository.
    pub fn is_ours(&self) -> bool {
        self.build.is_some()
    }

    /// Whether its container asks itself for its health; that of our image does unless told otherwise.
    fn has_health(&self) -> bool {
        self.healthcheck.as_ref().map_or(self.is_ours(), |check| !check.disable && !check.test.is_empty())
    }

    /// Its environment as text.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        self.environment.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// Its mounts: source, target, and whether it may write there.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.volumes.iter().filter_map(|volume| {
            let (source, target) = volume.split_once(':')?;
            Some(target.strip_suffix(":ro").map_or((source, target, true), |target| (source, target, false)))
        })
    }
}

impl Compose {
    /// Reads one.
    ///
    /// # Errors
    /// If it is no YAML, or holds a key that nobody looked at.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let raw: BTreeMap<String, Value> = yaml("compose file", text)?;
        let mut problems = Vec::new();
        for (name, service) in raw.get("services").and_then(Value::as_object).into_iter().flatten() {
            let image = service.get("image").and_then(Value::as_str).unwrap_or_default();
            if !image.split_once(':').is_some_and(|(_, tag)| interpolation::is_variable(tag)) {
                problems.push(format!("{name}: expected an image whose tag is ${{VARIABLE:-version}}, found {image:?}"));
            }
        }
        let (mut services, mut volumes) = (BTreeMap::new(), BTreeMap::<String, Value>::new());
        for (key, value) in raw.iter().filter(|(key, _)| !key.starts_with("x-")) {
            let value = interpolation::document_at_defaults(value, &mut problems);
            match key.as_str() {
                "services" => services = part(key, value)?,
                "volumes" => volumes = part(key, value)?,
                other => problems.push(format!("nobody has looked at the section {other}")),
            }
        }
        Ok(Self { services, volumes: volumes.into_keys().collect(), problems })
    }

    /// What is wrong with it, as that of the repository at `root`.
    pub fn problems(&self, root: &Path) -> Vec<String> {
        let mut problems = self.problems.clone();
        for (name, service) in &self.services {
            let mut complain = |problem: String| problems.push(format!("{name}: {problem}"));
            if service.image.ends_with(":latest") {
                complain("its version is whatever is the latest".into());
            }
            for port in service.ports.iter().filter(|port| !port.starts_with(LOOPBACK)) {
                complain(format!("port {port}: expected {LOOPBACK}, for whoever reaches it may do what he likes"));
            }
            match service.mem_limit.as_deref().map(bytes) {
                None => complain("mem_limit is missing".into()),
                Some(None) => complain(format!("mem_limit: expected a size such as 256m, found {:?}", service.mem_limit)),
                Some(Some(_)) => {}
            }
            self.check_life(name, service, &mut complain);
            self.check_mounts(service, root, &mut complain);
            self.check_dependencies(service, &mut complain);
            if service.is_ours() {
                check_confinement(service, &mut complain);
            }
        }
        let used: BTreeSet<&str> = self.services.values().flat_map(Service::mounts).map(|(source, _, _)| source).collect();
        let unused = self.volumes.iter().filter(|volume| !used.contains(volume.as_str()));
        problems.extend(unused.map(|volume| format!("volume {volume}: nobody uses it")));
        problems
    }

    /// Whether others wait for its end: it runs once.
    fn is_once(&self, name: &str) -> bool {
        let waits = |service: &Service| {
            service.depends_on.get(name).is_some_and(|dependency| dependency.condition == Condition::ServiceCompletedSuccessfully)
        };
        self.services.values().any(waits)
    }

    fn check_life(&self, name: &str, service: &Service, complain: &mut impl FnMut(String)) {
        match (self.is_once(name), service.has_health(), service.restart.as_deref()) {
            (false, true, Some("unless-stopped")) | (true, false, None) => {}
            (false, false, _) => complain("health check is missing".into()),
            (false, true, found) => complain(format!("restart: expected unless-stopped, found {found:?}")),
            (true, ..) => complain("it runs once, so nothing may restart it or ask for its health".into()),
        }
    }

    fn check_mounts(&self, service: &Service, root: &Path, complain: &mut impl FnMut(String)) {
        for (source, target, is_writable) in service.mounts() {
            let is_host = source.starts_with(['/', '.']);
            if !target.starts_with('/') || target.contains(':') {
                complain(format!("mount {target}: expected an absolute path, and :ro or nothing"));
            }
            if is_host && is_writable {
                complain(format!("mount {source}: expected :ro, for it is the host's"));
            }
            let is_there = match source.strip_prefix("./") {
                Some(relative) => root.join(relative).exists(),
                None if is_host => HOST_PATHS.contains(&source),
                None => self.volumes.contains(source),
            };
            if !is_there {
                complain(format!("mount {source}: it is neither in the repository, nor a volume, nor a path that is allowed"));
            }
        }
    }

    fn check_dependencies(&self, service: &Service, complain: &mut impl FnMut(String)) {
        for (name, dependency) in &service.depends_on {
            let Some(other) = self.services.get(name) else {
                complain(format!("it waits for {name}, which there is not"));
                continue;
            };
            if dependency.condition == Condition::ServiceHealthy && !other.has_health() {
                complain(format!("it waits for the health of {name}, which nobody asks for"));
            }
            let is_active = other.profiles.is_empty() || service.profiles.iter().any(|profile| other.profiles.contains(profile));
            if !is_active || service.profiles.is_empty() && !other.profiles.is_empty() {
                complain(format!("it waits for {name}, which is not started with it"));
            }
        }
    }
}

fn part<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, FileError> {
    serde_json::from_value(value).map_err(|error| FileError::form(format!("compose file, {key}"), error))
}

fn check_confinement(service: &Service, complain: &mut impl FnMut(String)) {
    if !service.read_only {
        complain("read_only is missing".into());
    }
    if service.cap_drop != ["ALL"] {
        complain(format!("cap_drop: expected [ALL], found {:?}", service.cap_drop));
    }
    if service.security_opt != ["no-new-privileges:true"] {
        complain(format!("security_opt: expected [no-new-privileges:true], found {:?}", service.security_opt));
    }
}

/// `512m`, `1g`.
fn bytes(text: &str) -> Option<u64> {
    let unit = match text.as_bytes().last()? {
        b'k' => 1 << 10,
        b'm' => 1 << 20,
        b'g' => 1 << 30,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, root};

    fn problems(change: impl FnOnce(String) -> String) -> Vec<String> {
        match Compose::parse(&change(read("docker-compose.yml").expect("is there"))) {
            Ok(compose) => compose.problems(&root()),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn ours_is_right() {
        assert_eq!(problems(|text| text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        for (from, to, expected) in [
            ("kafka:${KAFKA_VERSION:-4.3.1}", "kafka:4.3.1", "broker: expected an image whose tag is"),
            ("kafka:${KAFKA_VERSION:-4.3.1}", "kafka", "broker: expected an image whose tag is"),
            ("kafka:${KAFKA_VERSION:-4.3.1}", "kafka:${KAFKA_VERSION}", "expected ${NAME:-default}"),
            ("kafka:${KAFKA_VERSION:-4.3.1}", "kafka:${KAFKA_VERSION:-latest}", "broker: its version is whatever"),
            ("127.0.0.1:9092:9092", "9092:9092", "broker: port 9092:9092: expected 127.0.0.1:"),
            ("127.0.0.1:5514:5514/udp", "0.0.0.0:5514:5514/udp", "syslog: port 0.0.0.0"),
            ("mem_limit: 1536m", "cap_drop: [ALL]", "broker: mem_limit is missing"),
            ("mem_limit: 1536m", "mem_limit: much", "broker: mem_limit: expected a size"),
            ("    healthcheck: { disable: true }", "", "topics: it runs once"),
            ("test: [CMD, /opt/kafka", "disable: true\n      test: [CMD, /opt/kafka", "broker: health check is missing"),
            ("test: [CMD, /opt/kafka", "tset: [CMD, /opt/kafka", "unknown field `tset`"),
            ("broker: { condition: service_healthy }", "brokre: { condition: service_healthy }", "it waits for brokre"),
            ("broker: { condition: service_healthy }", "token: { condition: service_healthy }", "it waits for the health of token"),
            ("  broker:\n    image", "  broker:\n    profiles: [host]\n    image", "it waits for broker, which is not started with it"),
            ("- /var/log:/var/log:ro", "- /var/log:/var/log", "host-logs: mount /var/log: expected :ro"),
            ("- /var/log:/var/log:ro", "- /etc:/etc:ro", "host-logs: mount /etc: it is neither"),
            ("./deploy/prometheus:", "./deploy/promotheus:", "prometheus: mount ./deploy/promotheus: it is neither"),
            ("- grafana:/var/lib", "- grafna:/var/lib", "grafana: mount grafna: it is neither"),
            ("\n  token:\n", "\n  token:\n  spare:\n", "volume spare: nobody uses it"),
            ("  read_only: true\n", "", "drain: read_only is missing"),
            ("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "drain: cap_drop: expected [ALL]"),
            ("  restart: unless-stopped\n  # A part", "  # A part", "drain: restart: expected unless-stopped"),
            ("    uts: host\n", "    privileged: true\n", "unknown field `privileged`"),
        ] {
            let found = problems(|text| {
                let at = text.rfind(from).unwrap_or_else(|| panic!("{from:?} is in the file"));
                let at = if from.contains("token") { at } else { text.find(from).unwrap_or(at) };
                format!("{}{to}{}", &text[..at], &text[at + from.len()..])
            });
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(["512m", "1g", "0m", "512", "m", ""].map(bytes), [Some(512 << 20), Some(1 << 30), None, None, None, None]);
    }
}
