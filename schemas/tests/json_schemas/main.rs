//! The JSON schemas say what the types say, and every example keeps to them.

mod alert;
mod incident;
mod validator;
