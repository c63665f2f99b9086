use schemas::{Severity, incident::incident_id};

use super::*;
use crate::{
    config::Config,
    testing::{NOW, sighting},
};

/// One story of these alerts: host, program, seconds after the beginning, severity, line.
fn causes(alerts: &[(&str, &str, i64, Severity, &str)]) -> Vec<String> {
    let config = Config::default();
    let mut graph = Graph::default();
    let mut story: Option<Story> = None;
    for (host, service, at_s, severity, line) in alerts {
        let at = NOW.plus_millis(at_s * 1_000);
        let said = Sighting { started_at: at, at, severity: *severity, ..sighting(host, service, line) };
        graph.learn(&said, config.things_max, config.edge_ms);
        let id = incident_id(&said.fingerprint.to_string(), NOW).parse().expect("a hash");
        story.get_or_insert_with(|| Story::new(id, &said)).add(&said, "", at);
    }
    let story = story.expect("an alert");
    rank(&story, &graph, &config.weights).into_iter().map(|ranked| ranked.cause.node.to_string()).collect()
}

fn first(alerts: &[(&str, &str, i64, Severity, &str)]) -> String {
    causes(alerts).swap_remove(0)
}

#[test]
fn a_disk_under_a_database_comes_before_all_who_ask_it() {
    let alerts = [
        ("web-1", "shop", 0, Severity::High, "db-7:5432 refused"),
        ("web-2", "shop", 2, Severity::High, "db-7:5432 timed out"),
        ("db-7", "kernel", 20, Severity::Critical, "I/O error on sdb"),
        ("db-7", "postgres", 25, Severity::High, "could not fsync"),
    ];
    assert_eq!(first(&alerts), "host/db-7");
}

#[test]
fn a_program_that_is_alone_in_trouble_on_its_host_is_meant_by_who_names_the_host() {
    let resolver = ("dns-1", "unbound", 0, Severity::Critical, "assertion failed");
    let asks = [("mail-1", "postfix", 5, Severity::High, "dns-1:53 is silent"), ("web-1", "shop", 6, Severity::High, "dns-1:53: timeout")];
    assert_eq!(first(&[resolver, asks[0], asks[1]]), "service/unbound");
    let disk = ("dns-1", "kernel", 1, Severity::High, "I/O error");
    assert_eq!(first(&[resolver, disk, asks[0], asks[1]]), "host/dns-1", "two voices: the host is what they have in common");
}

#[test]
fn a_silent_address_that_several_programs_miss_is_suspected_and_one_voice_is_hearsay() {
    let lost = [
        ("hv-1", "iscsid", 0, Severity::High, "connection to 10.0.8.20:3260 lost"),
        ("hv-1", "multipathd", 6, Severity::High, "path to 10.0.8.20:3260 is down"),
    ];
    assert_eq!(first(&lost), "peer/10.0.8.20");
    assert_eq!(first(&[("hv-1", "postgres", 0, Severity::High, "could not bind 10.0.0.7:5432")]), "service/postgres");
}

#[test]
fn hardware_that_names_whom_it_harms_is_no_symptom() {
    let cooling = ("crac-1", "ipmievd", 0, Severity::Critical, "compressor fault, feeds hot-1 hot-2");
    assert_eq!(first(&[cooling, ("hot-1", "kernel", 40, Severity::Warning, "cpu clock throttled")]), "host/crac-1");
    let mount = ("app-1", "kernel", 0, Severity::Warning, "nfs: server store-4 not responding");
    assert_eq!(first(&[mount, ("store-4", "kernel", 9, Severity::Critical, "disk failure on sdb1")]), "host/store-4", "it suffers");
}

#[test]
fn who_calls_one_host_is_not_its_trouble_and_who_calls_several_is() {
    let tries = |host| (host, "sshd", 0, Severity::Warning, "maximum authentication attempts exceeded for root from 192.0.2.7 port 4711");
    assert_eq!(causes(&[tries("bastion-1")]), ["host/bastion-1"]);
    assert_eq!(first(&[tries("bastion-1"), tries("bastion-2"), tries("git-1")]), "peer/192.0.2.7");
}

#[test]
fn a_link_that_is_down_is_no_symptom_because_a_program_above_complains() {
    let alerts = [
        ("lb-2", "kernel", 0, Severity::High, "eth1: link is down"),
        ("lb-2", "haproxy", 4, Severity::High, "10.0.0.9:80 is unreachable"),
        ("lb-2", "agent", 5, Severity::High, "10.0.0.9:80 is unreachable, too"),
    ];
    assert_eq!(first(&alerts), "host/lb-2");
}

#[test]
fn what_is_told_is_why() {
    let config = Config::default();
    let said = sighting("web-1", "shop", "out of memory");
    let mut story = Story::new(said.fingerprint, &said);
    story.add(&said, "", NOW);
    let ranked = rank(&story, &Graph::default(), &config.weights);
    assert_eq!(ranked[0].cause.because, "SevereLog, high, at the very beginning");
    assert_eq!(ranked[0].alert.map(|said| &*said.message), Some("out of memory"));
}
