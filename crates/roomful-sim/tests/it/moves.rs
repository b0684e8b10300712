//! Moving somebody to another room by the server API.

use std::time::Duration;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::Kind;
use proto::signal_response::Message as Response;
use roomful_sfu::administration::{Administration, AdministrationError, Reply, RoomRequest};
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::token::Grant;
use roomful_sfu::{RoomPolicy, SfuEvent};
use roomful_sim::world::{DEFAULT_LATENCY, keys};
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, World};

use crate::calls::*;

type Outcome = Result<Reply, AdministrationError>;

fn ask(world: &mut World, room: &str, what: RoomRequest) -> Outcome {
    let what = Administration::InRoom(RoomName::new(room), what);
    world.administer(what).expect("an answer at once")
}

/// Begins the attic, where `places` find room, and has it expect `who`.
fn expect(world: &mut World, who: &str, places: u32) -> Outcome {
    let wanted = proto::CreateRoomRequest {
        name: "attic".into(),
        max_participants: places,
        ..Default::default()
    };
    world.administer(Administration::CreateRoom(Box::new(wanted))).unwrap()?;
    ask(world, "attic", RoomRequest::Expect(Identity::new(who)))
}

/// Moves `who` from the garden to the attic, as the shell does.
fn move_to_attic(world: &mut World, who: &str, places: u32) -> Outcome {
    let Reply::Room(destination) = expect(world, who, places)? else { panic!("no room") };
    let identity = Identity::new(who);
    ask(world, "garden", RoomRequest::MoveParticipant { identity, destination })
}

fn grant(who: &str, room: &str) -> Grant {
    Grant::new(Identity::new(who), who, RoomName::new(room))
}

fn join_with(world: &mut World, grant: Grant) -> ClientId {
    world.add_client_with(grant, JoinOptions::default(), Conditions::latency(DEFAULT_LATENCY))
}

#[test]
pub(crate) fn whoever_is_moved_gets_a_token_is_told_where_and_joins_there() {
    let (mut world, ids) = call(600, &["ann", "bob"]);
    let may = proto::ParticipantPermission {
        can_publish: true,
        can_subscribe: true,
        can_update_metadata: true,
        ..Default::default()
    };
    let described = proto::UpdateParticipantRequest {
        identity: "ann".into(),
        name: "Dr. Ann".into(),
        permission: Some(may),
        ..Default::default()
    };
    ask(&mut world, "garden", RoomRequest::UpdateParticipant(Box::new(described))).unwrap();
    world.run(SECOND);
    let before = world.client(ids[0]).heard().len();

    assert_eq!(move_to_attic(&mut world, "ann", 0), Ok(Reply::Done));
    world.run(SECOND);
    let told = &world.client(ids[0]).heard()[before..];
    let [Response::RefreshToken(token), Response::RoomMoved(moved), Response::Leave(leave)] = told
    else {
        panic!("a token, where to, and goodbye, in this order, but {told:?}");
    };
    assert_eq!(moved.token, *token);
    assert_eq!(moved.room.as_ref().unwrap().name, "attic");
    assert_eq!(moved.participant.as_ref().unwrap().identity, "ann");
    assert_eq!((leave.action(), leave.reason()), (Action::Reconnect, DisconnectReason::Migration));
    let now_allowed = keys().verify(token, world.unix_now()).unwrap();
    assert_eq!((now_allowed.room.as_str(), now_allowed.name.as_str()), ("attic", "Dr. Ann"));
    assert!(now_allowed.permissions.can_update_own_metadata, "it keeps its rights");
    assert!(!now_allowed.permissions.can_publish_data, "and gets no others");
    assert!(world.client(ids[1]).roster().is_empty());
    assert_eq!(world.client(ids[1]).departure_reasons(), [DisconnectReason::Migration]);

    let cleo = join(&mut world, "cleo", "attic");
    publish(&mut world, cleo, TrackPlan::CAMERA);
    publish(&mut world, cleo, TrackPlan::VOICE);
    let ann = join_with(&mut world, now_allowed);
    connected(&mut world, ann);
    publish(&mut world, ann, TrackPlan::CAMERA);
    publish(&mut world, ann, TrackPlan::VOICE);
    world.run(SECOND);
    assert_flows(&mut world, &[ann, cleo]);
}

#[test]
pub(crate) fn a_place_is_kept_for_whoever_is_on_the_way_and_given_up_in_time() {
    let (mut world, _) = call(601, &["ann", "bob"]);
    assert_eq!(move_to_attic(&mut world, "ann", 1), Ok(Reply::Done));
    assert_eq!(move_to_attic(&mut world, "bob", 1), Err(AdministrationError::Full));
    let rival = join_with(&mut world, grant("cleo", "attic"));
    world.run(SECOND);
    let refused = world.client(rival).farewell().map(|farewell| farewell.reason);
    assert_eq!(refused, Some(DisconnectReason::JoinFailure), "the place is ann's");
    let ann = join_with(&mut world, grant("ann", "attic"));
    connected(&mut world, ann);

    world.act(ann, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(move_to_attic(&mut world, "bob", 1), Ok(Reply::Done));
    world.run(Duration::from_secs(16));
    let cleo = join_with(&mut world, grant("cleo", "attic"));
    connected(&mut world, cleo);
}

#[test]
pub(crate) fn a_place_is_kept_in_every_part_of_the_room() {
    let (mut world, _) = call(603, &["ann", "bob"]);
    // Where there are two workers, those with an even number are not at home in the attic.
    world.set_home("attic", 1);
    let wanted = proto::CreateRoomRequest {
        name: "attic".into(),
        max_participants: 3,
        ..Default::default()
    };
    world.administer(Administration::CreateRoom(Box::new(wanted))).unwrap().unwrap();
    assert_eq!(move_to_attic(&mut world, "bob", 3), Ok(Reply::Done));
    join(&mut world, "cleo", "attic");
    assert_eq!(move_to_attic(&mut world, "ann", 3), Ok(Reply::Done), "of whom its part hears now");
    join(&mut world, "eve", "garden");
    let rival = join_with(&mut world, grant("dan", "attic"));
    world.run(SECOND);
    let refused = world.client(rival).farewell().map(|farewell| farewell.reason);
    assert_eq!(refused, Some(DisconnectReason::JoinFailure), "the places are ann's and bob's");
    for who in ["ann", "bob"] {
        let moved = join_with(&mut world, grant(who, "attic"));
        connected(&mut world, moved);
    }
    assert_eq!(world.client(ClientId(2)).roster().len(), 2);
}

#[test]
fn whoever_is_nowhere_works_for_the_room_or_cannot_be_told_stays() {
    let rooms = RoomPolicy { auto_create: true, ..RoomPolicy::default() };
    let mut world = World::with_rooms(602, rooms).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let agent = join_with(&mut world, Grant { kind: Kind::Agent, ..grant("helper", "garden") });
    connected(&mut world, agent);
    let nobody = move_to_attic(&mut world, "nobody", 0);
    assert_eq!(nobody, Err(AdministrationError::NoParticipant));
    let helper = move_to_attic(&mut world, "helper", 0);
    assert_eq!(helper, Err(AdministrationError::CannotMove { kind: "AGENT" }));
    world.cut_websocket(ann);
    world.run(RTT);
    let unreachable = move_to_attic(&mut world, "ann", 0);
    assert_eq!(unreachable, Err(AdministrationError::OutOfReach));
    let begun = world.events().iter().filter(|one| matches!(one, SfuEvent::RoomStarted(_)));
    assert_eq!(begun.count(), 2, "the garden and the attic");
}
