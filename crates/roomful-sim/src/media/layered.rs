//! A VP9 camera with layers inside its only encoding, as browsers make them in mode `L3T3_KEY`: three sizes, the larger
//! ones predicted from the smaller in keyframes only, and three frame rates.

use std::time::Duration;

use super::{EncodedPacket, Mark, VIDEO_CLOCK};

/// See the module text.
#[derive(Debug)]
pub struct LayeredEncoder {
    seq: u64,
    timestamp: u32,
    picture: u64,
    picture_id: u16,
    /// Pictures since the last keyframe.
    since_key: u64,
    keyframe_wanted: bool,
    rng: fastrand::Rng,
}

/// Bytes of the descriptor of every packet but those that begin a keyframe (RFC 9628 §4.2).
pub(super) const DESCRIPTOR: usize = 5;

/// Three sizes, listed in keyframes (RFC 9628 §4.2.1).
const STRUCTURE: [u8; 13] = [0x50, 1, 64, 0, 180, 2, 128, 1, 104, 5, 0, 2, 208];

const LAYERS: u8 = 3;
const TEMPORAL: [u8; 4] = [0, 2, 1, 2];

impl LayeredEncoder {
    /// A camera with counters that start anywhere.
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            // Below 2^15: the other end takes the rollover counter to be 0 (RFC 3711 §3.3.1).
            seq: rng.u64(1..1 << 15),
            timestamp: rng.u32(..),
            picture: 0,
            picture_id: rng.u16(..) & 0x7fff,
            since_key: 0,
            keyframe_wanted: true,
            rng,
        }
    }

    /// The next picture can be decoded without others.
    pub fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// The pictures encoded so far.
    pub fn frames(&self) -> u64 {
        self.picture
    }

    /// The packets of the next picture in all its sizes, `interval` after the last one.
    pub fn encode(
        &mut self,
        publisher: &str,
        track: &str,
        interval: Duration,
    ) -> Vec<EncodedPacket> {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.since_key = if keyframe { 0 } else { self.since_key + 1 };
        self.picture += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let ticks = interval.as_nanos() * VIDEO_CLOCK / 1_000_000_000;
        self.timestamp = self.timestamp.wrapping_add(ticks as u32);
        let mut packets = Vec::new();
        for layer in 0..LAYERS {
            let of = self.rng.u16(1..=1 + u16::from(layer));
            for index in 0..of {
                self.seq += 1;
                let mark = Mark {
                    publisher: publisher.to_owned(),
                    track: track.to_owned(),
                    layer,
                    frame: self.picture,
                    index,
                    of,
                    keyframe,
                };
                packets.push(EncodedPacket {
                    seq: self.seq,
                    timestamp: self.timestamp,
                    marker: index + 1 == of && layer + 1 == LAYERS,
                    payload: self.payload(&mark),
                });
            }
        }
        packets
    }

    fn payload(&self, mark: &Mark) -> Vec<u8> {
        let temporal = TEMPORAL[self.since_key as usize % TEMPORAL.len()];
        let (begins, ends) = (mark.index == 0, mark.index + 1 == mark.of);
        let lists = mark.keyframe && begins && mark.layer == 0;
        let flags = 0xa0
            | u8::from(!mark.keyframe) << 6
            | u8::from(begins) << 3
            | u8::from(ends) << 2
            | u8::from(lists) << 1;
        let refers_below = u8::from(mark.keyframe && mark.layer > 0);
        let [high, low] = self.picture_id.to_be_bytes();
        let indices = temporal << 5 | 0x10 | mark.layer << 1 | refers_below;
        let mut payload = vec![flags, 0x80 | high, low, indices, 0];
        if lists {
            payload.extend(STRUCTURE);
        }
        mark.write(&mut payload);
        payload
    }
}

/// What stands behind the descriptor, and the picture id in it.
pub(super) fn behind_descriptor(payload: &[u8]) -> Option<(&[u8], u16)> {
    let [flags, high, low, ..] = *payload else { return None };
    let listed = if flags & 0x02 != 0 { STRUCTURE.len() } else { 0 };
    let rest = payload.get(DESCRIPTOR + listed..)?;
    Some((rest, u16::from_be_bytes([high & 0x7f, low])))
}
