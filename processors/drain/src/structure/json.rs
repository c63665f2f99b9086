//! The top level of a JSON object (RFC 8259); what is nested is passed over as it stands.

use super::{Member, Piece, ValueKind};

/// Deeper objects are not logged by programs that mean well.
const DEPTH_MAX: u32 = 64;

/// Calls `each` for the members of the one object that fills `line`; `false` if there is none. Members may have been told by then.
pub(super) fn members(line: &str, each: &mut impl FnMut(Member)) -> bool {
    let mut scan = Scan { bytes: line.as_bytes(), at: 0 };
    scan.object(each).is_some() && scan.at == line.len()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes over blanks and then over `byte`.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn object(&mut self, each: &mut impl FnMut(Member)) -> Option<()> {
        self.expect(b'{')?;
        self.blanks();
        if self.peek()? == b'}' {
            return None; // says nothing: a plain line
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.expect(b':')?;
            self.blanks();
            let (value, kind) = self.value()?;
            each(Member { key, value, kind });
            self.blanks();
            self.at += 1;
            match self.bytes.get(self.at - 1)? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.blanks();
        Some(())
    }

    fn value(&mut self) -> Option<(Piece, ValueKind)> {
        let start = self.at;
        let kind = match self.peek()? {
            b'"' => return Some((self.string()?, ValueKind::Text)),
            b'{' | b'[' => self.nested().map(|()| ValueKind::Nested)?,
            _ => self.bare()?,
        };
        Some((Piece { start, end: self.at, is_escaped: false }, kind))
    }

    /// What stands between two quotes.
    fn string(&mut self) -> Option<Piece> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let (start, mut is_escaped) = (self.at, false);
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(Piece { start, end: self.at - 1, is_escaped })
    }

    /// Passes over an object or array. One bit for each open one: set for an object.
    fn nested(&mut self) -> Option<()> {
        let (mut open, mut depth) = (0_u64, 0);
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                byte @ (b'{' | b'[') => {
                    if depth == DEPTH_MAX {
                        return None;
                    }
                    open = open << 1 | u64::from(byte == b'{');
                    depth += 1;
                }
                byte @ (b'}' | b']') => {
                    if (open & 1 == 1) != (byte == b'}') {
                        return None;
                    }
                    open >>= 1;
                    depth -= 1;
                }
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number, or one of the three words.
    fn bare(&mut self) -> Option<ValueKind> {
        let rest = self.bytes.get(self.at..)?;
        let word = rest.get(..rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r'))?)?;
        self.at += word.len();
        match word {
            b"true" | b"false" | b"null" => Some(ValueKind::Literal),
            [b'-' | b'0'..=b'9', more @ ..] => {
                more.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).then_some(ValueKind::Number)
            }
            _ => None,
        }
    }
}
