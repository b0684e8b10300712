//! VP9 payload descriptor (RFC 9628 §4.2): where keyframes start, and the layers inside an encoding.

use crate::egress::inner::{LayerFrame, MAX_SPATIAL};

const PICTURE_ID_PRESENT: u8 = 0x80; // I
const INTER_PICTURE_PREDICTED: u8 = 0x40; // P
const LAYER_INDICES_PRESENT: u8 = 0x20; // L
const FLEXIBLE_MODE: u8 = 0x10; // F
const START_OF_FRAME: u8 = 0x08; // B
const END_OF_FRAME: u8 = 0x04; // E
const STRUCTURE_PRESENT: u8 = 0x02; // V

const LONG_PICTURE_ID: u8 = 0x80; // M

const SWITCHING_UP_POINT: u8 = 0x10; // U
const SPATIAL_ID: u8 = 0x0e; // SID, between U and D
const INTER_LAYER_PREDICTED: u8 = 0x01; // D

const MORE_REFERENCES: u8 = 0x01; // N
const MAX_REFERENCES: usize = 3; // §4.2: at most three P_DIFF

const SIZES_PRESENT: u8 = 0x10; // Y

/// Sizes of the spatial layers, as a scalability structure lists them (§4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::egress) struct Sizes {
    /// How many there are.
    pub(in crate::egress) count: u8,
    /// Pixels of each; 0 where the structure does not say.
    pub(in crate::egress) pixels: [u32; MAX_SPATIAL],
}

/// The first packet of a picture that predicts from no other. With spatial layers inside
/// one stream only the lowest counts: the others of a key picture predict from it.
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    payload.len() > descriptor_start_len(payload) && begins_independent_picture(payload)
}

/// Which layer frame a packet belongs to, and the sizes of all layers if it lists them; `None` of an encoding without
/// layer indices, or if the descriptor ends too soon.
pub(in crate::egress) fn layer_frame(payload: &[u8]) -> Option<(LayerFrame, Option<Sizes>)> {
    let flags = *payload.first()?;
    if flags & LAYER_INDICES_PRESENT == 0 {
        return None;
    }
    let at = layer_indices_at(payload);
    let indices = *payload.get(at)?;
    let frame = LayerFrame {
        spatial: (indices & SPATIAL_ID) >> 1,
        temporal: indices >> 5,
        begins: flags & START_OF_FRAME != 0,
        ends: flags & END_OF_FRAME != 0,
        refers_back: flags & INTER_PICTURE_PREDICTED != 0,
        refers_below: indices & INTER_LAYER_PREDICTED != 0,
        lets_up: indices & SWITCHING_UP_POINT != 0,
        number: None,
    };
    if flags & STRUCTURE_PRESENT == 0 {
        return Some((frame, None));
    }
    let structure = payload.get(at + 1..).and_then(|rest| behind_references(flags, rest));
    Some((frame, structure.and_then(sizes)))
}

/// What follows TL0PICIDX, or the references in its place in flexible mode.
fn behind_references(flags: u8, rest: &[u8]) -> Option<&[u8]> {
    if flags & FLEXIBLE_MODE == 0 {
        return rest.get(1..);
    }
    if flags & INTER_PICTURE_PREDICTED == 0 {
        return Some(rest);
    }
    let last = rest.iter().take(MAX_REFERENCES).position(|diff| diff & MORE_REFERENCES == 0)?;
    rest.get(last + 1..)
}

fn sizes(structure: &[u8]) -> Option<Sizes> {
    let (&flags, mut rest) = structure.split_first()?;
    let count = (flags >> 5) + 1;
    let mut pixels = [0; MAX_SPATIAL];
    if flags & SIZES_PRESENT != 0 {
        for layer in pixels.iter_mut().take(usize::from(count)) {
            let (&[w0, w1, h0, h1], following) = rest.split_first_chunk()?;
            *layer =
                u32::from(u16::from_be_bytes([w0, w1])) * u32::from(u16::from_be_bytes([h0, h1]));
            rest = following;
        }
    }
    Some(Sizes { count, pixels })
}

fn begins_independent_picture(payload: &[u8]) -> bool {
    let Some(&flags) = payload.first() else { return false };
    if flags & INTER_PICTURE_PREDICTED != 0 || flags & START_OF_FRAME == 0 {
        return false;
    }
    if flags & LAYER_INDICES_PRESENT == 0 {
        return true;
    }
    payload.get(layer_indices_at(payload)).is_some_and(|indices| indices & SPATIAL_ID == 0)
}

/// Length of the descriptor as far as it is read here; some bytes of video must follow.
fn descriptor_start_len(payload: &[u8]) -> usize {
    let layered = payload.first().is_some_and(|flags| flags & LAYER_INDICES_PRESENT != 0);
    layer_indices_at(payload) + usize::from(layered)
}

fn layer_indices_at(payload: &[u8]) -> usize {
    let with_picture_id = payload.first().is_some_and(|flags| flags & PICTURE_ID_PRESENT != 0);
    let long = payload.get(1).is_some_and(|first| first & LONG_PICTURE_ID != 0);
    match (with_picture_id, long) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 3,
    }
}
