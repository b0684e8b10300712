//! Which codecs may be published: by the room, less what does not work in a client.

use livekit_protocol as proto;
use proto::TrackType;

pub use crate::egress::codec::Codec;

impl Codec {
    /// Every codec there is, in the order in which they stand in for each other: every browser has VP8, nearly
    /// every one H.264. Redundancy stands in for nothing, so it is the last.
    pub const ALL: [Self; 9] = [
        Self::Vp8,
        Self::H264,
        Self::Vp9,
        Self::Av1,
        Self::H265,
        Self::Opus,
        Self::Pcmu,
        Self::Pcma,
        Self::Red,
    ];

    /// The audio codecs in the order in which LiveKit describes them.
    const SOUND: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::Opus, Self::Red];

    /// The media type, in the spelling LiveKit's clients use.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Vp8 => "video/VP8",
            Self::H264 => "video/H264",
            Self::H265 => "video/H265",
            Self::Vp9 => "video/VP9",
            Self::Av1 => "video/AV1",
            Self::Opus => "audio/opus",
            Self::Red => "audio/red",
            Self::Pcmu => "audio/PCMU",
            Self::Pcma => "audio/PCMA",
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
        (kind == TrackType::Audio) == self.is_audio()
    }

    /// Whether whoever takes `other` can have this: redundancy is taken off for those who do not know it.
    pub(crate) fn is_taken_by(self, other: Self) -> bool {
        self == other || (self, other) == (Self::Red, Self::Opus)
    }
}

impl From<Codec> for proto::Codec {
    fn from(codec: Codec) -> Self {
        Self { mime: codec.mime().to_owned(), fmtp_line: String::new() }
    }
}

/// What LiveKit calls retransmissions among codecs.
pub const REPAIRS: &str = "video/rtx";

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

    /// As a room is described: sound first, as in LiveKit, to which retransmissions count as a codec; here every video codec
    /// has them.
    pub(crate) fn of_room(&self) -> Vec<proto::Codec> {
        let repairs = proto::Codec { mime: REPAIRS.to_owned(), ..proto::Codec::default() };
        let repairs = self.pictures().next().map(|_| repairs);
        self.sound().chain(self.pictures()).chain(repairs).collect()
    }

    /// As a client is told: video first, for the sake of Flutter clients that read only the first kind.
    pub(crate) fn of_client(&self) -> Vec<proto::Codec> {
        self.pictures().chain(self.sound()).collect()
    }

    fn sound(&self) -> impl Iterator<Item = proto::Codec> {
        Codec::SOUND.into_iter().filter(|codec| self.contains(*codec)).map(Into::into)
    }

    fn pictures(&self) -> impl Iterator<Item = proto::Codec> {
        self.0.iter().copied().filter(|one| !one.is_audio()).map(Into::into)
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

/// What may be agreed on with one client. Where nothing is said it is everything.
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

    /// The same, where the client is not to receive `codec`.
    pub(crate) fn without_receiving(mut self, codec: Codec) -> Self {
        self.receiving.0.retain(|one| *one != codec);
        self
    }

    /// The same, where redundancy that is allowed one way is allowed both ways.
    pub(crate) fn with_redundancy_both_ways(&self) -> Self {
        let mut allowed = self.clone();
        for codecs in [&mut allowed.publishing, &mut allowed.receiving] {
            let either = [&self.publishing, &self.receiving].map(|one| one.contains(Codec::Red));
            if either.contains(&true) && !codecs.contains(Codec::Red) {
                codecs.0.push(Codec::Red);
            }
        }
        allowed
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
        assert_eq!(Codec::of_name("h266"), None);
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
        assert!(!left.contains(Codec::Vp8) && !left.contains(Codec::Av1));
        assert_eq!(left.of_client()[0].mime, "video/H264");
        let left = EnabledCodecs::default().for_receiving(&disabled);
        assert!(left.contains(Codec::Vp8) && !left.contains(Codec::Av1));
    }

    #[test]
    fn codecs_are_told_in_livekits_order() {
        let mimes = |codecs: Vec<proto::Codec>| {
            codecs.into_iter().map(|codec| codec.mime).collect::<Vec<_>>().join(" ")
        };
        let sound = "audio/PCMU audio/PCMA audio/opus audio/red";
        let pictures = "video/VP8 video/H264 video/VP9 video/AV1 video/H265";
        let all = EnabledCodecs::default();
        assert_eq!(mimes(all.of_room()), format!("{sound} {pictures} video/rtx"));
        assert_eq!(mimes(all.of_client()), format!("{pictures} {sound}"));
        assert_eq!(mimes(EnabledCodecs::new([Codec::Opus]).of_client()), "audio/opus");
    }

    #[test]
    fn whoever_takes_opus_can_have_what_is_sent_redundantly() {
        assert!(Codec::Red.is_taken_by(Codec::Opus) && Codec::Red.is_taken_by(Codec::Red));
        assert!(!Codec::Opus.is_taken_by(Codec::Red) && !Codec::Red.is_taken_by(Codec::Pcmu));
    }

    #[test]
    fn an_empty_list_enables_everything() {
        assert_eq!(EnabledCodecs::new([]), EnabledCodecs::default());
    }
}
