//! `Link`: what joins two parts of one room that live on different workers (or nodes).
//!
//! To a part, the other end of a link is one more member of the room: it is told of everyone who comes, changes and
//! goes, asks for the tracks that somebody over there wants, and gets each of them once. The part in which a room began
//! is its *home*; every other part has one link, to the home, which passes on between them.
//!
//! The same joins two rooms where a participant of one is a guest in the other: then it shows that one alone, in one
//! direction (`room/appearances.rs`, `room/guests.rs`).
//!
//! Two streams go over a link, each in order. [`LinkMessage`]s are lossless: a carrier that cannot deliver one closes
//! the link, and those behind it join anew. [`LinkMedia`] is lossy, and whatever is lost of it is repeated by those who
//! miss it. Both are plain data, so that another node can be at the other end.

use std::sync::Arc;

use livekit_protocol as proto;

use crate::administration::{AdministrationError, Reply, RequestId, RoomRequest};
use crate::audience::Audience;
use crate::codecs::Codec;
use crate::demand::Level;
use crate::ids::{Identity, ParticipantSid, RoomName, TrackSid};
use crate::liveness::Presence;
use crate::media::PathQuality;
use crate::playout::Playout;
use crate::signalling::Refusal;
use crate::token::Permissions;
use crate::transport::Channel;
use crate::variant::CodecIndex;

pub use crate::media::LinkMedia;

/// One end of a link, as its worker calls it; never reused while the link lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A track on one link, as the end that receives it calls it; never reused while the link lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkTrack(pub(crate) u32);

/// One thing the core at one end of a link says to the core at the other, in order. Lossless, but for data of participants
/// ([`LinkMessage::data_bytes`]).
#[derive(Debug, Clone)]
pub struct LinkMessage(pub(crate) Told);

impl LinkMessage {
    /// Data of a participant, for tests of what carries links.
    pub fn of_data(message: &[u8], is_lossy: bool) -> Self {
        let channel = if is_lossy { Channel::Lossy } else { Channel::Reliable };
        Self(Told::Data { channel, message: message.into(), for_observers: false })
    }

    /// It may be lost when anything much waits already: its sender asked for no more.
    pub fn is_lossy(&self) -> bool {
        matches!(self.0, Told::Data { channel: Channel::Lossy, .. } | Told::DataPacket { .. })
    }

    /// The bytes of it that a participant sent to others, which may be lost when too many wait; `None` of what parts say
    /// of the room, which must not.
    pub fn data_bytes(&self) -> Option<usize> {
        match &self.0 {
            Told::Data { message, .. } | Told::DataPacket { packet: message, .. } => {
                Some(message.len())
            }
            _ => None,
        }
    }
}

/// What a [`LinkMessage`] says.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Somebody wants to enter the room by this end: how they would begin it, and whether they may.
    Hello { wanted: Box<proto::CreateRoomRequest>, may_begin: bool },
    /// This is the room.
    Welcome(Box<Introduction>),
    /// Somebody is about to be moved to the room: a place is kept, wherever it will be.
    Expected(Identity),
    /// The room is described so from now on.
    Described { metadata: String },
    /// Somebody on this side is as follows now, and was not there before if nothing was said before.
    Present(Box<MemberFacts>),
    /// Somebody on this side is no longer there.
    Gone { member: ParticipantSid, reason: proto::DisconnectReason },
    /// Who on this side began, changed or stopped talking.
    Speaks(Vec<proto::SpeakerInfo>),
    /// Somebody on this side is out of reach, or is again within it, or is connected better or worse than before.
    Reach { member: ParticipantSid, presence: Presence, quality: Option<PathQuality> },
    /// A data message, signed by its sender's part. Those it names are found at each end.
    Data { channel: Channel, message: Arc<[u8]>, for_observers: bool },
    /// How much of one codec of a track of yours is wanted here; `None`: nobody gets it in that one any more.
    Demand { track: TrackSid, codec: CodecIndex, number: LinkTrack, level: Option<Level> },
    /// A packet of a data track of somebody on this side.
    DataPacket { track: TrackSid, packet: Arc<[u8]> },
    /// A data track of somebody on your side is wanted here, or no longer.
    DataDemand { track: TrackSid, wanted: bool },
    /// Somebody here wants what somebody on your side left for others.
    Fetch { asker: ParticipantSid, request: proto::GetDataBlobRequest },
    /// What came of it: the number of the request, and what was left or why it is not given.
    Fetched { asker: ParticipantSid, outcome: (u32, Result<Box<proto::DataBlob>, Refusal>) },
    /// Somebody on your side may do this from now on.
    Permit { member: ParticipantSid, permissions: Box<Permissions> },
    /// The server API asks something about somebody on your side.
    Asked { request: RequestId, what: Box<RoomRequest>, may_unmute: bool },
    /// What came of it.
    Answered { request: RequestId, outcome: Result<Reply, AdministrationError> },
    /// Somebody on this side is to be a guest in a room on yours, which begins if it is not there.
    Guest(Box<Guest>),
    /// It is there.
    GuestTaken,
    /// It cannot be.
    GuestRefused(AdministrationError),
    /// The room is over, or was not there: why, and what participants are told.
    Ended { why: proto::RoomEndReason, tell: proto::DisconnectReason },
}

/// What a new part of a room begins with.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    /// The room, with sid, beginning and settings.
    pub(crate) room: proto::Room,
    /// What is asked of players.
    pub(crate) playout: Playout,
    /// Marks frames that the server made; the same in every part.
    pub(crate) sif_trailer: Vec<u8>,
    /// Who is there.
    pub(crate) members: Vec<MemberFacts>,
    /// Who talks.
    pub(crate) speaking: Vec<proto::SpeakerInfo>,
    /// Who is on the way.
    pub(crate) expected: Vec<Identity>,
}

/// A participant of one room on its way to be a guest in another.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// The other room.
    pub(crate) room: RoomName,
    pub(crate) who: MemberFacts,
    /// How loud it talks, if it does.
    pub(crate) speaking: Vec<proto::SpeakerInfo>,
}

/// Everything one part knows of a participant that another has to know.
#[derive(Debug, Clone)]
pub(crate) struct MemberFacts {
    /// As told to others, but for the tracks.
    pub(crate) profile: proto::ParticipantInfo,
    pub(crate) permissions: Permissions,
    pub(crate) audience: Audience,
    pub(crate) presence: Presence,
    /// What it publishes, as far as its media can flow.
    pub(crate) tracks: Vec<TrackFacts>,
    /// Its data tracks.
    pub(crate) data_tracks: Vec<proto::DataTrackInfo>,
}

/// The same of a publication.
#[derive(Debug, Clone)]
pub(crate) struct TrackFacts {
    pub(crate) info: proto::TrackInfo,
    /// How many encodings it is sent in.
    pub(crate) layers: usize,
    /// Its further codecs, in their order.
    pub(crate) further: Vec<VariantFacts>,
}

/// The same of a further codec of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariantFacts {
    pub(crate) codec: Codec,
    /// How many encodings it is sent in; `None`: it is not sent.
    pub(crate) layers: Option<usize>,
}
