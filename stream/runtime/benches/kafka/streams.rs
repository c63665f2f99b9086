//! The other peer: Kafka Streams in a JVM of its own, built once by Maven from `bench/kafka-streams`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{broker::Broker, model::Span};

/// Kafka Streams, ready to run.
pub struct Streams {
    class_path: String,
}

impl Streams {
    /// Builds it, or says what is missing.
    pub fn build() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
        let target = target().join("kafka-streams");
        let (output, jars, log) = (target.join("build"), target.join("build/jars"), target.join("maven.log"));
        std::fs::create_dir_all(&target).map_err(|error| error.to_string())?;
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "compile", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"]);
        maven.arg(root.join("bench/kafka-streams/pom.xml"));
        for (name, path) in [("output", &output), ("outputDirectory", &jars), ("maven.repo.local", &target.join("maven"))] {
            maven.arg(format!("-D{name}={}", path.display()));
        }
        let file = File::create(&log).map_err(|error| error.to_string())?;
        match maven.stdout(file).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return Err(format!("Maven could not build it, see {}", log.display())),
            Err(error) => return Err(format!("mvn: {error}")),
        }
        Ok(Self { class_path: format!("{}:{}/*", output.join("classes").display(), jars.display()) })
    }

    /// Copies all `records` of the suite's input and ends. The span begins after a quarter of them.
    pub fn copy(&self, broker: &Broker, suite: &str, run: &str, records: u64) -> Span {
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-cp", &self.class_path, "Copy", broker.bootstrap()]);
        java.args([format!("{suite}.in.v1"), format!("{suite}.out.v1"), format!("{suite}.streams.{run}")]);
        java.arg(broker.dir().join("streams")).arg(records.to_string());
        let output = java.stderr(Stdio::inherit()).output().expect("java runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let marks: Vec<[f64; 3]> = text.lines().filter_map(mark).collect();
        let [begin, end] = marks[..] else { panic!("expected two marks of Kafka Streams, got {text:?}") };
        let [records, cpu, wall] = [0, 1, 2].map(|field: usize| end[field] - begin[field]);
        Span { records, wall: wall / 1e9, thread: None, process: cpu / 1e9 }
    }
}

/// A line of three numbers: records, nanoseconds of CPU time, nanoseconds on the wall.
fn mark(line: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// Cargo's target directory, in which this program lies at `release/deps/`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("has a path");
    program.ancestors().nth(3).expect("lies in a target directory").to_path_buf()
}
