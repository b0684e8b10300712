//! Descriptors as an encoder writes them, and as nobody should.

use super::*;

/// Writes bits, the most significant first.
#[derive(Default)]
struct Writer {
    bits: Vec<bool>,
}

impl Writer {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        self.bits.chunks(8).map(byte).collect()
    }

    fn mandatory(begins: bool, ends: bool, template: u32, number: u32) -> Self {
        let mut writer = Self::default();
        writer.put(begins.into(), 1).put(ends.into(), 1).put(template, 6).put(number, 16);
        writer
    }
}

/// A template: how the layers go on behind it, indications for each target, references.
type TemplateRow = (u32, &'static [u32], &'static [u32]);

const NEXT_TEMPORAL: u32 = 1;
const NEXT_SPATIAL: u32 = 2;
const SAME: u32 = 0;
const LAST: u32 = 3;

/// `L1T3`: a keyframe and three temporal layers (A.10 has more of this kind).
const L1T3: &[TemplateRow] = &[
    (SAME, &[2, 2, 2], &[]),
    (NEXT_TEMPORAL, &[2, 2, 2], &[4]),
    (NEXT_TEMPORAL, &[0, 2, 2], &[2]),
    (LAST, &[0, 0, 1], &[1]),
];

/// `L2T1_KEY`: two sizes, the larger one predicted from the smaller in keyframes only.
const L2T1_KEY: &[TemplateRow] = &[
    (SAME, &[2, 2], &[]),
    (NEXT_SPATIAL, &[2, 0], &[2]),
    (SAME, &[0, 2], &[1]),
    (LAST, &[0, 2], &[2]),
];

/// Offset 61, so that template ids wrap; two chains for two targets, none for three.
fn structure(writer: &mut Writer, rows: &[TemplateRow], sizes: &[(u32, u32)]) {
    let targets = rows[0].1.len() as u32;
    writer.put(61, 6).put(targets - 1, 5);
    rows.iter().for_each(|row| {
        writer.put(row.0, 2);
    });
    for indication in rows.iter().flat_map(|row| row.1) {
        writer.put(*indication, 2);
    }
    for row in rows {
        for back in row.2 {
            writer.put(1, 1).put(back - 1, 4);
        }
        writer.put(0, 1);
    }
    match targets {
        // ns(3) of 2 is 11; a chain for each target, ns(2) is one bit; four bits for each template and chain.
        2 => {
            writer.put(3, 2).put(0, 1).put(1, 1);
            rows.iter().for_each(|_| {
                writer.put(0x12, 8);
            });
        }
        _ => {
            writer.put(0, 2);
        }
    }
    writer.put(u32::from(!sizes.is_empty()), 1);
    for (width, height) in sizes {
        writer.put(width - 1, 16).put(height - 1, 16);
    }
}

fn keyframe(rows: &[TemplateRow], sizes: &[(u32, u32)]) -> Vec<u8> {
    let mut writer = Writer::mandatory(true, false, 61, 700);
    writer.put(0x10, 5);
    structure(&mut writer, rows, sizes);
    writer.bytes()
}

fn parse(
    value: &[u8],
    known: &mut Option<DependencyStructure>,
) -> Result<FrameDependencies, DescriptorError> {
    FrameDependencies::parse(value, known)
}

#[test]
fn a_keyframe_brings_the_structure_that_later_frames_refer_to() {
    let mut known = None;
    let key = parse(&keyframe(L1T3, &[(320, 180)]), &mut known).unwrap();
    assert!(key.begins && !key.ends && key.has_structure && key.lets_up);
    assert_eq!((key.number, key.spatial, key.temporal, key.references), (700, 0, 0, None));
    let structure = known.as_ref().unwrap();
    assert_eq!((structure.spatial_layers(), structure.sizes()), (1, Some(&[(320, 180)][..])));
    for (template, temporal, back) in [(62, 0, 4), (63, 1, 2), (0, 2, 1)] {
        let value = Writer::mandatory(true, true, template, 65_535).bytes();
        let frame = parse(&value, &mut known).unwrap();
        assert_eq!((frame.temporal, frame.references), (temporal, Some((back, back))));
        assert!(frame.lets_up && frame.ends && !frame.has_structure);
    }
}

#[test]
fn sizes_of_spatial_layers_are_read_behind_chains() {
    let mut known = None;
    let sizes = [(320, 180), (640, 360)];
    parse(&keyframe(L2T1_KEY, &sizes), &mut known).unwrap();
    let structure = known.as_ref().unwrap();
    assert_eq!(structure.spatial_layers(), 2);
    assert_eq!(structure.sizes(), Some(&[(320, 180), (640, 360)][..]));
    let upper = parse(&Writer::mandatory(true, true, 63, 1).bytes(), &mut known).unwrap();
    assert_eq!((upper.spatial, upper.references), (1, Some((1, 1))));
}

#[test]
fn a_frame_can_differ_from_its_template() {
    let mut known = None;
    parse(&keyframe(L2T1_KEY, &[]), &mut known).unwrap();
    assert_eq!(known.as_ref().unwrap().sizes(), None);
    let mut writer = Writer::mandatory(true, true, 62, 9);
    // Active targets, own indications, own references, own chains.
    writer.put(0x0f, 5).put(1, 2).put(0x9, 4);
    writer.put(1, 2).put(2, 4).put(3, 2).put(4_095, 12).put(0, 2).put(5, 8).put(6, 8);
    let frame = parse(&writer.bytes(), &mut known).unwrap();
    assert_eq!(frame.references, Some((3, 4_096)));
    assert_eq!(frame.spatial, 0);
}

#[test]
fn a_frame_that_others_skip_over_does_not_let_up() {
    let mut known = None;
    parse(&keyframe(L1T3, &[]), &mut known).unwrap();
    let mut writer = Writer::mandatory(true, true, 62, 9);
    // Required for the higher frame rates: what comes before it is needed, too.
    writer.put(0x04, 5).put(2, 2).put(3, 2).put(3, 2);
    assert!(!parse(&writer.bytes(), &mut known).unwrap().lets_up);
}

#[test]
fn what_refers_to_no_known_structure_is_refused() {
    let delta = Writer::mandatory(true, true, 62, 9).bytes();
    assert_eq!(parse(&delta, &mut None), Err(DescriptorError::UnknownTemplate));
    let mut known = None;
    parse(&keyframe(L1T3, &[]), &mut known).unwrap();
    let other = Writer::mandatory(true, true, 60, 9).bytes();
    assert_eq!(parse(&other, &mut known), Err(DescriptorError::UnknownTemplate));
}

#[test]
fn a_descriptor_that_is_cut_short_is_refused_and_leaves_the_structure() {
    let whole = keyframe(L2T1_KEY, &[(320, 180), (640, 360)]);
    let mut known = None;
    parse(&keyframe(L1T3, &[]), &mut known).unwrap();
    for length in (0..whole.len()).filter(|length| *length != MANDATORY_LEN) {
        assert_eq!(parse(&whole[..length], &mut known), Err(DescriptorError::CutShort));
    }
    assert_eq!(known.unwrap().spatial_layers(), 1);
}

#[test]
fn layers_without_end_are_refused() {
    for pattern in [0x00, 0x55, 0xaa] {
        let mut writer = Writer::mandatory(true, true, 61, 9);
        writer.put(0x10, 5).put(61, 6).put(0, 5);
        let value = [writer.bytes(), vec![pattern; 100]].concat();
        assert_eq!(parse(&value, &mut None), Err(DescriptorError::TooMuch), "{pattern:x}");
    }
}

#[test]
fn frame_numbers_move_and_wrap() {
    let mut value = Writer::mandatory(true, true, 62, 65_530).bytes();
    shift_frame_number(&mut value, 10);
    assert_eq!(value[1..], [0, 4]);
    shift_frame_number(&mut value[..2], 10);
    assert_eq!(value[1..], [0, 4]);
}

#[test]
fn whatever_the_bytes_say_reading_them_ends() {
    let seeds = [keyframe(L1T3, &[(1, 1)]), keyframe(L2T1_KEY, &[(320, 180), (640, 360)])];
    let mut random = fastrand::Rng::with_seed(9_628);
    let mut known = None;
    for _ in 0..200_000 {
        let mut value = random.choice(&seeds).cloned().unwrap_or_default();
        for _ in 0..random.usize(0..5) {
            let at = random.usize(..value.len());
            value[at] ^= 1 << random.u8(..8);
        }
        value.truncate(random.usize(..=value.len()));
        if let Ok(frame) = parse(&value, &mut known) {
            assert!(usize::from(frame.spatial) < MAX_SPATIAL && frame.temporal < MAX_TEMPORAL);
            assert!(frame.references.is_none_or(|(nearest, farthest)| nearest <= farthest));
        }
    }
}
