//! The local verdict: linear model, lexicon or both, as one probability.

use std::sync::LazyLock;

use schemas::FailureClass;
use serde::{Deserialize, Serialize};

use crate::judgement::{Judgement, Provider};
use crate::lexicon::Lexicon;
use crate::linear::{WEIGHTS_BYTES, Weights};
use crate::logistic::sigma;

/// Trained by `nephoscope train verdicts`; a test trains anew and compares.
static SHIPPED: &[u8; WEIGHTS_BYTES] = include_bytes!("../weights/linear.bin");
static MODEL: LazyLock<Model> = LazyLock::new(|| Model::new(Weights::shipped(), Local::default()));

impl Weights {
    /// The weights that are compiled in.
    pub fn shipped() -> Self {
        // The array's type says that the length is right, so what is read is never the empty stand-in.
        Self::from_bytes(SHIPPED).unwrap_or_else(Self::indifferent)
    }
}

/// What the local verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Local {
    /// The linear model alone. The default: on failures of kinds that were never seen it does better without the lexicon, because
    /// stems such as "fail" stand in many harmless lines.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// Both.
    #[serde(rename = "linear+lexicon")]
    LinearAndLexicon,
    /// Failure words alone.
    #[serde(rename = "lexicon")]
    Lexicon,
}

/// Judges templates on its own.
#[derive(Clone, Debug)]
pub struct Model {
    weights: Weights,
    local: Local,
}

impl Model {
    /// The model that is compiled in, with its default combination.
    pub fn shipped() -> &'static Self {
        &MODEL
    }

    /// A model of these weights.
    pub fn new(weights: Weights, local: Local) -> Self {
        Self { weights, local }
    }

    /// How likely `template` (canonical text, placeholders as `<*>`) tells of a failure, and of which class.
    pub fn judge(&self, template: &str) -> Judgement {
        let (share, class) = self.weights.score(template);
        let logit = match self.local {
            Local::Linear => 6.0 * share - 3.0,
            Local::LinearAndLexicon => 6.0 * share - 5.0 + 3.0 * Lexicon::score(template),
            Local::Lexicon => 6.0 * Lexicon::score(template) - 3.0,
        };
        Judgement { probability: sigma(logit), class, provider: Provider::Local }
    }

    /// The class alone, for a template that somebody else called faulty without saying of what kind.
    pub fn class(&self, template: &str) -> FailureClass {
        self.weights.score(template).1
    }
}
