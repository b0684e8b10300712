//! What the first bytes of a payload say: where a stream can be entered.
//!
//! Every parser takes any bytes; truncated or malformed ones simply start nothing.

mod av1;
mod h264;
mod h265;
pub(super) mod vp8;
pub(super) mod vp9;

#[cfg(test)]
mod tests;

/// A codec that publications may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// Opus with the frames of earlier packets (RFC 2198). A codec to signalling, a wrapper to media.
    Red,
    /// G.711 µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RTP Payload Format For AV1, v1.0.0 (Alliance for Open Media).
    Av1,
}

impl Codec {
    /// Whether it carries sound.
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::Red | Self::Pcmu | Self::Pcma)
    }

    /// Timestamp units per second: 48 000 for Opus (RFC 7587 §4.1), 8 000 for G.711 (RFC 3551 §4.5.14), 90 000 for
    /// every video codec.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1 => 90_000,
        }
    }
}

/// Whether decoding can begin with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// No: it continues something, or nothing is known about it.
    No,
    /// Yes, if it is the first packet of its frame, which the payload alone does not tell.
    IfFrameBegins,
    /// Yes.
    Yes,
}

/// Whether a decoder can begin with this packet: it is the first of a keyframe, or audio.
pub fn entry(codec: Codec, payload: &[u8]) -> Entry {
    match codec {
        Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma if !payload.is_empty() => Entry::Yes,
        Codec::Vp8 if vp8::starts_keyframe(payload) => Entry::Yes,
        Codec::Vp9 if vp9::starts_keyframe(payload) => Entry::Yes,
        Codec::Av1 if av1::starts_keyframe(payload) => Entry::Yes,
        Codec::H264 => h264::entry(payload),
        Codec::H265 => h265::entry(payload),
        _ => Entry::No,
    }
}

/// Whether this may be the first packet of a keyframe: what a publication counts and what answers a
/// keyframe request. Always false for audio.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    !codec.is_audio() && entry(codec, payload) != Entry::No
}

/// The best entry any of several units in one packet offers, up to the first malformed length: each stands behind a length of two
/// octets (RFC 6184 §5.7.1, RFC 7798 §4.4.2).
fn best_entry(mut units: &[u8], entry: impl Fn(&[u8]) -> Entry) -> Entry {
    let mut best = Entry::No;
    while let Some((size, rest)) = units.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((unit, following)) = rest.split_at_checked(size) else { break };
        match entry(unit) {
            Entry::Yes => return Entry::Yes,
            Entry::IfFrameBegins => best = Entry::IfFrameBegins,
            Entry::No => {}
        }
        units = following;
    }
    best
}
