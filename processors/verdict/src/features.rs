//! A template text as a set of hashed features: its words, their stems and its pairs of words.
//!
//! Words carry the meaning, pairs the negation and the object ("no error", "link down"), stems what a word shares with its kin: who
//! knows "corrupted" has a guess at "corruption". Character n-grams within words were tried and left out: there are ten of them to a
//! word, so they outvote it (docs/decisions/verdict-features.md).
//! Hashing (Weinberger et al., ICML 2009) needs no dictionary: a word of tomorrow has its place already.

use schemas::template::PLACEHOLDER;
use xxhash_rust::xxh3::xxh3_64;

const BITS: u32 = 15;
/// Number of features.
pub(crate) const DIMENSIONS: usize = 1 << BITS;
/// Words of a template that count, from its start; what a line is about stands early.
const WORDS_MAX: usize = 128;
/// Letters of a word that count.
const LETTERS_MAX: usize = 32;

/// Endings that say how a word stands in its sentence, not what it means. The longest comes first.
const ENDINGS: [&str; 22] = [
    "ations", "ation", "ments", "ment", "ables", "able", "ings", "ions", "ures", "ing", "ion", "ure", "ies", "ied", "ers", "ed", "es",
    "er", "ly", "s", "y", "e",
];
/// Letters that a stem keeps at least.
const STEM_LETTERS_MIN: usize = 3;

/// Indices below [`DIMENSIONS`], sorted, each once.
pub(crate) fn features(text: &str) -> Vec<u16> {
    let words = words(text);
    let mut found = Vec::with_capacity(words.len() * 3);
    let mut add = |kind: u8, parts: [&[u8]; 2]| {
        let [first, second] = parts;
        let mut key = Vec::with_capacity(2 + first.len() + second.len());
        key.push(kind);
        key.extend_from_slice(first);
        if !second.is_empty() {
            key.push(b' ');
            key.extend_from_slice(second);
        }
        found.push((xxh3_64(&key) >> (64 - BITS)) as u16);
    };
    for word in &words {
        add(b'w', [word.as_bytes(), b""]);
        add(b's', [stem(word).as_bytes(), b""]);
    }
    for (first, second) in words.iter().zip(words.iter().skip(1)) {
        add(b'p', [first.as_bytes(), second.as_bytes()]);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// A word without its ending, and without the consonant that the ending doubled ("stopped", "stop"). Much coarser than a linguist's
/// stemmer: a wrong stem only costs a feature.
fn stem(word: &str) -> &str {
    let ending = ENDINGS.iter().filter_map(|ending| word.strip_suffix(ending)).find(|stem| stem.len() >= STEM_LETTERS_MIN);
    let stem = ending.unwrap_or(word);
    match stem.as_bytes() {
        [_, _, .., before, last] if before == last && *last != b's' => stem.get(..stem.len() - 1).unwrap_or(stem),
        _ => stem,
    }
}

/// The words of a text: runs of ASCII letters, lower case, `camelCase` and `HTTPServer` taken apart, placeholders left out.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in text.split(PLACEHOLDER) {
        for run in piece.split(|c: char| !c.is_ascii_alphabetic()) {
            for word in humps(run.as_bytes()) {
                if words.len() == WORDS_MAX {
                    return words;
                }
                words.push(word.iter().take(LETTERS_MAX).map(|b| char::from(b.to_ascii_lowercase())).collect());
            }
        }
    }
    words
}

/// Cuts before a capital that follows a small letter, and before the last capital of a run that a small letter follows.
fn humps(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let starts = |at: usize| {
            let [before, here] = [at.checked_sub(1).and_then(|i| rest.get(i)), rest.get(at)].map(|b| b.is_some_and(u8::is_ascii_uppercase));
            let small_next = rest.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            here && (!before || small_next)
        };
        let end = (1..rest.len()).find(|&at| starts(at)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_in_lower_case_with_humps_taken_apart() {
        assert_eq!(words("Buffer I/O error on dev <*>, sector <*>"), ["buffer", "i", "o", "error", "on", "dev", "sector"]);
        assert_eq!(words("HTTPServer failedToStart OOM ext4"), ["http", "server", "failed", "to", "start", "oom", "ext"]);
        assert_eq!(words("IOException<*>größe"), ["io", "exception", "gr", "e"]);
        assert!(words("<*> 012 [42]").is_empty());
    }

    #[test]
    fn kindred_words_share_a_stem() {
        for kin in [
            &["fail", "fails", "failed", "failing", "failure", "failures"][..],
            &["corrupt", "corrupted", "corruption"],
            &["stop", "stopped", "stopping"],
        ] {
            assert!(kin.iter().all(|word| stem(word) == kin[0]), "{kin:?} {:?}", kin.iter().map(|word| stem(word)).collect::<Vec<_>>());
        }
        assert_eq!(["i", "es", "pass", "unable"].map(stem), ["i", "es", "pas", "unabl"]);
    }

    #[test]
    fn features_are_sorted_distinct_and_blind_to_values() {
        let found = features("link down, link down on eth<*>");
        assert!(found.is_sorted_by(|a, b| a < b) && found.iter().all(|&i| usize::from(i) < DIMENSIONS));
        assert_eq!(features("took 12 ms <*>"), features("<*> took 700 ms"));
        assert_ne!(features("no error"), features("error"));
        assert!(features("").is_empty());
    }

    #[test]
    fn a_long_text_is_bounded() {
        let words = words(&"word".repeat(1 << 12));
        assert!(words.len() == 1 && words[0].len() == LETTERS_MAX);
        assert_eq!(super::words(&"a ".repeat(5000)).len(), WORDS_MAX);
    }
}
