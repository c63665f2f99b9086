//! What a line names: the machines, services and addresses that a program complains about stand in its words. They are the only
//! word on who depends on whom that logs have, long before traces or an inventory say so.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Bytes of a name (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// Mentions of one line.
pub(crate) const MENTIONS_MAX: usize = 8;
/// Words before the name of one who comes to us.
const COMES_FROM: [&str; 5] = ["by", "client", "from", "rhost", "src"];
/// Ports from which clients speak (Linux, `ip_local_port_range`): nobody listens there.
const EPHEMERAL_PORT_MIN: u16 = 32_768;
/// Endings of source files: `server.go:231` is a place in a program, not a port of a machine.
const SOURCE_ENDINGS: [&str; 14] = ["c", "cc", "cpp", "cs", "erl", "ex", "go", "h", "java", "js", "php", "py", "rb", "rs"];

/// A name in a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mention {
    /// Lower case, without port.
    pub name: String,
    /// It has the form of something that is spoken with (an address, a name with a port), known or not. Others only mean something
    /// if a thing of that name is known.
    pub is_endpoint: bool,
    /// It came to the speaker, not the speaker to it: *from 192.0.2.7*. Who calls is not what one depends on.
    pub is_caller: bool,
}

/// The names in a line, in order, each once.
pub fn mentions(line: &str) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    let mut before = "";
    for token in line.split(|c: char| !is_name_char(c)).filter(|token| !token.is_empty()) {
        if let Some(mention) = read(token, before) {
            match found.iter_mut().find(|known| known.name == mention.name) {
                Some(known) => known.hear(&mention),
                None => found.push(mention),
            }
        }
        before = token;
    }
    // Endpoints first, so that a wordy line keeps what counts most.
    found.sort_by_key(|mention| !mention.is_endpoint);
    found.truncate(MENTIONS_MAX);
    found
}

impl Mention {
    /// It is named once more.
    pub(crate) fn hear(&mut self, again: &Self) {
        self.is_endpoint |= again.is_endpoint;
        self.is_caller &= again.is_caller;
    }
}

/// All words of a line that could be the name of something known, lower case.
pub fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    let words = line.split(|c: char| !(is_name_char(c) && c != ':')).map(|word| word.trim_matches(['.', '-', '_']));
    words.filter(|word| (3..=NAME_BYTES_MAX).contains(&word.len())).map(str::to_ascii_lowercase)
}

/// The first label of a host's name: logs say `db-7` of `db-7.example.org`. Addresses have none.
pub fn short(name: &str) -> &str {
    if name.parse::<IpAddr>().is_ok() { name } else { name.split('.').next().unwrap_or(name) }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')
}

/// A word as a name; `before` is the word before it.
fn read(token: &str, before: &str) -> Option<Mention> {
    let token = token.trim_matches(['.', '-', '_']);
    // Go and others write `dial tcp db-7:5432: connection refused`.
    let token = if token.starts_with("::") || token.ends_with("::") { token } else { token.trim_matches(':') };
    let (token, port) = match token.rsplit_once(':') {
        Some((head, port)) if !head.contains(':') && port.parse::<u16>().is_ok_and(|port| port > 0) => (head, port.parse::<u16>().ok()),
        _ => (token, None),
    };
    let has_port = port.is_some();
    let is_caller = port.is_none_or(|port| port >= EPHEMERAL_PORT_MIN) && COMES_FROM.iter().any(|word| before.eq_ignore_ascii_case(word));
    if let Ok(address) = token.parse::<IpAddr>() {
        let is_nobody = address.is_loopback() || address.is_unspecified() || address.is_multicast() || token == "255.255.255.255";
        return (!is_nobody).then(|| Mention { name: address.to_string(), is_endpoint: true, is_caller });
    }
    let is_name = token.len() <= NAME_BYTES_MAX && token.starts_with(|c: char| c.is_ascii_alphabetic()) && !token.contains([':', '_']);
    let is_source = token.rsplit_once('.').is_some_and(|(_, ending)| SOURCE_ENDINGS.contains(&ending));
    let looks_like_one = token.contains(|c: char| c.is_ascii_digit() || c == '-' || c == '.') && !token.contains("..");
    (is_name && looks_like_one && !is_source).then(|| Mention { name: token.to_ascii_lowercase(), is_endpoint: has_port, is_caller })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<String> {
        let mark = |mention: Mention| if mention.is_endpoint { format!("{}!", mention.name) } else { mention.name };
        mentions(line).into_iter().map(mark).collect()
    }

    #[test]
    fn addresses_and_names_with_ports_are_endpoints() {
        assert_eq!(of("connect to db-7:5432 failed: connection refused"), ["db-7!"]);
        assert_eq!(of("upstream 10.0.0.12:8080 timed out, [2001:db8::1]:443 too"), ["10.0.0.12!", "2001:db8::1!"]);
        assert_eq!(of("no route to host 10.0.0.12"), ["10.0.0.12!"]);
        assert_eq!(of("dial tcp db-7:5432: connect: refused; 10.0.0.12:80: too, fe80::"), ["db-7!", "10.0.0.12!", "fe80::!"]);
        assert_eq!(of("https://Api.Example.org:8443/v1"), ["api.example.org!", "v1"]);
    }

    #[test]
    fn who_comes_to_us_is_told_from_whom_we_ask() {
        let callers = |line: &str| {
            let callers = mentions(line).into_iter().filter(|mention| mention.is_caller);
            callers.map(|mention| mention.name).collect::<Vec<_>>()
        };
        assert_eq!(callers("Failed password for root from 192.0.2.7 port 4711 ssh2"), ["192.0.2.7"]);
        assert_eq!(callers("pam_unix(sshd:auth): authentication failure; rhost=192.0.2.7 user=root"), ["192.0.2.7"]);
        assert_eq!(callers("reset by 192.0.2.7:51022 while sending"), ["192.0.2.7"]);
        assert_eq!(callers("no answer from db-7:5432"), [""; 0], "nobody calls from there");
        assert_eq!(callers("from 192.0.2.7; cannot reach 192.0.2.7:80"), [""; 0], "it is asked, too");
    }

    #[test]
    fn other_words_count_only_if_something_is_known_by_them() {
        assert_eq!(of("cannot reach db-7, giving up on postgres-primary"), ["db-7", "postgres-primary"]);
        assert_eq!(words("upstream payments failed").collect::<Vec<_>>(), ["upstream", "payments", "failed"]);
    }

    #[test]
    fn this_machine_places_in_programs_and_times_are_nobody() {
        assert_eq!(of("listening on 127.0.0.1:80, [::1]:80 and 0.0.0.0:443 since 12:30:15"), [""; 0]);
        assert_eq!(of("server.go:231 panicked; main.rs:42; errno:111"), [""; 0]);
    }

    #[test]
    fn a_wordy_line_keeps_its_endpoints() {
        let line = (0..40).map(|n| format!("word-{n} ")).collect::<String>() + "db-7:5432";
        let found = mentions(&line);
        assert_eq!((found.len(), found[0].name.as_str()), (MENTIONS_MAX, "db-7"));
    }

    #[test]
    fn hosts_are_called_by_their_first_label() {
        assert_eq!(["db-7.example.org", "db-7", "10.0.0.12"].map(short), ["db-7", "db-7", "10.0.0.12"]);
    }
}
