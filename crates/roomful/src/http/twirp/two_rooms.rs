//! Moving and forwarding a participant: the calls that two rooms, on two workers maybe, have to do with.

use livekit_protocol as proto;
use roomful_sfu::administration::{Administration, ForwardParticipant, Reply, RoomRequest};
use roomful_sfu::ids::{Identity, RoomName};

use super::{TwirpError, ask, ask_by};
use crate::http::App;
use crate::placement::SeatKind;
use crate::worker::{Mail, WorkerHandle};

/// Begins the destination if need be, has it keep a place, and then tells the participant to go. What fails on the way
/// leaves the participant where it is; a place kept in vain is given up by itself.
pub(super) async fn move_on(
    app: &App,
    request: proto::MoveParticipantRequest,
) -> Result<Reply, TwirpError> {
    let proto::MoveParticipantRequest { room, identity, destination_room } = request;
    let (from, to) = (RoomName::new(room), RoomName::new(destination_room));
    let who = Identity::new(identity);
    let here = find(app, &from)?;
    let present = RoomRequest::GetParticipant(who.clone());
    ask(&here, Administration::InRoom(from.clone(), present)).await?;
    // Held until the end: the directory knows meanwhile where the destination is.
    let there = find(app, &to)?;
    let wanted = proto::CreateRoomRequest { name: to.to_string(), ..Default::default() };
    ask(&there, Administration::CreateRoom(Box::new(wanted))).await?;
    let expect = Administration::InRoom(to, RoomRequest::Expect(who.clone()));
    let Reply::Room(destination) = ask(&there, expect).await? else {
        return Err(TwirpError::internal("a room was asked about and said something else"));
    };
    let go = RoomRequest::MoveParticipant { identity: who, destination };
    ask(&here, Administration::InRoom(from, go)).await
}

/// Has the participant's worker show it to the home of the destination, which begins that room if need be.
pub(super) async fn forward(
    app: &App,
    request: proto::ForwardParticipantRequest,
) -> Result<Reply, TwirpError> {
    let what = ForwardParticipant {
        room: RoomName::new(request.room),
        identity: Identity::new(request.identity),
        destination: RoomName::new(request.destination_room),
    };
    // Both held until the end: the directory knows meanwhile where the rooms are.
    let here = find(app, &what.room)?;
    let there = find(app, &what.destination)?;
    let home = there.home();
    ask_by(&here, |reply| Mail::Forward { what: Box::new(what), home, reply }).await
}

fn find(app: &App, room: &RoomName) -> Result<WorkerHandle, TwirpError> {
    app.worker_of(room, SeatKind::Visitor).ok_or_else(TwirpError::stopping)
}
