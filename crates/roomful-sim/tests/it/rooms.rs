use std::time::Duration;

use livekit_protocol as proto;
use proto::participant_info::Kind;
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::token::Grant;
use roomful_sfu::{RoomPolicy, SfuEvent};
use roomful_sim::world::DEFAULT_LATENCY;
use roomful_sim::{ClientId, Conditions, JoinOptions, World};

use crate::calls::*;

fn grant(identity: &str) -> Grant {
    Grant::new(Identity::new(identity), identity, RoomName::new("garden"))
}

fn join_with(world: &mut World, grant: Grant) -> ClientId {
    world.add_client_with(grant, JoinOptions::default(), Conditions::latency(DEFAULT_LATENCY))
}

fn ends(world: &World) -> usize {
    world.events().iter().filter(|event| matches!(event, SfuEvent::RoomEnded(_))).count()
}

/// The reason with which the server sent a client away.
fn sent_away(world: &World, id: ClientId) -> Option<proto::DisconnectReason> {
    world.client(id).farewell().map(|farewell| farewell.reason)
}

#[test]
pub(crate) fn whoever_comes_back_in_time_finds_the_same_room() {
    let mut world = World::new(90).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let sid = world.client(ann).room_sid().unwrap().to_owned();
    world.act(ann, |client, _| client.leave());
    world.run(RoomPolicy::default().departure_timeout - SECOND);
    let bob = join(&mut world, "bob", "garden");
    assert_eq!(world.client(bob).room_sid().unwrap(), sid);
    world.run(2 * RoomPolicy::default().departure_timeout);
    assert_eq!(ends(&world), 0, "somebody is here");
}

#[test]
fn without_a_departure_timeout_a_room_ends_with_its_last_participant() {
    let rooms = RoomPolicy { departure_timeout: Duration::ZERO, ..RoomPolicy::default() };
    let mut world = World::with_rooms(91, rooms).unwrap();
    let ann = join(&mut world, "ann", "garden");
    world.act(ann, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(ends(&world), 1);
}

#[test]
pub(crate) fn an_agent_keeps_no_room_open_and_takes_nobodys_place() {
    let rooms = RoomPolicy { max_participants: 1, ..RoomPolicy::default() };
    let mut world = World::with_rooms(92, rooms.clone()).unwrap();
    let mut agent = grant("agent");
    agent.kind = Kind::Agent;
    let agent = join_with(&mut world, agent);
    connected(&mut world, agent);
    let ann = join(&mut world, "ann", "garden");
    let bob = join_with(&mut world, grant("bob"));
    world.run(SECOND);
    assert_eq!(sent_away(&world, bob), Some(proto::DisconnectReason::JoinFailure));
    world.act(ann, |client, _| client.leave());
    world.run(rooms.departure_timeout + SECOND);
    assert_eq!(sent_away(&world, agent), Some(proto::DisconnectReason::RoomClosed));
    assert_eq!(ends(&world), 1);
}

#[test]
pub(crate) fn where_rooms_do_not_begin_by_themselves_a_token_may_still_begin_one() {
    let rooms = RoomPolicy { auto_create: false, ..RoomPolicy::default() };
    let mut world = World::with_rooms(93, rooms).unwrap();
    let ann = join_with(&mut world, grant("ann"));
    world.run(SECOND);
    assert_eq!(sent_away(&world, ann), Some(proto::DisconnectReason::JoinFailure));
    assert!(world.events().is_empty());
    let mut host = grant("host");
    host.can_create_room = true;
    let host = join_with(&mut world, host);
    connected(&mut world, host);
    join(&mut world, "ann", "garden");
}

#[test]
pub(crate) fn whoever_enters_first_makes_the_room_as_its_token_says() {
    let mut world = World::new(94).unwrap();
    let mut host = grant("host");
    host.room_configuration = Some(Box::new(proto::RoomConfiguration {
        max_participants: 1,
        departure_timeout: 1,
        ..Default::default()
    }));
    let host = join_with(&mut world, host);
    connected(&mut world, host);
    let ann = join_with(&mut world, grant("ann"));
    world.run(SECOND);
    assert_eq!(sent_away(&world, ann), Some(proto::DisconnectReason::JoinFailure));
    world.act(host, |client, _| client.leave());
    world.run(2 * SECOND);
    assert_eq!(ends(&world), 1);
}
