//! Transport-wide congestion control: every packet of a transport carries one running number, its
//! receiver tells when each arrived, its sender concludes what the path can carry
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! [`ArrivalLog`] is the receiver's half, [`SentLog`] the sender's, and [`PathMeter`] sums up what
//! the sender learns.

mod arrival_log;
mod path_meter;
mod sent_log;
#[cfg(test)]
mod tests;

pub use arrival_log::ArrivalLog;
pub use path_meter::PathMeter;
pub use sent_log::{Acks, Fate, SentLog, SentPacket};

/// Where running numbers are counted from, so that numbers somewhat before the first are positive too.
const FIRST: u64 = 1 << 16;

/// The number of which `seq` is the low half and that lies nearest to `reference`; `None` if it would be
/// negative.
fn nearest(reference: u64, seq: u16) -> Option<u64> {
    let ahead = seq.wrapping_sub(reference as u16) as i16;
    reference.checked_add_signed(ahead.into())
}
