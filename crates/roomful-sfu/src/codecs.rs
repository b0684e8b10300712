//! Which codecs may be published: by the room, less what does not work in a client.

use livekit_protocol as proto;
use proto::TrackType;

pub use crate::egress::codec::Codec;

impl Codec {
    /// Every codec there is, in the order in which they stand in for each other: every browser has VP8, nearly
    /// every one H.264.
    pub const ALL: [Self; 5] = [Self::Vp8, Self::H264, Self::Vp9, Self::Av1, Self::Opus];

    /// The media type, in the spelling LiveKit's clients use.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Vp8 => "video/VP8",
            Self::H264 => "video/H264",
            Self::Vp9 => "video/VP9",
            Self::Av1 => "video/AV1",
            Self::Opus => "audio/opus",
        }
    }

    /// The codec of a media type or of its second half, however it is spelled.
    pub fn of_name(name: &str) -> Option<Self> {
        let bare = |mime: &'static str| mime.split_once('/').map_or(mime, |(_, bare)| bare);
        Self::ALL.into_iter().find(|codec| {
            name.eq_ignore_ascii_case(codec.mime()) || name.eq_ignore_ascii_case(bare(codec.mime()))
        })
    }

    /// What a track of `kind` may be coded with.
    fn is_of(self, kind: TrackType) -> bool {
        (kind == TrackType::Audio) == (self == Self::Opus)
    }
}

impl From<Codec> for proto::Codec {
    fn from(codec: Codec) -> Self {
        Self { mime: codec.mime().to_owned(), fmtp_line: String::new() }
    }
}

/// The codecs a room allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnabledCodecs(Vec<Codec>);

impl Default for EnabledCodecs {
    fn default() -> Self {
        Self(Codec::ALL.to_vec())
    }
}

impl EnabledCodecs {
    /// These and no others; an empty list is every codec.
    pub fn new(codecs: impl IntoIterator<Item = Codec>) -> Self {
        let wanted: Vec<Codec> = codecs.into_iter().collect();
        if wanted.is_empty() {
            return Self::default();
        }
        Self(Codec::ALL.into_iter().filter(|codec| wanted.contains(codec)).collect())
    }

    /// Those that are left for a client in which `disabled` do not work.
    pub(crate) fn for_publishing(&self, disabled: &DisabledCodecs) -> Self {
        let works = |codec: &Codec| {
            !disabled.everywhere.contains(codec) && !disabled.publishing.contains(codec)
        };
        Self(self.0.iter().copied().filter(works).collect())
    }

    /// Those that are left for receiving in a client in which `disabled` do not work.
    pub(crate) fn for_receiving(&self, disabled: &DisabledCodecs) -> Self {
        let works = |codec: &Codec| !disabled.everywhere.contains(codec);
        Self(self.0.iter().copied().filter(works).collect())
    }

    /// Whether `codec` is one of them.
    pub(crate) fn contains(&self, codec: Codec) -> bool {
        self.0.contains(&codec)
    }

    /// As the client is told and as the room is described: video first, for the sake of Flutter clients that read
    /// only the first kind.
    pub(crate) fn described(&self) -> Vec<proto::Codec> {
        self.0.iter().map(|codec| (*codec).into()).collect()
    }

    /// The media type under which a track announced as `name` is published: its own if it may be used, else the
    /// first that may. A client that asks for nothing gets nothing: what it sends decides.
    pub(crate) fn mime_for(&self, name: &str, kind: TrackType) -> String {
        let wanted = Codec::of_name(name).filter(|codec| self.0.contains(codec));
        let wanted = wanted.filter(|codec| codec.is_of(kind));
        let fallback = || self.0.iter().copied().find(|codec| codec.is_of(kind));
        wanted.or_else(fallback).map(|codec| codec.mime().to_owned()).unwrap_or_default()
    }
}

/// What may be agreed on with one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowedCodecs {
    /// For what it sends.
    pub(crate) publishing: EnabledCodecs,
    /// For what it receives.
    pub(crate) receiving: EnabledCodecs,
}

impl AllowedCodecs {
    /// What `enabled` leaves to a client in which `disabled` do not work.
    pub(crate) fn new(enabled: &EnabledCodecs, disabled: &DisabledCodecs) -> Self {
        Self {
            publishing: enabled.for_publishing(disabled),
            receiving: enabled.for_receiving(disabled),
        }
    }
}

/// Codecs that do not work in one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DisabledCodecs {
    /// Neither to be sent nor to be received.
    pub(crate) everywhere: Vec<Codec>,
    /// Not to be sent.
    pub(crate) publishing: Vec<Codec>,
}

impl DisabledCodecs {
    pub(crate) fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.publishing.is_empty()
    }
}

impl From<DisabledCodecs> for proto::DisabledCodecs {
    fn from(disabled: DisabledCodecs) -> Self {
        Self {
            codecs: disabled.everywhere.into_iter().map(Into::into).collect(),
            publish: disabled.publishing.into_iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_known_by_every_spelling() {
        for name in ["vp8", "VP8", "video/vp8", "VIDEO/VP8"] {
            assert_eq!(Codec::of_name(name), Some(Codec::Vp8));
        }
        assert_eq!(Codec::of_name("h265"), None);
        assert_eq!(Codec::of_name(""), None);
    }

    #[test]
    fn a_codec_that_may_not_be_used_is_replaced_by_one_of_its_kind() {
        let enabled = EnabledCodecs::new([Codec::Opus, Codec::H264, Codec::Vp8]);
        assert_eq!(enabled.mime_for("vp9", TrackType::Video), "video/VP8");
        assert_eq!(enabled.mime_for("h264", TrackType::Video), "video/H264");
        assert_eq!(enabled.mime_for("opus", TrackType::Audio), "audio/opus");
        assert_eq!(enabled.mime_for("vp8", TrackType::Audio), "audio/opus");
        let audio_only = EnabledCodecs::new([Codec::Opus]);
        assert_eq!(audio_only.mime_for("vp8", TrackType::Video), "");
    }

    #[test]
    fn what_a_client_cannot_send_is_not_offered_to_it() {
        let disabled =
            DisabledCodecs { everywhere: vec![Codec::Av1], publishing: vec![Codec::Vp8] };
        let left = EnabledCodecs::default().for_publishing(&disabled);
        assert_eq!(left, EnabledCodecs::new([Codec::H264, Codec::Vp9, Codec::Opus]));
        assert_eq!(left.described()[0].mime, "video/H264");
        let left = EnabledCodecs::default().for_receiving(&disabled);
        assert!(left.contains(Codec::Vp8) && !left.contains(Codec::Av1));
    }

    #[test]
    fn an_empty_list_enables_everything() {
        assert_eq!(EnabledCodecs::new([]), EnabledCodecs::default());
    }
}
