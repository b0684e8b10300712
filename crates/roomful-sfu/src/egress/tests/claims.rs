//! The corners of one egress, one by one.

use std::time::{Duration, Instant};

use crate::egress::tests::SHAPELESS;
use crate::egress::{
    Codec, Egress, Forward, IncomingPacket, Layer, LayerFrame, MediaKind, OutgoingHeader, Rewrite,
};
use crate::testing::start_of_time;

const KEYFRAME: &[u8] = &[0x10, 0x50, 0x42, 0x01, 0x9d, 0x01, 0x2a, 0x80, 0x02];
const INTER_FRAME: &[u8] = &[0x10, 0x31, 0x42, 0x01];
const CONTINUATION: &[u8] = &[0x00, 0xaa, 0xaa];
const FRAME: Duration = Duration::from_millis(40);
const FRAME_TICKS: u64 = 3_600;

/// An egress whose outgoing stream starts at 100, at a time that the test moves.
struct Bench {
    now: Instant,
    egress: Egress,
    codec: Codec,
}

impl Bench {
    fn video(wanted: Layer) -> Self {
        Self::new(MediaKind::Video, Codec::Vp8, wanted)
    }

    fn new(kind: MediaKind, codec: Codec, wanted: Layer) -> Self {
        let mut egress = Egress::new(kind, 100);
        egress.set_wanted(Some(wanted.into()), &SHAPELESS);
        Self { now: start_of_time(), egress, codec }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn packet(&mut self, layer: Layer, seq: u64, timestamp: u64, payload: &[u8]) -> Forward {
        let (arrival, codec) = (self.now, self.codec);
        let packet = IncomingPacket {
            layer,
            seq,
            timestamp,
            marker: true,
            payload,
            arrival,
            codec,
            frame: None,
            shape: &SHAPELESS,
        };
        self.egress.handle_packet(&packet)
    }

    fn sent(&mut self, layer: Layer, seq: u64, timestamp: u64, payload: &[u8]) -> OutgoingHeader {
        match self.packet(layer, seq, timestamp, payload) {
            Forward::Send(header) => header,
            Forward::Drop => panic!("packet {seq} of {layer:?} is dropped"),
        }
    }

    /// One frame of one packet on each of `layers`, every [`FRAME`]; the first number is `seq`.
    fn frames(&mut self, layers: &[Layer], seq: u64, count: u64) {
        for seq in seq..seq + count {
            for layer in layers {
                self.packet(*layer, seq, seq * FRAME_TICKS, INTER_FRAME);
            }
            self.wait(FRAME);
        }
    }

    fn requests(&mut self) -> Vec<Layer> {
        std::iter::from_fn(|| self.egress.poll_keyframe_request(self.now)).collect()
    }
}

const LOW: Layer = Layer::LOW;
const MID: Layer = Layer::MID;
const HIGH: Layer = Layer::HIGH;

#[test]
fn nothing_is_sent_before_a_keyframe_and_everything_after_it() {
    let mut bench = Bench::video(LOW);
    assert_eq!(bench.packet(LOW, 7, 0, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.packet(LOW, 8, 0, CONTINUATION), Forward::Drop);
    assert_eq!(bench.sent(LOW, 9, 3_600, KEYFRAME).seq, 100);
    assert_eq!(bench.sent(LOW, 10, 3_600, CONTINUATION).seq, 101);
}

#[test]
fn a_disabled_subscription_gets_nothing_and_asks_for_nothing() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.egress.set_wanted(None, &SHAPELESS);
    assert_eq!(bench.packet(LOW, 2, 3_600, KEYFRAME), Forward::Drop);
    bench.egress.handle_keyframe_request();
    assert_eq!(bench.requests(), []);
    assert_eq!(bench.egress.poll_timeout(), None);
}

#[test]
fn a_pause_ends_at_a_keyframe_and_leaves_only_the_time_it_took() {
    let mut bench = Bench::video(LOW);
    let before = bench.sent(LOW, 1, 500, KEYFRAME);
    bench.egress.set_wanted(None, &SHAPELESS);
    bench.wait(Duration::from_secs(2));
    bench.egress.set_wanted(Some(LOW.into()), &SHAPELESS);
    assert_eq!(bench.packet(LOW, 70, 200_000, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.requests(), [LOW]);
    let after = bench.sent(LOW, 71, 900_000, KEYFRAME);
    assert_eq!(after.seq, before.seq + 1);
    assert_eq!(after.timestamp, before.timestamp + 180_000);
}

#[test]
fn the_current_layer_goes_on_until_a_keyframe_of_the_target_begins() {
    let mut bench = Bench::video(HIGH);
    assert_eq!(bench.sent(LOW, 1, 0, KEYFRAME).seq, 100, "better than nothing");
    assert_eq!(bench.packet(HIGH, 50, 0, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.sent(LOW, 2, 3_600, INTER_FRAME).seq, 101);
    assert_eq!(bench.packet(HIGH, 51, 3_600, CONTINUATION), Forward::Drop);
    assert_eq!(bench.sent(HIGH, 52, 7_200, KEYFRAME).seq, 102);
    assert_eq!(bench.packet(LOW, 3, 7_200, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.egress.current(), Some(HIGH));
}

#[test]
fn a_start_takes_the_first_keyframe_at_or_below_the_wanted_layer() {
    let mut bench = Bench::video(MID);
    bench.packet(MID, 1, 0, INTER_FRAME);
    bench.packet(HIGH, 1, 0, INTER_FRAME);
    assert_eq!(bench.packet(HIGH, 2, 3_600, KEYFRAME), Forward::Drop, "more than asked for");
    assert_eq!(bench.sent(LOW, 1, 3_600, KEYFRAME).seq, 100);
    assert_eq!(bench.sent(MID, 2, 3_600, KEYFRAME).seq, 101);
    assert_eq!(bench.packet(LOW, 2, 7_200, KEYFRAME), Forward::Drop, "less than it has");
}

#[test]
fn a_layer_between_current_and_target_is_passed_over() {
    let mut bench = Bench::video(HIGH);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.packet(HIGH, 1, 0, INTER_FRAME);
    assert_eq!(bench.packet(MID, 1, 0, KEYFRAME), Forward::Drop);
    assert_eq!(bench.egress.current(), Some(LOW));
}

#[test]
fn a_keyframe_whose_first_packet_comes_late_is_not_entered() {
    let mut bench = Bench::video(LOW);
    assert_eq!(bench.packet(LOW, 11, 0, CONTINUATION), Forward::Drop);
    assert_eq!(bench.packet(LOW, 10, 0, KEYFRAME), Forward::Drop);
    assert_eq!(bench.sent(LOW, 12, 3_600, KEYFRAME).seq, 100);
}

#[test]
fn an_h264_picture_without_its_parameter_sets_is_not_entered() {
    let sps: &[u8] = &[0x67, 0x42, 0xc0, 0x1f];
    let idr: &[u8] = &[0x65, 0x88, 0x84];
    let slice: &[u8] = &[0x41, 0x9a, 0x24];
    let mut bench = Bench::new(MediaKind::Video, Codec::H264, LOW);
    bench.packet(LOW, 1, 0, slice);
    // 2 carried the parameter sets and is lost.
    assert_eq!(bench.packet(LOW, 3, 3_600, idr), Forward::Drop);
    assert_eq!(bench.sent(LOW, 4, 7_200, sps).seq, 100);

    let mut bench = Bench::new(MediaKind::Video, Codec::H264, LOW);
    bench.packet(LOW, 1, 0, slice);
    assert_eq!(bench.sent(LOW, 2, 3_600, idr).seq, 100, "sets known from the signalling");
}

#[test]
fn losses_stay_gaps_and_late_packets_find_their_place_once() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 10, 0, KEYFRAME);
    assert_eq!(bench.sent(LOW, 13, 7_200, INTER_FRAME).seq, 103);
    let late = bench.sent(LOW, 11, 3_600, INTER_FRAME);
    assert_eq!((late.seq, late.timestamp), (101, 3_600));
    assert_eq!(bench.packet(LOW, 11, 3_600, INTER_FRAME), Forward::Drop, "a duplicate");
    assert_eq!(bench.packet(LOW, 13, 7_200, INTER_FRAME), Forward::Drop, "a duplicate");
    assert_eq!(bench.packet(LOW, 9, 0, CONTINUATION), Forward::Drop, "from before the start");
    assert_eq!(bench.sent(LOW, 12, 3_600, CONTINUATION).seq, 102);
}

#[test]
fn a_packet_later_than_any_receiver_waits_is_dropped() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    for seq in (5..=1_027).filter(|seq| *seq != 1_026) {
        bench.sent(LOW, seq, 3_600, CONTINUATION);
    }
    assert_eq!(bench.packet(LOW, 2, 0, CONTINUATION), Forward::Drop, "1025 behind the newest");
    assert_eq!(bench.packet(LOW, 3, 0, CONTINUATION), Forward::Drop, "1024 behind the newest");
    assert_eq!(bench.sent(LOW, 4, 0, CONTINUATION).seq, 103, "1023 behind the newest");
}

#[test]
fn a_late_packet_that_claims_a_later_time_than_the_newest_is_dropped() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.sent(LOW, 3, 7_200, INTER_FRAME);
    assert_eq!(bench.packet(LOW, 2, 7_201, INTER_FRAME), Forward::Drop);
}

#[test]
fn padding_from_a_dead_encoder_does_not_keep_its_layer_alive() {
    let mut bench = Bench::video(HIGH);
    bench.sent(HIGH, 1, 0, KEYFRAME);
    bench.requests();
    for seq in 2..20 {
        bench.wait(FRAME);
        bench.packet(LOW, seq, seq * FRAME_TICKS, INTER_FRAME);
        bench.packet(HIGH, seq, 0, &[]);
    }
    assert_eq!(bench.requests(), [LOW]);
}

#[test]
fn packets_from_before_a_switch_are_not_sent_after_it() {
    let mut bench = Bench::video(HIGH);
    bench.sent(LOW, 10, 0, KEYFRAME);
    bench.sent(LOW, 12, 3_600, INTER_FRAME);
    bench.sent(HIGH, 5, 0, KEYFRAME);
    assert_eq!(bench.packet(LOW, 11, 3_600, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.packet(HIGH, 4, 0, INTER_FRAME), Forward::Drop);
}

#[test]
fn padding_leaves_no_gap_unless_its_place_was_kept() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 10, 0, KEYFRAME);
    assert_eq!(bench.packet(LOW, 11, 0, &[]), Forward::Drop);
    assert_eq!(bench.packet(LOW, 12, 0, &[]), Forward::Drop);
    assert_eq!(bench.sent(LOW, 13, 3_600, INTER_FRAME).seq, 101);
    assert_eq!(bench.sent(LOW, 16, 7_200, INTER_FRAME).seq, 104);
    assert_eq!(bench.sent(LOW, 14, 3_600, &[]).seq, 102, "nobody has to ask for it");
    assert_eq!(bench.packet(LOW, 12, 0, &[]), Forward::Drop, "it still has no place");
    assert_eq!(bench.sent(LOW, 15, 7_200, CONTINUATION).seq, 103);
}

#[test]
fn padding_that_overtakes_the_last_packet_of_a_frame_does_not_cost_the_frame() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 10, 0, KEYFRAME);
    assert_eq!(bench.packet(LOW, 12, 3_600, &[]), Forward::Drop);
    let late = bench.sent(LOW, 11, 3_600, INTER_FRAME);
    assert_eq!((late.seq, late.timestamp), (101, 3_600));
    assert_eq!(bench.sent(LOW, 13, 7_200, INTER_FRAME).seq, 102);
}

#[test]
fn a_leap_of_the_numbers_waits_for_a_keyframe_instead_of_leaving_a_chasm() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 10, 0, KEYFRAME);
    assert_eq!(bench.sent(LOW, 1_010, 3_600, INTER_FRAME).seq, 1_100, "a gap that can be filled");
    assert_eq!(bench.packet(LOW, 2_011, 7_200, INTER_FRAME), Forward::Drop);
    assert_eq!(bench.requests(), [LOW]);
    assert_eq!(bench.sent(LOW, 2_012, 10_800, KEYFRAME).seq, 1_101);
    assert_eq!(bench.sent(LOW, 40_000, 14_400, KEYFRAME).seq, 1_102, "one that brings a keyframe");
}

#[test]
fn a_source_that_starts_over_without_saying_so_is_found_out() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 50_000, 0, KEYFRAME);
    bench.requests();
    for seq in 0..64 {
        bench.wait(FRAME);
        assert_eq!(bench.packet(LOW, seq, seq * FRAME_TICKS, INTER_FRAME), Forward::Drop);
    }
    assert_eq!(bench.requests(), [LOW]);
    assert_eq!(bench.sent(LOW, 64, 64 * FRAME_TICKS, KEYFRAME).seq, 101);
}

#[test]
fn a_reset_encoding_is_entered_anew_whatever_its_numbers() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 50_000, 1_000_000, KEYFRAME);
    bench.egress.handle_stream_reset(LOW);
    bench.wait(FRAME);
    assert_eq!(bench.packet(LOW, 50_001, 1_003_600, INTER_FRAME), Forward::Drop);
    bench.egress.handle_stream_reset(LOW);
    let header = bench.sent(LOW, 3, 77, KEYFRAME);
    assert_eq!((header.seq, header.timestamp), (101, 1_003_600));
}

#[test]
fn frame_numbers_of_dependency_descriptors_go_on_when_their_encoder_starts_over() {
    let mut bench = Bench::new(MediaKind::Video, Codec::Av1, LOW);
    let rewritten = |bench: &mut Bench, seq, number, payload: &[u8]| {
        let frame = LayerFrame { number: Some(number), begins: true, ..LayerFrame::default() };
        let packet = IncomingPacket {
            layer: LOW,
            seq,
            timestamp: seq * FRAME_TICKS,
            marker: true,
            payload,
            arrival: bench.now,
            codec: Codec::Av1,
            frame: Some(frame),
            shape: &SHAPELESS,
        };
        match bench.egress.handle_packet(&packet) {
            Forward::Send(header) => header.rewrite,
            Forward::Drop => panic!("frame {number} is dropped"),
        }
    };
    let (key, delta): (&[u8], &[u8]) = (&[0x18, 0x0a, 1], &[0x10, 0x32, 1]);
    assert_eq!(rewritten(&mut bench, 1, 65_535, key), None, "the first keeps its own");
    assert_eq!(rewritten(&mut bench, 2, 0, delta), None);
    bench.egress.handle_stream_reset(LOW);
    let shift = Some(Rewrite::FrameNumber(1_u16.wrapping_sub(500)));
    assert_eq!(rewritten(&mut bench, 900, 500, key), shift, "1 follows 0");
    assert_eq!(rewritten(&mut bench, 901, 501, delta), shift);
}

#[test]
fn a_timestamp_that_jumps_goes_on_by_arrival_time() {
    let mut bench = Bench::video(LOW);
    let first = bench.sent(LOW, 1, 1_000_000, KEYFRAME).timestamp;
    for (seq, timestamp) in [(2, 500), (3, 900_000_000), (4, 0), (5, u64::MAX), (6, u64::MAX / 2)] {
        bench.wait(FRAME);
        let frames = u32::try_from(seq - 1).unwrap();
        let header = bench.sent(LOW, seq, timestamp, INTER_FRAME);
        assert_eq!(header.timestamp, first + frames * 3_600, "packet {seq}");
    }
}

#[test]
fn a_timestamp_crosses_32_bits_in_even_steps() {
    let mut bench = Bench::video(LOW);
    let first = bench.sent(LOW, 1, (1 << 32) - 1_000, KEYFRAME).timestamp;
    bench.wait(FRAME);
    let second = bench.sent(LOW, 2, (1 << 32) + 2_600, INTER_FRAME).timestamp;
    assert_eq!((second, second.wrapping_sub(first)), (2_600, 3_600));
}

#[test]
fn two_layers_of_one_capture_still_get_two_times() {
    let mut bench = Bench::video(HIGH);
    let low = bench.sent(LOW, 1, 0, KEYFRAME).timestamp;
    let high = bench.sent(HIGH, 1, 123_456, KEYFRAME).timestamp;
    assert_eq!(high, low + 90);
}

#[test]
fn the_next_best_layer_takes_over_when_the_wanted_one_dies() {
    let mut bench = Bench::video(HIGH);
    bench.sent(HIGH, 1, 0, KEYFRAME);
    bench.frames(&[LOW, MID, HIGH], 2, 10);
    bench.requests();
    bench.frames(&[LOW, MID], 12, 15);
    assert_eq!(bench.requests(), [], "it may only be slow");
    bench.frames(&[LOW, MID], 27, 2);
    assert_eq!(bench.requests(), [MID]);
    bench.sent(MID, 29, 29 * FRAME_TICKS, KEYFRAME);
    bench.frames(&[LOW], 30, 18);
    assert_eq!(bench.requests(), [LOW]);
    bench.sent(LOW, 48, 48 * FRAME_TICKS, KEYFRAME);
    // Back again, as encoders come back: with a keyframe.
    bench.sent(HIGH, 12, 49 * FRAME_TICKS, KEYFRAME);
    assert_eq!(bench.egress.current(), Some(HIGH));
}

#[test]
fn the_lowest_layer_above_serves_when_nothing_at_or_below_the_wanted_one_lives() {
    let mut bench = Bench::video(LOW);
    assert_eq!(bench.packet(HIGH, 1, 0, INTER_FRAME), Forward::Drop);
    bench.packet(MID, 1, 0, INTER_FRAME);
    assert_eq!(bench.requests(), [MID]);
    assert_eq!(bench.packet(HIGH, 2, 3_600, KEYFRAME), Forward::Drop, "more than asked for");
    assert_eq!(bench.sent(MID, 2, 3_600, KEYFRAME).seq, 100);
}

#[test]
fn a_still_screen_with_a_frame_per_second_is_alive() {
    let mut bench = Bench::video(HIGH);
    bench.sent(HIGH, 1, 0, KEYFRAME);
    bench.requests();
    for seq in 2..30 {
        bench.wait(Duration::from_secs(1));
        for layer in [LOW, MID, HIGH] {
            bench.packet(layer, seq, seq * 90_000, INTER_FRAME);
            assert_eq!(bench.requests(), [], "frame {seq} of {layer:?}");
        }
    }
    assert_eq!(bench.egress.current(), Some(HIGH));
}

#[test]
fn before_anything_arrives_the_wanted_layer_is_asked() {
    assert_eq!(Bench::video(HIGH).requests(), [HIGH]);
    assert_eq!(Bench::video(LOW).requests(), [LOW]);
}

#[test]
fn a_keyframe_is_asked_for_at_once_and_again_with_growing_pauses() {
    let mut bench = Bench::video(LOW);
    let start = bench.now;
    let mut asked = Vec::new();
    while bench.now < start + Duration::from_secs(10) {
        if bench.requests() == [LOW] {
            asked.push((bench.now - start).as_millis());
        }
        bench.now = bench.egress.poll_timeout().unwrap();
    }
    assert_eq!(asked, [0, 300, 900, 2_100, 4_500, 6_900, 9_300]);
    bench.sent(LOW, 1, 0, KEYFRAME);
    assert_eq!(bench.requests(), []);
    assert_eq!(bench.egress.poll_timeout(), None);
}

#[test]
fn a_new_need_begins_with_short_pauses_again() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.packet(HIGH, 1, 0, INTER_FRAME);
    for wait in [0, 300, 600] {
        bench.wait(Duration::from_millis(wait));
        bench.egress.set_wanted(Some(HIGH.into()), &SHAPELESS);
        assert_eq!(bench.requests(), [HIGH]);
    }
    bench.egress.set_wanted(Some(LOW.into()), &SHAPELESS);
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.requests(), []);
    bench.egress.set_wanted(Some(HIGH.into()), &SHAPELESS);
    assert_eq!(bench.requests(), [HIGH]);
    bench.wait(Duration::from_millis(300));
    assert_eq!(bench.requests(), [HIGH]);
}

#[test]
fn a_subscriber_that_cannot_decode_gets_a_keyframe_of_what_it_watches() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.egress.handle_keyframe_request();
    assert_eq!(bench.requests(), [LOW]);
    bench.wait(Duration::from_millis(100));
    bench.egress.handle_keyframe_request();
    assert_eq!(bench.requests(), [], "asked already");
    bench.sent(LOW, 2, 9_000, KEYFRAME);
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.requests(), [], "it has come");
    bench.egress.handle_keyframe_request();
    assert_eq!(bench.requests(), [LOW], "another wish is no repetition");
    bench.sent(LOW, 3, 18_000, KEYFRAME);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.requests(), []);
}

#[test]
fn during_a_switch_both_layers_are_asked() {
    let mut bench = Bench::video(LOW);
    bench.sent(LOW, 1, 0, KEYFRAME);
    bench.packet(HIGH, 1, 0, INTER_FRAME);
    bench.egress.set_wanted(Some(HIGH.into()), &SHAPELESS);
    bench.egress.handle_keyframe_request();
    assert_eq!(bench.requests(), [HIGH, LOW]);
}

#[test]
fn audio_flows_from_its_first_packet_and_through_every_break() {
    let mut bench = Bench::new(MediaKind::Audio, Codec::Opus, LOW);
    assert_eq!(bench.requests(), []);
    let first = bench.sent(LOW, 7, 96_000, &[0xfc, 1]);
    assert_eq!((first.seq, first.timestamp), (100, 96_000));
    bench.wait(Duration::from_millis(20));
    assert_eq!(bench.sent(LOW, 8, 96_960, &[0xfc, 1]).timestamp, 96_960);
    bench.egress.set_wanted(None, &SHAPELESS);
    bench.egress.set_wanted(Some(LOW.into()), &SHAPELESS);
    bench.wait(Duration::from_millis(20));
    let next = bench.sent(LOW, 30_000, 5, &[0xfc, 1]);
    assert_eq!((next.seq, next.timestamp), (102, 97_920));
    let leap = bench.sent(LOW, 60_000, 965, &[0xfc, 1]);
    assert_eq!(leap.seq, 103, "a leap of the numbers costs audio nothing");
    assert_eq!(bench.requests(), []);
}

#[test]
fn the_stream_starts_in_the_lower_half_of_the_numbers() {
    let mut egress = Egress::new(MediaKind::Audio, 0xffff);
    egress.set_wanted(Some(LOW.into()), &SHAPELESS);
    let packet = IncomingPacket {
        layer: LOW,
        seq: 1,
        timestamp: 0,
        marker: false,
        payload: &[1],
        arrival: start_of_time(),
        codec: Codec::Opus,
        frame: None,
        shape: &SHAPELESS,
    };
    let Forward::Send(header) = egress.handle_packet(&packet) else { panic!("dropped") };
    assert_eq!(header.seq, 0x7fff);
}
