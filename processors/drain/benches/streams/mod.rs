//! Streams of any length for tests and benches, the same on every machine.

/// What kind of stream.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// A few hundred events of a fleet, with values.
    Usual,
    /// No line like another, one each second, so slow that the explosion guard does not help: each makes a cluster.
    Unique,
    /// No line like another, ten thousand each second: a program that logs without templates, or an attack.
    Explosion,
}

impl Stream {
    pub fn lines(self) -> Lines {
        Lines { stream: self, random: Random(7), line: String::new(), count: 0 }
    }
}

/// An endless stream.
pub struct Lines {
    stream: Stream,
    random: Random,
    line: String,
    count: i64,
}

impl Lines {
    /// The next line and its event time in nanoseconds.
    pub fn next_line(&mut self) -> (&str, i64) {
        const SECOND_NS: i64 = 1_000_000_000;
        self.line.clear();
        self.count += 1;
        match self.stream {
            Stream::Usual => {
                let event = self.random.next() % 300;
                let mut words = Random(event * 7_919 + 1);
                for _ in 0..3 + event % 6 {
                    push_word(&mut self.line, words.next());
                }
                let value = self.random.next();
                self.line.push_str(&format!("took {} ms at 10.0.{}.{}", value % 900, value % 256, value % 251));
                (&self.line, self.count * SECOND_NS / 1_000)
            }
            Stream::Unique | Stream::Explosion => {
                for _ in 0..8 {
                    push_word(&mut self.line, self.random.next());
                }
                let gap = if matches!(self.stream, Stream::Unique) { SECOND_NS } else { SECOND_NS / 10_000 };
                (&self.line, self.count * gap)
            }
        }
    }
}

fn push_word(line: &mut String, mut word: u64) {
    for _ in 0..3 + word % 5 {
        word /= 26;
        line.push(char::from(b'a' + (word % 26) as u8));
    }
    line.push(' ');
}

/// xorshift64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Resident memory from `/proc/self/statm` (pages of 4 KiB).
pub fn rss_kib() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or_default() * 4
}
