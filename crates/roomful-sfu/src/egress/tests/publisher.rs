//! A publisher of three VP8 encodings, and the network between it and us.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::SHAPELESS;
use super::random::Random;
use crate::egress::{Codec, IncomingPacket, Layer};

pub(super) const FRAME_INTERVAL: Duration = Duration::from_micros(33_333);

/// One packet as it was sent, with what only the sender knows.
#[derive(Clone, Debug)]
pub(super) struct SentPacket {
    pub(super) layer: Layer,
    pub(super) seq: u64,
    pub(super) timestamp: u64,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
    pub(super) frame: u64,
    /// Place among the packets of its frame, and how many those are.
    pub(super) index: usize,
    pub(super) of: usize,
    pub(super) keyframe: bool,
    pub(super) captured: Instant,
}

impl SentPacket {
    pub(super) fn arriving(&self, arrival: Instant) -> IncomingPacket<'_> {
        IncomingPacket {
            layer: self.layer,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: self.marker,
            payload: &self.payload,
            arrival,
            codec: Codec::Vp8,
            frame: None,
            shape: &SHAPELESS,
        }
    }

    pub(super) fn is_padding(&self) -> bool {
        self.payload.is_empty()
    }
}

/// One encoding, with counters that start anywhere.
pub(super) struct Encoder {
    layer: Layer,
    seq: u64,
    timestamp_offset: u64,
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
    frame: u64,
    pub(super) keyframe_wanted: bool,
    pub(super) stopped: bool,
}

impl Encoder {
    pub(super) fn new(layer: Layer, random: &mut Random) -> Self {
        Self {
            layer,
            seq: random.below(1 << 17),
            timestamp_offset: random.below(1 << 33),
            picture_id: random.below(1 << 15) as u16,
            tl0_pic_idx: random.next() as u8,
            key_idx: random.below(32) as u8,
            frame: 0,
            keyframe_wanted: true,
            stopped: false,
        }
    }

    /// The packets of one frame, and some padding after it now and then.
    pub(super) fn encode(
        &mut self,
        elapsed: Duration,
        captured: Instant,
        random: &mut Random,
    ) -> Vec<SentPacket> {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        let most = 1 + 3 * self.layer.index() as u64;
        let of = 1 + random.below(most) as usize + if keyframe { 4 } else { 0 };
        let padding = if random.percent(3) { random.below(3) as usize } else { 0 };
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        self.key_idx = (self.key_idx + u8::from(keyframe)) & 0x1f;
        self.frame += 1;
        let timestamp = self.timestamp_offset + elapsed.as_micros() as u64 * 9 / 100;
        (0..of + padding)
            .map(|index| {
                self.seq += 1;
                SentPacket {
                    layer: self.layer,
                    seq: self.seq,
                    timestamp,
                    marker: index + 1 == of,
                    payload: if index < of { self.payload(index, keyframe) } else { Vec::new() },
                    frame: self.frame,
                    index,
                    of,
                    keyframe,
                    captured,
                }
            })
            .collect()
    }

    fn payload(&self, index: usize, keyframe: bool) -> Vec<u8> {
        let first = if index == 0 { 0x90 } else { 0x80 };
        let [high, low] = self.picture_id.to_be_bytes();
        let mut payload =
            vec![first, 0xf0, 0x80 | high, low, self.tl0_pic_idx, 0x20 | self.key_idx];
        match (index, keyframe) {
            (0, true) => payload.extend([0x50, 0x42, 0x01, 0x9d, 0x01, 0x2a, 0x80, 0x02]),
            (0, false) => payload.extend([0x31, 0x42, 0x01]),
            _ => payload.extend([0xaa; 4]),
        }
        payload
    }
}

/// What the way from the publisher does to packets, in percent.
#[derive(Clone, Copy, Default)]
pub(super) struct Impairment {
    /// Lost; the publisher's retransmission comes 80 to 200 ms later, if it comes.
    pub(super) loss: u64,
    /// Of the lost ones: recovered.
    pub(super) recovered: u64,
    pub(super) duplicates: u64,
    /// Jitter of each packet, so that some overtake others.
    pub(super) jitter_ms: u64,
}

/// Packets under way, by arrival.
pub(super) struct Network<P> {
    impairment: Impairment,
    under_way: BTreeMap<(Instant, u64), P>,
    sent: u64,
}

impl<P: Clone> Network<P> {
    pub(super) fn new(impairment: Impairment) -> Self {
        Self { impairment, under_way: BTreeMap::new(), sent: 0 }
    }

    pub(super) fn send(&mut self, packet: &P, at: Instant, random: &mut Random) {
        let Impairment { loss, recovered, duplicates, jitter_ms } = self.impairment;
        let mut arrive = |delay_ms: u64| {
            self.sent += 1;
            let arrival = at + Duration::from_millis(10 + delay_ms);
            self.under_way.insert((arrival, self.sent), packet.clone());
        };
        let mut jitter = random.below(jitter_ms + 1);
        // Most packets of a burst stay in order; a few take another way.
        if !random.percent(10) {
            jitter = 0;
        }
        if !random.percent(loss) {
            arrive(jitter);
        } else if random.percent(recovered) {
            arrive(80 + random.below(120));
        }
        if random.percent(duplicates) {
            arrive(random.below(150));
        }
    }

    pub(super) fn next_before(&mut self, end: Instant) -> Option<(Instant, P)> {
        let entry = self.under_way.first_entry()?;
        let arrival = entry.key().0;
        (arrival < end).then(|| (arrival, entry.remove()))
    }
}
