//! `Link`: what joins two parts of one room that live on different workers (or nodes).

/// One link, as both of its ends call it; never reused while either lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);
