//! Chooses the layer a subscriber gets, and the packets at which it may change.
//!
//! The *wanted* layer is a wish, the *target* is the best answer to it among the layers that are
//! live, the *current* layer is what flows. Current becomes target at the first packet of a keyframe
//! of the target; until then it goes on.

use std::time::{Duration, Instant};

use super::codec::{Entry, entry};
use super::{IncomingPacket, Layer};

/// A layer is dead after this long without a packet, while others go on ([`FRAMES_ELSEWHERE`]).
/// Longer: the picture stands still that long when a publisher drops its top layer. Shorter: a burst
/// of loss, or an encoder that skips some frames, costs two switches and their keyframes.
const SILENCE: Duration = Duration::from_millis(600);

/// ... and during which the other layers, together, began this many frames. Time alone would declare
/// every layer of a still screen share (one frame per second) dead in turn. Two other layers begin
/// two frames per capture, so less than 5 mistakes one lost frame for a death; more delays the
/// fallback at low frame rates (with one other layer at 5 frames per second: 1 s).
const FRAMES_ELSEWHERE: u8 = 5;

/// The first pause between two requests for the same keyframe: an encoder's turn plus a round trip
/// of 200 ms. Longer: a lost request freezes the start that much longer. Shorter: distant publishers
/// are asked twice and pay with two keyframes.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Each pause is twice the last, up to this. Longer: a publisher that was away is asked late after it
/// returns. Shorter: one that cannot answer (its camera is blocked) is pestered for nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(2_400);

/// A source that jumped back this far (packets) ...
const STALE_DISTANCE: u64 = 1_000;
/// ... for this many packets in a row has started over (the idea of RFC 3550 appendix A.1). Larger: a
/// restart without a new SSRC stays silent longer. Smaller: a batch of very late retransmissions is
/// taken for a restart.
const STALE_RUN: u8 = 64;

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Drop,
    /// It continues the current layer.
    Continue,
    /// It begins a layer that is current from here on.
    Start,
}

/// How a packet stands among those of its layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// No later one was seen before it.
    pub(super) newest: bool,
    /// The packet right before it was seen and belongs to another frame.
    follows_frame_end: bool,
}

#[derive(Debug, Default)]
pub(super) struct Selector {
    wanted: Option<Layer>,
    current: Option<Layer>,
    /// The subscriber asked for a keyframe of the current layer, if there is one.
    refresh: bool,
    layers: [LayerState; Layer::COUNT],
    latest_arrival: Option<Instant>,
}

#[derive(Debug, Default)]
struct LayerState {
    newest: Option<Newest>,
    /// Frames that other layers began since the newest packet.
    frames_elsewhere: u8,
    /// Packets in a row from before [`STALE_DISTANCE`].
    stale_run: u8,
    asking: Option<Asking>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    seq: u64,
    timestamp: u64,
    arrival: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    next: Instant,
    pause: Duration,
}

impl Selector {
    pub(super) fn set_wanted(&mut self, wanted: Option<Layer>) {
        self.wanted = wanted;
        if wanted.is_none() {
            self.lose_current();
        }
    }

    pub(super) fn current(&self) -> Option<Layer> {
        self.current
    }

    /// What flows has broken off; the next keyframe begins anew.
    pub(super) fn lose_current(&mut self) {
        self.current = None;
    }

    pub(super) fn forget_layer(&mut self, layer: Layer) {
        if self.current == Some(layer) {
            self.lose_current();
        }
        self.layers[layer.index()] = LayerState::default();
    }

    pub(super) fn handle_keyframe_request(&mut self) {
        // Without a current layer a keyframe is being asked for already.
        self.refresh = self.current.is_some();
    }

    /// Takes note of a packet; every packet of the publication has to pass here before
    /// [`Selector::choose`], those of other layers too: that is how their life is known.
    pub(super) fn observe(&mut self, packet: &IncomingPacket<'_>) -> Standing {
        self.latest_arrival = Some(packet.arrival);
        if self.layers[packet.layer.index()].is_stale(packet) {
            self.forget_layer(packet.layer);
        }
        let standing = self.layers[packet.layer.index()].standing(packet);
        if standing.newest {
            self.note_newest(packet);
        }
        standing
    }

    pub(super) fn choose(&mut self, packet: &IncomingPacket<'_>, standing: Standing) -> Choice {
        let Some(target) = self.target() else { return Choice::Drop };
        let layer = packet.layer;
        if self.current == Some(layer) {
            if self.awaits_keyframe(layer) && is_entry(packet, standing) {
                self.settle(layer);
            }
            return Choice::Continue;
        }
        // A picture of lower quality is better than none while the target's keyframe is awaited.
        let welcome = layer == target || (layer < target && !self.flows());
        if !welcome || !is_entry(packet, standing) {
            return Choice::Drop;
        }
        self.current = Some(layer);
        self.settle(layer);
        Choice::Start
    }

    pub(super) fn poll_keyframe_request(&mut self, now: Instant) -> Option<Layer> {
        let due = self
            .needed()
            .into_iter()
            .flatten()
            .find(|layer| self.asking(*layer).is_none_or(|asking| asking.next <= now))?;
        let pause = match self.asking(due) {
            Some(asking) if now < asking.next + asking.pause => {
                (asking.pause * 2).min(LONGEST_PAUSE)
            }
            // Never asked, or not since an earlier need was met otherwise.
            _ => FIRST_PAUSE,
        };
        self.layers[due.index()].asking = Some(Asking { next: now + pause, pause });
        Some(due)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = |layer: Layer| self.asking(layer).map(|asking| asking.next);
        self.needed().into_iter().flatten().filter_map(next).min()
    }

    /// The layers a keyframe is needed of: the target to switch to, the current one to go on.
    fn needed(&self) -> [Option<Layer>; 2] {
        let target = self.target().filter(|target| self.current != Some(*target));
        [target, self.current.filter(|_| self.refresh)]
    }

    /// The wanted layer if it is live, else the best live one below, else the lowest live one above.
    /// While nothing is known, the wanted one: a still screen share sends nothing until it is asked.
    fn target(&self) -> Option<Layer> {
        let wanted = self.wanted?;
        let live = |layer: &&Layer| self.is_live(**layer);
        let below = Layer::ALL.iter().filter(|layer| **layer <= wanted).rev().find(live);
        let above = Layer::ALL.iter().filter(|layer| **layer > wanted).find(live);
        Some(*below.or(above).unwrap_or(&wanted))
    }

    fn is_live(&self, layer: Layer) -> bool {
        let state = &self.layers[layer.index()];
        let (Some(newest), Some(latest)) = (state.newest, self.latest_arrival) else {
            return false;
        };
        state.frames_elsewhere < FRAMES_ELSEWHERE
            || latest.saturating_duration_since(newest.arrival) <= SILENCE
    }

    fn flows(&self) -> bool {
        self.current.is_some_and(|current| self.is_live(current))
    }

    fn awaits_keyframe(&self, layer: Layer) -> bool {
        self.refresh || self.asking(layer).is_some()
    }

    fn asking(&self, layer: Layer) -> Option<Asking> {
        self.layers[layer.index()].asking
    }

    /// A keyframe of the current layer has begun: what was asked is answered.
    fn settle(&mut self, layer: Layer) {
        self.refresh = false;
        self.layers[layer.index()].asking = None;
    }

    fn note_newest(&mut self, packet: &IncomingPacket<'_>) {
        let state = &mut self.layers[packet.layer.index()];
        let begins_frame = state.newest.is_none_or(|last| last.timestamp != packet.timestamp);
        let mut newest =
            Newest { seq: packet.seq, timestamp: packet.timestamp, arrival: packet.arrival };
        if packet.payload.is_empty() {
            // Padding is no sign of a living encoder.
            let Some(last) = state.newest else { return };
            newest.arrival = last.arrival;
            state.newest = Some(newest);
            return;
        }
        state.newest = Some(newest);
        state.frames_elsewhere = 0;
        if begins_frame {
            for (index, other) in self.layers.iter_mut().enumerate() {
                if index != packet.layer.index() {
                    other.frames_elsewhere = other.frames_elsewhere.saturating_add(1);
                }
            }
        }
    }
}

impl LayerState {
    /// Counts packets from far behind; true once there are too many for late ones.
    fn is_stale(&mut self, packet: &IncomingPacket<'_>) -> bool {
        let behind =
            self.newest.map_or(0, |newest| newest.seq.wrapping_sub(packet.seq).cast_signed());
        if behind < STALE_DISTANCE.cast_signed() {
            self.stale_run = 0;
            return false;
        }
        self.stale_run += 1;
        self.stale_run >= STALE_RUN
    }

    fn standing(&self, packet: &IncomingPacket<'_>) -> Standing {
        let Some(newest) = self.newest else {
            return Standing { newest: true, follows_frame_end: false };
        };
        let ahead = packet.seq.wrapping_sub(newest.seq).cast_signed();
        Standing {
            newest: ahead > 0,
            follows_frame_end: ahead == 1 && packet.timestamp != newest.timestamp,
        }
    }
}

/// Only the newest packet of a layer can begin it: when a keyframe's first packet comes late, the
/// rest of the frame has been passed over, and nobody could resend it under the new numbers.
pub(super) fn is_entry(packet: &IncomingPacket<'_>, standing: Standing) -> bool {
    standing.newest
        && match entry(packet.codec, packet.payload) {
            Entry::Yes => true,
            Entry::IfFrameBegins => standing.follows_frame_end,
            Entry::No => false,
        }
}
