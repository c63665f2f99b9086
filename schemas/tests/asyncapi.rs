//! `asyncapi.yaml`: it is what the generator writes, says what the table of topics says, and passes the official validator.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use schemas::topics::{self, DLQ_SUFFIX, TOPICS};
use serde_json::Value;

/// Version of the official command line that has been tried.
const VALIDATOR: &str = "@asyncapi/cli@6.2.0";
/// It brings a whole web studio along; a minute on a good line.
const INSTALL_SECONDS_MAX: u64 = 300;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(folder().join("asyncapi.yaml")).expect("is there")).expect("is YAML")
}

#[test]
fn generating_it_again_changes_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_nephoscope-schemas")).arg("show").output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let committed = fs::read(folder().join("asyncapi.yaml")).expect("is there");
    assert!(output.stdout == committed, "asyncapi.yaml is old: cargo run -p nephoscope-schemas -- generate");
}

#[test]
fn it_has_a_channel_for_each_topic_and_an_operation_for_each_part() {
    let document = document();
    let channels = document["channels"].as_object().expect("channels");
    assert_eq!(channels.len(), 2 * TOPICS.len(), "each topic and its dead letters");
    for channel in channels.values() {
        let (address, kafka) = (channel["address"].as_str().expect("an address"), &channel["bindings"]["kafka"]);
        let layout = topics::layout(address).unwrap_or_else(|| panic!("{address} is no topic"));
        assert_eq!((&kafka["topic"], &kafka["partitions"]), (&address.into(), &layout.partitions_kafka.into()));
    }
    let operations = document["operations"].as_object().expect("operations");
    for topic in TOPICS {
        let channel = topic.name.replace('.', "-");
        let senders = topic.written_by.iter().filter(|part| **part != "anyone").map(|part| format!("{part}-sends-{channel}"));
        let receivers = topic.read_by.iter().filter(|part| **part != "anyone").map(|part| format!("{part}-receives-{channel}"));
        for operation in senders.chain(receivers) {
            assert!(operations.contains_key(&operation), "{operation}");
        }
        let letters = format!("-sends-{channel}{}", DLQ_SUFFIX.replace('.', "-"));
        let rejects = topic.read_by.iter().any(|part| ["drain", "incident", "matrix-profile", "notifier"].contains(part));
        assert_eq!(operations.keys().any(|name| name.ends_with(&letters)), rejects, "{letters}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_newest_schema_is_referred_to() {
    let document = document();
    let mut files = BTreeSet::new();
    let mut stack = vec![&document];
    while let Some(node) = stack.pop() {
        if let Some(target) = node.get("$ref").and_then(Value::as_str) {
            match target.strip_prefix('#') {
                Some(pointer) => assert!(document.pointer(pointer).is_some(), "{target}"),
                None => assert!(files.insert(folder().join(target)), "{target} is referred to twice"),
            }
        }
        stack.extend(node.as_object().into_iter().flat_map(|map| map.values()));
        stack.extend(node.as_array().into_iter().flatten());
    }
    assert_eq!(files, newest_schemas());
}

/// The newest file of each subject.
fn newest_schemas() -> BTreeSet<PathBuf> {
    let list =
        |path: &Path| -> Vec<PathBuf> { fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect() };
    let version = |path: &PathBuf| -> u32 {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.trim_start_matches('v').split('.').next().and_then(|number| number.parse().ok()).expect("v<N>")
    };
    let subjects = ["avsc", "json"].into_iter().flat_map(|kind| list(&folder().join(kind))).filter(|path| path.is_dir());
    subjects.map(|subject| list(&subject).into_iter().max_by_key(version).expect("a version")).collect()
}

#[test]
fn the_official_validator_takes_it_and_refuses_a_broken_one() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asyncapi");
    let program = match install(&home) {
        Ok(program) => program,
        Err(why) => {
            // Not captured by the test harness, so that it is counted.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {VALIDATOR}: {why}");
            return;
        }
    };
    let (good, said) = validate(&program, &home, &folder().join("asyncapi.yaml"));
    assert!(good, "{said}");
    // The whole folder, since the document refers to the schemas beside it; each fault must be found.
    let broken = home.join("broken");
    let text = fs::read_to_string(folder().join("asyncapi.yaml")).expect("is there");
    for (what, from, to) in [
        ("an action that is none", "action: send", "action: shout"),
        ("a binding of a wrong type", "partitions: 6", "partitions: six"),
        ("a reference to nothing", "#/channels/alerts-v1/messages/Alert", "#/channels/alerts-v1/messages/Alarm"),
        ("a schema that is none", "avsc/logs.raw/v1.avsc", "avsc/LOCK"),
    ] {
        copy(folder(), &broken);
        assert!(text.contains(from), "{from}");
        fs::write(broken.join("asyncapi.yaml"), text.replace(from, to)).expect("writes");
        let (good, said) = validate(&program, &home, &broken.join("asyncapi.yaml"));
        assert!(!good, "{what} passed: {said}");
    }
}

/// The validator, installed from npm if it is not there yet.
fn install(home: &Path) -> Result<PathBuf, String> {
    let (program, mark) = (home.join("node_modules/.bin/asyncapi"), home.join("installed"));
    if fs::read_to_string(&mark).is_ok_and(|version| version == VALIDATOR) {
        return Ok(program);
    }
    fs::create_dir_all(home).map_err(|error| error.to_string())?;
    fs::write(home.join(".asyncapi-analytics"), r#"{"analyticsEnabled":"false","infoMessageShown":"true","userID":"none"}"#)
        .map_err(|error| error.to_string())?;
    let mut command = Command::new("npm");
    command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(home).arg(VALIDATOR);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| format!("npm: {error}"))?;
    for _ in 0..INSTALL_SECONDS_MAX {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            if !status.success() {
                return Err(format!("npm install: {status}; is the registry reachable?"));
            }
            fs::write(mark, VALIDATOR).map_err(|error| error.to_string())?;
            return Ok(program);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("npm install took more than {INSTALL_SECONDS_MAX} s"))
}

/// Whether it finds no error, and what it says.
fn validate(program: &Path, home: &Path, file: &Path) -> (bool, String) {
    let output = Command::new(program).arg("validate").arg(file).env("HOME", home).current_dir(home).output().expect("runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn copy(from: &Path, to: &Path) {
    for kind in ["avsc", "json"] {
        for subject in fs::read_dir(from.join(kind)).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let target = to.join(kind).join(subject.file_name().expect("a name"));
            if subject.is_file() {
                fs::create_dir_all(to.join(kind)).expect("makes");
                fs::copy(subject, target).expect("copies");
                continue;
            }
            fs::create_dir_all(&target).expect("makes");
            for file in fs::read_dir(&subject).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                fs::copy(&file, target.join(file.file_name().expect("a name"))).expect("copies");
            }
        }
    }
}
