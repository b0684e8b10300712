//! `livekit.RoomService`: each method as a wish in the words of the core, if the token allows it.

use livekit_protocol as proto;
use roomful_sfu::administration::{Administration, RoomRequest};
use roomful_sfu::ids::{Identity, RoomName, TrackSid};
use roomful_sfu::token::ApiGrant;

use super::TwirpError;
use super::message::Message;

pub(super) const NAME: &str = "livekit.RoomService";

/// The methods that two rooms have to do with, which [`administration`] leaves to [`super::two_rooms`].
pub(super) const MOVE: &str = "MoveParticipant";
pub(super) const FORWARD: &str = "ForwardParticipant";

/// Every method it has.
pub(super) const METHODS: &[&str] = &[
    "CreateRoom",
    "ListRooms",
    "DeleteRoom",
    "ListParticipants",
    "GetParticipant",
    "RemoveParticipant",
    "MutePublishedTrack",
    "UpdateParticipant",
    "UpdateSubscriptions",
    "SendData",
    "UpdateRoomMetadata",
    FORWARD,
    MOVE,
    "PerformRpc",
];

/// Length of the number by which repeated data messages are told, in bytes: a UUID.
const NONCE: usize = 16;

/// What `method`, called with `message`, asks for.
pub(super) fn administration(
    method: &str,
    message: &Message<'_>,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    match method {
        "CreateRoom" => create_room(message.decode()?, grant),
        "ListRooms" => list_rooms(message.decode()?, grant),
        "DeleteRoom" => delete_room(message.decode()?, grant),
        _ => in_room(method, message, grant),
    }
}

fn create_room(
    request: proto::CreateRoomRequest,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    require(grant.create_rooms)?;
    if request.name.is_empty() {
        return Err(TwirpError::invalid("no room name"));
    }
    if request.egress.is_some() {
        return Err(TwirpError::unimplemented("recording is not there in this server"));
    }
    Ok(Administration::CreateRoom(Box::new(request)))
}

fn list_rooms(
    request: proto::ListRoomsRequest,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    require(grant.list_rooms)?;
    Ok(Administration::ListRooms(request.names.into_iter().map(RoomName::new).collect()))
}

fn delete_room(
    request: proto::DeleteRoomRequest,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    require(grant.create_rooms)?;
    Ok(Administration::DeleteRoom(RoomName::new(request.room)))
}

/// Who is to be shown in another room.
pub(super) fn forward_participant(
    message: &Message<'_>,
    grant: &ApiGrant,
) -> Result<proto::ForwardParticipantRequest, TwirpError> {
    let request: proto::ForwardParticipantRequest = message.decode()?;
    require_destination(&request.room, &request.destination_room, grant)?;
    Ok(request)
}

/// Who is to be moved to another room.
pub(super) fn move_participant(
    message: &Message<'_>,
    grant: &ApiGrant,
) -> Result<proto::MoveParticipantRequest, TwirpError> {
    let request: proto::MoveParticipantRequest = message.decode()?;
    require_destination(&request.room, &request.destination_room, grant)?;
    Ok(request)
}

/// The methods that are about one room and need its administrator.
fn in_room(
    method: &str,
    message: &Message<'_>,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    let (room, request) = match method {
        "ListParticipants" => {
            let request: proto::ListParticipantsRequest = message.decode()?;
            (request.room, RoomRequest::ListParticipants)
        }
        "GetParticipant" => {
            let request: proto::RoomParticipantIdentity = message.decode()?;
            (request.room, RoomRequest::GetParticipant(Identity::new(request.identity)))
        }
        "RemoveParticipant" => {
            let request: proto::RoomParticipantIdentity = message.decode()?;
            (request.room, RoomRequest::RemoveParticipant(Identity::new(request.identity)))
        }
        "MutePublishedTrack" => mute(message.decode()?),
        "UpdateParticipant" => {
            let request: proto::UpdateParticipantRequest = message.decode()?;
            (request.room.clone(), RoomRequest::UpdateParticipant(Box::new(request)))
        }
        "UpdateSubscriptions" => subscribe(message.decode()?),
        "SendData" => send_data(message.decode()?)?,
        "UpdateRoomMetadata" => {
            let request: proto::UpdateRoomMetadataRequest = message.decode()?;
            (request.room, RoomRequest::UpdateMetadata(request.metadata))
        }
        "PerformRpc" => perform_rpc(message.decode()?)?,
        other => return Err(TwirpError::unimplemented(format!("{NAME} has no method {other}"))),
    };
    let room = RoomName::new(room);
    require(grant.may_administer(&room))?;
    Ok(Administration::InRoom(room, request))
}

fn mute(request: proto::MuteRoomTrackRequest) -> (String, RoomRequest) {
    let mute = RoomRequest::MuteTrack {
        identity: Identity::new(request.identity),
        track: TrackSid::new(request.track_sid),
        muted: request.muted,
    };
    (request.room, mute)
}

fn subscribe(request: proto::UpdateSubscriptionsRequest) -> (String, RoomRequest) {
    let by_participant = request.participant_tracks.into_iter().flat_map(|one| one.track_sids);
    let update = RoomRequest::UpdateSubscriptions {
        identity: Identity::new(request.identity),
        tracks: request.track_sids.into_iter().chain(by_participant).map(TrackSid::new).collect(),
        wanted: request.subscribe,
    };
    (request.room, update)
}

fn send_data(request: proto::SendDataRequest) -> Result<(String, RoomRequest), TwirpError> {
    if !request.nonce.is_empty() && request.nonce.len() != NONCE {
        return Err(TwirpError::invalid(format!(
            "nonce should be 16-bytes or not present, got: {} bytes",
            request.nonce.len()
        )));
    }
    Ok((request.room.clone(), RoomRequest::SendData(Box::new(request))))
}

fn perform_rpc(request: proto::PerformRpcRequest) -> Result<(String, RoomRequest), TwirpError> {
    if request.destination_identity.is_empty() {
        return Err(TwirpError::invalid("destination identity is required"));
    }
    Ok((request.room.clone(), RoomRequest::PerformRpc(Box::new(request))))
}

fn require(allowed: bool) -> Result<(), TwirpError> {
    if allowed { Ok(()) } else { Err(TwirpError::denied()) }
}

fn require_destination(room: &str, destination: &str, grant: &ApiGrant) -> Result<(), TwirpError> {
    require(grant.may_move(&RoomName::new(room), &RoomName::new(destination)))?;
    if room == destination {
        return Err(TwirpError::invalid("destination room cannot be the same as source room"));
    }
    if destination.is_empty() {
        return Err(TwirpError::invalid("no room name"));
    }
    Ok(())
}
