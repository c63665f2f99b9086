//! Prometheus, Alertmanager and Grafana, by their own tools and against the compose file in which they run.

use std::fs;

use deploy_tests::{compose::Compose, dashboard::Dashboard, dockerfile::Dockerfile, read, root, rules::RuleFile, tools, yaml};
use serde_json::Value;

const PROMETHEUS: &str = "deploy/prometheus";
const DASHBOARD: &str = "deploy/grafana/dashboards/nephoscope.json";

fn document(path: &str) -> Value {
    yaml(path, &read(path).expect("is there")).expect("is YAML")
}

fn compose() -> Compose {
    Compose::parse(&read("docker-compose.yml").expect("is there")).expect("is a compose file")
}

/// Where a path within a service's container comes from.
fn source_of(service: &str, path: &str) -> String {
    let compose = compose();
    let service = &compose.services[service];
    let inside = |target: &str| path == target || path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
    let mount = service.mounts().find(|(_, target, _)| inside(target));
    mount.unwrap_or_else(|| panic!("{path} is mounted")).0.to_string()
}

#[test]
fn prometheus_asks_the_parts_where_they_answer() {
    let config = document(&format!("{PROMETHEUS}/prometheus.yml"));
    let (compose, image) = (compose(), Dockerfile::parse(&read("Dockerfile").expect("is there")).expect("is a Dockerfile"));
    let job = &config["scrape_configs"][0];
    let discovery = &job["dns_sd_configs"][0];
    assert_eq!(discovery["port"].to_string(), image.port().expect("a port"));
    let asked: Vec<&str> = discovery["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    let listening = |name: &&str| compose.services.get(*name).is_some_and(|service| service.is_ours());
    assert!(asked.iter().all(listening), "{asked:?} are services of ours");
    for (name, service) in compose.services.iter().filter(|(_, service)| service.is_ours() && service.restart.is_some()) {
        let environment = service.environment();
        let Some(token) = environment.get("NEPHOSCOPE_LISTEN__TOKEN_FILE") else { continue };
        assert!(asked.contains(&name.as_str()), "Prometheus asks {name}");
        assert_eq!(job["authorization"]["credentials_file"], token.as_str(), "with the token of {name}");
        assert_eq!(source_of(name, token), source_of("prometheus", token), "from the same volume");
    }
    let alertmanager = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0].as_str().expect("a target");
    assert!(compose.services.contains_key(alertmanager.split(':').next().expect("a name")), "{alertmanager} is a service");
}

#[test]
fn grafana_finds_prometheus_and_the_dashboards() {
    let compose = compose();
    let datasource = &document("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0];
    assert_eq!((&datasource["uid"], &datasource["type"]), (&"prometheus".into(), &"prometheus".into()));
    let url = datasource["url"].as_str().expect("a URL");
    let host = url.trim_start_matches("http://").split(':').next().expect("a host");
    assert!(compose.services.contains_key(host), "{host} is a service");

    let provider = &document("deploy/grafana/provisioning/dashboards/nephoscope.yml")["providers"][0];
    let folder = provider["options"]["path"].as_str().expect("a path");
    assert_eq!(source_of("grafana", folder), "./deploy/grafana/dashboards");
    let home = &compose.services["grafana"].environment()["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    let file = home.strip_prefix(folder).expect("is in the folder");
    assert!(root().join("deploy/grafana/dashboards").join(file.trim_start_matches('/')).is_file(), "{home} is there");
}

#[test]
fn promtool_accepts_configuration_and_rules_and_sees_each_rule_fire() {
    let Some(promtool) = tools::find("promtool", "Debian: prometheus", PROMETHEUS) else { return };
    let folder = root().join(PROMETHEUS);
    for arguments in [
        &["check", "config", "--syntax-only", "prometheus.yml"][..],
        &["check", "rules", "nephoscope.rules.yml"],
        &["test", "rules", "nephoscope.rules.test.yml"],
    ] {
        let verdict = tools::run(&promtool, arguments, &folder).expect("runs");
        assert!(verdict.is_good, "promtool {}: {}", arguments.join(" "), verdict.text);
    }

    // A rule that waits longer, or asks for more, must not pass.
    let rules = read(&format!("{PROMETHEUS}/nephoscope.rules.yml")).expect("is there");
    let copy = tempfile::tempdir().expect("a folder");
    fs::copy(folder.join("nephoscope.rules.test.yml"), copy.path().join("nephoscope.rules.test.yml")).expect("copies");
    for (from, to) in
        [("for: 1m", "for: 9m"), ("_dlq_total[10m])) > 0", "_dlq_total[10m])) > 99"), ("> 10000", "> 1000000"), ("> 0.8", "> 0.9")]
    {
        assert!(rules.contains(from), "{from}");
        fs::write(copy.path().join("nephoscope.rules.yml"), rules.replacen(from, to, 1)).expect("writes");
        let verdict = tools::run(&promtool, &["test", "rules", "nephoscope.rules.test.yml"], copy.path()).expect("runs");
        assert!(!verdict.is_good, "{from} → {to} goes unnoticed");
    }
}

#[test]
fn promtool_reads_every_question_of_the_dashboard() {
    let Some(promtool) = tools::find("promtool", "Debian: prometheus", DASHBOARD) else { return };
    let dashboard = Dashboard::parse(DASHBOARD, &read(DASHBOARD).expect("is there")).expect("is a dashboard");
    let check = |expressions: &mut dyn Iterator<Item = String>| {
        let rules: Vec<Value> =
            expressions.enumerate().map(|(at, expr)| serde_json::json!({ "record": format!("question_{at}"), "expr": expr })).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
        fs::write(folder.path().join("rules.yml"), file.to_string()).expect("writes"); // JSON is YAML
        tools::run(&promtool, &["check", "rules", "rules.yml"], folder.path()).expect("runs")
    };
    let verdict = check(&mut dashboard.expressions());
    assert!(verdict.is_good, "{}", verdict.text);
    assert!(!check(&mut dashboard.expressions().map(|expr| expr + ")")).is_good);
}

#[test]
fn amtool_accepts_the_routes() {
    let path = "deploy/alertmanager/alertmanager.yml";
    let Some(amtool) = tools::find("amtool", "Debian: prometheus-alertmanager", path) else { return };
    let verdict = tools::run(&amtool, &["check-config", path], &root()).expect("runs");
    assert!(verdict.is_good, "{}", verdict.text);
}

#[test]
fn every_rule_is_named_in_the_readme() {
    let rules = RuleFile::parse(&read(&format!("{PROMETHEUS}/nephoscope.rules.yml")).expect("is there")).expect("are rules");
    let readme = read("deploy/README.md").expect("is there");
    for rule in rules.rules() {
        assert!(readme.contains(&format!("`{}`", rule.alert)), "{}", rule.alert);
    }
}
