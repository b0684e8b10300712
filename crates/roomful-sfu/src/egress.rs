//! `Egress`: the forwarding machine of one subscription.
//!
//! A publication arrives as up to three encodings ([`Layer`]s), each an RTP stream with sequence
//! numbers, timestamps and picture ids of its own. The subscriber gets **one** stream in which all
//! three counters run on without a seam: `selector` decides which packets belong to it,
//! `rewriter` gives them their new numbers.
//!
//! Later parts plug in here: the allocator calls [`Egress::set_wanted`]; temporal layers become a
//! second answer of the selector that ends in `Rewriter::skip`; the AV1 dependency
//! descriptor becomes a field of [`IncomingPacket`] that the selector asks instead of the payload.

pub mod codec;
mod rewriter;
mod selector;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use codec::Codec;
pub use codec::vp8::Vp8Rewrite;

use rewriter::{Rewriter, Rewritten};
use selector::{Choice, Selector, Standing};

/// One encoding of a publication, by its rank in quality. There is none past [`Layer::HIGH`]: take
/// them from [`Layer::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer(u8);

impl Layer {
    /// How many there can be. Browsers send three simulcast encodings per camera; more would cost
    /// every subscription room for state that nothing fills, fewer would waste the best or the
    /// cheapest.
    pub const COUNT: usize = 3;
    /// The lowest, and the only one of a publication without simulcast.
    pub const LOW: Self = Self(0);
    /// The middle one.
    pub const MID: Self = Self(1);
    /// The highest.
    pub const HIGH: Self = Self(2);
    /// Every layer, lowest first.
    pub const ALL: [Self; Self::COUNT] = [Self::LOW, Self::MID, Self::HIGH];

    /// Its rank as an index, below [`Layer::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a publication carries, which decides how its stream may be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Every packet can be decoded from: entered anywhere.
    Audio,
    /// Entered at a keyframe only.
    Video,
}

/// One RTP packet of a publication, decrypted, without its padding.
#[derive(Clone, Copy, Debug)]
pub struct IncomingPacket<'a> {
    /// The encoding it belongs to.
    pub layer: Layer,
    /// Sequence number of its own stream, extended past 16 bits by the caller.
    pub seq: u64,
    /// Timestamp of its own stream, extended past 32 bits by the caller, in units of the codec's
    /// clock rate.
    pub timestamp: u64,
    /// The RTP marker bit: the last packet of a video frame.
    pub marker: bool,
    /// What follows the RTP header.
    pub payload: &'a [u8],
    /// When its datagram arrived.
    pub arrival: Instant,
    /// What the payload type stands for.
    pub codec: Codec,
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The subscriber does not get it, and its outgoing stream shows no trace of it.
    Drop,
    /// The subscriber gets its payload under this header.
    Send(OutgoingHeader),
}

/// The RTP header fields of one packet to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingHeader {
    /// Extended sequence number: the low 16 bits go on the wire, the rest is the SRTP rollover
    /// counter (RFC 3711 §3.3.1). A stream starts below 2^15, so with a counter of 0.
    pub seq: u64,
    /// Timestamp as it goes on the wire.
    pub timestamp: u32,
    /// The RTP marker bit, as received.
    pub marker: bool,
    /// Bytes of the payload that must change, for VP8 with counters in its descriptor.
    pub vp8: Option<Vp8Rewrite>,
}

/// Selects and rewrites the packets of one publication for one subscriber.
///
/// Starts disabled: call [`Egress::set_wanted`]. After every call, drain
/// [`Egress::poll_keyframe_request`] and come back at [`Egress::poll_timeout`].
#[derive(Debug)]
pub struct Egress {
    kind: MediaKind,
    selector: Selector,
    rewriter: Rewriter,
}

impl Egress {
    /// A machine whose outgoing stream begins at `first_seq`, of which the low 15 bits count: a
    /// start in the upper half could wrap before the receiver has seen a packet, and its guess of
    /// the SRTP rollover counter would be wrong for the whole call (RFC 3711 §3.3.1).
    pub fn new(kind: MediaKind, first_seq: u16) -> Self {
        let first_seq = u64::from(first_seq & 0x7fff);
        Self { kind, selector: Selector::default(), rewriter: Rewriter::new(first_seq) }
    }

    /// The layer to forward while it is live, and otherwise the next best; `None` sends nothing.
    /// Choose one the publication has: until its first packet comes, keyframes are asked of it.
    pub fn set_wanted(&mut self, wanted: Option<Layer>) {
        self.selector.set_wanted(wanted);
    }

    /// The encoding starts over with unrelated counters: a new SSRC, a restarted publisher.
    pub fn handle_stream_reset(&mut self, layer: Layer) {
        self.selector.forget_layer(layer);
    }

    /// The subscriber says it cannot go on decoding (PLI or FIR, RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    pub fn handle_keyframe_request(&mut self) {
        self.selector.handle_keyframe_request();
    }

    /// Decides about one packet, from any layer of the publication.
    ///
    /// Nothing in a payload is an error: what cannot be parsed never starts a stream, and inside a
    /// running one it is forwarded unchanged, because the receiver must judge it in its place. An
    /// empty payload (padding only) is dropped without a gap; one that arrives late, when its place
    /// has been kept already, fills that place, so that nobody asks for it again.
    pub fn handle_packet(&mut self, packet: &IncomingPacket<'_>) -> Forward {
        let standing = self.selector.observe(packet);
        match self.selector.choose(packet, standing) {
            Choice::Drop => Forward::Drop,
            Choice::Start => Forward::Send(self.rewriter.start(packet)),
            Choice::Continue => self.continue_with(packet, standing),
        }
    }

    /// The layer that needs a keyframe now; call until `None`. Asked again with growing pauses until
    /// the keyframe comes; throttling across subscribers is the publication's
    /// ([`crate::keyframes::KeyframeThrottle`]).
    pub fn poll_keyframe_request(&mut self, now: Instant) -> Option<Layer> {
        match self.kind {
            MediaKind::Audio => None,
            MediaKind::Video => self.selector.poll_keyframe_request(now),
        }
    }

    /// When [`Egress::poll_keyframe_request`] has something next; may lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.kind {
            MediaKind::Audio => None,
            MediaKind::Video => self.selector.poll_timeout(),
        }
    }

    /// The layer being forwarded, if any.
    pub fn current(&self) -> Option<Layer> {
        self.selector.current()
    }

    fn continue_with(&mut self, packet: &IncomingPacket<'_>, standing: Standing) -> Forward {
        if packet.payload.is_empty() && self.rewriter.skip(packet) {
            return Forward::Drop;
        }
        match self.rewriter.forward(packet) {
            Rewritten::Send(header) => Forward::Send(header),
            Rewritten::Drop => Forward::Drop,
            Rewritten::OutOfReach => {
                self.selector.lose_current();
                match self.selector.choose(packet, standing) {
                    Choice::Start => Forward::Send(self.rewriter.start(packet)),
                    Choice::Continue | Choice::Drop => Forward::Drop,
                }
            }
        }
    }
}

/// Wall time in units of a clock rate, rounded down.
fn ticks(elapsed: Duration, clock_rate: u32) -> u64 {
    let ticks = elapsed.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}
