//! The image: what it is built from, what it holds, as whom it runs, how its health is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{FileError, binaries::Binaries};

/// An instruction with its arguments, continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Upper case.
    pub name: String,
    /// The rest of the line.
    pub arguments: String,
}

impl Instruction {
    /// Its arguments one by one: of the JSON form, else of the words without flags.
    pub fn words(&self) -> Vec<String> {
        let list = self.arguments.find('[').and_then(|at| serde_json::from_str(&self.arguments[at..]).ok());
        list.unwrap_or_else(|| self.plain_words().map(str::to_string).collect())
    }

    fn plain_words(&self) -> impl Iterator<Item = &str> {
        self.arguments.split_whitespace().filter(|word| !word.starts_with("--"))
    }

    fn flag(&self, name: &str) -> Option<&str> {
        self.arguments.split_whitespace().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A Dockerfile.
#[derive(Debug)]
pub struct Dockerfile {
    /// All instructions, in order.
    pub instructions: Vec<Instruction>,
}

impl Dockerfile {
    /// Reads one.
    ///
    /// # Errors
    /// If a line is no instruction.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut instructions = Vec::new();
        let mut line = String::new();
        for part in text.lines().map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('#')) {
            if let Some(part) = part.strip_suffix('\\') {
                line.push_str(part);
                continue;
            }
            line.push_str(part);
            let (name, arguments) =
                line.split_once(' ').ok_or_else(|| FileError::form("Dockerfile", format!("{line:?} has no arguments")))?;
            instructions.push(Instruction { name: name.to_uppercase(), arguments: arguments.trim().to_string() });
            line.clear();
        }
        if line.is_empty() { Ok(Self { instructions }) } else { Err(FileError::form("Dockerfile", "the last line is continued")) }
    }

    fn of<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Instruction> {
        self.instructions.iter().filter(move |instruction| instruction.name == name)
    }

    /// Environment of the containers.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let pairs = self.of("ENV").flat_map(|env| env.plain_words()).filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_string(), value.trim_matches('"').to_string())).collect()
    }

    /// The command that asks for the health, if there is one.
    pub fn health_check(&self) -> Option<Vec<String>> {
        self.of("HEALTHCHECK").next_back().map(Instruction::words)
    }

    /// What runs if nothing is said.
    pub fn command(&self) -> Option<Vec<String>> {
        self.of("CMD").next_back().map(Instruction::words)
    }

    /// The port that is offered.
    pub fn port(&self) -> Option<&str> {
        self.of("EXPOSE").next_back().map(|expose| expose.arguments.as_str())
    }

    /// What is wrong with it, as an image of the repository at `root`.
    pub fn problems(&self, root: &Path, ignore: &Ignore, binaries: &Binaries) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_bases(&mut problems);
        self.check_sources(root, ignore, &mut problems);
        self.check_binaries(binaries, &mut problems);
        match self.of("USER").next_back().map(|user| user.arguments.split(':').next().unwrap_or_default()) {
            Some(user) if user.parse::<u32>().is_ok_and(|user| user > 0) => {}
            found => problems.push(format!("USER: expected the number of a user that is not root, found {found:?}")),
        }
        let listens = self.environment().get("NEPHOSCOPE_LISTEN__ADMIN").and_then(|at| at.rsplit(':').next().map(str::to_string));
        let asked = self.health_check().and_then(|words| words.last()?.rsplit(':').next().map(str::to_string));
        match (&listens, &asked, self.port()) {
            (Some(listens), Some(asked), Some(port)) if listens == asked && listens == port => {}
            found => problems.push(format!("the ports that are listened on, asked for health and exposed differ: {found:?}")),
        }
        problems
    }

    /// Every base is a tag that says its version, by an argument with a default.
    fn check_bases(&self, problems: &mut Vec<String>) {
        let defaults: BTreeMap<&str, &str> = self.of("ARG").filter_map(|arg| arg.arguments.split_once('=')).collect();
        for from in self.of("FROM") {
            let image = from.plain_words().next().unwrap_or_default();
            let tag = image.split_once(':').map_or("", |(_, tag)| tag);
            let mut pinned = tag.to_string();
            for (name, default) in &defaults {
                pinned = pinned.replace(&format!("${{{name}}}"), default);
            }
            if pinned.is_empty() || pinned.contains('$') || pinned == "latest" {
                problems.push(format!("FROM {image}: expected a tag that names a version, by arguments with defaults"));
            }
        }
    }

    /// Whatever is copied is there and reaches the builder.
    fn check_sources(&self, root: &Path, ignore: &Ignore, problems: &mut Vec<String>) {
        for copy in self.of("COPY").filter(|copy| copy.flag("from").is_none()) {
            let words = copy.words();
            for source in words.iter().take(words.len().saturating_sub(1)) {
                if !root.join(source).exists() {
                    problems.push(format!("COPY {source}: there is no such file"));
                } else if source != "." && ignore.hides(source) {
                    problems.push(format!("COPY {source}: .dockerignore hides it"));
                }
            }
        }
    }

    /// It holds every binary that is a part of the product, and runs only those.
    fn check_binaries(&self, binaries: &Binaries, problems: &mut Vec<String>) {
        let built: BTreeSet<&str> = self
            .of("RUN")
            .flat_map(|run| run.arguments.split_whitespace())
            .filter_map(|word| word.strip_prefix("target/release/"))
            .collect();
        let products: BTreeSet<&str> = binaries.products().collect();
        problems.extend(products.difference(&built).map(|name| format!("the image lacks {name}")));
        problems.extend(built.difference(&products).map(|name| format!("{name} is no binary of the product")));
        for (what, words) in [("CMD", self.command()), ("HEALTHCHECK", self.health_check())] {
            match words.as_deref() {
                Some([program, ..]) if products.contains(program.as_str()) => {}
                found => problems.push(format!("{what}: expected a binary of the product, found {found:?}")),
            }
        }
    }
}

/// A `.dockerignore`: the last pattern that matches decides.
#[derive(Debug)]
pub struct Ignore(Vec<(bool, String)>);

impl Ignore {
    /// Reads one.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pattern = |line: &str| match line.strip_prefix('!') {
            Some(shown) => (false, shown.trim_end_matches('/').to_string()),
            None => (true, line.trim_end_matches('/').to_string()),
        };
        Self(lines.map(pattern).collect())
    }

    /// Whether a path does not reach the builder.
    pub fn hides(&self, path: &str) -> bool {
        let matches = |pattern: &str| match pattern.strip_prefix("**/") {
            Some(name) => path.split('/').any(|part| part == name),
            None => pattern == "*" || path == pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('/')),
        };
        self.0.iter().rev().find(|(_, pattern)| matches(pattern)).is_some_and(|(hidden, _)| *hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, root};

    fn problems(change: impl FnOnce(String) -> String) -> Vec<String> {
        let text = change(read("Dockerfile").expect("is there"));
        let ignore = Ignore::parse(&read(".dockerignore").expect("is there"));
        let binaries = Binaries::of_workspace().expect("a workspace");
        Dockerfile::parse(&text).expect("is one").problems(&root(), &ignore, &binaries)
    }

    #[test]
    fn ours_is_right() {
        assert_eq!(problems(|text| text), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        for (from, to, expected) in [
            ("FROM debian:${DEBIAN_VERSION}-slim", "FROM debian", "FROM debian: expected a tag"),
            ("FROM debian:${DEBIAN_VERSION}-slim", "FROM debian:latest", "FROM debian:latest: expected a tag"),
            ("ARG DEBIAN_VERSION=bookworm\n", "ARG DEBIAN_VERSION\n", "expected a tag that names a version"),
            ("COPY LICENSE", "COPY LICENCE", "COPY LICENCE: there is no such file"),
            ("COPY LICENSE", "COPY README.md", "COPY README.md: .dockerignore hides it"),
            ("USER 10001:10001", "USER root", "expected the number of a user that is not root"),
            ("USER 10001:10001", "USER 0", "expected the number of a user that is not root"),
            (" target/release/nephoscope-drain \\", " \\", "the image lacks nephoscope-drain"),
            ("target/release/nephoscope ", "target/release/nephoscoop ", "nephoscoop is no binary of the product"),
            ("CMD [\"nephoscope\", \"health\"", "CMD [\"curl\", \"health\"", "HEALTHCHECK: expected a binary"),
            ("EXPOSE 9464", "EXPOSE 9465", "exposed differ"),
        ] {
            let found = problems(|text| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            });
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let ignore = Ignore::parse("# all\n*\n!schemas/\n**/target\n");
        let hidden = ["deploy", "schemas", "schemas/src/lib.rs", "schemas/target", "schemasx"].map(|path| ignore.hides(path));
        assert_eq!(hidden, [true, false, false, true, true]);
    }
}
