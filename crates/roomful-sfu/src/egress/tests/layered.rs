//! Encodings with layers inside: whatever a subscriber gets of them, it can decode.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::publisher::{FRAME_INTERVAL, Impairment, Network};
use super::random::Random;
use super::{PERFECT, ROUGH, SECOND};
use crate::egress::{
    Codec, Egress, Forward, FrameRate, IncomingPacket, InnerWish, Layer, LayerWatch, MediaKind,
    Observed, OutgoingHeader, Wanted,
};
use crate::testing::start_of_time;

/// How an encoder makes its layers, after the names of W3C's "Scalable Video Coding (SVC) Extension for WebRTC".
#[derive(Clone, Copy, Debug)]
struct Mode {
    spatial: u8,
    temporal: u8,
    /// Larger pictures are predicted from smaller ones in keyframes only.
    key: bool,
    /// The third temporal layer refers to itself, so that it cannot be entered just anywhere.
    chained: bool,
}

const L1T3: Mode = Mode { spatial: 1, temporal: 3, key: false, chained: false };
const L2T2: Mode = Mode { spatial: 2, temporal: 2, key: false, chained: false };
const L3T1: Mode = Mode { spatial: 3, temporal: 1, key: false, chained: false };
const L3T3: Mode = Mode { spatial: 3, temporal: 3, key: false, chained: false };
const L3T3_KEY: Mode = Mode { key: true, ..L3T3 };
const CHAINED: Mode = Mode { chained: true, ..L3T3 };
const MODES: [Mode; 6] = [L1T3, L2T2, L3T1, L3T3, L3T3_KEY, CHAINED];

/// The picture of one spatial layer: number of the picture, and which layer.
type FrameId = (u64, u8);

/// One packet as it was sent, with what only the sender knows.
#[derive(Clone, Debug)]
struct SentPacket {
    seq: u64,
    timestamp: u64,
    marker: bool,
    payload: Vec<u8>,
    /// Of AV1, which says nothing of layers in its payload.
    descriptor: Vec<u8>,
    frame: FrameId,
    temporal: u8,
}

/// What a layer frame is made of and needs.
#[derive(Debug, Default)]
struct Truth {
    /// Counts layer frames.
    number: u64,
    packets: BTreeSet<u64>,
    references: Vec<FrameId>,
}

/// One encoding.
struct Encoder {
    codec: Codec,
    mode: Mode,
    seq: u64,
    picture: u64,
    /// Pictures since the last keyframe.
    since_key: u64,
    /// The last picture of each temporal layer.
    last: [Option<u64>; 3],
    keyframe_wanted: bool,
    truths: BTreeMap<FrameId, Truth>,
}

impl Encoder {
    fn new(codec: Codec, mode: Mode, random: &mut Random) -> Self {
        Self {
            codec,
            mode,
            seq: random.below(1 << 17),
            picture: random.below(1 << 15),
            since_key: 0,
            last: [None; 3],
            keyframe_wanted: true,
            truths: BTreeMap::new(),
        }
    }

    fn encode(&mut self, timestamp: u64, random: &mut Random) -> Vec<SentPacket> {
        let is_key = std::mem::take(&mut self.keyframe_wanted);
        self.picture += 1;
        self.since_key = if is_key { 0 } else { self.since_key + 1 };
        let pattern: &[u8] =
            [&[0][..], &[0, 1], &[0, 2, 1, 2]][usize::from(self.mode.temporal) - 1];
        let temporal = pattern[self.since_key as usize % pattern.len()];
        if is_key {
            self.last = [None; 3];
        }
        let mut packets = Vec::new();
        for spatial in 0..self.mode.spatial {
            packets.extend(self.layer_frame(spatial, temporal, is_key, timestamp, random));
        }
        self.last[usize::from(temporal)] = Some(self.picture);
        packets
    }

    /// Pictures that one of this temporal layer is predicted from.
    fn referred(&self, temporal: u8) -> Vec<u64> {
        let below = self.last[..usize::from(temporal.max(1))].iter().flatten().max();
        let own = self.last[usize::from(temporal)].filter(|_| self.mode.chained && temporal == 2);
        below.copied().into_iter().chain(own).collect()
    }

    fn layer_frame(
        &mut self,
        spatial: u8,
        temporal: u8,
        is_key: bool,
        timestamp: u64,
        random: &mut Random,
    ) -> Vec<SentPacket> {
        let frame = (self.picture, spatial);
        let refers_below = spatial > 0 && (is_key || !self.mode.key);
        let number = self.picture * u64::from(self.mode.spatial) + u64::from(spatial);
        let mut truth = Truth { number, ..Truth::default() };
        if !is_key {
            truth.references.extend(self.referred(temporal).iter().map(|one| (*one, spatial)));
        }
        if refers_below {
            truth.references.push((self.picture, spatial - 1));
        }
        let lets_up = !self.mode.chained || is_key;
        let of = 1 + random.below(3);
        let back = |id: &FrameId| number - self.truths[id].number;
        let described = Described {
            mode: self.mode,
            is_key,
            spatial,
            temporal,
            number,
            lets_up: !self.mode.chained || is_key,
            back: truth.references.iter().map(back).collect(),
        };
        let [high, low] = ((self.picture & 0x7fff) as u16).to_be_bytes();
        let indices =
            temporal << 5 | u8::from(lets_up) << 4 | spatial << 1 | u8::from(refers_below);
        let packets = (0..of).map(|index| {
            self.seq += 1;
            truth.packets.insert(self.seq);
            let flags = 0xa0
                | u8::from(!is_key) << 6
                | u8::from(index == 0) << 3
                | u8::from(index + 1 == of) << 2;
            let (begins, ends) = (index == 0, index + 1 == of);
            let (payload, descriptor) = match self.codec {
                Codec::Av1 => {
                    let begins_sequence = u8::from(is_key && spatial == 0 && begins) << 3;
                    let payload = vec![0x10 | begins_sequence | u8::from(!begins) << 7, 0x32, 7];
                    (payload, described.descriptor(begins, ends))
                }
                _ => (vec![flags, 0x80 | high, low, indices, 0, 0xaa, 0xbb], Vec::new()),
            };
            SentPacket {
                seq: self.seq,
                timestamp,
                marker: ends && spatial + 1 == self.mode.spatial,
                payload,
                descriptor,
                frame,
                temporal,
            }
        });
        let packets = packets.collect();
        self.truths.insert(frame, truth);
        packets
    }
}

/// What a dependency descriptor says of a layer frame. There is a template for each size and frame rate, and a decode
/// target; what a frame is predicted from it says itself.
struct Described {
    mode: Mode,
    is_key: bool,
    spatial: u8,
    temporal: u8,
    number: u64,
    lets_up: bool,
    back: Vec<u64>,
}

impl Described {
    fn descriptor(&self, begins: bool, ends: bool) -> Vec<u8> {
        let brings = self.is_key && self.spatial == 0 && begins;
        let template = self.spatial * self.mode.temporal + self.temporal;
        let mut bits = Bits::default();
        bits.put(u32::from(begins), 1).put(u32::from(ends), 1).put(template.into(), 6);
        bits.put(self.number as u16 as u32, 16).put(u32::from(brings), 1).put(0b0110, 4);
        if brings {
            self.structure(&mut bits);
        }
        for (spatial, temporal) in self.targets() {
            let is_in = self.spatial <= spatial && self.temporal <= temporal;
            let higher = spatial == self.spatial && temporal > self.temporal;
            let indication = match (is_in, higher && !self.lets_up) {
                (false, _) => 0,
                (true, false) => 2,
                (true, true) => 3,
            };
            bits.put(indication, 2);
        }
        for back in &self.back {
            bits.put(3, 2).put(*back as u32 - 1, 12);
        }
        bits.put(0, 2);
        bits.bytes()
    }

    fn targets(&self) -> impl Iterator<Item = (u8, u8)> + use<> {
        let Mode { spatial, temporal, .. } = self.mode;
        (0..spatial).flat_map(move |spatial| (0..temporal).map(move |temporal| (spatial, temporal)))
    }

    fn structure(&self, bits: &mut Bits) {
        let targets: Vec<(u8, u8)> = self.targets().collect();
        bits.put(0, 6).put(targets.len() as u32 - 1, 5);
        for pair in targets.windows(2) {
            bits.put(if pair[0].0 == pair[1].0 { 1 } else { 2 }, 2);
        }
        bits.put(3, 2);
        for of in &targets {
            for target in &targets {
                let is_in = of.0 <= target.0 && of.1 <= target.1;
                bits.put(if is_in { 2 } else { 0 }, 2);
            }
        }
        // No references, no chains, no sizes.
        bits.put(0, targets.len() as u32);
        let chains = u32::BITS - (targets.len() as u32 + 1).leading_zeros() - 1;
        bits.put(0, chains).put(0, 1);
    }
}

/// Writes bits, the most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// An encoder, the way to us, one egress, and what its subscriber got.
struct Call {
    random: Random,
    start: Instant,
    now: Instant,
    encoder: Encoder,
    network: Network<SentPacket>,
    layers: LayerWatch,
    egress: Egress,
    arrived: BTreeSet<u64>,
    received: BTreeMap<u64, (OutgoingHeader, SentPacket)>,
    requests: usize,
}

impl Call {
    fn new(codec: Codec, mode: Mode, seed: u64, impairment: Impairment) -> Self {
        let mut random = Random(seed);
        let encoder = Encoder::new(codec, mode, &mut random);
        let start = start_of_time();
        Self {
            random,
            start,
            now: start,
            encoder,
            network: Network::new(impairment),
            layers: LayerWatch::default(),
            egress: Egress::new(MediaKind::Video, 100),
            arrived: BTreeSet::new(),
            received: BTreeMap::new(),
            requests: 0,
        }
    }

    fn want(&mut self, rank: Layer, rate: Option<u32>) {
        let inner = InnerWish { rank, pixels: 0, rate: rate.map(FrameRate) };
        let wanted = Wanted { encoding: Layer::LOW, inner };
        self.egress.set_wanted(Some(wanted), self.layers.shape());
        self.pass_requests();
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let timestamp = (self.now - self.start).as_micros() as u64 * 9 / 100;
            for packet in self.encoder.encode(timestamp, &mut self.random) {
                self.network.send(&packet, self.now, &mut self.random);
            }
            let next = self.now + FRAME_INTERVAL;
            while let Some((arrival, packet)) = self.network.next_before(next) {
                self.now = arrival;
                self.deliver(packet);
            }
            self.now = next;
        }
    }

    fn deliver(&mut self, packet: SentPacket) {
        let frame = self.layers.observe(&Observed {
            codec: self.encoder.codec,
            layer: Layer::LOW,
            timestamp: packet.timestamp,
            payload: &packet.payload,
            descriptor: &packet.descriptor,
        });
        let forward = self.egress.handle_packet(&IncomingPacket {
            layer: Layer::LOW,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: &packet.payload,
            arrival: self.now,
            codec: self.encoder.codec,
            frame,
            shape: self.layers.shape(),
        });
        self.arrived.insert(packet.seq);
        if let Forward::Send(header) = forward {
            let former = self.received.insert(header.seq, (header, packet));
            assert!(former.is_none(), "{} was sent twice", header.seq);
        }
        self.pass_requests();
    }

    fn pass_requests(&mut self) {
        while let Some(layer) = self.egress.poll_keyframe_request(self.now) {
            assert_eq!(layer, Layer::LOW, "there is no other encoding");
            self.requests += 1;
            self.encoder.keyframe_wanted = true;
        }
    }

    /// What the subscriber got, without what only fills places.
    fn media(&self) -> impl Iterator<Item = &(OutgoingHeader, SentPacket)> {
        self.received.values().filter(|(header, _)| !header.is_filler)
    }

    /// The largest layers among what was sent since `since`.
    fn best_since(&self, since: Instant) -> (u8, u8) {
        let ticks = (since - self.start).as_micros() as u64 * 9 / 100;
        let recent = || self.media().filter(|(_, packet)| packet.timestamp >= ticks);
        let spatial = recent().map(|(_, packet)| packet.frame.1).max();
        let temporal = recent().map(|(_, packet)| packet.temporal).max();
        (spatial.unwrap_or(99), temporal.unwrap_or(99))
    }

    /// No packet that arrived is missing of what the layer frames sent are predicted from, directly or by others.
    fn assert_references_are_there(&self) {
        let sent: BTreeSet<u64> = self.media().map(|(_, packet)| packet.seq).collect();
        let frames: BTreeSet<FrameId> = self.media().map(|(_, packet)| packet.frame).collect();
        for frame in &frames {
            for needed in self.encoder.truths[frame].references.iter().chain([frame]) {
                let parts = &self.encoder.truths[needed].packets;
                let missing: Vec<&u64> = parts.difference(&sent).collect();
                let kept_back = missing.iter().any(|seq| self.arrived.contains(seq));
                assert!(!kept_back, "{frame:?} needs {needed:?}: {missing:?} were kept back");
            }
        }
    }

    /// The same of a network that loses nothing: no gap, and one marker at the end of each picture.
    fn assert_is_whole(&self) {
        self.assert_references_are_there();
        let packets: Vec<_> = self.received.values().collect();
        for pair in packets.windows(2) {
            let [(before, was), (after, is)] = pair else { unreachable!() };
            assert_eq!(after.seq, before.seq + 1, "no gap");
            assert_eq!(before.marker, was.frame.0 != is.frame.0, "after {was:?} comes {is:?}");
            let step = after.timestamp.wrapping_sub(before.timestamp);
            assert_eq!(u64::from(step), is.timestamp - was.timestamp);
        }
    }
}

/// Every codec in every mode.
fn everything() -> impl Iterator<Item = (Codec, Mode)> {
    [Codec::Vp9, Codec::Av1].into_iter().flat_map(|codec| MODES.map(|mode| (codec, mode)))
}

#[test]
fn each_wish_is_met_and_all_that_is_sent_can_be_decoded_whatever_the_mode() {
    for ((codec, mode), seed) in everything().zip(1..) {
        let mut call = Call::new(codec, mode, seed, PERFECT);
        let most = |layer: Layer| (layer.index() as u8).min(mode.spatial - 1);
        for layer in [Layer::LOW, Layer::HIGH, Layer::MID, Layer::HIGH, Layer::LOW, Layer::MID] {
            call.want(layer, None);
            call.run_for(SECOND);
            let best = call.best_since(call.now - SECOND / 2);
            assert_eq!(best, (most(layer), mode.temporal - 1), "{codec:?} {mode:?} at {layer:?}");
        }
        call.assert_is_whole();
    }
}

#[test]
fn less_is_given_without_a_keyframe_and_more_with_one_at_most() {
    let mut call = Call::new(Codec::Vp9, L3T3_KEY, 7, PERFECT);
    call.want(Layer::HIGH, None);
    call.run_for(SECOND);
    let before = call.requests;
    for layer in [Layer::MID, Layer::LOW] {
        call.want(layer, None);
        call.run_for(SECOND);
    }
    assert_eq!(call.requests, before, "to go down");
    call.want(Layer::HIGH, None);
    call.run_for(SECOND);
    assert_eq!(call.requests, before + 1, "to go up by two");
    call.assert_is_whole();
}

#[test]
fn a_frame_rate_leaves_temporal_layers_out_and_brings_them_back() {
    for (codec, mode) in everything().filter(|(_, mode)| mode.temporal == 3) {
        let mut call = Call::new(codec, mode, 11, PERFECT);
        call.want(Layer::HIGH, None);
        call.run_for(3 * SECOND);
        for (rate, temporal) in [(7, 0), (15, 1), (30, 2), (1, 0)] {
            call.want(Layer::HIGH, Some(rate));
            call.run_for(4 * SECOND);
            let best = call.best_since(call.now - SECOND);
            assert_eq!(best, (mode.spatial - 1, temporal), "{mode:?} at {rate}");
        }
        call.assert_is_whole();
        assert!(mode.chained || call.requests <= 1, "{mode:?}: {} keyframes", call.requests);
    }
}

#[test]
fn under_loss_and_reordering_no_reference_is_kept_back_whatever_is_wanted() {
    let mut received = 0;
    for seed in 0..60 {
        let (codec, mode) = everything().nth(seed as usize % 12).unwrap();
        let mut call = Call::new(codec, mode, 1_000 + seed, ROUGH);
        for _ in 0..12 {
            let layer = Layer::ALL[call.random.below(3) as usize];
            let rate = [None, Some(7), Some(15), Some(30)][call.random.below(4) as usize];
            call.want(layer, rate);
            if call.random.percent(20) {
                call.egress.handle_keyframe_request();
            }
            let time = Duration::from_millis(100 + call.random.below(1_500));
            call.run_for(time);
        }
        call.assert_references_are_there();
        received += call.received.len();
    }
    assert!(received > 60 * 300, "{received} packets");
}

#[test]
fn a_late_packet_of_a_layer_that_is_left_out_fills_the_place_that_was_kept_for_it() {
    let mut call = Call::new(Codec::Vp9, Mode { temporal: 1, ..L3T3_KEY }, 5, PERFECT);
    call.want(Layer::LOW, None);
    let packet = |seq, spatial: u8, flags| SentPacket {
        seq,
        timestamp: 3_000,
        marker: spatial == 1,
        payload: vec![flags, 0x17, spatial << 1 | u8::from(spatial > 0), 0, 0xaa],
        descriptor: Vec::new(),
        frame: (1, spatial),
        temporal: 0,
    };
    call.deliver(packet(10, 0, 0xac));
    call.deliver(packet(12, 1, 0xa4));
    let next = SentPacket { timestamp: 6_000, ..packet(13, 0, 0xec) };
    call.deliver(next);
    call.deliver(packet(11, 1, 0xa8));
    let got: Vec<_> = call.received.values().map(|(header, _)| header).collect();
    let numbers: Vec<_> = got.iter().map(|one| (one.seq, one.marker, one.is_filler)).collect();
    assert_eq!(numbers, [(100, true, false), (101, false, true), (102, true, false)]);
}

#[test]
fn a_larger_layer_begins_between_keyframes_where_it_needs_no_earlier_picture() {
    let mut call = Call::new(Codec::Vp9, L2T2, 6, PERFECT);
    call.want(Layer::LOW, None);
    let packet = |seq, picture: u64, spatial: u8, flags| SentPacket {
        seq,
        timestamp: picture * 3_000,
        marker: spatial == 1,
        payload: vec![flags, 0x17, spatial << 1 | u8::from(spatial > 0), 0, 0xaa],
        descriptor: Vec::new(),
        frame: (picture, spatial),
        temporal: 0,
    };
    call.deliver(packet(10, 1, 0, 0xac));
    call.want(Layer::HIGH, None);
    call.deliver(packet(11, 1, 1, 0xec));
    call.deliver(packet(12, 2, 0, 0xec));
    call.deliver(packet(13, 2, 1, 0xec));
    call.deliver(packet(14, 3, 0, 0xec));
    call.deliver(packet(15, 3, 1, 0xac));
    call.deliver(packet(16, 4, 0, 0xec));
    call.deliver(packet(17, 4, 1, 0xec));
    let got: Vec<FrameId> = call.media().map(|(_, packet)| packet.frame).collect();
    assert_eq!(got, [(1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1)]);
}
