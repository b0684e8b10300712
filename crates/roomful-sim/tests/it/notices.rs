use livekit_protocol as proto;
use roomful_sfu::administration::Administration;
use roomful_sfu::ids::RoomName;
use roomful_sfu::{NoticePolicy, RoomPolicy};
use roomful_sim::{ClientId, JoinOptions, TrackPlan, World};

use crate::calls::*;

fn world(seed: u64) -> World {
    World::with_rooms(seed, RoomPolicy { notices: NoticePolicy::Named, ..RoomPolicy::default() })
        .unwrap()
}

/// Each event told so far: its name, and whom it is about.
fn told(world: &World) -> Vec<(&str, &str)> {
    world
        .notices()
        .iter()
        .map(|event| {
            let who = event.participant.as_ref().map_or("", |one| one.identity.as_str());
            (event.event.as_str(), who)
        })
        .collect()
}

#[test]
pub(crate) fn what_happens_is_told_in_its_order() {
    let mut world = world(300);
    let ann = join(&mut world, "ann", "garden");
    let voice = publish(&mut world, ann, TrackPlan::VOICE);
    let bob = join(&mut world, "bob", "garden");
    world.act(ann, |client, now| client.unpublish(voice, now));
    world.run(SECOND);
    publish(&mut world, bob, TrackPlan::VOICE);
    for id in [bob, ann] {
        world.act(id, |client, _| client.leave());
        world.run(SECOND);
    }
    world.run(RoomPolicy::default().departure_timeout);
    let expected = [
        ("room_started", ""),
        ("participant_joined", "ann"),
        ("track_published", "ann"),
        ("participant_joined", "bob"),
        ("track_unpublished", "ann"),
        ("track_published", "bob"),
        ("track_unpublished", "bob"),
        ("participant_left", "bob"),
        ("participant_left", "ann"),
        ("room_finished", ""),
    ];
    assert_eq!(told(&world), expected);
}

#[test]
fn each_event_says_what_it_is_about() {
    let mut world = world(301);
    let ann = join(&mut world, "ann", "garden");
    let voice = publish(&mut world, ann, TrackPlan::VOICE);
    let sid = sid(&world, ann, voice);
    let delete = Administration::DeleteRoom(RoomName::new("garden"));
    world.administer(delete).unwrap().unwrap();
    let notices = world.notices();
    let room_sid = world.client(ann).room_sid().unwrap();
    let mut ids: Vec<_> = notices.iter().map(|event| event.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), notices.len(), "every event has an id of its own");
    for event in notices {
        assert_eq!(event.room.as_ref().unwrap().sid, room_sid, "{}", event.event);
        assert!(event.id.starts_with("EV_") && event.created_at >= 1_700_000_000);
    }
    let of = |name: &str| notices.iter().find(|event| event.event == name).unwrap();
    let joined = of("participant_joined").participant.as_ref().unwrap();
    assert_eq!(joined.state(), proto::participant_info::State::Active);
    assert_eq!(of("track_published").track.as_ref().unwrap().sid, sid);
    assert_eq!(of("track_unpublished").track.as_ref().unwrap().sid, sid);
    let left = of("participant_left").participant.as_ref().unwrap();
    assert_eq!(left.disconnect_reason(), proto::DisconnectReason::RoomDeleted);
    let finished = of("room_finished");
    assert_eq!(finished.room_end_reason(), proto::RoomEndReason::RoomEndApiDelete);
    assert_eq!(finished.room.as_ref().unwrap().num_participants, 0);
}

#[test]
fn the_room_of_a_track_is_named_and_described_only_where_that_is_wanted() {
    for (notices, described) in [(NoticePolicy::Named, false), (NoticePolicy::Described, true)] {
        let rooms = RoomPolicy { notices, max_participants: 7, ..RoomPolicy::default() };
        let mut world = World::with_rooms(305, rooms).unwrap();
        let ann = join(&mut world, "ann", "garden");
        let voice = publish(&mut world, ann, TrackPlan::VOICE);
        world.act(ann, |client, now| client.unpublish(voice, now));
        world.run(SECOND);
        let sid = world.client(ann).room_sid().unwrap();
        for name in ["track_published", "track_unpublished", "participant_joined"] {
            let event = world.notices().iter().find(|event| event.event == name).unwrap();
            let room = event.room.as_ref().unwrap();
            assert_eq!((room.sid.as_str(), room.name.as_str()), (sid, "garden"), "{name}");
            let is_described = room.max_participants == 7 && room.num_participants == 1;
            assert_eq!(is_described, described || name == "participant_joined", "{name}");
        }
    }
}

#[test]
pub(crate) fn everyone_left_and_every_track_ended_before_a_deleted_room_has() {
    let mut world = world(304);
    for name in ["ann", "bob", "cy"] {
        let id = join(&mut world, name, "garden");
        publish(&mut world, id, TrackPlan::VOICE);
    }
    let begun = world.notices().len();
    let delete = Administration::DeleteRoom(RoomName::new("garden"));
    world.administer(delete).unwrap().unwrap();
    world.run(SECOND);
    let mut told = told(&world).split_off(begun);
    assert_eq!(told.pop(), Some(("room_finished", "")));
    told.sort_unstable();
    let of = |event| ["ann", "bob", "cy"].map(|who| (event, who));
    assert_eq!(told, [of("participant_left"), of("track_unpublished")].concat());
}

#[test]
pub(crate) fn whoever_never_connects_has_aborted() {
    let mut world = world(302);
    let ann: ClientId = world.add_client("ann", "garden", JoinOptions::default());
    world.run_until(SECOND, |world| world.client(ann).is_joined()).expect("joins");
    world.act(ann, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(told(&world), [("room_started", ""), ("participant_connection_aborted", "ann")]);
}

#[test]
fn nothing_is_told_where_nobody_listens() {
    let (world, _) = call(303, &["ann"]);
    assert!(world.notices().is_empty());
}
