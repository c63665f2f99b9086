//! When our own certificate ends, told in time to renew it: senders refuse an expired one, and nobody reads logs that do not
//! come.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long before the end it is told: longer than a holiday, shorter than the third of their life that renewing tools leave
/// of certificates of ninety days.
const TOLD_BEFORE_S: i64 = 21 * DAY_S;
const DAY_S: i64 = 86_400;

/// The first end of validity in a chain, in seconds since the epoch: one expired certificate in it breaks all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    at_s: i64,
}

impl Expiry {
    /// None for an empty chain; the error says what is wrong with one of its certificates.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Option<Self>, String> {
        let ends =
            chain.iter().map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate.validity().not_after.timestamp()));
        let ends = ends.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(ends.into_iter().min().map(|at_s| Self { at_s }))
    }

    /// What an operator should know, if it is time.
    pub(super) fn warning(self, now_us: i64) -> Option<String> {
        let left_s = self.at_s - now_us.div_euclid(1_000_000);
        let date =
            Timestamp::from_second(self.at_s).map_or_else(|_| "a day beyond all calendars".into(), |at| at.strftime("%F").to_string());
        match left_s {
            ..0 => Some(format!("the certificate expired on {date}: senders that check it do not connect any more")),
            0..TOLD_BEFORE_S => Some(format!("the certificate expires on {date}, in {} days", left_s / DAY_S)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_three_weeks_before() {
        let end = Expiry { at_s: 1_800_000_000 }; // 2027-01-15
        let told = |days: i64| end.warning((1_800_000_000 - days * DAY_S) * 1_000_000);
        assert_eq!(told(22), None);
        assert_eq!(told(21), None);
        assert_eq!(told(20).as_deref(), Some("the certificate expires on 2027-01-15, in 20 days"));
        assert_eq!(told(0).as_deref(), Some("the certificate expires on 2027-01-15, in 0 days"));
        assert!(told(-1).is_some_and(|text| text.contains("expired on 2027-01-15")));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_told() {
        assert!(Expiry::of(&[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])]).is_err());
        assert_eq!(Expiry::of(&[]), Ok(None));
    }
}
