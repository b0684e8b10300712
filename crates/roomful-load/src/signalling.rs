//! Getting participants into rooms: what they want, and how the servers are told.

pub(crate) mod janus;
pub(crate) mod livekit;
mod token;

use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use tokio::sync::oneshot;

use crate::engine::Handle;
use crate::ledger::Group;
use crate::media::mark::StreamKind;
use crate::media::source::{Negotiated, Shape, Source};
use crate::participant::ParticipantId;
use crate::sdp::{Format, Kind, Section, SendTrack, SimulcastLayer, VideoCodec};

/// What one participant does in a room.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) id: ParticipantId,
    pub(crate) group: Group,
    pub(crate) room: String,
    pub(crate) tracks: Vec<Track>,
    pub(crate) view: View,
}

/// What a participant wants of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Nothing.
    Nothing,
    /// Everything, at whatever layer the server chooses.
    Everything,
    /// Everything: this one large, all others as thumbnails.
    Spotlight(ParticipantId),
}

impl View {
    /// Whether anything is to be received.
    pub(crate) fn subscribes(self) -> bool {
        self != Self::Nothing
    }
}

/// A track to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub(crate) content: Content,
    pub(crate) shape: Shape,
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A microphone and how loud it is, in -dBov: 0 is loudest, 127 silence (RFC 6464).
    Microphone { level: u8 },
    /// A camera, in one layer or three.
    Camera { codec: VideoCodec, simulcast: bool },
}

/// One participant's time in a room, as an adapter is asked for it.
pub(crate) struct Visit<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) engine: &'a Handle,
    /// The participant is to leave.
    pub(crate) stop: oneshot::Receiver<()>,
    pub(crate) record: &'a mut JoinRecord,
}

/// How far a join got, and when.
#[derive(Debug, Clone)]
pub(crate) struct JoinRecord {
    pub(crate) id: ParticipantId,
    pub(crate) started: Instant,
    /// The signalling connection stood.
    pub(crate) opened: Option<Duration>,
    /// The server let the participant in.
    pub(crate) admitted: Option<Duration>,
    /// Why it failed, then or later.
    pub(crate) failure: Option<String>,
}

/// Layers of a camera, lowest first, as `livekit-client` names them.
const RIDS: [&str; 3] = ["q", "h", "f"];

/// What a participant's tracks come to.
struct Prepared {
    sections: Vec<Section>,
    sources: Vec<Source>,
    /// That of its camera.
    codec: VideoCodec,
}

impl Plan {
    /// What the track in the section with this number is announced as.
    fn cid(&self, mid: usize) -> String {
        format!("track-{}-{mid}", self.id.0)
    }

    /// Sections of an offer, from the first on, and the streams sent in them.
    fn prepare(&self) -> Prepared {
        let mut prepared =
            Prepared { sections: Vec::new(), sources: Vec::new(), codec: VideoCodec::Vp8 };
        for (mid, track) in self.tracks.iter().enumerate() {
            let number = u8::try_from(mid).unwrap_or(u8::MAX);
            let (section, sources) = track.prepare(&self.cid(mid), number);
            if let Content::Camera { codec, .. } = track.content {
                prepared.codec = codec;
            }
            prepared.sections.push(Section::Send(section));
            prepared.sources.extend(sources);
        }
        prepared
    }
}

impl Track {
    fn kind(&self) -> Kind {
        match self.content {
            Content::Microphone { .. } => Kind::Audio,
            Content::Camera { .. } => Kind::Video,
        }
    }

    /// The section of an offer for it, and its streams. `mid` is the section's place.
    fn prepare(&self, cid: &str, mid: u8) -> (SendTrack, Vec<Source>) {
        let mut layers = Vec::new();
        let mut sources = Vec::new();
        let mut add = |format, kind, shape, rid, repair: Option<Ssrc>| {
            let ssrc = random_ssrc();
            layers.push(SimulcastLayer { rid, ssrc, repair });
            let negotiated = Negotiated { mid, rid, transport_sequence: false };
            sources.push(Source::new(ssrc, repair, kind, format, shape, negotiated));
        };
        match self.content {
            Content::Microphone { .. } => {
                add(Format::Opus, StreamKind::Audio, self.shape, None, None);
            }
            Content::Camera { codec, simulcast: false } => {
                let repair = Some(random_ssrc());
                add(Format::Video(codec), StreamKind::Video(2), self.shape, None, repair);
            }
            Content::Camera { codec, simulcast: true } => {
                for (layer, rid) in RIDS.into_iter().enumerate() {
                    let shape = self.shape.reduced(2 - layer as u32);
                    let kind = StreamKind::Video(layer as u8);
                    add(Format::Video(codec), kind, shape, Some(rid), Some(random_ssrc()));
                }
            }
        }
        if let Content::Microphone { level } = self.content {
            sources.iter_mut().for_each(|source| source.set_level(level));
        }
        (SendTrack { cid: cid.to_owned(), kind: self.kind(), layers }, sources)
    }
}

/// Not 0, which some take for "none".
fn random_ssrc() -> Ssrc {
    Ssrc(fastrand::u32(1..))
}
