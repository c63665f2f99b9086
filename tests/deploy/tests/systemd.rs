//! The units, by our rules and by systemd's own.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use deploy_tests::{binaries::Binaries, read, root, tools, unit::Unit};

const FOLDER: &str = "deploy/systemd";
/// Beyond this `systemd-analyze security` calls a service more than a little exposed; in tenths, as it takes the threshold.
const EXPOSURE_MAX: &str = "30";

/// The files with such an ending, sorted.
fn names(ending: &str) -> Vec<String> {
    let files = fs::read_dir(root().join(FOLDER)).expect("is there").map(|file| file.expect("is read").file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().expect("is text")).filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

/// The services.
fn units() -> Vec<(String, String, Unit)> {
    let unit = |name: String| {
        let text = read(&format!("{FOLDER}/{name}")).expect("is read");
        let unit = Unit::parse(&name, &text).expect("is a unit");
        (name, text, unit)
    };
    names(".service").into_iter().map(unit).collect()
}

#[test]
fn there_is_a_unit_for_each_binary_and_each_is_watched_and_confined() {
    let binaries = Binaries::of_workspace().expect("a workspace");
    let units = units();
    let names: Vec<&str> = units.iter().filter_map(|(name, ..)| name.strip_suffix(".service")).collect();
    for product in binaries.products() {
        assert!(names.contains(&product), "{product} has a unit");
    }
    for (name, text, unit) in &units {
        assert_eq!(unit.problems(&binaries), Vec::<String>::new());
        assert_eq!(unit.confined(), units[0].2.confined(), "{name} is confined as {}", units[0].0);
        for (from, to, expected) in [
            ("Type=notify", "Type=simple", "expected Type=notify"),
            ("WatchdogSec=30\n", "", "expected WatchdogSec=30, found []"),
            ("/usr/local/bin/nephoscope", "/usr/local/bin/nephoscoop", "expected /usr/local/bin/ and a binary"),
            ("# Confined: the same in every unit.", "", "not confined as the others"),
            ("MemoryMax=", "MemoryHigh=", "MemoryMax is missing"),
        ] {
            let found = Unit::parse(name, &text.replacen(from, to, 1)).expect("is a unit").problems(&binaries);
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:?}");
        }
    }
}

#[test]
fn every_setting_in_a_unit_is_one_of_its_program() {
    let binaries = Binaries::of_workspace().expect("a workspace");
    for (name, _, unit) in units() {
        let command = unit.command();
        let program = command.first().expect("a program");
        if let Err(why) = binaries.built(program) {
            return tools::skip(&why);
        }
        assert_eq!(binaries.explain(&command), Ok(()), "{name}");
        let mut environment = unit.environment();
        // Where a broker is, is the operator's to say.
        if environment.get("NEPHOSCOPE_BUS__BACKEND").is_some_and(|backend| backend == "kafka") {
            environment.insert("NEPHOSCOPE_KAFKA__BOOTSTRAP_SERVERS".into(), "127.0.0.1:9092".into());
        }
        assert_eq!(binaries.unknown_settings(program, &environment), Ok(vec![]), "{name}");
    }
}

#[test]
fn systemd_accepts_them_and_finds_little_exposed() {
    let Some(analyze) = tools::find("systemd-analyze", "systemd", FOLDER) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut services = Vec::new();
    for (name, text, _) in units() {
        // The programs need not be installed where the tests run.
        fs::write(folder.path().join(&name), text.replace("/usr/local/bin/", "/bin/true ")).expect("writes");
        services.push(name);
    }
    let sockets = names(".socket");
    for name in &sockets {
        fs::copy(root().join(FOLDER).join(name), folder.path().join(name)).expect("copies");
    }
    let all = || services.iter().chain(&sockets).map(String::as_str);
    let arguments = |first: &[&'static str]| first.iter().copied().chain(all()).collect::<Vec<_>>();
    let verdict = tools::run(&analyze, &arguments(&["verify", "--man=no"]), folder.path()).expect("runs");
    assert!(verdict.is_good && verdict.text.is_empty(), "{}", verdict.text);

    let security = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX];
    for name in &services {
        let verdict = tools::run(&analyze, &[&security[..], &[name]].concat(), folder.path()).expect("runs");
        assert!(verdict.is_good, "{}", verdict.text);
        println!("{}", verdict.text.lines().rfind(|line| line.contains("Overall exposure")).unwrap_or("no exposure was printed").trim());
    }

    // Both must be able to fail.
    let first = folder.path().join(&services[0]);
    let text = fs::read_to_string(&first).expect("is read");
    fs::write(&first, text.replace("WatchdogSec=30", "WatchdogSec=soon").replace("ProtectSystem=strict", "")).expect("writes");
    let verdict = tools::run(&analyze, &["verify", "--man=no", &services[0]], folder.path()).expect("runs");
    assert!(verdict.text.contains("Failed to parse sec value"), "{}", verdict.text);
    let bare = "[Service]\nType=notify\nExecStart=/bin/true\n";
    fs::write(&first, bare).expect("writes");
    assert!(!tools::run(&analyze, &[&security[..], &[&services[0]]].concat(), folder.path()).expect("runs").is_good);
}

/// A program as systemd starts it; ended with the test.
struct Started(Child);

impl Started {
    fn new(program: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg("--data-dir").arg(folder.join("data")).env_clear();
        command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "100000");
        command.env("NEPHOSCOPE_LISTEN__ADMIN", "127.0.0.1:0").env("NEPHOSCOPE_SYSLOG__SOURCES", "listed");
        command.env("NEPHOSCOPE_SYSLOG__UDP", "[]").env("NEPHOSCOPE_SYSLOG__TCP", "[]");
        command.env("NEPHOSCOPE_NOTIFIER__CONSOLE__JOURNAL__WATCHDOG_S", "3600");
        Self(command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"))
    }

    fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("runs");
        assert!(told.success());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // If it ended before, there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_program_tells_systemd_that_it_serves_lives_and_leaves() {
    let binaries = Binaries::of_workspace().expect("a workspace");
    for (_, _, unit) in units() {
        let command = unit.command();
        let [program, arguments @ ..] = command.as_slice() else { panic!("a unit runs a program") };
        let path = match binaries.built(program) {
            Ok(path) => path,
            Err(why) => return tools::skip(&why),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let manager = UnixDatagram::bind(folder.path().join("notify")).expect("binds");
        manager.set_read_timeout(Some(Duration::from_secs(30))).expect("is set");
        let next = || {
            let mut message = [0; 64];
            let length = manager.recv(&mut message).unwrap_or_else(|error| panic!("{program} says something: {error}"));
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut started = Started::new(&path, folder.path(), &arguments);
        assert_eq!([next(), next(), next()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"], "{program}");
        started.terminate();
        assert!(std::iter::from_fn(|| Some(next())).any(|message| message == "STOPPING=1"));
        assert!(started.0.wait().expect("ends").success(), "{program}");
    }
}
