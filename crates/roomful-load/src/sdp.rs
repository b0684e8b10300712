//! The session descriptions this program writes and reads: enough of SDP (RFC 8866), JSEP (RFC 8829)
//! and BUNDLE (RFC 9143) to be taken for a browser.

mod answer;
mod offer;
mod remote;

pub(crate) use answer::{host_candidate, write_answer};
pub(crate) use offer::{Section, SendTrack, SimulcastLayer, write_offer};
pub(crate) use remote::{Remote, candidate};

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Audio,
    Video,
}

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum VideoCodec {
    Vp8,
    H264,
    Av1,
}

impl VideoCodec {
    const ALL: [Self; 3] = [Self::Vp8, Self::H264, Self::Av1];

    /// Its name in SDP, and after `video/` as a MIME type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    pub(crate) fn payload_type(self) -> u8 {
        match self {
            Self::Vp8 => 96,
            Self::H264 => 102,
            Self::Av1 => 45,
        }
    }

    fn repair_payload_type(self) -> u8 {
        self.payload_type() + 1
    }

    fn parameters(self) -> Option<&'static str> {
        match self {
            Self::Vp8 | Self::Av1 => None,
            Self::H264 => {
                Some("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
            }
        }
    }
}

/// Opus, where browsers put it.
pub(crate) const OPUS: u8 = 111;

/// Header extensions by the number this program gives them (RFC 8285): browsers' own.
pub(crate) mod extension {
    /// RFC 6464.
    pub(crate) const AUDIO_LEVEL: u8 = 1;
    pub(crate) const ABS_SEND_TIME: u8 = 2;
    pub(crate) const TRANSPORT_SEQUENCE: u8 = 3;
    pub(crate) const TRANSPORT_SEQUENCE_URI: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// RFC 9143 §15.
    pub(crate) const MID: u8 = 4;
    /// RFC 8852.
    pub(crate) const RID: u8 = 10;
    pub(crate) const REPAIRED_RID: u8 = 11;
}

/// What a payload type of ours means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Opus,
    Video(VideoCodec),
    /// Retransmissions of that (RFC 4588).
    Repair(VideoCodec),
}

impl Format {
    /// `None` for a number that no offer of ours holds.
    pub(crate) fn of(payload_type: u8) -> Option<Self> {
        if payload_type == OPUS {
            return Some(Self::Opus);
        }
        VideoCodec::ALL.into_iter().find_map(|codec| match payload_type {
            number if number == codec.payload_type() => Some(Self::Video(codec)),
            number if number == codec.repair_payload_type() => Some(Self::Repair(codec)),
            _ => None,
        })
    }

    /// Rate of its timestamps in Hz.
    pub(crate) fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Video(_) | Self::Repair(_) => 90_000,
        }
    }
}
