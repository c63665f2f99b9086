//! The service that misbehaves: what it sends, and that it comes back.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use deploy_tests::{read, root};

const SCRIPT: &str = "deploy/demo/generator.sh";

/// Ended with the test.
struct Generator(Child);

impl Drop for Generator {
    fn drop(&mut self) {
        // If it ended before, there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_speaks_rfc_5424_and_comes_back_when_it_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let alive = folder.path().join("alive");
    let mut command = Command::new("bash");
    command.arg(root().join(SCRIPT)).args(["127.0.0.1", &listener.local_addr().expect("is bound").port().to_string()]);
    let _generator = Generator(command.env("ALIVE_FILE", &alive).stdout(Stdio::null()).spawn().expect("starts"));
    for _ in 0..2 {
        let (stream, _) = listener.accept().expect("connects");
        for line in BufReader::new(stream).lines().take(8) {
            let line = line.expect("is text");
            let [head, time, host, app, process, id, data, text] = *line.splitn(8, ' ').collect::<Vec<_>>() else {
                panic!("eight fields of RFC 5424, 6: {line}");
            };
            // Facility 3, severities 5 and 6: it begins as an ordinary service.
            assert!(["<29>1", "<30>1"].contains(&head) && time.ends_with('Z') && time.len() == 20, "{line}");
            assert_eq!([host, app, process, id, data], ["shop-1", "shop", "7", "-", "-"], "{line}");
            assert!(text.starts_with("health check of orders took ") || text.starts_with("payment "), "{line}");
        }
    }
    assert!(alive.is_file(), "whoever asks for its health finds it");
}

#[test]
fn it_misbehaves_when_drain_knows_what_is_normal() {
    let script = read(SCRIPT).expect("is there");
    let bucket = read("deploy/demo/demo.env").expect("is there");
    let bucket = bucket.lines().find_map(|line| line.strip_prefix("NEPHOSCOPE_DRAIN__ACTIVITY__BUCKET_S=")).expect("a bucket").to_string();
    assert!(script.contains(&format!("bucket_s=${{3:-{bucket}}}")), "both count in buckets of {bucket} s");
    assert!(script.contains("live 30 ordinary"), "thirty buckets are what drain compares with");
    assert_eq!(30 * bucket.parse::<u32>().expect("a number"), 120, "two minutes");
}
