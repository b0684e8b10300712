//! A type for every identifier on the wire.

/// The number of one RTP source within a transport (RFC 3550 §3, "synchronization source").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);
