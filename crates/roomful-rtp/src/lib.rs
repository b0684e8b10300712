//! RTP, RTCP and SRTP: wire formats and the bookkeeping that belongs to them.
//!
//! Sans-IO: no clock, no socket, no thread. Time and bytes are arguments. Nothing on a packet's way
//! allocates, and nothing that arrives can make it panic.

pub mod framing;
mod ids;
pub mod nack;
pub mod reception;
pub mod rtcp;
pub mod rtp;
pub mod rtt;
pub mod sender_report;
pub mod srtp;
#[cfg(test)]
mod testing;
pub mod twcc;
pub mod units;

pub use ids::Ssrc;
