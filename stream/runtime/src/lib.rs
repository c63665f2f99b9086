//! The engine that runs a [processor](stream_core::Processor) exactly once, whatever crashes.

pub mod bus;
pub mod dead_letters;
pub mod gathered;
pub mod inspect;
pub mod loss;
pub mod metrics;
mod owned;
pub mod publish;
pub mod settings;
pub mod state;
pub mod time;
pub mod worker;
