//! What an operator or an application asks of rooms from outside: the server API, in the words of the core.
//!
//! Whether somebody may ask is decided before it comes here; what is asked of whom, and whether that can be done, is
//! decided in [`crate::Sfu::administer`] and in the room.

use livekit_protocol as proto;

use crate::agents::BadDeployment;
use crate::ids::{DispatchId, Identity, RoomName, TrackSid};
use crate::limits::OverLimit;
use crate::room_policy::UnknownPreset;

/// One question or wish, numbered by the shell: the reply carries the number again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What is asked.
#[derive(Debug, Clone)]
pub enum Administration {
    /// Begin a room, or tell how it is if it has begun.
    CreateRoom(Box<proto::CreateRoomRequest>),
    /// Which rooms there are; with names, only these.
    ListRooms(Vec<RoomName>),
    /// End a room and send everyone away.
    DeleteRoom(RoomName),
    /// Something in one room.
    InRoom(RoomName, RoomRequest),
}

/// A wish that concerns two rooms: show a participant of one in the other, too, for as long as it is in its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardParticipant {
    /// The room it is in.
    pub room: RoomName,
    /// Who is shown.
    pub identity: Identity,
    /// The room it is to be a guest in. It begins if it is not there.
    pub destination: RoomName,
}

/// What is asked of one room.
#[derive(Debug, Clone)]
pub enum RoomRequest {
    /// Who is there, those hidden from others included.
    ListParticipants,
    /// How one participant is.
    GetParticipant(Identity),
    /// Send a participant away.
    RemoveParticipant(Identity),
    /// Mute or unmute a track of a participant.
    MuteTrack {
        /// Who publishes it.
        identity: Identity,
        /// The track.
        track: TrackSid,
        /// What it is to be.
        muted: bool,
    },
    /// Change what a participant is called, described as, or may do.
    UpdateParticipant(Box<proto::UpdateParticipantRequest>),
    /// Subscribe a participant to tracks, or end its subscriptions.
    UpdateSubscriptions {
        /// Who subscribes.
        identity: Identity,
        /// To what.
        tracks: Vec<TrackSid>,
        /// Or no longer.
        wanted: bool,
    },
    /// Send a data message to participants.
    SendData(Box<proto::SendDataRequest>),
    /// Describe the room anew.
    UpdateMetadata(String),
    /// Call a method of a participant and wait for what it returns.
    PerformRpc(Box<proto::PerformRpcRequest>),
    /// Keep a place for somebody who is about to be moved here.
    Expect(Identity),
    /// Send a participant on to another room, which is so now and expects it.
    MoveParticipant {
        /// Who is moved.
        identity: Identity,
        /// Where to.
        destination: Box<proto::Room>,
    },
    /// Want agents here. The room begins with it where rooms begin by themselves.
    CreateDispatch(Box<proto::CreateAgentDispatchRequest>),
    /// Want them no more.
    DeleteDispatch(DispatchId),
    /// Which agents are wanted here, and what became of them; of this dispatch only, if one is named.
    ListDispatches(Option<DispatchId>),
}

/// The answer to what was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A room.
    Room(Box<proto::Room>),
    /// Rooms, in no order.
    Rooms(Vec<proto::Room>),
    /// Participants, the first to come first.
    Participants(Vec<proto::ParticipantInfo>),
    /// A participant.
    Participant(Box<proto::ParticipantInfo>),
    /// A track.
    Track(Box<proto::TrackInfo>),
    /// What a method returned.
    Payload(String),
    /// A dispatch.
    Dispatch(Box<proto::AgentDispatch>),
    /// Dispatches, the oldest first.
    Dispatches(Vec<proto::AgentDispatch>),
    /// It is done, and there is nothing more to say.
    Done,
}

/// Why something was not done. The texts of the first five are LiveKit's: applications look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such room here.
    #[error("requested room does not exist")]
    NoRoom,
    /// Nobody in the room is called that.
    #[error("participant does not exist")]
    NoParticipant,
    /// The participant publishes no such track.
    #[error("track is not found")]
    NoTrack,
    /// No such agents are wanted in the room.
    #[error("dispatch ID not found")]
    NoDispatch,
    /// The room has no place left.
    #[error("room has exceeded its max participants")]
    Full,
    /// Agents and recorders work for one room.
    #[error("{kind} participants cannot be moved")]
    CannotMove {
        /// What it is.
        kind: &'static str,
    },
    /// Agents and recorders work for one room.
    #[error("agents and recorders cannot be forwarded")]
    CannotForward,
    /// Somebody is called that in the room where a participant was to be a guest.
    #[error("a participant of the same identity is in the destination room")]
    AlreadyThere,
    /// The participant is a guest: what it does, and what is done to it, is its own room's business.
    #[error("participant is forwarded from another room: that is to be asked there")]
    Guest,
    /// The other room went away meanwhile, or its worker can take no more.
    #[error("the destination room cannot be reached, try again")]
    Unreachable,
    /// The participant's WebSocket is being replaced: nothing can be told to it now.
    #[error("participant is reconnecting, try again")]
    OutOfReach,
    /// The operator did not allow it (`room.enable_remote_unmute`).
    #[error("remote unmute not enabled")]
    UnmuteDisabled,
    /// Something is larger than it may be.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The name of a deployment cannot be.
    #[error(transparent)]
    Deployment(#[from] BadDeployment),
    /// The room is to begin as a preset says that does not exist.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// A method could not be called, or failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// How a call of a participant's method failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("RpcError {code}: {message}{}{data}", if .data.is_empty() { "" } else { ": " })]
pub struct RpcError {
    /// LiveKit's number for what went wrong; an application's own is whatever it chose.
    pub code: u32,
    /// What went wrong, in words.
    pub message: String,
    /// More about it, if the method said more.
    pub data: String,
}

impl RpcError {
    /// The participant did not confirm in time that the call reached it.
    pub const CONNECTION_TIMEOUT: u32 = 1501;
    /// The method did not return in time.
    pub const RESPONSE_TIMEOUT: u32 = 1502;
    /// The participant left.
    pub const RECIPIENT_DISCONNECTED: u32 = 1503;
    /// What the method returned is too large.
    pub const RESPONSE_PAYLOAD_TOO_LARGE: u32 = 1504;
    /// Too many calls are waiting.
    pub const SEND_FAILED: u32 = 1505;
    /// The participant has no such method.
    pub const UNSUPPORTED_METHOD: u32 = 1400;
    /// Nobody is called that.
    pub const RECIPIENT_NOT_FOUND: u32 = 1401;
    /// What the method is called with is too large.
    pub const REQUEST_PAYLOAD_TOO_LARGE: u32 = 1402;
    /// The participant's client knows no methods.
    pub const UNSUPPORTED_SERVER: u32 = 1403;
    /// The participant's client knows methods of another version.
    pub const UNSUPPORTED_VERSION: u32 = 1404;

    pub(crate) fn new(code: u32, message: &str) -> Self {
        Self { code, message: message.to_owned(), data: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rpc_error_says_its_data_only_if_there_are_any() {
        let mut error = RpcError::new(1500, "failed");
        assert_eq!(error.to_string(), "RpcError 1500: failed");
        error.data = "why".into();
        assert_eq!(error.to_string(), "RpcError 1500: failed: why");
    }
}
