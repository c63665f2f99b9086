//! LEB128 integers, as chunks use them.

/// Appends an integer.
pub(super) fn put(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Takes an integer off the front; none if it is cut short or longer than 64 bits.
pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    if let Some((&byte, rest)) = from.split_first()
        && byte < 0x80
    {
        *from = rest;
        return Some(u64::from(byte));
    }
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
