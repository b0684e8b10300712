//! A received packet, in our own words, and what may be forwarded of it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use str0m::format::CodecSpec;
use str0m::rtp::ExtensionValues;

use super::Section;
use crate::egress::{Codec, Layer};
use crate::speakers::AudioLevel;

/// One received RTP packet.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) section: Section,
    pub(crate) layer: Layer,
    pub(crate) seq: u64,
    pub(crate) timestamp: u64,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) format: Format,
    pub(crate) extensions: Extensions,
    pub(crate) arrival: Instant,
}

/// Codec with its parameters, as negotiated with whoever sent the packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Format {
    pub(super) spec: CodecSpec,
    pub(super) codec: Codec,
}

/// The header extensions that are forwarded.
#[derive(Clone)]
pub(crate) struct Extensions(pub(super) ExtensionValues);

impl Format {
    /// The codec without its parameters.
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }
}

impl Extensions {
    /// Everything else describes the participant's own path and is written anew for each subscriber.
    pub(super) fn forwarded(received: &ExtensionValues) -> Self {
        Self(ExtensionValues {
            audio_level: received.audio_level,
            voice_activity: received.voice_activity,
            video_orientation: received.video_orientation,
            ..ExtensionValues::default()
        })
    }

    /// How loud the packet's sound is (RFC 6464), if its sender says.
    pub(crate) fn audio_level(&self) -> Option<AudioLevel> {
        self.0.audio_level.map(|level| AudioLevel(level.unsigned_abs()))
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extensions").field(&self.0.audio_level).finish()
    }
}

/// Our name for a codec, if it is one that publications may use.
pub(super) fn codec_of(codec: str0m::format::Codec) -> Option<Codec> {
    match codec {
        str0m::format::Codec::Opus => Some(Codec::Opus),
        str0m::format::Codec::Vp8 => Some(Codec::Vp8),
        str0m::format::Codec::Vp9 => Some(Codec::Vp9),
        str0m::format::Codec::H264 => Some(Codec::H264),
        str0m::format::Codec::Av1 => Some(Codec::Av1),
        _ => None,
    }
}
