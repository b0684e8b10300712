//! The sans-IO core of Roomful.

pub mod frame;
pub mod ids;
pub mod join;
mod output;
mod sfu;
pub mod token;

pub use output::{Output, SfuEvent, Transmit};
pub use sfu::{Datagram, MediaAddress, Seed, Sfu, SfuConfig};
