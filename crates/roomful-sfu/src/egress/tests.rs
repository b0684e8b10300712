//! Whole calls, checked from the receiving end, and the corners one by one.

mod claims;
mod layered;
mod publisher;
pub(super) mod random;
mod subscriber;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Egress, Forward, Layer, MediaKind, Shape};
use crate::testing::start_of_time;
use publisher::{Encoder, FRAME_INTERVAL, Impairment, Network, SentPacket};
use random::Random;
use subscriber::{Decoded, Subscriber};

/// Nothing is known of layers inside.
pub(super) const SHAPELESS: Shape = Shape::UNKNOWN;

/// A publisher, the way to us, one egress, and the subscriber that judges it.
struct Call {
    random: Random,
    start: Instant,
    now: Instant,
    encoders: Vec<Encoder>,
    network: Network<SentPacket>,
    egress: Egress,
    subscriber: Subscriber,
    run: u32,
    /// First source sequence number of the current run.
    entered_at: u64,
    seen: BTreeSet<(Layer, u64)>,
    requests: usize,
}

impl Call {
    fn new(seed: u64, impairment: Impairment) -> Self {
        let mut random = Random(seed);
        let start = start_of_time();
        let encoders = Layer::ALL.map(|layer| Encoder::new(layer, &mut random)).into();
        let first_seq = random.next() as u16;
        Self {
            random,
            start,
            now: start,
            encoders,
            network: Network::new(impairment),
            egress: Egress::new(MediaKind::Video, first_seq),
            subscriber: Subscriber::default(),
            run: 0,
            entered_at: 0,
            seen: BTreeSet::new(),
            requests: 0,
        }
    }

    fn want(&mut self, wanted: impl Into<Option<Layer>>) {
        self.egress.set_wanted(wanted.into().map(Into::into), &SHAPELESS);
        self.pass_requests();
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.capture();
            let next_capture = self.now + FRAME_INTERVAL;
            while let Some((arrival, packet)) = self.network.next_before(next_capture) {
                self.now = arrival;
                self.deliver(&packet);
            }
            self.now = next_capture;
        }
    }

    fn capture(&mut self) {
        let elapsed = self.now - self.start;
        for encoder in self.encoders.iter_mut().filter(|encoder| !encoder.stopped) {
            for packet in encoder.encode(elapsed, self.now, &mut self.random) {
                self.network.send(&packet, self.now, &mut self.random);
            }
        }
    }

    fn deliver(&mut self, packet: &SentPacket) {
        let before = self.egress.current();
        let forward = self.egress.handle_packet(&packet.arriving(self.now));
        let current = self.egress.current();
        if current != before && current.is_some() {
            self.run += 1;
            self.entered_at = packet.seq;
        }
        let known = !self.seen.insert((packet.layer, packet.seq));
        match forward {
            Forward::Send(header) => {
                assert_eq!(current, Some(packet.layer));
                self.subscriber.receive(header, packet, self.run);
            }
            Forward::Drop => {
                let belongs = current == Some(packet.layer) && packet.seq >= self.entered_at;
                assert!(!belongs || known || packet.is_padding(), "dropped: {packet:?}");
                if belongs && !known {
                    self.subscriber.expect_no_place_for(packet, self.run);
                }
            }
        }
        self.pass_requests();
    }

    fn pass_requests(&mut self) {
        while let Some(layer) = self.egress.poll_keyframe_request(self.now) {
            self.requests += 1;
            self.encoders[layer.index()].keyframe_wanted = true;
        }
    }

    fn judge(&mut self, most_drift: Duration) -> Decoded {
        self.subscriber.judge(most_drift)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const PERFECT: Impairment = Impairment { loss: 0, recovered: 0, duplicates: 0, jitter_ms: 0 };
const ROUGH: Impairment = Impairment { loss: 8, recovered: 90, duplicates: 5, jitter_ms: 40 };

#[test]
fn on_a_perfect_network_every_frame_is_decodable_through_every_switch() {
    for seed in 0..20 {
        let mut call = Call::new(seed, PERFECT);
        for layer in [Layer::HIGH, Layer::LOW, Layer::MID, Layer::HIGH, Layer::LOW, Layer::HIGH] {
            call.want(layer);
            call.run_for(SECOND);
            assert_eq!(call.egress.current(), Some(layer));
        }
        let decoded = call.judge(Duration::from_millis(40));
        assert_eq!(decoded.undecodable, 0, "seed {seed}: {decoded:?}");
        // The first second may begin on a lower layer; then five changes of the wish.
        assert!((5..=7).contains(&decoded.seams), "seed {seed}: {decoded:?}");
        assert!(decoded.frames >= 6 * 29, "seed {seed}: {decoded:?}");
    }
}

#[test]
fn under_loss_reordering_and_duplicates_the_stream_stays_clean() {
    let (mut frames, mut seams) = (0, 0);
    for seed in 100..160 {
        let mut call = Call::new(seed, ROUGH);
        for _ in 0..15 {
            let wanted = Layer::new_for_test(call.random.below(4));
            call.want(wanted);
            if call.random.percent(20) {
                let layer = call.random.below(3) as usize;
                call.encoders[layer].stopped ^= true;
                call.encoders[layer].keyframe_wanted = true;
            }
            if call.random.percent(30) {
                call.egress.handle_keyframe_request();
            }
            let time = Duration::from_millis(200 + call.random.below(1_500));
            call.run_for(time);
        }
        let decoded = call.judge(Duration::from_millis(500));
        frames += decoded.frames;
        seams += decoded.seams;
    }
    // 60 calls of 14 s on average, in part paused or with layers stopped.
    assert!(frames > 60 * 150, "{frames} frames");
    assert!(seams > 60 * 5, "{seams} seams");
}

#[test]
fn a_call_outlives_the_wrap_of_every_counter() {
    // 70 000 packets and 33 000 frames: 16-bit, 15-bit and 8-bit counters wrap, switches in between.
    let mut call =
        Call::new(1, Impairment { loss: 1, recovered: 100, duplicates: 1, jitter_ms: 20 });
    for turn in 0..110 {
        call.want(if turn % 2 == 0 { Layer::HIGH } else { Layer::MID });
        call.run_for(10 * SECOND);
    }
    let decoded = call.judge(2 * SECOND);
    assert!(decoded.frames > 32_768, "{decoded:?}");
    assert!(decoded.seams >= 109, "{decoded:?}");
}

impl Layer {
    /// `None` for the first number past the layers.
    fn new_for_test(index: u64) -> Option<Self> {
        Self::ALL.get(index as usize).copied()
    }
}
