use std::time::Duration;

use roomful_sim::client::TrackKey;
use roomful_sim::{TrackPlan, World};

use crate::calls::*;

#[test]
pub(crate) fn who_begins_to_talk_is_marked_within_200_ms_and_who_stops_soon_after() {
    let mut world = World::new(70).unwrap();
    let ids = ["ann", "bob"].map(|name| join(&mut world, name, "garden"));
    publish(&mut world, ids[0], TrackPlan::QUIET);
    world.run(SECOND);
    let ann = participant_sid(&world, ids[0]);
    assert!(world.client(ids[1]).speakers().is_empty(), "nobody talks");

    let began = world.now();
    world.act(ids[0], |client, _| client.set_level(TrackKey(0), 20));
    world.run(3 * SECOND);
    let (at, speaker) = world.client(ids[1]).speakers().first().expect("is marked").clone();
    assert!(speaker.active && speaker.sid == ann);
    assert!(at - began <= Duration::from_millis(200), "{:?}", at - began);

    let stopped = world.now();
    world.act(ids[0], |client, _| client.set_level(TrackKey(0), 80));
    world.run(3 * SECOND);
    let (at, speaker) = world.client(ids[1]).speakers().last().expect("is told").clone();
    assert!(!speaker.active && speaker.sid == ann);
    assert!(at - stopped <= SECOND, "{:?}", at - stopped);
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn who_mutes_or_leaves_while_talking_stops_being_marked() {
    for leaves in [false, true] {
        let (mut world, ids) = call(71, &["ann", "bob"]);
        let ann = participant_sid(&world, ids[0]);
        let last = |world: &World| {
            let mut told = world.client(ids[1]).speakers().iter().rev();
            told.find(|(_, speaker)| speaker.sid == ann).map(|(_, speaker)| speaker.active)
        };
        assert_eq!(last(&world), Some(true));
        world.act(ids[0], |client, _| match leaves {
            true => client.leave(),
            false => client.set_muted(TrackKey(1), true),
        });
        // With a moment for a link, if they are in two parts of the room.
        world.run(RTT + Duration::from_millis(1));
        assert!(last(&world) == Some(false) || !world.client(ids[1]).roster().contains_key("ann"));
        world.run(SECOND);
        world.check_invariants(SOON).unwrap();
    }
}
