//! A bus that can be away: what comes over sockets goes its own way, without a cursor.

use std::io::Write;
use std::net::TcpStream;

use schemas::SourceKind;
use stream_runtime::loss::Loss;
use stream_runtime::source::{Source, SourceContext};
use stream_runtime::time::wall_clock;
use syslog::{Collector, Config};

use super::{bus::MemoryBus, following, listening, messages};

#[test]
fn a_bus_that_takes_nothing_from_files_does_not_hold_up_the_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    // With its time: what may be older than a day is left alone by a collector that starts.
    std::fs::write(&path, format!("{} vm-7 app: a line of the file\n", wall_clock())).expect("writes");
    let (files, sockets) = (MemoryBus::default(), MemoryBus::default());
    files.set_full(true);
    let config = Config { tcp: listening().tcp, ..following(&[&path]) };
    let context = SourceContext {
        publisher: files.opening(),
        spooled: Some(sockets.publisher()),
        publish_ms: 10,
        data_dir: folder.path().to_owned(),
        loss: Loss::default(),
    };
    let collector = <Collector as Source>::start(config, context).expect("starts");
    let address = collector.status().into_iter().find(|source| source.kind == SourceKind::Tcp).expect("listens").name;
    let mut sender = TcpStream::connect(address).expect("connects");
    for n in 0..1_000 {
        writeln!(sender, "<13>line {n}").expect("writes");
    }
    let arrived = sockets.wait_for(1_000);
    assert_eq!(messages(&arrived), (0..1_000).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!((files.len(), sockets.position()), (0, Some(Vec::new())), "what cannot be read again has no position");
    files.set_full(false);
    assert_eq!(messages(&files.wait_for(1)), ["a line of the file"]);
    collector.stop();
    assert_eq!((files.len(), sockets.len()), (1, 1_000));
    assert!(files.position().is_some_and(|position| !position.is_empty()), "a file has one");
}
