//! Step 5: whether the brokers verify transactions themselves (KIP-890). Before its second version a late marker or a late
//! record of an old transaction can tear a new one, which no proof of a few records shows.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use rdkafka::metadata::Metadata;

use super::{
    Check, Subject,
    features::{self, Features, Malformed},
};
use crate::worker::VERSION;

const STEP: &str = "5 protocol";
/// The feature, and the level from which on brokers verify.
const FEATURE: (&str, i16) = ("transaction.version", 2);
/// Connecting and asking.
const ASK: Duration = Duration::from_secs(3);
/// An answer is some hundred bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const CORRELATION: i32 = 890;

/// Why the features are not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("an answer of {0} bytes, expected at most {ANSWER_BYTES_MAX}")]
    Long(usize),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Asks each broker until one says otherwise.
pub(super) fn check(subject: &Subject<'_>, found: &Metadata) -> Check {
    if !subject.settings.is_plaintext() {
        return Check::note(STEP, "only a plaintext listener can be asked for transaction.version")
            .advised("`kafka-features.sh --bootstrap-server … describe` tells; it should be 2 (KIP-890)");
    }
    let mut brokers = 0;
    for broker in found.brokers() {
        let name = format!("{}:{}", broker.host(), broker.port());
        let told = ask((broker.host(), u16::try_from(broker.port()).unwrap_or(0)), subject.deadline.left(ASK));
        let check = match told {
            Ok(features) => judge(&features),
            Err(unknown) => Check::note(STEP, format!("transaction.version is not known: {unknown}")),
        };
        if check.verdict != super::Verdict::Ok {
            return check.at(&name);
        }
        brokers += 1;
    }
    Check::ok(
        STEP,
        format!("{} is {} or later on {brokers} broker(s): they verify transactions themselves (KIP-890)", FEATURE.0, FEATURE.1),
    )
}

fn judge(features: &Features) -> Check {
    let found = match features.get(FEATURE.0) {
        Some(level) if *level >= FEATURE.1 => return Check::ok(STEP, format!("{} is {level}", FEATURE.0)),
        Some(level) => format!("{} is {level}", FEATURE.0),
        None => format!("the cluster has no {}", FEATURE.0),
    };
    let advice = "use Apache Kafka 4.0 or later and `kafka-features.sh … upgrade --feature transaction.version=2`: without KIP-890 a late \
                  record of an old transaction can become part of a new one";
    let check = Check::warn(STEP, found, advice);
    Check { expected: Some(format!("{} {} or later", FEATURE.0, FEATURE.1)), ..check }
}

fn ask(address: (&str, u16), wait: Duration) -> Result<Features, Unknown> {
    let addresses = address.to_socket_addrs()?;
    let mut outcome = Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        outcome = TcpStream::connect_timeout(&address, wait.max(Duration::from_millis(1)));
        if outcome.is_ok() {
            break;
        }
    }
    let mut stream = outcome?;
    stream.set_read_timeout(Some(ASK))?;
    stream.set_write_timeout(Some(ASK))?;
    stream.write_all(&features::request(CORRELATION, VERSION))?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > ANSWER_BYTES_MAX {
        return Err(Unknown::Long(len));
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    Ok(features::parse(&answer, CORRELATION)?)
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn brokers_that_do_not_verify_are_told_with_the_proposal_that_does() {
        let judged = |features: &[(&str, i16)]| judge(&features.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect());
        assert_eq!(judged(&[("transaction.version", 2)]).verdict, Verdict::Ok);
        for features in [&[("transaction.version", 1)][..], &[("metadata.version", 20)], &[]] {
            let check = judged(features);
            assert_eq!(check.verdict, Verdict::Warn);
            assert!(check.advice.is_some_and(|advice| advice.contains("KIP-890")));
        }
    }
}
