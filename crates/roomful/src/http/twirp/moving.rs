//! Moving a participant: the one call that two rooms, on two workers maybe, have to do with.

use livekit_protocol as proto;
use roomful_sfu::administration::{Administration, Reply, RoomRequest};
use roomful_sfu::ids::{Identity, RoomName};

use super::{TwirpError, ask};
use crate::http::App;
use crate::placement::SeatKind;

/// Begins the destination if need be, has it keep a place, and then tells the participant to go. What fails on the way
/// leaves the participant where it is; a place kept in vain is given up by itself.
pub(super) async fn perform(
    app: &App,
    request: proto::MoveParticipantRequest,
) -> Result<Reply, TwirpError> {
    let proto::MoveParticipantRequest { room, identity, destination_room } = request;
    if destination_room.is_empty() {
        return Err(TwirpError::invalid("no room name"));
    }
    let (from, to) = (RoomName::new(room), RoomName::new(destination_room));
    let who = Identity::new(identity);
    let find =
        |room: &RoomName| app.worker_of(room, SeatKind::Visitor).ok_or_else(TwirpError::stopping);
    let here = find(&from)?;
    let present = RoomRequest::GetParticipant(who.clone());
    ask(&here, Administration::InRoom(from.clone(), present)).await?;
    // Held until the end: the directory knows meanwhile where the destination is.
    let there = find(&to)?;
    let wanted = proto::CreateRoomRequest { name: to.to_string(), ..Default::default() };
    ask(&there, Administration::CreateRoom(Box::new(wanted))).await?;
    let expect = Administration::InRoom(to, RoomRequest::Expect(who.clone()));
    let Reply::Room(destination) = ask(&there, expect).await? else {
        return Err(TwirpError::internal("a room was asked about and said something else"));
    };
    let go = RoomRequest::MoveParticipant { identity: who, destination };
    ask(&here, Administration::InRoom(from, go)).await
}
