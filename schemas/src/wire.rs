//! Borrowing reader of Avro's binary encoding (specification 1.12, "Binary encoding"), for the hot path.
//! Every length is checked against the bytes left before it is used.

/// Why a read failed: what was expected.
pub(crate) type Expected = &'static str;

/// Reads from the front of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Result<u8, Expected> {
        let (first, rest) = self.0.split_first().ok_or("a byte, found the end")?;
        self.0 = rest;
        Ok(*first)
    }

    /// Zigzag varint.
    pub(crate) fn long(&mut self) -> Result<i64, Expected> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("an integer of at most ten bytes")
    }

    pub(crate) fn int(&mut self) -> Result<i32, Expected> {
        i32::try_from(self.long()?).map_err(|_| "an integer of 32 bits")
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Expected> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a boolean of 0 or 1"),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Expected> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length that is not negative")?;
        let (head, rest) = self.0.split_at_checked(length).ok_or("as many bytes as the length says")?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Expected> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a string of valid UTF-8")
    }

    /// A union of null and one other type.
    pub(crate) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Expected>) -> Result<Option<T>, Expected> {
        match self.long()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err("a union branch of 0 or 1"),
        }
    }

    /// Reads past a map or array whose items `item` reads, and returns the bytes that it covered.
    pub(crate) fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Expected>) -> Result<&'a [u8], Expected> {
        let before = self.0;
        loop {
            let mut count = self.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                count = count.checked_neg().ok_or("a block count")?;
                self.long()?; // the block's size in bytes, for readers that skip
            }
            for _ in 0..count {
                item(self)?; // each item takes at least one byte, so the loop ends with the input
            }
        }
        Ok(&before[..before.len() - self.0.len()])
    }
}

/// The text of a byte range, if the range lies within `raw` and is UTF-8.
pub(crate) fn text_range(raw: &[u8], start: i32, length: i32) -> Option<&str> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    std::str::from_utf8(raw.get(start..end)?).ok()
}
