//! The sans-IO core of Roomful.

pub mod egress;
pub mod frame;
pub mod ids;
pub mod join;
pub mod keyframes;
mod output;
mod sfu;
#[cfg(test)]
mod testing;
pub mod token;

pub use output::{Output, SfuEvent, Transmit};
pub use sfu::{Datagram, MediaAddress, Seed, Sfu, SfuConfig};
