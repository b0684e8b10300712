//! AV1 aggregation header and OBU header (RTP Payload Format For AV1 §4.3–4.4; AV1 §5.3).

const CONTINUES_OBU: u8 = 0x80; // Z
const ELEMENT_COUNT: u8 = 0x30; // W
const NEW_CODED_VIDEO_SEQUENCE: u8 = 0x08; // N
const MAX_LEB128_LEN: usize = 8; // AV1 §4.10.5

const OBU_FORBIDDEN_AND_RESERVED: u8 = 0x81;
const OBU_TYPE: u8 = 0x78;
const OBU_SEQUENCE_HEADER: u8 = 1 << 3;
const OBU_TEMPORAL_DELIMITER: u8 = 2 << 3;

/// The first packet of a coded video sequence: the N bit says so, or, from senders that leave it
/// out, a sequence header comes first (a temporal delimiter may precede it).
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&aggregation, elements)) = payload.split_first() else { return false };
    if aggregation & CONTINUES_OBU != 0 || elements.is_empty() {
        return false;
    }
    aggregation & NEW_CODED_VIDEO_SEQUENCE != 0
        || begins_with_sequence_header(elements, usize::from((aggregation & ELEMENT_COUNT) >> 4))
}

/// `count` is W: the number of elements, the last of which has no length; 0 if all have one.
fn begins_with_sequence_header(mut elements: &[u8], count: usize) -> bool {
    // Two elements at most are looked at: delimiter and sequence header.
    for index in 1..=2 {
        let element = if index == count {
            elements
        } else {
            let Some((size, rest)) = leb128(elements) else { return false };
            let Some((element, following)) = rest.split_at_checked(size) else { return false };
            elements = following;
            element
        };
        let Some(&header) = element.first() else { return false };
        if header & OBU_FORBIDDEN_AND_RESERVED != 0 {
            return false;
        }
        match header & OBU_TYPE {
            OBU_SEQUENCE_HEADER => return true,
            OBU_TEMPORAL_DELIMITER if index != count => {}
            _ => return false,
        }
    }
    false
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(MAX_LEB128_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}
