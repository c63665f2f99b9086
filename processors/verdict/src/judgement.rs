//! What is said of a template, and by whom.

use schemas::{FailureClass, VerdictKind};
use serde::{Deserialize, Serialize};

use crate::logistic::{logit, sigma};

/// Who judged. Ordered by precedence: the smallest that speaks decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// A person: their word stands for ever.
    Operator,
    /// The table of verdicts: past answers of an endpoint, imports.
    Table,
    /// The model that is compiled in.
    Local,
}

impl Provider {
    /// Lower-case name, as in annotations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Table => "table",
            Self::Local => "local",
        }
    }

    /// Whether somebody who knows the site confirmed it, in contrast to our own guess.
    pub fn is_confirmed(self) -> bool {
        self != Self::Local
    }
}

/// How likely a template tells of a failure, of which class, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Probability that the template tells of a failure or its approach, 0 to 1.
    pub probability: f64,
    /// What is failing, if it is; [`FailureClass::Unknown`] if that is not clear.
    pub class: FailureClass,
    /// Who says so.
    pub provider: Provider,
}

impl Judgement {
    /// A verdict of a person or of the table as a probability; none if it says nothing. Neither is never wrong.
    pub fn said(kind: VerdictKind) -> Option<f64> {
        match kind {
            VerdictKind::Faulty => Some(0.97),
            VerdictKind::Normal => Some(0.03),
            VerdictKind::Unsure => Some(0.5),
            VerdictKind::Unknown => None,
        }
    }

    /// The judgement of somebody who gave a word.
    pub(crate) fn confirmed(kind: VerdictKind, class: FailureClass, provider: Provider) -> Option<Self> {
        Self::said(kind).map(|probability| Self { probability, class, provider })
    }

    /// The verdict for a line that was logged with a syslog severity (0 to 7). A local verdict is moved by it; what was
    /// confirmed stands.
    pub fn for_severity(self, severity: Option<i32>) -> Self {
        match self.provider {
            Provider::Local => Self { probability: with_severity(self.probability, severity), ..self },
            Provider::Operator | Provider::Table => self,
        }
    }
}

/// Moves a probability by what a syslog severity (RFC 5424, table 2) adds to its logit: emergency to critical +2, error +1,
/// notice to debug −½; warning and no severity nothing.
///
/// ```
/// assert!(verdict::with_severity(0.5, Some(2)) > 0.85);
/// assert_eq!(verdict::with_severity(0.5, None), 0.5);
/// ```
pub fn with_severity(probability: f64, severity: Option<i32>) -> f64 {
    let shift = match severity {
        Some(0..=2) => 2.0,
        Some(3) => 1.0,
        Some(5..=7) => -0.5,
        _ => return probability,
    };
    sigma(logit(probability) + shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_moves_what_we_guess_and_never_what_a_person_said() {
        let local = Judgement { probability: 0.5, class: FailureClass::Unknown, provider: Provider::Local };
        let at = |severity| local.for_severity(Some(severity)).probability;
        assert!(at(0) == at(2) && at(2) > at(3) && at(3) > at(4) && at(4) > at(5) && at(5) == at(7));
        let confirmed = Judgement { provider: Provider::Operator, ..local };
        assert_eq!(confirmed.for_severity(Some(0)), confirmed);
    }

    #[test]
    fn certainty_and_nonsense_stay_probabilities() {
        for p in [0.0, 1.0, f64::NAN, -3.0, 7.0] {
            let moved = with_severity(p, Some(1));
            assert!((0.0..=1.0).contains(&moved), "{p} → {moved}");
        }
        assert_eq!(with_severity(0.3, Some(99)), 0.3);
    }

    #[test]
    fn precedence_is_the_order_of_providers() {
        assert!(Provider::Operator < Provider::Table && Provider::Table < Provider::Local);
    }
}
