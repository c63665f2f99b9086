//! Keep, `POST /alerts/event`: our alert as it is, since its names are Keep's.

use schemas::Alert;
use serde_json::Value;

/// One event.
pub fn event(alert: &Alert) -> Value {
    serde_json::json!(alert)
}
