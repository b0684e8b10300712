//! Writing headers.

use super::extensions::{ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use super::{
    EXTENSION_BIT, EXTENSION_HEADER_LEN, MARKER_BIT, MIN_HEADER_LEN, PADDING_BIT, PAYLOAD_TYPE,
    RtpHeader, VERSION,
};
use crate::Ssrc;

/// What a header says, apart from its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFields {
    /// See [`RtpHeader::marker`].
    pub marker: bool,
    /// 7 bits; an eighth is left out.
    pub payload_type: u8,
    /// See [`RtpHeader::sequence`].
    pub sequence: u16,
    /// See [`RtpHeader::timestamp`].
    pub timestamp: u32,
    /// See [`RtpHeader::ssrc`].
    pub ssrc: Ssrc,
}

impl From<&RtpHeader> for HeaderFields {
    fn from(header: &RtpHeader) -> Self {
        let RtpHeader { marker, payload_type, sequence, timestamp, ssrc, .. } = *header;
        Self { marker, payload_type, sequence, timestamp, ssrc }
    }
}

/// Writes a header with these extension `elements` (identifier and value) to the front of `out` and returns its length,
/// which is where the payload goes. No elements, no extension.
///
/// The one-byte form is used if it can hold every element, else the two-byte form (RFC 8285 §4.1.2). The elements are
/// walked over twice: first to choose. `None` if it does not fit into `out`, or an element into neither form: identifier
/// 0, more than 255 bytes, or more than 65,535 words in all.
pub fn write_header<'e>(
    out: &mut [u8],
    fields: &HeaderFields,
    elements: impl Iterator<Item = (u8, &'e [u8])> + Clone,
) -> Option<usize> {
    let (fixed, rest) = out.split_first_chunk_mut::<MIN_HEADER_LEN>()?;
    let extension_len = write_extension(rest, elements)?;
    let [s0, s1] = fields.sequence.to_be_bytes();
    let [t0, t1, t2, t3] = fields.timestamp.to_be_bytes();
    let [c0, c1, c2, c3] = fields.ssrc.0.to_be_bytes();
    let flags = VERSION << 6 | if extension_len == 0 { 0 } else { EXTENSION_BIT };
    let marker = if fields.marker { MARKER_BIT } else { 0 };
    let kind = marker | fields.payload_type & PAYLOAD_TYPE;
    *fixed = [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
    Some(MIN_HEADER_LEN + extension_len)
}

/// Appends `count` bytes of padding (RFC 3550 §5.1) to the packet of `len` bytes at the front of `out`, whose header is
/// written, and returns its new length. `None` if `count` is 0 or they do not fit into `out`.
pub fn write_padding(out: &mut [u8], len: usize, count: u8) -> Option<usize> {
    let padding = out.get_mut(len..)?.get_mut(..usize::from(count))?;
    let (last, zeros) = padding.split_last_mut()?;
    zeros.fill(0);
    *last = count;
    *out.first_mut()? |= PADDING_BIT;
    Some(len + usize::from(count))
}

/// How a list of elements is laid out.
#[derive(Clone, Copy)]
struct Layout {
    profile: u16,
    /// Bytes before each value.
    prefix: usize,
}

const ONE_BYTE: Layout = Layout { profile: ONE_BYTE_PROFILE, prefix: 1 };
const TWO_BYTE: Layout = Layout { profile: TWO_BYTE_PROFILE, prefix: 2 };

fn write_extension<'e>(
    out: &mut [u8],
    elements: impl Iterator<Item = (u8, &'e [u8])> + Clone,
) -> Option<usize> {
    let fits_one_byte = |(id, value): (u8, &[u8])| id <= 14 && matches!(value.len(), 1..=16);
    let layout = if elements.clone().all(fits_one_byte) { ONE_BYTE } else { TWO_BYTE };
    let mut end = EXTENSION_HEADER_LEN;
    for (id, value) in elements {
        let element = out.get_mut(end..)?.get_mut(..layout.prefix + value.len())?;
        write_element(element, id, value)?;
        end += layout.prefix + value.len();
    }
    if end == EXTENSION_HEADER_LEN {
        return Some(0);
    }
    let padded = end.next_multiple_of(4);
    out.get_mut(end..padded)?.fill(0);
    let words = u16::try_from((padded - EXTENSION_HEADER_LEN) / 4).ok()?;
    let [p0, p1] = layout.profile.to_be_bytes();
    let [w0, w1] = words.to_be_bytes();
    *out.first_chunk_mut()? = [p0, p1, w0, w1];
    Some(padded)
}

/// `element` is as long as the value and what goes before it, which tells the layout.
fn write_element(element: &mut [u8], id: u8, value: &[u8]) -> Option<()> {
    if id == 0 {
        return None;
    }
    let (prefix, body) = element.split_at_mut_checked(element.len().checked_sub(value.len())?)?;
    let len = u8::try_from(value.len()).ok()?;
    match prefix {
        [both] => *both = id << 4 | (len - 1),
        [first, second] => (*first, *second) = (id, len),
        _ => return None,
    }
    body.copy_from_slice(value);
    Some(())
}
