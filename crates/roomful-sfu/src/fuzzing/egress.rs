//! Payloads of every codec through the forwarding machine of one subscription.

use std::time::Duration;

use super::{Script, script};
use crate::codecs::Codec;
use crate::egress::codec::{Entry, entry, starts_keyframe};
use crate::egress::{
    Egress, Forward, FrameRate, IncomingPacket, InnerWish, Layer, LayerWatch, MediaKind, Observed,
    Rewrite, Wanted,
};
use crate::testing::start_of_time;

/// First packets of keyframes, and what goes on after them, for [`egress_packets`].
pub fn egress_seeds() -> Vec<Vec<u8>> {
    let vp8_key: &[u8] = &[0x90, 0xf0, 0x81, 0x02, 3, 0x24, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0];
    let vp8_delta: &[u8] = &[0x90, 0xf0, 0x81, 0x03, 4, 0x24, 1, 0, 0, 7];
    let vp9_key: &[u8] = &[0xa8, 0x81, 0x02, 0x00, 9, 9];
    let vp9_delta: &[u8] = &[0xe8, 0x81, 0x03, 0x00, 1, 9, 9];
    let h264_key: &[u8] = &[0x18, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88];
    let h264_delta: &[u8] = &[0x7c, 0x81, 0x9a, 1];
    let av1_key: &[u8] = &[0, 0x28, 0x02, 0x12, 0x00, 0x0a, 0x0b, 0, 0, 0];
    let av1_delta: &[u8] = &[0, 0x10, 0x32, 1, 2, 3];
    let h265_key: &[u8] = &[0x60, 1, 0, 3, 0x40, 1, 1, 0, 3, 0x42, 1, 1, 0, 3, 0x26, 1, 0xaf];
    let h265_delta: &[u8] = &[0x62, 1, 0x81, 0xd0];
    let streams = [(0, vp8_key, vp8_delta), (1, h264_key, h264_delta), (2, vp9_key, vp9_delta)];
    let layered_key: &[u8] = &[0xae, 0x81, 0x02, 0x10, 0, 0x30, 0, 160, 0, 90, 1, 64, 0, 180, 9];
    let layered_upper: &[u8] = &[0xec, 0x81, 0x03, 0x53, 1, 9, 9];
    let layered = (2, layered_key, layered_upper);
    // Dependency descriptors of one template, which the second changes the references of.
    let described_key: &[u8] = &[6, 0xc0, 2, 0xbc, 0x80, 0, 0xe0, 0x18, 0x0a, 1];
    let described_delta: &[u8] = &[6, 0xc0, 2, 0xbd, 0x12, 0, 0, 0x10, 0x32, 1];
    let described = (3, described_key, described_delta);
    streams
        .into_iter()
        .chain([layered, described])
        .chain([(3, av1_key, av1_delta), (4, h265_key, h265_delta)])
        .chain([(5, &b"opus"[..], &b"more"[..])])
        .flat_map(|(codec, key, delta)| {
            let low = [(0, key), (0x80, delta), (0x80, delta)];
            let switch = [(0, key), (0, delta), (0x11, key), (0x20, delta), (0x01, delta)];
            [low.to_vec(), switch.to_vec(), [low.to_vec(), switch.to_vec()].concat()]
                .map(|records| [&[codec], &script(records)[..]].concat())
        })
        .collect()
}

/// Every record is a packet: its kind says of which layer, how far on in its stream, what is wanted from there on. What the
/// subscriber gets has the numbers of one stream.
pub fn egress_packets(bytes: &[u8]) {
    let Some((codec, rest)) = bytes.split_first() else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let kind = if codec.is_audio() { MediaKind::Audio } else { MediaKind::Video };
    let mut egress = Egress::new(kind, 40);
    let mut layers = LayerWatch::default();
    egress.set_wanted(Some(Layer::LOW.into()), layers.shape());
    let mut now = start_of_time();
    let mut seqs = [1_u64 << 16; Layer::COUNT];
    let mut sent = std::collections::BTreeSet::new();
    for (kind, payload) in Script(rest) {
        let layer = Layer::ALL[usize::from(kind & 3) % Layer::COUNT];
        now += Duration::from_millis(u64::from(kind >> 5) * 7);
        let seq = &mut seqs[layer.index()];
        // Now and then late, or after a gap.
        *seq = if kind & 8 == 0 { *seq + 1 } else { *seq - 1 + 3 * u64::from(kind >> 7) };
        if kind & 4 != 0 {
            let layer = Layer::ALL.get(usize::from(kind >> 6)).copied();
            let rate = (kind & 32 != 0).then_some(FrameRate(5));
            let wanted = layer.map(|rank| Wanted {
                encoding: rank,
                inner: InnerWish { rank, pixels: u64::from(kind >> 6 & 1) * 50_000, rate },
            });
            egress.set_wanted(wanted, layers.shape());
        }
        if kind & 16 != 0 {
            egress.handle_keyframe_request();
        }
        let is_entry = entry(codec, payload) != Entry::No;
        assert_eq!(starts_keyframe(codec, payload), is_entry && !codec.is_audio());
        let timestamp = (1 << 32) + *seq * 3_000;
        let (descriptor, payload) = described(codec, payload);
        let frame = layers.observe(&Observed { codec, layer, timestamp, payload, descriptor });
        let packet = IncomingPacket {
            layer,
            seq: *seq,
            timestamp,
            marker: kind & 32 != 0,
            payload,
            arrival: now,
            codec,
            frame,
            shape: layers.shape(),
        };
        if let Forward::Send(header) = egress.handle_packet(&packet) {
            assert!(sent.insert(header.seq), "{} is given once", header.seq);
            if let Some(Rewrite::Vp8(rewrite)) = header.rewrite {
                rewrite.apply(&mut payload.to_vec());
            }
        }
        while egress.poll_keyframe_request(now).is_some() {}
    }
}

/// Of AV1 a record begins with the length of its dependency descriptor, and the descriptor.
fn described(codec: Codec, record: &[u8]) -> (&[u8], &[u8]) {
    let of_av1 = record.split_first().filter(|_| codec == Codec::Av1);
    of_av1
        .map_or((&[], record), |(length, rest)| rest.split_at(rest.len().min(usize::from(*length))))
}
