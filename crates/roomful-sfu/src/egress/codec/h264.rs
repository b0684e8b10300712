//! H.264 packetization modes 0 and 1 (RFC 6184 §5.2, §5.6–5.8).

use super::{Entry, best_entry};

const UNIT_TYPE: u8 = 0x1f;
const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETER_SET: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
/// `first_mb_in_slice` is an Exp-Golomb code (ITU-T H.264 §7.3.3): a leading one bit is the value 0.
const FIRST_MACROBLOCK: u8 = 0x80;

/// A sequence parameter set opens an access unit that can be entered. An IDR slice without one can
/// be entered only where it is known to open its access unit: otherwise the parameter sets were
/// lost on the way here, and the subscriber would decode it with those of another layer.
pub(super) fn entry(payload: &[u8]) -> Entry {
    let Some((&header, rest)) = payload.split_first() else { return Entry::No };
    match header & UNIT_TYPE {
        STAP_A => best_entry(rest, |unit| match unit.split_first() {
            Some((&header, body)) => unit_entry(header & UNIT_TYPE, body),
            None => Entry::No,
        }),
        FU_A => match rest.split_first() {
            Some((&fu, unit)) if fu & FU_START != 0 => unit_entry(fu & UNIT_TYPE, unit),
            _ => Entry::No,
        },
        unit_type => unit_entry(unit_type, rest),
    }
}

/// `body` is what follows the unit's header octet.
fn unit_entry(unit_type: u8, body: &[u8]) -> Entry {
    match (unit_type, body.first()) {
        (SEQUENCE_PARAMETER_SET, Some(_)) => Entry::Yes,
        (IDR_SLICE, Some(first)) if first & FIRST_MACROBLOCK != 0 => Entry::IfFrameBegins,
        _ => Entry::No,
    }
}
