//! Inputs that look like good ones and are not quite: the seeds of a corpus, changed in the ways in which parsers go wrong.
//! Deterministic: a seed number gives the same inputs on every machine.

/// Bytes that mean something to one of the grammars.
const MEANINGFUL: &[u8] = b"<>[]{}\"\\:;,.-+ \n\r\t\0=@%*0123456789aTZ\x7f\x80\xbf\xc3\xef\xfe\xff";
/// Numbers around which limits lie.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "23",
    "24",
    "31",
    "32",
    "33",
    "59",
    "60",
    "191",
    "192",
    "255",
    "256",
    "365",
    "1970",
    "9999",
    "32767",
    "65536",
    "200001",
    "2147483648",
    "4294967296",
    "999999999",
    "9223372036854775808",
    "18446744073709551616",
    "-1",
    "00",
    "1e9",
];
const INPUT_BYTES_MAX: usize = 512;

/// Makes inputs.
pub(crate) struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        assert!(!corpus.is_empty(), "a corpus has seeds");
        Self { state: seed, corpus }
    }

    /// A number below `bound`, or 0 (SplitMix64).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// A seed with one to eight changes.
    pub(crate) fn mutated(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..1 + self.below(8) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.corpus.len());
        self.corpus[index].clone()
    }

    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => self.below(256) as u8,
            _ => MEANINGFUL[self.below(MEANINGFUL.len())],
        }
    }

    /// A place, and a range from there that is short more often than not.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let left = input.len() - start;
        let length = if self.below(4) == 0 { self.below(left + 1) } else { self.below(left.min(8) + 1) };
        start..start + length
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        match self.below(9) {
            0 => drop(input.drain(range)),
            1 => input.truncate(range.start),
            2 => input.insert(range.start, self.byte()),
            3 => {
                let again = input[range.clone()].to_vec();
                drop(input.splice(range.start..range.start, again));
            }
            4 => {
                let other = self.seed();
                let part = self.range(&other);
                drop(input.splice(range, other[part].to_vec()));
            }
            5 => {
                let (byte, times) = (self.byte(), 1 + self.below(60));
                drop(input.splice(range.start..range.start, vec![byte; times]));
            }
            6 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                let digits = self.digits(input, range.start);
                drop(input.splice(digits, number.bytes()));
            }
            _ => {
                let byte =
                    if self.below(2) == 0 { self.byte() } else { input.get(range.start).map_or(0, |byte| byte ^ (1 << self.below(8))) };
                match input.get_mut(range.start) {
                    Some(place) => *place = byte,
                    None => input.push(byte),
                }
            }
        }
    }

    /// The number that stands at a place or after it.
    fn digits(&mut self, input: &[u8], from: usize) -> std::ops::Range<usize> {
        let start = (from..input.len()).find(|at| input[*at].is_ascii_digit()).unwrap_or(from);
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        start..start + length
    }
}

/// A line of a corpus as the bytes that it stands for.
pub(crate) fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = match (byte, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = String::from_utf8_lossy(&[*high, *low]).into_owned();
                (u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"), tail)
            }
            (b'\\', [escaped, tail @ ..]) => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' => b'\\',
                    other => panic!("unknown escape {:?} in {line:?}", *other as char),
                };
                (byte, tail)
            }
            _ => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    bytes
}

/// Bytes as a line of a corpus.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0 => "\\0".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x20..=0x7e => (*byte as char).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escaped).collect()
}

#[test]
fn a_corpus_gives_back_the_bytes_that_were_written_to_it() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&escape(&all)), all);
}

#[test]
fn a_seed_number_gives_the_same_inputs() {
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, vec![b"<13>1 - h a - - - x".to_vec(), Vec::new()]);
        (0..1_000).map(|_| mutator.mutated()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
}
