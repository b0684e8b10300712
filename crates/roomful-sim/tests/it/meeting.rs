use std::time::Duration;

use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::token::Grant;
use roomful_sfu::{RoomPolicy, SfuEvent};
use roomful_sim::client::TrackKey;
use roomful_sim::{Browser, Conditions, JoinOptions, Plan, TrackPlan, World};

use crate::calls::*;

#[test]
pub(crate) fn two_meet_and_receive_exactly_each_others_media() {
    let (mut world, ids) = call(1, &["ann", "bob"]);
    assert_flows(&mut world, &ids);
    for (one, other) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let mut published: Vec<_> = [0, 1].map(|key| sid(&world, other, TrackKey(key))).to_vec();
        published.sort();
        assert_eq!(world.client(one).received_tracks(), published);
        assert_eq!(world.client(one).missing_packets(), 0);
    }
}

#[test]
pub(crate) fn a_client_that_offers_after_joining_is_served_as_well() {
    let firefox = JoinOptions { browser: Browser::Firefox, ..JoinOptions::default() };
    Plan::new()
        .join("ann", "garden")
        .publish("ann", TrackPlan::CAMERA)
        .join_with("bob", "garden", firefox)
        .publish("bob", TrackPlan::CAMERA)
        .run_for(SECOND)
        .check("both see each other", |world, names| {
            for (to, from) in [("ann", "bob"), ("bob", "ann")] {
                let log = log(world, names[to], names[from], 0);
                if log.whole_frames().count() < 8 {
                    return Err(format!("{to} has {} frames", log.frames.len()));
                }
            }
            Ok(())
        })
        .run(2)
        .unwrap();
}

#[test]
fn twenty_in_a_room_see_each_other_and_hear_whoever_talks() {
    let mut world = World::new(3).unwrap();
    let small = TrackPlan::Camera { simulcast: false, fps: 5 };
    let ids: Vec<_> = (0..20)
        .map(|number| {
            let id = join(&mut world, &format!("p{number}"), "garden");
            publish(&mut world, id, small);
            let talks = number % 7 == 0;
            publish(&mut world, id, if talks { TrackPlan::VOICE } else { TrackPlan::QUIET });
            id
        })
        .collect();
    world.check_invariants(3 * SECOND).unwrap();
    let since = world.now();
    world.run(2 * SECOND);
    for to in &ids {
        for (number, from) in ids.iter().enumerate().filter(|(_, from)| *from != to) {
            let arrived = |key| {
                let log = log(&world, *to, *from, key);
                log.whole_frames().filter(|(_, frame)| frame.at >= since).count()
            };
            assert!(arrived(0) >= 8, "{to:?} has {} frames of {from:?}", arrived(0));
            let heard = arrived(1);
            match number % 7 {
                0 => assert!(heard >= 90, "{to:?} has {heard} voice packets of {from:?}"),
                _ => assert_eq!(heard, 0, "{to:?} hears {from:?}, who is quiet"),
            }
        }
        assert_eq!(world.client(*to).missing_packets(), 0);
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn a_newcomers_first_frame_comes_two_round_trips_after_the_handshakes_and_is_a_keyframe() {
    let (mut world, ids) = call(4, &["ann", "bob"]);
    let began = world.now();
    let cy = world.add_client("cy", "garden", JoinOptions::default());
    let handshakes = connected(&mut world, cy);
    // Join and answer, ICE check, DTLS: one, one and two round trips.
    assert!(handshakes <= 5 * RTT, "connecting took {handshakes:?}");
    world.run(SECOND);
    let frame_interval = Duration::from_millis(67);
    for from in ids {
        let log = log(&world, cy, from, 0);
        let (_, first) = log.first_whole_frame_since(began).expect("a frame");
        let after = first.at - began;
        assert!(first.keyframe);
        assert!(after <= handshakes + 2 * RTT + frame_interval, "{after:?}, {handshakes:?}");
    }
}

#[test]
fn others_see_a_newcomer_before_it_is_connected() {
    let (mut world, ids) = call(5, &["ann", "bob"]);
    world.add_client("cy", "garden", JoinOptions::default());
    let seen = world.run_until(SECOND, |world| {
        ids.iter().all(|id| world.client(*id).roster().contains_key("cy"))
    });
    assert!(seen.expect("is seen") <= RTT + Duration::from_millis(5));
}

#[test]
pub(crate) fn rooms_are_apart_even_where_people_have_the_same_names() {
    let mut world = World::new(6).unwrap();
    let mut rooms = Vec::new();
    for room in ["garden", "cellar"] {
        let ids = ["ann", "bob"].map(|name| {
            let id = join(&mut world, name, room);
            publish(&mut world, id, TrackPlan::CAMERA);
            publish(&mut world, id, TrackPlan::VOICE);
            id
        });
        rooms.push(ids);
    }
    world.check_invariants(SOON).unwrap();
    for ids in &rooms {
        assert_flows(&mut world, ids);
        for id in ids {
            assert_eq!(world.client(*id).received_tracks().len(), 2);
            assert_eq!(world.client(*id).roster().len(), 1);
        }
    }
}

#[test]
pub(crate) fn a_room_ends_a_while_after_the_last_one_left_and_begins_anew_after() {
    let (mut world, ids) = call(7, &["ann", "bob"]);
    let garden = RoomName::new("garden");
    let former = world.client(ids[0]).room_sid().unwrap().to_owned();
    for id in ids {
        assert_eq!(world.events(), [SfuEvent::RoomStarted(garden.clone())]);
        world.act(id, |client, _| client.leave());
        world.run(SECOND);
    }
    // Kept for whoever comes back.
    world.run(RoomPolicy::default().departure_timeout - 2 * SECOND);
    assert_eq!(world.events().len(), 1);
    world.run(2 * SECOND);
    let ended = SfuEvent::RoomEnded(garden.clone());
    assert_eq!(world.events(), [SfuEvent::RoomStarted(garden.clone()), ended]);
    let cy = join(&mut world, "cy", "garden");
    assert_eq!(world.events().last(), Some(&SfuEvent::RoomStarted(garden)));
    assert_ne!(world.client(cy).room_sid().unwrap(), former);
    assert!(world.client(cy).roster().is_empty());
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn the_core_is_idle_while_nobody_sends() {
    let mut world = World::new(8).unwrap();
    join(&mut world, "ann", "garden");
    join(&mut world, "bob", "garden");
    world.run(Duration::from_secs(600));
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn who_is_hidden_receives_everything_and_is_in_no_roster() {
    let (mut world, ids) = call(9, &["ann", "bob"]);
    let mut grant = Grant::new(Identity::new("eve"), "Eve", RoomName::new("garden"));
    grant.permissions.hidden = true;
    let wire = Conditions::latency(RTT / 2);
    let eve = world.add_client_with(grant, JoinOptions::default(), wire);
    connected(&mut world, eve);
    world.run(SECOND);
    for id in &ids {
        assert!(!world.client(*id).roster().contains_key("eve"));
        assert!(log(&world, eve, *id, 0).whole_frames().count() > 5);
    }
    world.act(eve, |client, _| client.leave());
    world.check_invariants(SOON).unwrap();
    assert!(ids.iter().all(|id| world.client(*id).departures().is_empty()));
}

#[test]
fn who_may_not_publish_is_refused_and_hears_the_others() {
    let (mut world, ids) = call(10, &["ann", "bob"]);
    let mut grant = Grant::new(Identity::new("guest"), "Guest", RoomName::new("garden"));
    grant.permissions.can_publish = false;
    let wire = Conditions::latency(RTT / 2);
    let guest = world.add_client_with(grant, JoinOptions::default(), wire);
    connected(&mut world, guest);
    world.act(guest, |client, now| client.publish(TrackPlan::CAMERA, now));
    world.run(SECOND);
    assert_eq!(world.client(guest).refusals().len(), 1);
    world.check_invariants(SOON).unwrap();
    assert!(log(&world, guest, ids[0], 0).whole_frames().count() > 5);
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn ten_who_join_at_the_same_instant_are_all_in() {
    let mut world = World::new(11).unwrap();
    let ids: Vec<_> = (0..10)
        .map(|number| world.add_client(&format!("p{number}"), "garden", JoinOptions::default()))
        .collect();
    for id in &ids {
        world.act(*id, |client, now| client.publish(TrackPlan::CAMERA, now));
        world.act(*id, |client, now| client.publish(TrackPlan::VOICE, now));
    }
    world.run(SECOND);
    world.check_invariants(2 * SOON).unwrap();
    world.run(SECOND);
    assert_flows(&mut world, &ids);
}
