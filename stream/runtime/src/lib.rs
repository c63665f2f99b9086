//! The engine that runs a [processor](stream_core::Processor) exactly once, whatever crashes.

pub mod bus;
pub mod gathered;
pub mod inspect;
pub mod publish;
