//! Variables in a compose file: `${NAME:-default}`, and `$$` for a dollar sign. Everything must have a default, so that
//! `docker compose up` works with no preparation.

use serde_json::Value;

/// A text with every variable at its default. The error names what is no variable with a default.
pub fn at_defaults(text: &str) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
            continue;
        }
        let variable = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let parsed = variable.and_then(|(inner, rest)| Some((inner.split_once(":-")?, rest)));
        let Some(((name, default), after)) = parsed else {
            return Err(format!("{text:?}: expected ${{NAME:-default}} or $$ at each dollar sign"));
        };
        if !is_name(name) {
            return Err(format!("{text:?}: {name:?} is no name of a variable"));
        }
        result.push_str(default);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

/// A document with every text in it at its defaults; what cannot be is added to `problems`.
pub fn document_at_defaults(value: &Value, problems: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => Value::String(at_defaults(text).unwrap_or_else(|problem| {
            problems.push(problem);
            text.clone()
        })),
        Value::Array(items) => items.iter().map(|item| document_at_defaults(item, problems)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), document_at_defaults(value, problems))).collect(),
        other => other.clone(),
    }
}

/// Whether a text is one variable with a default, and nothing else.
pub fn is_variable(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.and_then(|inner| inner.split_once(":-")).is_some_and(|(name, default)| is_name(name) && !default.is_empty())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_becomes_its_default() {
        assert_eq!(at_defaults("kafka:${KAFKA_VERSION:-4.3.1}!").as_deref(), Ok("kafka:4.3.1!"));
        assert_eq!(at_defaults("$$(find ${A:-}) $$").as_deref(), Ok("$(find ) $"));
    }

    #[test]
    fn what_has_no_default_is_refused() {
        for text in ["$HOME", "${HOME}", "${HOME:-x", "${home:-x}", "a $"] {
            assert!(at_defaults(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pin_is_a_variable_and_nothing_else() {
        assert!(is_variable("${KAFKA_VERSION:-4.3.1}"));
        for text in ["4.3.1", "${KAFKA_VERSION:-}", "v${KAFKA_VERSION:-4}", "${KAFKA_VERSION}"] {
            assert!(!is_variable(text), "{text}");
        }
    }
}
