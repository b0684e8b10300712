//! Payloads as senders make them, and as nobody should.

use super::vp8::Continuity;
use super::{Codec, Entry, entry, starts_keyframe, vp9};
use crate::egress::LayerFrame;
use crate::egress::tests::random::Random;

const ALL: [Codec; 6] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1, Codec::H265];

/// The frame header of a 640×360 keyframe.
const VP8_KEYFRAME: [u8; 10] = [0x50, 0x42, 0x01, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
const VP8_INTER_FRAME: [u8; 10] = [0x31, 0x42, 0x01, 0, 0, 0, 0, 0, 0, 0];

fn vp8(descriptor: &[u8], frame: &[u8]) -> Vec<u8> {
    [descriptor, frame].concat()
}

#[test]
fn a_vp8_keyframe_starts_where_partition_0_of_an_intra_frame_does() {
    let starts = |payload: &[u8]| entry(Codec::Vp8, payload) == Entry::Yes;
    for descriptor in [
        &[0x10][..],
        &[0x90, 0x80, 0x17],
        &[0x90, 0x80, 0x81, 0x17],
        &[0x90, 0xe0, 0x81, 0x17, 0x05, 0x00],
        &[0x90, 0xf0, 0x81, 0x17, 0x05, 0x03],
        &[0x90, 0x10, 0x03],
    ] {
        assert!(starts(&vp8(descriptor, &VP8_KEYFRAME)), "{descriptor:02x?}");
        assert!(!starts(&vp8(descriptor, &VP8_INTER_FRAME)), "{descriptor:02x?}");
        let mut continued = descriptor.to_vec();
        continued[0] &= !0x10;
        assert!(!starts(&vp8(&continued, &VP8_KEYFRAME)), "not the first packet");
        continued[0] |= 0x11;
        assert!(!starts(&vp8(&continued, &VP8_KEYFRAME)), "partition 1");
    }
    assert!(!starts(&vp8(&[0x10], &[0x50, 0x42, 0x01, 0x9d, 0x01, 0x2b])), "no start code");
}

#[test]
fn a_vp9_keyframe_starts_with_the_lowest_spatial_layer_of_an_independent_picture() {
    let starts = |payload: &[u8]| entry(Codec::Vp9, payload) == Entry::Yes;
    assert!(starts(&[0x8a, 0x81, 0x17, 0x18, 0x82]), "flexible: I B V, scalability structure");
    assert!(starts(&[0xa8, 0x81, 0x17, 0x00, 0x05, 0x82]), "layered, SID 0");
    assert!(starts(&[0x28, 0x00, 0x05, 0x82]), "layered, no picture id");
    assert!(starts(&[0xa8, 0x17, 0x10, 0x05, 0x82]), "7-bit picture id, U set");
    assert!(!starts(&[0xa8, 0x81, 0x17, 0x03, 0x05, 0x82]), "SID 1 predicts from SID 0");
    assert!(!starts(&[0xc8, 0x81, 0x17, 0x82]), "predicts from another picture");
    assert!(!starts(&[0x80, 0x81, 0x17, 0x82]), "not the start of the frame");
}

#[test]
fn a_vp9_descriptor_says_which_layer_frame_its_packet_is_of() {
    let read = |payload: &[u8]| vp9::layer_frame(payload).map(|(frame, _)| frame);
    let key = LayerFrame { begins: true, lets_up: true, ..LayerFrame::default() };
    assert_eq!(read(&[0xa8, 0x81, 0x17, 0x10, 0x05, 0x82]), Some(key));
    let upper =
        LayerFrame { spatial: 1, begins: true, refers_below: true, ..LayerFrame::default() };
    assert_eq!(read(&[0xa8, 0x81, 0x17, 0x03, 0x05, 0x82]), Some(upper));
    let later = LayerFrame {
        spatial: 2,
        temporal: 1,
        ends: true,
        refers_back: true,
        ..LayerFrame::default()
    };
    assert_eq!(read(&[0xe4, 0x17, 0x24, 0x05, 0x82]), Some(later), "7-bit picture id");
    assert_eq!(read(&[0x8a, 0x81, 0x17, 0x18, 0x82]), None, "no layer indices");
    for length in 0..4 {
        assert_eq!(read(&[0xa8, 0x81, 0x17, 0x10, 0x05, 0x82][..length]), None);
    }
}

#[test]
fn a_vp9_structure_lists_the_sizes_of_its_layers_behind_whatever_stands_before_it() {
    let structure = [0x50, 0, 160, 0, 90, 1, 64, 0, 180, 0, 0x90];
    let two = {
        let mut pixels = [0; 8];
        pixels[..3].copy_from_slice(&[160 * 90, 320 * 180, 144]);
        vp9::Sizes { count: 3, pixels }
    };
    let sizes = |descriptor: &[u8]| {
        let payload = [descriptor, &structure[..], &[0, 1, 9, 9]].concat();
        vp9::layer_frame(&payload).and_then(|(_, sizes)| sizes)
    };
    assert_eq!(sizes(&[0xaa, 0x81, 0x17, 0x00, 0x05]), Some(two), "TL0PICIDX");
    assert_eq!(sizes(&[0xba, 0x81, 0x17, 0x00]), Some(two), "flexible, no references");
    assert_eq!(sizes(&[0xfa, 0x81, 0x17, 0x00, 0x03, 0x05, 0x06]), Some(two), "three references");
    assert_eq!(sizes(&[0xfa, 0x81, 0x17, 0x00, 0x03, 0x05, 0x07]), None, "a fourth is none");
    let cut = [0xba, 0x81, 0x17, 0x00, 0x50, 0, 160, 0];
    assert_eq!(vp9::layer_frame(&cut).unwrap().1, None, "cut short");
    let counted = vp9::layer_frame(&[0xba, 0x17, 0x00, 0x40]).unwrap().1;
    assert_eq!(counted, Some(vp9::Sizes { count: 3, pixels: [0; 8] }), "no sizes said");
}

#[test]
fn an_h264_stream_is_entered_at_parameter_sets_or_at_an_idr_that_begins_its_frame() {
    let sps = [0x67, 0x42, 0xc0, 0x1f];
    let pps = [0x68, 0xce, 0x3c, 0x80];
    let idr = [0x65, 0x88, 0x84];
    let later_idr_slice = [0x65, 0x48, 0x84];
    let slice = [0x41, 0x9a, 0x24];
    let stap = |units: &[&[u8]]| {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    };
    let of = |payload: &[u8]| entry(Codec::H264, payload);
    assert_eq!(of(&sps), Entry::Yes);
    assert_eq!(of(&stap(&[&sps, &pps])), Entry::Yes);
    assert_eq!(of(&stap(&[&pps, &sps, &idr])), Entry::Yes);
    assert_eq!(of(&stap(&[&pps, &idr])), Entry::IfFrameBegins);
    assert_eq!(of(&idr), Entry::IfFrameBegins);
    assert_eq!(of(&[0x7c, 0x85, 0x88]), Entry::IfFrameBegins, "FU-A start of an IDR slice");
    assert_eq!(of(&[0x7c, 0x05, 0x88]), Entry::No, "FU-A middle");
    assert_eq!(of(&[0x7c, 0x81, 0x9a]), Entry::No, "FU-A start of an inter slice");
    assert_eq!(of(&later_idr_slice), Entry::No, "a slice further down the picture");
    assert_eq!(of(&slice), Entry::No);
    assert_eq!(of(&pps), Entry::No);
    assert_eq!(of(&[0x78, 0x00, 0x09, 0x67]), Entry::No, "an aggregate shorter than it says");
}

#[test]
fn an_h265_stream_is_entered_at_video_parameters_or_at_an_intra_picture_that_begins_its_frame() {
    let vps = [0x40, 0x01, 0x0c, 0x01];
    let sps = [0x42, 0x01, 0x01, 0x01];
    let pps = [0x44, 0x01, 0xc1, 0x72];
    let intra = |unit_type: u8| [unit_type << 1, 0x01, 0xaf, 0x08];
    let later_slice = [19 << 1, 0x01, 0x2f, 0x08];
    let inter = [0x02, 0x01, 0xd0, 0x10];
    let aggregate = |units: &[&[u8]]| {
        let mut payload = vec![48 << 1, 0x01];
        for unit in units {
            payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    };
    let of = |payload: &[u8]| entry(Codec::H265, payload);
    assert_eq!(of(&vps), Entry::Yes);
    assert_eq!(of(&aggregate(&[&vps, &sps, &pps])), Entry::Yes);
    assert_eq!(of(&aggregate(&[&sps, &vps, &intra(19)])), Entry::Yes);
    assert_eq!(of(&aggregate(&[&pps, &intra(20)])), Entry::IfFrameBegins);
    assert_eq!(of(&sps), Entry::IfFrameBegins, "its video parameters may be lost");
    for unit_type in 16..=21 {
        assert_eq!(of(&intra(unit_type)), Entry::IfFrameBegins, "BLA, IDR or CRA: {unit_type}");
    }
    assert_eq!(of(&[49 << 1, 0x01, 0x80 | 19, 0xaf]), Entry::IfFrameBegins, "start of a fragment");
    assert_eq!(of(&[49 << 1, 0x01, 19, 0xaf]), Entry::No, "middle of a fragment");
    assert_eq!(of(&[49 << 1, 0x01, 0x80 | 1, 0xd0]), Entry::No, "fragment of an inter picture");
    assert_eq!(of(&later_slice), Entry::No, "a slice further down the picture");
    assert_eq!(of(&inter), Entry::No);
    assert_eq!(of(&pps), Entry::No);
    assert_eq!(of(&[48 << 1, 0x01, 0x00, 0x09, 0x40, 0x01]), Entry::No, "shorter than it says");
}

#[test]
fn an_av1_stream_is_entered_at_a_new_coded_video_sequence() {
    let starts = |payload: &[u8]| entry(Codec::Av1, payload) == Entry::Yes;
    assert!(starts(&[0x28, 0x03, 0x08, 0x00, 0x00, 0x30]), "N set");
    assert!(!starts(&[0xa8, 0x03, 0x08, 0x00, 0x00, 0x30]), "continues an OBU");
    assert!(starts(&[0x10, 0x08, 0x00]), "one element: a sequence header");
    assert!(starts(&[0x00, 0x02, 0x08, 0x00, 0x01, 0x30]), "every element with its length");
    assert!(starts(&[0x20, 0x01, 0x10, 0x08, 0x00]), "a temporal delimiter before it");
    assert!(!starts(&[0x10, 0x30, 0x00]), "a frame");
    assert!(!starts(&[0x20, 0x05, 0x08]), "an element longer than the packet");
    assert!(!starts(&[0x10, 0x88, 0x00]), "the forbidden bit");
    assert!(!starts(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x08]));
}

#[test]
fn audio_is_entered_anywhere_and_never_asked_for_keyframes() {
    for codec in [Codec::Opus, Codec::Red, Codec::Pcmu, Codec::Pcma] {
        assert_eq!(entry(codec, &[0xfc, 0xff, 0xfe]), Entry::Yes);
        assert_eq!(entry(codec, &[]), Entry::No);
        assert!(!starts_keyframe(codec, &[0xfc, 0xff, 0xfe]));
    }
}

#[test]
fn nothing_starts_at_a_payload_cut_inside_its_header() {
    let samples: [(Codec, &[u8], usize); 5] = [
        (Codec::Vp8, &[0x90, 0xf0, 0x81, 0x17, 0x05, 0x03, 0x50, 0x42, 1, 0x9d, 1, 0x2a], 12),
        (Codec::Vp9, &[0xa8, 0x81, 0x17, 0x00, 0x82], 5),
        (Codec::H264, &[0x78, 0x00, 0x02, 0x67, 0x42], 5),
        (Codec::H265, &[0x60, 0x01, 0x00, 0x03, 0x40, 0x01, 0x0c], 7),
        (Codec::Av1, &[0x28, 0x08], 2),
    ];
    for (codec, payload, needed) in samples {
        assert!(starts_keyframe(codec, payload), "{codec:?}");
        for len in 0..needed {
            assert!(!starts_keyframe(codec, &payload[..len]), "{codec:?} cut to {len}");
        }
    }
}

#[test]
fn a_million_arbitrary_payloads_are_judged_and_rewritten_without_a_panic() {
    let mut random = Random(7);
    let mut entries = [0u32; ALL.len()];
    for _ in 0..1_000_000 {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&random.next().to_le_bytes());
        bytes[8..].copy_from_slice(&random.next().to_le_bytes());
        let payload = &mut bytes[..random.below(17) as usize];
        for (codec, count) in ALL.into_iter().zip(&mut entries) {
            *count += u32::from(entry(codec, payload) != Entry::No);
        }
        let mut continuity = Continuity::default();
        continuity.start(payload);
        continuity.rewrite(payload, true);
        continuity.start(payload);
        if let Some(rewrite) = continuity.rewrite(payload, true) {
            rewrite.apply(payload);
            rewrite.apply(&mut payload[..1]);
        }
    }
    // VP8 starts need 24 bits to fall right; the others must have been reached.
    assert!(entries[2..].iter().all(|count| *count > 1_000), "{entries:?}");
}

/// Picture id, TL0PICIDX and KEYIDX after a rewrite of `payload` by `continuity`.
fn counters(continuity: &mut Continuity, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if let Some(rewrite) = continuity.rewrite(&payload, true) {
        rewrite.apply(&mut payload);
    }
    payload
}

#[test]
fn the_first_source_keeps_its_counters_and_the_next_continues_them() {
    let mut continuity = Continuity::default();
    let first = vp8(&[0x90, 0xf0, 0xff, 0xfe, 0xff, 0x3f], &VP8_KEYFRAME);
    continuity.start(&first);
    assert_eq!(counters(&mut continuity, &first), first);
    let second = vp8(&[0x90, 0xf0, 0x80, 0x63, 0x07, 0xa2], &VP8_KEYFRAME);
    continuity.start(&second);
    let wrapped = vp8(&[0x90, 0xf0, 0xff, 0xff, 0x00, 0xa0], &VP8_KEYFRAME);
    assert_eq!(counters(&mut continuity, &second), wrapped, "TL0PICIDX and KEYIDX wrap, TID stays");
    let third = vp8(&[0x90, 0xf0, 0x80, 0x64, 0x08, 0xa2], &VP8_INTER_FRAME);
    let wrapped = vp8(&[0x90, 0xf0, 0x80, 0x00, 0x01, 0xa0], &VP8_INTER_FRAME);
    assert_eq!(counters(&mut continuity, &third), wrapped, "the 15-bit picture id wraps");
}

#[test]
fn a_narrow_picture_id_stays_narrow_and_wraps_at_7_bits() {
    let mut continuity = Continuity::default();
    continuity.start(&vp8(&[0x90, 0x80, 0x7f], &VP8_KEYFRAME));
    counters(&mut continuity, &vp8(&[0x90, 0x80, 0x7f], &VP8_KEYFRAME));
    let next = vp8(&[0x90, 0x80, 0x20], &VP8_KEYFRAME);
    continuity.start(&next);
    assert_eq!(counters(&mut continuity, &next), vp8(&[0x90, 0x80, 0x00], &VP8_KEYFRAME));
}

#[test]
fn packets_without_counters_pass_unchanged() {
    let mut continuity = Continuity::default();
    let counted = vp8(&[0x90, 0x80, 0x7f], &VP8_KEYFRAME);
    continuity.start(&counted);
    counters(&mut continuity, &counted);
    continuity.start(&vp8(&[0x90, 0x80, 0x10], &VP8_KEYFRAME));
    for payload in
        [&[0x10, 0x31][..], &[0x90, 0x20, 0x40, 0x31], &[0x90, 0x80], &[0x90, 0x40, 1, 2]]
    {
        assert_eq!(continuity.rewrite(payload, true), None, "{payload:02x?}");
    }
}
