//! A cursor over the bytes of one line.

/// Reads forward only; every step is bounded by the bytes left, so no parser built on it can panic or run back.
///
/// It is `Copy`: a parser that must look ahead tries on a copy and keeps it if the attempt went well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(raw: &'a [u8], at: usize) -> Self {
        Self { raw, at: at.min(raw.len()) }
    }

    /// Position of the next byte in the line.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.raw.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.raw.get(self.at).copied()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.raw.len()
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.raw.len());
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `bytes` if they are next.
    #[inline]
    pub(crate) fn skip_all(&mut self, bytes: &[u8]) -> bool {
        let found = self.rest().starts_with(bytes);
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    /// Takes the run of bytes that `accept` likes, possibly empty.
    #[inline]
    pub(crate) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|b| !accept(*b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A decimal number of `min` to `max` digits (`max` ≤ 9); further digits are left for the caller to refuse.
    #[inline]
    pub(crate) fn number(&mut self, min: usize, max: usize) -> Option<u32> {
        let rest = self.rest();
        let mut value = 0u32;
        let mut digits = 0;
        while let Some(byte) = rest.get(digits).filter(|b| digits < max && b.is_ascii_digit()) {
            value = value * 10 + u32::from(byte - b'0');
            digits += 1;
        }
        if digits < min {
            return None;
        }
        self.at += digits;
        Some(value)
    }

    /// Everything up to the next space, which is taken too; the whole rest if there is none.
    #[inline]
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let word = self.take_while(|b| b != b' ');
        self.skip(b' ');
        word
    }
}

/// `bytes` as text if all of them are printable US-ASCII (RFC 5424, 6: `PRINTUSASCII`), without spaces.
#[inline]
pub(crate) fn printable(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().all(u8::is_ascii_graphic) { std::str::from_utf8(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stop_at_their_limit() {
        let mut scanner = Scanner::new(b"12345x", 0);
        assert_eq!(scanner.number(1, 3), Some(123));
        assert_eq!(scanner.number(3, 9), None, "too few digits: nothing is taken");
        assert_eq!(scanner.rest(), b"45x");
    }

    #[test]
    fn a_start_beyond_the_end_is_the_end() {
        let mut scanner = Scanner::new(b"ab", 7);
        assert!(scanner.at_end());
        assert_eq!(scanner.word(), b"");
        scanner.advance(usize::MAX);
        assert_eq!(scanner.at(), 2);
    }
}
