use std::time::Duration;

use livekit_protocol::leave_request::Action;
use livekit_protocol::{ConnectionQuality, DisconnectReason};
use roomful_sim::{ClientId, Conditions, JoinOptions, World};

use crate::calls::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Bob falls silent: how long until Ann takes him for lost, and until he is gone from her roster.
fn fall_silent(seed: u64, how: impl FnOnce(&mut World, ClientId)) -> (Duration, Duration) {
    let (mut world, ids) = call(seed, &["ann", "bob"]);
    let bob = participant_sid(&world, ids[1]);
    let began = world.now();
    how(&mut world, ids[1]);
    world.run_until(MINUTE, |world| world.client(ids[0]).takes_for_lost(&bob)).expect("lost");
    let lost = world.now() - began;
    assert!(world.client(ids[0]).roster().contains_key("bob"), "lost is not gone");
    let gone = |world: &World| world.client(ids[0]).departures().contains(&bob);
    world.run_until(MINUTE, gone).expect("gone");
    let gone = world.now() - began;
    world.run(MINUTE);
    world.check_invariants(SOON).unwrap();
    (lost, gone)
}

#[test]
pub(crate) fn a_killed_client_is_lost_within_three_seconds_and_gone_within_twenty() {
    let (lost, gone) = fall_silent(30, World::kill);
    assert!(lost <= Duration::from_secs(3), "{lost:?}");
    assert!(gone <= Duration::from_secs(20), "{gone:?}");
}

#[test]
fn a_stopped_client_is_lost_within_three_seconds_and_gone_within_twenty() {
    let (lost, gone) = fall_silent(31, World::stop);
    assert!(lost <= Duration::from_secs(3), "{lost:?}");
    assert!(gone <= Duration::from_secs(20), "{gone:?}");
}

#[test]
fn people_who_only_listen_are_never_taken_for_lost() {
    let mut world = World::new(32).unwrap();
    let ids = ["ann", "bob", "cy"].map(|name| join(&mut world, name, "garden"));
    world.run(10 * MINUTE);
    for id in ids {
        let told = world.client(id).qualities();
        assert!(told.iter().all(|(_, _, told)| *told != ConnectionQuality::Lost), "{told:?}");
    }
    world.check_invariants(SOON).unwrap();
}

#[test]
fn a_bad_network_alone_makes_nobody_lost() {
    let mut world = World::new(33).unwrap();
    let ids = ["ann", "bob"].map(|name| join(&mut world, name, "garden"));
    let bad = Conditions::latency(Duration::from_millis(150))
        .with_jitter(Duration::from_millis(100))
        .with_loss(0.1);
    world.set_conditions(ids[1], bad, bad);
    world.run(5 * MINUTE);
    let told = world.client(ids[0]).qualities();
    assert!(told.iter().all(|(_, _, told)| *told != ConnectionQuality::Lost), "{told:?}");
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn someone_out_of_reach_for_five_seconds_is_lost_and_then_back() {
    let (mut world, ids) = call(34, &["ann", "bob"]);
    let bob = participant_sid(&world, ids[1]);
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(ids[1], wire.down(), wire.down());
    world.run(Duration::from_secs(5));
    assert!(world.client(ids[0]).takes_for_lost(&bob));
    world.set_conditions(ids[1], wire, wire);
    let back = world.run_until(MINUTE, |world| !world.client(ids[0]).takes_for_lost(&bob));
    assert!(back.expect("is back") <= SECOND, "{back:?}");
    world.run(5 * SECOND);
    assert_flows(&mut world, &ids);
    assert!(world.client(ids[0]).departures().is_empty());
}

#[test]
fn a_websocket_is_replaced_while_media_flows_and_nobody_sees_a_leave() {
    let (mut world, ids) = call(35, &["ann", "bob"]);
    let since = world.now();
    world.cut_websocket(ids[1]);
    world.run(Duration::from_secs(3));
    world.act(ids[1], |client, _| client.resume());
    world.run(2 * SECOND);
    assert_eq!(world.client(ids[1]).resumptions(), 1);
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let gap = longest_gap(&log(&world, to, from, 0), since);
        assert!(gap <= Duration::from_millis(150), "{gap:?} without a frame");
        assert_eq!(world.client(to).missing_packets(), 0);
    }
    assert!(world.client(ids[0]).departures().is_empty());
    let told = world.client(ids[0]).qualities();
    assert!(told.iter().all(|(_, _, told)| *told != ConnectionQuality::Lost), "{told:?}");
    world.check_invariants(SOON).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn who_resumes_learns_what_it_missed() {
    let (mut world, mut ids) = call(36, &["ann", "bob", "cy"]);
    world.cut_websocket(ids[1]);
    world.run(SECOND);
    world.act(ids[2], |client, _| client.leave());
    ids.remove(2);
    ids.push(join(&mut world, "dee", "garden"));
    for plan in [roomful_sim::TrackPlan::CAMERA, roomful_sim::TrackPlan::VOICE] {
        publish(&mut world, ids[2], plan);
    }
    world.act(ids[1], |client, _| client.resume());
    world.check_invariants(2 * SECOND).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
fn an_offer_lost_with_its_websocket_is_made_good_by_the_resume() {
    let (mut world, ids) = call(37, &["ann", "bob"]);
    let camera = roomful_sim::TrackPlan::CAMERA;
    world.act(ids[1], |client, now| client.publish(camera, now));
    world.run(Duration::from_millis(25));
    assert!(world.client(ids[1]).is_negotiating());
    world.cut_websocket(ids[1]);
    world.run(SECOND);
    world.act(ids[1], |client, _| client.resume());
    world.run(SECOND);
    world.check_invariants(2 * SECOND).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
fn who_comes_back_after_being_removed_is_told_to_join_anew() {
    let (mut world, ids) = call(38, &["ann", "bob"]);
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(ids[1], wire.down(), wire.down());
    world.run(Duration::from_secs(25));
    assert!(!world.client(ids[0]).roster().contains_key("bob"));
    world.set_conditions(ids[1], wire, wire);
    world.act(ids[1], |client, _| client.resume());
    world.run(SECOND);
    let farewell = world.client(ids[1]).farewell().expect("a word");
    assert_eq!(farewell.action, Action::Reconnect);
    assert!(!world.client(ids[1]).is_joined(), "and the connection is closed");
    world.kill(ids[1]);
    let bob = join(&mut world, "bob", "garden");
    world.check_invariants(SOON).unwrap();
    assert!(world.client(bob).roster().contains_key("ann"));
}

#[test]
fn a_resume_nobody_can_place_is_told_to_join_anew() {
    let mut world = World::new(39).unwrap();
    join(&mut world, "ann", "garden");
    for room in ["garden", "cellar"] {
        let stray = world.add_client("stray", room, JoinOptions::default());
        world.cut_websocket(stray);
        world.act(stray, |client, _| client.resume());
        world.run(2 * SECOND);
        let farewell = world.client(stray).farewell().expect("a word");
        assert_eq!(farewell.action, Action::Reconnect);
        assert_eq!(farewell.reason, DisconnectReason::StateMismatch);
        world.kill(stray);
    }
}

#[test]
pub(crate) fn a_second_presence_of_the_same_identity_replaces_the_first() {
    let (mut world, ids) = call(40, &["ann", "bob"]);
    let former = participant_sid(&world, ids[1]);
    let again = join(&mut world, "bob", "garden");
    world.check_invariants(SOON).unwrap();
    let farewell = world.client(ids[1]).farewell().expect("a word");
    assert_eq!(farewell.reason, DisconnectReason::DuplicateIdentity);
    assert_eq!(farewell.action, Action::Disconnect);
    assert_eq!(world.client(ids[0]).departures(), [former]);
    assert_eq!(world.client(ids[0]).roster()["bob"].sid, participant_sid(&world, again));
    world.run(SECOND);
    assert!(log(&world, again, ids[0], 0).whole_frames().count() > 5);
}

#[test]
pub(crate) fn everyone_is_told_when_the_server_stops() {
    let (mut world, ids) = call(41, &["ann", "bob", "cy"]);
    world.shut_down();
    world.run(SECOND);
    for id in ids {
        let farewell = world.client(id).farewell().expect("a word");
        assert_eq!(farewell.reason, DisconnectReason::ServerShutdown);
        assert!(!world.client(id).is_joined());
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}
