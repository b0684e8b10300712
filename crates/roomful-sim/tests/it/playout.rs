use std::time::Duration;

use livekit_protocol as proto;
use roomful_sfu::administration::Administration;
use roomful_sfu::join::PeerConnections;
use roomful_sfu::{Playout, PlayoutDelay, RoomPolicy};
use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, JoinOptions, TrackPlan, World};

use crate::calls::*;

fn delayed(seed: u64, min: u32, max: u32) -> World {
    let delay = Some(PlayoutDelay::from_millis(min, max));
    let playout = Playout { delay, in_step: false };
    World::with_rooms(seed, RoomPolicy { playout, ..RoomPolicy::default() }).unwrap()
}

/// What `to` was told of how long to hold the pictures of `from` back.
fn told(world: &World, to: ClientId, from: ClientId) -> Vec<(u32, u32)> {
    log(world, to, from, 0).delays.iter().map(|(_, delay)| *delay).collect()
}

/// The streams of the tracks that `of` receives.
fn streams(world: &World, of: ClientId) -> Vec<String> {
    world.client(of).labels().iter().map(|label| label.stream.clone()).collect()
}

#[test]
pub(crate) fn pictures_say_how_long_to_hold_them_back_until_a_report_shows_that_it_is_known() {
    let mut world = delayed(700, 150, 150);
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    publish(&mut world, ann, TrackPlan::VOICE);
    let bob = join(&mut world, "bob", "garden");
    world.run(7 * SECOND);
    let pictures = log(&world, bob, ann, 0);
    let told = told(&world, bob, ann);
    assert!(!told.is_empty() && told.iter().all(|delay| *delay == (150, 150)), "{told:?}");
    let last = pictures.delays.last().unwrap().0;
    let first = pictures.first_at.unwrap();
    assert!(last - first < 4 * SECOND, "told for {:?}", last - first);
    assert!(pictures.last_at.unwrap() - last > SECOND, "and no longer");
    assert!(log(&world, bob, ann, 1).delays.is_empty(), "sound says nothing of it");
    world.check_invariants(SOON).unwrap();
}

#[test]
fn where_nobody_says_so_pictures_are_not_held_back() {
    let mut world = World::new(701).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    let bob = join(&mut world, "bob", "garden");
    world.run(2 * SECOND);
    assert!(log(&world, bob, ann, 0).packets > 20);
    assert_eq!(told(&world, bob, ann), []);
}

#[test]
fn clients_with_two_peer_connections_are_told_as_well() {
    let mut world = delayed(702, 200, 0);
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    let two = JoinOptions { peer_connections: PeerConnections::Two, ..JoinOptions::default() };
    let bob = world.add_client("bob", "garden", two);
    connected(&mut world, bob);
    world.run(2 * SECOND);
    let told = told(&world, bob, ann);
    assert!(told.contains(&(200, 10_000)), "{told:?}");
}

#[test]
fn the_api_says_how_long_in_one_room() {
    let mut world = World::new(703).unwrap();
    let wanted = proto::CreateRoomRequest {
        name: "garden".into(),
        min_playout_delay: 100,
        max_playout_delay: 300,
        ..Default::default()
    };
    world.administer(Administration::CreateRoom(Box::new(wanted))).unwrap().unwrap();
    let mut delays = Vec::new();
    for room in ["garden", "attic"] {
        let ann = join(&mut world, &format!("ann in {room}"), room);
        publish(&mut world, ann, TrackPlan::CAMERA);
        let bob = join(&mut world, &format!("bob in {room}"), room);
        world.run(SECOND);
        delays.push(told(&world, bob, ann).first().copied());
    }
    assert_eq!(delays, [Some((100, 300)), None]);
}

#[test]
pub(crate) fn camera_and_microphone_are_one_stream_where_they_are_to_be_played_in_step() {
    let playout = Playout { delay: None, in_step: true };
    let rooms = RoomPolicy { playout, ..RoomPolicy::default() };
    for (rooms, together) in [(rooms, true), (RoomPolicy::default(), false)] {
        let mut world = World::with_rooms(704, rooms).unwrap();
        let ann = join(&mut world, "ann", "garden");
        publish(&mut world, ann, TrackPlan::CAMERA);
        publish(&mut world, ann, TrackPlan::VOICE);
        let bob = join(&mut world, "bob", "garden");
        world.run(SECOND);
        assert!(log(&world, bob, ann, 0).packets > 0 && log(&world, bob, ann, 1).packets > 0);
        let ann_sid = world.client(ann).sid().unwrap().to_owned();
        let tracks = [0, 1].map(|key| sid(&world, ann, TrackKey(key)));
        let mut expected: Vec<String> = match together {
            true => vec![format!("{ann_sid}|camera"); 2],
            false => tracks.iter().map(|track| format!("{ann_sid}|{track}")).collect(),
        };
        let mut found = streams(&world, bob);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        world.check_invariants(SOON).unwrap();
    }
}

#[test]
fn a_rough_path_makes_the_delay_longer_within_what_is_allowed() {
    let mut world = delayed(705, 0, 2_000);
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    let bob = join(&mut world, "bob", "garden");
    let rough = roomful_sim::Conditions::latency(RTT / 2).with_jitter(Duration::from_millis(40));
    world.set_conditions(bob, rough, rough);
    world.run(10 * SECOND);
    let told = told(&world, bob, ann);
    assert_eq!(told.first(), Some(&(0, 2_000)));
    let longest = told.iter().map(|(min, _)| *min).max().unwrap();
    assert!((50..=2_000).contains(&longest), "{longest} ms");
}
