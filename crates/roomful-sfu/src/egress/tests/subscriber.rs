//! A subscriber that knows what was sent, and judges what it gets: the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::publisher::SentPacket;
use crate::egress::{OutgoingHeader, Rewrite};

#[derive(Default)]
pub(super) struct Subscriber {
    received: BTreeMap<u64, Received>,
    /// Packets that were left out on purpose: run and source sequence number.
    left_out: BTreeSet<(u32, u64)>,
    origin: Option<(u32, Instant)>,
}

struct Received {
    header: OutgoingHeader,
    payload: Vec<u8>,
    truth: SentPacket,
    /// Which entry into a source it belongs to.
    run: u32,
}

/// What a decoder made of it.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) frames: usize,
    pub(super) undecodable: usize,
    pub(super) seams: usize,
}

impl Subscriber {
    pub(super) fn receive(&mut self, header: OutgoingHeader, truth: &SentPacket, run: u32) {
        let mut payload = truth.payload.clone();
        if let Some(Rewrite::Vp8(rewrite)) = header.rewrite {
            rewrite.apply(&mut payload);
        }
        let received = Received { header, payload, truth: truth.clone(), run };
        let place = self.received.insert(header.seq, received);
        assert!(place.is_none(), "sequence number {} was sent twice", header.seq);
    }

    pub(super) fn expect_no_place_for(&mut self, truth: &SentPacket, run: u32) {
        self.left_out.insert((run, truth.seq));
    }

    /// Checks the whole stream; `most_drift` bounds how far its timeline may leave the wall clock.
    pub(super) fn judge(&mut self, most_drift: Duration) -> Decoded {
        let mut decoded = Decoded::default();
        let packets: Vec<&Received> = self.received.values().collect();
        let Some(first) = packets.first() else { return decoded };
        assert_entry(first);
        self.origin = Some((first.header.timestamp, first.truth.captured));
        for pair in packets.windows(2) {
            let [before, after] = pair else { unreachable!() };
            assert_eq!(after.header.marker, after.truth.marker);
            if before.run == after.run {
                let between = (before.run, before.truth.seq)..(after.run, after.truth.seq);
                let left_out = self.left_out.range(between).count() as u64;
                assert_continues(before, after, left_out);
            } else {
                assert_seam(before, after);
                decoded.seams += 1;
            }
            self.assert_timeline(after, most_drift);
        }
        decode(&packets, &mut decoded);
        decoded
    }

    fn assert_timeline(&self, packet: &Received, most: Duration) {
        let Some((timestamp, captured)) = self.origin else { return };
        let ours = i64::from(packet.header.timestamp.wrapping_sub(timestamp)) / 90;
        let theirs = packet.truth.captured.duration_since(captured).as_millis() as i64;
        let drift = (ours - theirs).unsigned_abs();
        assert!(u128::from(drift) <= most.as_millis(), "the timeline is off by {drift} ms");
    }
}

/// Two neighbours of one run stand as far apart as their originals did.
fn assert_continues(before: &Received, after: &Received, left_out: u64) {
    let (was, is) = (&before.truth, &after.truth);
    assert_eq!(was.layer, is.layer);
    let source_gap = is.seq - was.seq;
    let gap = after.header.seq - before.header.seq;
    assert_eq!(gap, source_gap - left_out, "a gap for each packet that is missing, and no other");
    let timestamps = after.header.timestamp.wrapping_sub(before.header.timestamp);
    assert_eq!(u64::from(timestamps), is.timestamp - was.timestamp);
    let (Some(old), Some(new)) = (counters(before), counters(after)) else { return };
    assert_eq!(
        u64::from(new.picture_id.wrapping_sub(old.picture_id) & 0x7fff),
        is.frame - was.frame
    );
    assert_eq!(u64::from(new.tl0_pic_idx.wrapping_sub(old.tl0_pic_idx)), is.frame - was.frame);
}

/// A run begins right after the last one, at a keyframe, and every counter goes up by one.
fn assert_seam(before: &Received, after: &Received) {
    assert_entry(after);
    assert_eq!(after.header.seq, before.header.seq + 1, "a switch leaves no gap");
    let step = after.header.timestamp.wrapping_sub(before.header.timestamp);
    assert!((90..1 << 31).contains(&step), "time went on by {step} ticks");
    let (Some(old), Some(new)) = (counters(before), counters(after)) else { return };
    assert_eq!(new.picture_id, (old.picture_id + 1) & 0x7fff);
    assert_eq!(new.tl0_pic_idx, old.tl0_pic_idx.wrapping_add(1));
    assert_eq!(new.key_idx, (old.key_idx + 1) & 0x1f);
}

fn assert_entry(packet: &Received) {
    let truth = &packet.truth;
    assert!(truth.keyframe && truth.index == 0, "entered in the middle: {truth:?}");
}

struct Counters {
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
}

/// Read without the code under test; every frame of the test publisher has all three.
fn counters(packet: &Received) -> Option<Counters> {
    match packet.payload[..] {
        [_, 0xf0, high, low, tl0_pic_idx, key_idx, ..] => Some(Counters {
            picture_id: u16::from_be_bytes([high & 0x7f, low]),
            tl0_pic_idx,
            key_idx: key_idx & 0x1f,
        }),
        _ => None,
    }
}

/// Counts the frames that are whole and whose references were decoded.
fn decode(packets: &[&Received], decoded: &mut Decoded) {
    let media = packets.iter().filter(|packet| !packet.truth.is_padding());
    let mut frames: Vec<(&Received, usize)> = Vec::new();
    for packet in media {
        match frames.last_mut() {
            Some((first, count)) if same_frame(first, packet) => *count += 1,
            _ => frames.push((packet, 1)),
        }
    }
    let mut last: Option<(u32, u64)> = None;
    for (first, count) in frames {
        let truth = &first.truth;
        let whole = count == truth.of;
        if whole && (truth.keyframe || last == Some((first.run, truth.frame - 1))) {
            decoded.frames += 1;
            last = Some((first.run, truth.frame));
        } else {
            decoded.undecodable += 1;
            last = None;
        }
    }
}

fn same_frame(one: &Received, other: &Received) -> bool {
    one.run == other.run && one.header.timestamp == other.header.timestamp
}
