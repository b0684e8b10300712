//! RTP packets (RFC 3550 §5), read in place and written into plain bytes.
//!
//! [`RtpHeader::parse`] works on a sealed packet as well as on an opened one: SRTP leaves the header in the clear.
//! What lies after it, padding included, makes sense only once the packet was opened. [`write_header`] puts a header
//! before a payload. Nothing here allocates.

pub mod dependency;
pub mod extension;
mod extensions;
pub mod red;
pub mod rtx;
mod sequence;
mod writer;

pub use extensions::{ExtensionForm, Extensions};
pub(crate) use sequence::nearest;
pub use sequence::{SequenceUnwrapper, TimestampUnwrapper};
pub use writer::{HeaderFields, write_header, write_padding};

use crate::Ssrc;

/// Bytes of the fixed part of every RTP header (RFC 3550 §5.1).
pub const MIN_HEADER_LEN: usize = 12;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;
const PAYLOAD_TYPE: u8 = 0x7f;

/// Bytes before the elements of a header extension: form and length in words (RFC 3550 §5.3.1).
const EXTENSION_HEADER_LEN: usize = 4;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtpError {
    /// Less than the fixed part of a header.
    #[error("too short for an RTP header")]
    TooShort,
    /// Only version 2 exists; anything else is another protocol.
    #[error("not RTP version 2")]
    WrongVersion,
    /// The header counts more contributing sources than there are bytes.
    #[error("the list of contributing sources ends beyond the packet")]
    SourcesCutShort,
    /// The header extension ends beyond the packet.
    #[error("the header extension ends beyond the packet")]
    ExtensionCutShort,
    /// The padding count is 0, or more than there are bytes after the header.
    #[error("the padding is empty or longer than what it pads")]
    BadPadding,
}

/// Whether a datagram that is RTP or RTCP is RTCP, by the values RFC 5761 §4 keeps free of payload types.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram.get(1), Some(192..=223))
}

/// The header of one packet. A plain value: the bytes it came from are passed in again where they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Video: the last packet of a frame. Audio: the first after a silence (RFC 3551 §4.1).
    pub marker: bool,
    /// Whether the payload ends in padding.
    pub padding: bool,
    /// 7 bits, whose meaning was negotiated.
    pub payload_type: u8,
    /// Counts packets; wraps within minutes. [`SequenceUnwrapper`] extends it.
    pub sequence: u16,
    /// Sampling time of the payload, in ticks of its codec's clock.
    pub timestamp: u32,
    /// Which stream the packet belongs to.
    pub ssrc: Ssrc,
    header_len: usize,
    extension_start: usize,
    extension_form: ExtensionForm,
}

impl RtpHeader {
    /// Reads the header at the front of `packet`, sealed or not.
    ///
    /// # Errors
    /// If the header, its contributing sources or its extension are not all within `packet`.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let fixed: &[u8; MIN_HEADER_LEN] = packet.first_chunk().ok_or(RtpError::TooShort)?;
        let &[flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = fixed;
        if flags >> 6 != VERSION {
            return Err(RtpError::WrongVersion);
        }
        let extension_start = MIN_HEADER_LEN + usize::from(flags & CSRC_COUNT) * 4;
        if packet.len() < extension_start {
            return Err(RtpError::SourcesCutShort);
        }
        let (extension_form, extension_len) = match flags & EXTENSION_BIT {
            0 => (ExtensionForm::None, 0),
            _ => extension_at(packet, extension_start)?,
        };
        Ok(Self {
            marker: kind & MARKER_BIT != 0,
            padding: flags & PADDING_BIT != 0,
            payload_type: kind & PAYLOAD_TYPE,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
            header_len: extension_start + extension_len,
            extension_start,
            extension_form,
        })
    }

    /// Bytes before the payload: contributing sources and extension included.
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// How the elements of the header extension are laid out.
    pub const fn extension_form(&self) -> ExtensionForm {
        self.extension_form
    }

    /// What the packet carries, without its padding. `packet` is the whole opened packet, without an SRTP tag.
    /// A packet that is nothing but padding has an empty payload.
    ///
    /// # Errors
    /// [`RtpError::BadPadding`] if the padding does not fit behind the header; [`RtpError::TooShort`] if `packet` is
    /// shorter than the header, so not the one that was parsed.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], RtpError> {
        let padded = packet.get(self.header_len..).ok_or(RtpError::TooShort)?;
        if !self.padding {
            return Ok(padded);
        }
        let count = usize::from(*padded.last().ok_or(RtpError::BadPadding)?);
        let payload_len = padded.len().checked_sub(count).ok_or(RtpError::BadPadding)?;
        if count == 0 {
            return Err(RtpError::BadPadding);
        }
        Ok(padded.get(..payload_len).unwrap_or_default())
    }

    /// The elements of the header extension, in their order. `packet` is the packet that was parsed.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let start = self.extension_start + EXTENSION_HEADER_LEN;
        let elements = packet.get(start..self.header_len).unwrap_or_default();
        Extensions::new(self.extension_form, elements)
    }

    /// The value of the first header extension element with this `id`.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet).find(|(found, _)| *found == id).map(|(_, value)| value)
    }
}

/// The form of the extension that begins at `start`, and its length in bytes with its own header.
fn extension_at(packet: &[u8], start: usize) -> Result<(ExtensionForm, usize), RtpError> {
    let rest = packet.get(start..).unwrap_or_default();
    let &[p0, p1, w0, w1] = rest.first_chunk().ok_or(RtpError::ExtensionCutShort)?;
    let words = usize::from(u16::from_be_bytes([w0, w1]));
    let len = EXTENSION_HEADER_LEN + words * 4;
    if rest.len() < len {
        return Err(RtpError::ExtensionCutShort);
    }
    Ok((ExtensionForm::of_profile(u16::from_be_bytes([p0, p1])), len))
}

#[cfg(test)]
mod tests;
