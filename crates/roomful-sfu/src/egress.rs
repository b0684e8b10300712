//! `Egress`: the forwarding machine of one subscription.
//!
//! A publication arrives as up to three encodings ([`Layer`]s), each an RTP stream with sequence
//! numbers, timestamps and picture ids of its own. The subscriber gets **one** stream in which all
//! three counters run on without a seam: `selector` decides which packets belong to it,
//! `inner` which of them are of layers inside the encoding that the subscriber does not get,
//! `rewriter` gives the others their new numbers.

pub mod codec;
pub(crate) mod inner;
mod rewriter;
mod selector;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use codec::Codec;
pub use codec::vp8::Vp8Rewrite;
pub use inner::{FrameRate, InnerWish, LayerFrame, LayerWatch, Observed, Shape};

use inner::{LayerFilter, Verdict};
use rewriter::{Rewriter, Rewritten};
use selector::{Choice, Selector, Standing};

/// One quality of a publication, by its rank: an encoding, or a layer inside the only one. There is none past
/// [`Layer::HIGH`]: take them from [`Layer::ALL`].
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

/// What a subscriber is to get of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The encoding.
    pub encoding: Layer,
    /// Which of the layers inside it, if there are any.
    pub inner: InnerWish,
}

impl From<Layer> for Wanted {
    /// All of one encoding.
    fn from(encoding: Layer) -> Self {
        Self { encoding, inner: InnerWish::ALL }
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
    /// Its place among the layers inside its encoding, if it says so.
    pub frame: Option<LayerFrame>,
    /// What is known of those layers.
    pub shape: &'a Shape,
}

impl IncomingPacket<'_> {
    /// The number of its frame, if its dependency descriptor says one.
    fn frame_number(&self) -> Option<u16> {
        self.frame?.number
    }
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
    /// The RTP marker bit: as received, or where a picture ends of which larger layers are left out.
    pub marker: bool,
    /// What must change beyond the header.
    pub rewrite: Option<Rewrite>,
    /// The payload is left out: the packet only fills its place, so that nobody asks for it.
    pub is_filler: bool,
}

/// What must change in a packet so that its counters go on from those that were sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Bytes of a VP8 payload with counters in its descriptor.
    Vp8(Vp8Rewrite),
    /// So much is added to the frame number of its dependency descriptor, modulo 2^16.
    FrameNumber(u16),
}

/// Selects and rewrites the packets of one publication for one subscriber.
///
/// Starts disabled: call [`Egress::set_wanted`]. After every call, drain
/// [`Egress::poll_keyframe_request`] and come back at [`Egress::poll_timeout`].
#[derive(Debug)]
pub struct Egress {
    kind: MediaKind,
    selector: Selector,
    wish: InnerWish,
    /// While an encoding with layers inside is forwarded.
    filter: Option<Box<LayerFilter>>,
    rewriter: Rewriter,
}

impl Egress {
    /// A machine whose outgoing stream begins at `first_seq`, of which the low 15 bits count: a
    /// start in the upper half could wrap before the receiver has seen a packet, and its guess of
    /// the SRTP rollover counter would be wrong for the whole call (RFC 3711 §3.3.1).
    pub fn new(kind: MediaKind, first_seq: u16) -> Self {
        let first_seq = u64::from(first_seq & 0x7fff);
        Self {
            kind,
            selector: Selector::default(),
            wish: InnerWish::ALL,
            filter: None,
            rewriter: Rewriter::new(first_seq),
        }
    }

    /// The encoding to forward while it is live, and otherwise the next best, with the layers inside it; `None` sends
    /// nothing. Choose an encoding that the publication has: until its first packet comes, keyframes are asked of it.
    /// `shape` is what is known of the layers inside.
    pub fn set_wanted(&mut self, wanted: Option<Wanted>, shape: &Shape) {
        self.selector.set_wanted(wanted.map(|wanted| wanted.encoding));
        if let Some(wanted) = wanted {
            self.wish = wanted.inner;
            self.ask_for_lacking(shape);
        }
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
    /// empty payload (padding only), and one of a layer that the subscriber does not get, is dropped without a gap; one that
    /// arrives late, when its place has been kept already, fills that place, so that nobody asks for it again.
    pub fn handle_packet(&mut self, packet: &IncomingPacket<'_>) -> Forward {
        let standing = self.selector.observe(packet);
        match self.selector.choose(packet, standing) {
            Choice::Drop => Forward::Drop,
            Choice::Start => self.start_with(packet),
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

    /// Enters an encoding.
    fn start_with(&mut self, packet: &IncomingPacket<'_>) -> Forward {
        let target = packet.shape.target(self.wish);
        let mut header = self.rewriter.start(packet);
        self.filter = packet.frame.map(|frame| {
            let mut filter = LayerFilter::start(packet, target);
            let verdict = filter.judge(packet, frame, (true, true), target);
            header.marker = verdict == Verdict::Forward { ends_picture: true };
            Box::new(filter)
        });
        Forward::Send(header)
    }

    fn continue_with(&mut self, packet: &IncomingPacket<'_>, standing: Standing) -> Forward {
        let verdict = self.judge(packet, standing);
        if verdict == Verdict::LeaveOut && self.rewriter.skip(packet) {
            return Forward::Drop;
        }
        match self.rewriter.forward(packet) {
            Rewritten::Send(header) => Forward::Send(match verdict {
                Verdict::Forward { ends_picture } => {
                    OutgoingHeader { marker: ends_picture, ..header }
                }
                Verdict::LeaveOut => {
                    OutgoingHeader { marker: false, rewrite: None, is_filler: true, ..header }
                }
            }),
            Rewritten::Drop => Forward::Drop,
            Rewritten::OutOfReach => {
                self.selector.lose_current();
                match self.selector.choose(packet, standing) {
                    Choice::Start => self.start_with(packet),
                    Choice::Continue | Choice::Drop => Forward::Drop,
                }
            }
        }
    }

    /// Whether the subscriber gets a packet of the encoding that is forwarded.
    fn judge(&mut self, packet: &IncomingPacket<'_>, standing: Standing) -> Verdict {
        if packet.payload.is_empty() {
            return Verdict::LeaveOut;
        }
        let as_it_is = Verdict::Forward { ends_picture: packet.marker };
        let Some(filter) = &mut self.filter else { return as_it_is };
        let target = packet.shape.target(self.wish);
        let Some(frame) = packet.frame else {
            let gets_all = self.wish == InnerWish::ALL && filter.reaches(target);
            return if gets_all { as_it_is } else { Verdict::LeaveOut };
        };
        let enters = selector::is_entry(packet, standing);
        let verdict = filter.judge(packet, frame, (standing.newest, enters), target);
        if frame.begins {
            self.ask_for_lacking(packet.shape);
        }
        verdict
    }

    /// Asks for a keyframe if only one lets the subscriber have all it wants.
    fn ask_for_lacking(&mut self, shape: &Shape) {
        let target = shape.target(self.wish);
        if self.filter.as_ref().is_some_and(|filter| filter.lacks(target)) {
            self.selector.handle_keyframe_request();
        }
    }
}

/// Wall time in units of a clock rate, rounded down.
fn ticks(elapsed: Duration, clock_rate: u32) -> u64 {
    let ticks = elapsed.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}
