//! The engine that runs a [processor](stream_core::Processor) exactly once, whatever crashes.

#[cfg(feature = "http")]
pub mod api;
pub mod bus;
pub mod config;
pub mod dead_letters;
pub mod embedded;
pub mod engine;
pub mod gathered;
pub mod inspect;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod layout;
pub mod loss;
pub mod metrics;
#[cfg_attr(not(feature = "sim"), allow(dead_code))]
mod mutation;
pub mod notify;
mod owned;
#[cfg_attr(not(all(feature = "sim", feature = "kafka")), allow(dead_code))]
mod peril;
#[cfg(feature = "binary")]
pub mod process;
pub mod publish;
#[cfg(any(feature = "binary", feature = "kafka"))]
pub mod secret;
pub mod settings;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sink;
pub mod source;
pub mod spool;
pub mod state;
pub mod telemetry;
pub mod time;
pub mod watch;
pub mod worker;
