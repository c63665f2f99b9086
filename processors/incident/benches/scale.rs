//! Alerts per second of thread CPU, and memory, where everything is as large as it gets: 20,000 things known, 10,000 alerts open in
//! 1,000 incidents. Run with `cargo bench -p nephoscope-incident --bench scale`.

use incident::{Config, IncidentProcessor};
use rustix::time::{ClockId, clock_gettime};
use schemas::{Alert, EventTime, Severity, alert, topics};
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, Offset, Outbox, Partition, Processor, Record, SnapshotWriter, TopicPartition,
};
use stream_runtime::api::rss_bytes;

const OPEN_ALERTS: usize = 10_000;
const INCIDENTS: usize = 1_000;
/// Hosts whose alerts came and went before: with their services and whom they name they fill the graph.
const PAST_HOSTS: usize = 20_000;
/// Alerts that are measured, and how far apart in event time.
const MEASURED: usize = 20_000;
const STEP_MS: i64 = 10;
const EPOCH_MS: i64 = 1_700_000_000_000;

fn thread_cpu_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// An alert about one of ten programs on a host.
fn alert(host: &str, program: usize, line: &str, ms: i64) -> Vec<u8> {
    let labels = [("host", host.to_string()), ("program", format!("{host} {program}"))].map(|(key, value)| (key.to_string(), value)).into();
    let at = EventTime::from_millis(EPOCH_MS + ms);
    let alert = Alert {
        id: alert::hex16(&ms.to_be_bytes()),
        fingerprint: alert::fingerprint("SevereLog", &labels),
        name: "SevereLog".into(),
        severity: Severity::High,
        started_at: at,
        last_received: at,
        service: format!("{host}-program-{program}"),
        labels,
        message: format!("{host}: {line}"),
        annotations: [("line".to_string(), line.to_string())].into(),
        ..Alert::default()
    };
    serde_json::to_vec(&alert).expect("JSON")
}

struct Bench {
    instance: Instance<IncidentProcessor>,
    out: Outbox,
    at: TopicPartition,
    ms: i64,
    told: usize,
}

impl Bench {
    fn feed(&mut self, host: &str, program: usize, line: &str, step_ms: i64) -> i64 {
        self.ms += step_ms;
        let value = alert(host, program, line, self.ms);
        let appended_at = EventTime::from_millis(EPOCH_MS + self.ms);
        let (topic, partition, headers) = (&self.at.topic, self.at.partition, Headers::default());
        let offset = Offset(self.ms.unsigned_abs());
        let record = Record { topic, partition, offset, appended_at, key: None, value: Some(&value), headers };
        self.out.clear();
        let begun = thread_cpu_ns();
        assert_eq!(self.instance.apply(record, &mut self.out), Applied::Accepted);
        let spent = thread_cpu_ns() - begun;
        self.told += self.out.outputs().count();
        spent
    }
}

fn main() {
    let before = rss_bytes().unwrap_or(0);
    let (config, at) = (Config::default(), TopicPartition::new(&topics::ALERTS.into(), Partition(0)));
    let processor = IncidentProcessor::new(&config, &at).expect("the defaults work");
    let lateness = IncidentProcessor::lateness(&config).unwrap_or(Lateness::DEFAULT);
    let instance = Instance::new(processor, EventClock::default(), at.clone(), lateness);
    let mut bench = Bench { instance, out: Outbox::new(IncidentProcessor::NAME), at, ms: 0, told: 0 };

    for n in 0..PAST_HOSTS {
        bench.feed(&format!("past{n}.example.org"), 0, &format!("cannot reach past{}.example.org:443", n / 2), 1);
    }
    for n in 0..OPEN_ALERTS {
        let (host, program) = (n % INCIDENTS, n / INCIDENTS);
        bench.feed(&format!("host{host}.example.org"), program, "operation timed out after 30 s", 1);
    }
    bench.told = 0;
    let mut spent: Vec<i64> = (0..MEASURED)
        .map(|n| {
            let (host, program) = (n * 7 % INCIDENTS, n % (OPEN_ALERTS / INCIDENTS));
            bench.feed(&format!("host{host}.example.org"), program, "operation timed out after 30 s", STEP_MS)
        })
        .collect();
    let total_s = spent.iter().sum::<i64>() as f64 / 1e9;
    spent.sort_unstable();
    let mut writer = SnapshotWriter::default();
    bench.instance.processor.snapshot(&mut writer).expect("can be written");
    let state: usize = writer.into_sections().iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{MEASURED} alerts in {total_s:.2} s of CPU = {:.0} alerts/s of one core; median {:.0} us, 99 of 100 within {:.0} us, the slowest {:.1} ms; \
         {} records of incidents",
        MEASURED as f64 / total_s,
        spent[MEASURED / 2] as f64 / 1e3,
        spent[MEASURED * 99 / 100] as f64 / 1e3,
        spent[MEASURED - 1] as f64 / 1e6,
        bench.told
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let after = rss_bytes().unwrap_or(0);
    println!("memory {:.1} MiB (before: {:.1} MiB); snapshot {:.1} MiB", mib(after), mib(before), mib(state as u64));
}
