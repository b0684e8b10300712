//! VP9 payload descriptor (RFC 9628 §4.2).

const PICTURE_ID_PRESENT: u8 = 0x80; // I
const INTER_PICTURE_PREDICTED: u8 = 0x40; // P
const LAYER_INDICES_PRESENT: u8 = 0x20; // L
const START_OF_FRAME: u8 = 0x08; // B
const LONG_PICTURE_ID: u8 = 0x80; // M
const SPATIAL_ID: u8 = 0x0e; // SID, between U and D

/// The first packet of a picture that predicts from no other picture. With spatial layers inside
/// one stream only the lowest counts: the others of a key picture predict from it.
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    payload.len() > descriptor_start_len(payload) && begins_independent_picture(payload)
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
