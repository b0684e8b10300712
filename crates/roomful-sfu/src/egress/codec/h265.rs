//! H.265: single units, aggregation packets and fragmentation units (RFC 7798 §4.4), without decoding order numbers
//! (`sprop-max-don-diff`, which no browser uses).

use super::{Entry, best_entry};

/// Types of units (ITU-T H.265 table 7-1): those a decoder can begin with, from BLA_W_LP to CRA_NUT.
const FIRST_INTRA: u8 = 16;
const LAST_INTRA: u8 = 21;
const VIDEO_PARAMETER_SET: u8 = 32;
const SEQUENCE_PARAMETER_SET: u8 = 33;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;

const FRAGMENT_START: u8 = 0x80;
const FRAGMENT_TYPE: u8 = 0x3f;
/// `first_slice_segment_in_pic_flag`, the first bit behind the header of a unit (ITU-T H.265 §7.3.6.1).
const FIRST_SEGMENT: u8 = 0x80;

/// Video parameters come first in an access unit that can be entered. Where they do not, because the encoder sends them
/// seldom, it can be entered only if it is known to begin here: otherwise they were lost on the way, and the
/// subscriber would decode with those of another layer.
pub(super) fn entry(payload: &[u8]) -> Entry {
    let [first, _, rest @ ..] = payload else { return Entry::No };
    match unit_type(*first) {
        AGGREGATION => best_entry(rest, |unit| match unit {
            [first, _, body @ ..] => unit_entry(unit_type(*first), body),
            _ => Entry::No,
        }),
        FRAGMENTATION => match rest.split_first() {
            Some((&fragment, body)) if fragment & FRAGMENT_START != 0 => {
                unit_entry(fragment & FRAGMENT_TYPE, body)
            }
            _ => Entry::No,
        },
        unit_type => unit_entry(unit_type, rest),
    }
}

/// `body` is what follows the two octets of the unit's header.
fn unit_entry(unit_type: u8, body: &[u8]) -> Entry {
    match (unit_type, body.first()) {
        (VIDEO_PARAMETER_SET, Some(_)) => Entry::Yes,
        (SEQUENCE_PARAMETER_SET, Some(_)) => Entry::IfFrameBegins,
        (FIRST_INTRA..=LAST_INTRA, Some(first)) if first & FIRST_SEGMENT != 0 => {
            Entry::IfFrameBegins
        }
        _ => Entry::No,
    }
}

/// The type in the first octet of a unit's header (RFC 7798 §1.1.4).
fn unit_type(first: u8) -> u8 {
    first >> 1 & 0x3f
}
