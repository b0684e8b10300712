//! Payloads: a real codec header, then a known pattern, then the mark.

use super::mark::{ContentError, MARK_BYTES, Mark, RunId};
use crate::sdp::{Format, VideoCodec};

/// The largest payload that fits a datagram of 1500 bytes over IPv6 with SRTP and header extensions.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1380;

/// The smallest with room for a header and a mark.
pub(crate) const MIN_PAYLOAD_BYTES: usize = 32 + MARK_BYTES;

/// Where in a frame a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) is_keyframe: bool,
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
    /// Counts the frames of the stream; its low bits are the picture id.
    pub(crate) frame: u64,
}

/// Fills `payload` but for the mark.
pub(crate) fn write(format: Format, position: Position, payload: &mut [u8]) {
    let length = header(format, position, payload);
    let end = payload.len().saturating_sub(MARK_BYTES);
    // Aligned at its end, as a server may have changed the length of what stands before it.
    if let Some(body) = payload.get_mut(length..end) {
        let from = PATTERN.len() - body.len().min(PATTERN.len());
        body.copy_from_slice(&PATTERN[from..]);
    }
}

/// What was received: the mark, and whether it begins a keyframe.
pub(crate) struct Content {
    pub(crate) mark: Mark,
    pub(crate) starts_keyframe: bool,
}

/// Reads a payload back and compares every byte whose value is known.
pub(crate) fn read(format: Format, payload: &[u8], run: RunId) -> Result<Content, ContentError> {
    let mark = Mark::read(payload, run)?;
    let (length, starts_keyframe) = header_of(format, payload).ok_or(ContentError::Damaged)?;
    let body = payload
        .get(length..payload.len() - MARK_BYTES)
        .filter(|body| body.len() <= PATTERN.len())
        .ok_or(ContentError::Damaged)?;
    if body != &PATTERN[PATTERN.len() - body.len()..] {
        return Err(ContentError::Damaged);
    }
    Ok(Content { mark, starts_keyframe })
}

/// Writes the codec's header; returns its length.
fn header(format: Format, position: Position, payload: &mut [u8]) -> usize {
    let length = payload.len();
    let Some(out) = payload.first_chunk_mut::<20>() else { return length };
    match format {
        Format::Opus | Format::Repair(_) => {
            // A 20 ms fullband CELT frame, mono (RFC 6716 §3.1).
            out[0] = 0xF8;
            1
        }
        Format::Video(VideoCodec::Vp8) => vp8::write(position, out),
        Format::Video(VideoCodec::H264) => h264::write(position, length, out),
        Format::Video(VideoCodec::Av1) => av1::write(position, out),
    }
}

/// Length of the codec's header, and whether a keyframe begins here.
fn header_of(format: Format, payload: &[u8]) -> Option<(usize, bool)> {
    match format {
        Format::Opus | Format::Repair(_) => Some((1, false)),
        Format::Video(VideoCodec::Vp8) => vp8::read(payload),
        Format::Video(VideoCodec::H264) => h264::read(payload),
        Format::Video(VideoCodec::Av1) => av1::read(payload),
    }
}

/// VP8 (RFC 7741 §4.2, §4.3; RFC 6386 §9.1).
mod vp8 {
    use super::Position;

    const EXTENDED: u8 = 0x80;
    const START_OF_PARTITION: u8 = 0x10;
    const HAS_PICTURE_ID: u8 = 0x80;
    const HAS_TL0: u8 = 0x40;
    const HAS_TID: u8 = 0x20;
    const HAS_KEY_INDEX: u8 = 0x10;
    const LONG_PICTURE_ID: u8 = 0x80;
    const KEYFRAME_START: [u8; 3] = [0x9D, 0x01, 0x2A];

    /// Descriptor with a 15-bit picture id and one temporal layer, as browsers write for simulcast.
    pub(super) fn write(position: Position, out: &mut [u8; 20]) -> usize {
        let start = if position.is_first { START_OF_PARTITION } else { 0 };
        let picture = (position.frame & 0x7FFF) as u16;
        let [high, low] = picture.to_be_bytes();
        out[..6].copy_from_slice(&[
            EXTENDED | start,
            HAS_PICTURE_ID | HAS_TL0 | HAS_TID,
            LONG_PICTURE_ID | high,
            low,
            position.frame as u8,
            0x20, // layer 0, may be switched to
        ]);
        if !position.is_first {
            return 6;
        }
        // Shown, of a first partition of some size; the lowest bit is clear in keyframes.
        out[6..9].copy_from_slice(&[0x10 | u8::from(!position.is_keyframe), 0x20, 0x00]);
        if !position.is_keyframe {
            return 9;
        }
        out[9..12].copy_from_slice(&KEYFRAME_START);
        // 1280 × 720.
        out[12..16].copy_from_slice(&[0x00, 0x05, 0xD0, 0x02]);
        16
    }

    pub(super) fn read(payload: &[u8]) -> Option<(usize, bool)> {
        let first = *payload.first()?;
        let mut at = 1;
        if first & EXTENDED != 0 {
            let fields = *payload.get(at)?;
            at += 1;
            if fields & HAS_PICTURE_ID != 0 {
                at += if payload.get(at)? & LONG_PICTURE_ID != 0 { 2 } else { 1 };
            }
            at += usize::from(fields & HAS_TL0 != 0);
            at += usize::from(fields & (HAS_TID | HAS_KEY_INDEX) != 0);
        }
        if first & (START_OF_PARTITION | 0x07) != START_OF_PARTITION {
            return Some((at, false));
        }
        let tag = *payload.get(at)?;
        if tag & 1 != 0 {
            return Some((at + 3, false));
        }
        (payload.get(at + 3..at + 6)? == KEYFRAME_START).then_some((at + 10, true))
    }
}

/// H.264 (RFC 6184): a keyframe begins with its parameter sets and a first slice in one STAP-A (§5.7.1), as
/// browsers send it; everything else is a slice cut into FU-A fragments (§5.8), or whole in one packet.
mod h264 {
    use super::Position;

    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    const IDR: u8 = 5;
    const NON_IDR: u8 = 1;
    const SEQUENCE_PARAMETERS: u8 = 7;
    const REFERENCE: u8 = 0x60;
    const START: u8 = 0x80;
    const END: u8 = 0x40;
    const UNIT_TYPE: u8 = 0x1F;

    /// Type octet; each parameter set after its length; the length of the slice, to be filled in; its own
    /// type and its first octet, which says that it begins the picture.
    const KEYFRAME: [u8; 17] = [
        REFERENCE | STAP_A,
        0,
        4,
        REFERENCE | SEQUENCE_PARAMETERS,
        0x42,
        0xE0,
        0x1F,
        0,
        4,
        0x68,
        0xCE,
        0x3C,
        0x80,
        0,
        0,
        REFERENCE | IDR,
        0x88,
    ];
    const SLICE_LENGTH: std::ops::Range<usize> = 13..15;

    pub(super) fn write(position: Position, length: usize, out: &mut [u8; 20]) -> usize {
        let Position { is_keyframe, is_first, is_last, .. } = position;
        if is_keyframe && is_first {
            out[..KEYFRAME.len()].copy_from_slice(&KEYFRAME);
            let slice = u16::try_from(length - SLICE_LENGTH.end).unwrap_or(u16::MAX);
            out[SLICE_LENGTH].copy_from_slice(&slice.to_be_bytes());
            return KEYFRAME.len();
        }
        if is_first && is_last {
            out[..2].copy_from_slice(&[REFERENCE | NON_IDR, 0x9A]);
            return 2;
        }
        let kind = if is_keyframe { IDR } else { NON_IDR };
        let start = if is_first { START } else { 0 };
        let end = if is_last { END } else { 0 };
        out[..2].copy_from_slice(&[REFERENCE | FU_A, start | end | kind]);
        2
    }

    pub(super) fn read(payload: &[u8]) -> Option<(usize, bool)> {
        match payload.first()? & UNIT_TYPE {
            STAP_A => Some((KEYFRAME.len(), payload.get(3)? & UNIT_TYPE == SEQUENCE_PARAMETERS)),
            FU_A | NON_IDR => Some((2, false)),
            _ => None,
        }
    }
}

/// AV1 (RTP payload format §4.4): a keyframe begins with a sequence header, and every packet holds one
/// fragment of the frame.
mod av1 {
    use super::Position;

    const CONTINUES_PREVIOUS: u8 = 0x80;
    const CONTINUES_IN_NEXT: u8 = 0x40;
    const ONE_ELEMENT: u8 = 0x10;
    const TWO_ELEMENTS: u8 = 0x20;
    const NEW_SEQUENCE: u8 = 0x08;
    /// An OBU header of type "frame", without size field.
    const FRAME_OBU: u8 = 0x30;
    /// Length, and an OBU of type "sequence header" without size field.
    const SEQUENCE_HEADER: [u8; 9] = [8, 0x08, 0x00, 0x00, 0x00, 0x24, 0x4F, 0x7E, 0x7F];

    pub(super) fn write(position: Position, out: &mut [u8; 20]) -> usize {
        let before = if position.is_first { 0 } else { CONTINUES_PREVIOUS };
        let after = if position.is_last { 0 } else { CONTINUES_IN_NEXT };
        if position.is_keyframe && position.is_first {
            out[0] = after | TWO_ELEMENTS | NEW_SEQUENCE;
            out[1..10].copy_from_slice(&SEQUENCE_HEADER);
            out[10] = FRAME_OBU;
            return 11;
        }
        out[..2].copy_from_slice(&[before | after | ONE_ELEMENT, FRAME_OBU]);
        2
    }

    pub(super) fn read(payload: &[u8]) -> Option<(usize, bool)> {
        let starts = payload.first()? & NEW_SEQUENCE != 0;
        Some((if starts { 11 } else { 2 }, starts))
    }
}

/// Bytes that no bit error and no shift by a few bytes leaves as they were.
static PATTERN: [u8; MAX_PAYLOAD_BYTES] = {
    let mut bytes = [0; MAX_PAYLOAD_BYTES];
    let mut state: u32 = 0x2545_F491;
    let mut at = 0;
    while at < bytes.len() {
        // xorshift32 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes[at] = state as u8;
        at += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::super::mark::StreamKind;
    use super::*;
    use crate::clock::Stamp;
    use crate::participant::ParticipantId;

    const RUN: RunId = RunId(1);
    const FORMATS: [Format; 4] = [
        Format::Opus,
        Format::Video(VideoCodec::Vp8),
        Format::Video(VideoCodec::H264),
        Format::Video(VideoCodec::Av1),
    ];

    #[test]
    fn every_format_is_read_back_and_knows_where_keyframes_begin() {
        for format in FORMATS {
            for is_keyframe in [true, false] {
                for (is_first, is_last) in
                    [(true, false), (false, false), (false, true), (true, true)]
                {
                    let position = Position { is_keyframe, is_first, is_last, frame: 300 };
                    let payload = payload(format, position);
                    let content = read(format, &payload, RUN).unwrap();
                    assert_eq!(content.mark, mark());
                    let starts = is_keyframe && is_first && format != Format::Opus;
                    assert_eq!(content.starts_keyframe, starts, "{format:?} {position:?}");
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_pattern_is_noticed() {
        let format = Format::Video(VideoCodec::Vp8);
        let whole = payload(format, START);
        for at in 20..whole.len() - MARK_BYTES {
            let mut broken = whole.clone();
            broken[at] ^= 0x04;
            assert!(read(format, &broken, RUN).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_shorter_vp8_descriptor_is_as_good() {
        let format = Format::Video(VideoCodec::Vp8);
        let mut payload = payload(format, START);
        // A 7-bit picture id instead of a 15-bit one.
        payload.remove(2);
        payload[2] = 44;
        assert!(read(format, &payload, RUN).unwrap().starts_keyframe);
    }

    #[test]
    fn a_payload_shifted_by_one_byte_is_noticed() {
        let format = Format::Video(VideoCodec::H264);
        let mut payload = payload(format, START);
        payload.insert(2, 0);
        assert_eq!(read(format, &payload, RUN).err(), Some(ContentError::Damaged));
    }

    const START: Position =
        Position { is_keyframe: true, is_first: true, is_last: false, frame: 300 };

    fn payload(format: Format, position: Position) -> Vec<u8> {
        let mut payload = vec![0; 500];
        write(format, position, &mut payload);
        mark().write(&mut payload);
        payload
    }

    fn mark() -> Mark {
        Mark {
            run: RUN,
            publisher: ParticipantId(4),
            stream: StreamKind::Video(1),
            seq: 9,
            sent: Stamp::from_nanos(5),
        }
    }
}
