use std::collections::BTreeSet;
use std::time::Duration;

use roomful_sim::reception::FrameLog;
use roomful_sim::{Bitrate, ClientId, Conditions, Direction, TrackPlan, World};

use crate::calls::*;

/// As many packets a second as a real camera at a low bitrate.
const BUSY: TrackPlan = TrackPlan::Camera { simulcast: true, fps: 60 };

#[test]
pub(crate) fn every_frame_is_repaired_at_five_percent_loss_each_way() {
    let mut world = World::new(50).unwrap();
    let ids = ["ann", "bob"].map(|name| {
        let id = join(&mut world, name, "garden");
        publish(&mut world, id, BUSY);
        id
    });
    world.run(SECOND);
    assert_all_repaired(&mut world, ids);
}

#[test]
fn every_frame_is_repaired_in_a_section_that_carried_another_before() {
    let mut world = World::new(57).unwrap();
    let bob = join(&mut world, "bob", "garden");
    publish(&mut world, bob, BUSY);
    for name in ["guest", "visitor"] {
        let guest = join(&mut world, name, "garden");
        publish(&mut world, guest, BUSY);
        world.run(SECOND);
        world.act(guest, |client, _| client.leave());
        world.run(SECOND);
    }
    let before = world.client(bob).receiving_sections();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, BUSY);
    world.run(SECOND);
    assert_eq!(world.client(bob).receiving_sections(), before, "one is used again");
    assert_all_repaired(&mut world, [ann, bob]);
}

/// Both lose packets for ten seconds, and in the end miss nothing of each other.
fn assert_all_repaired(world: &mut World, ids: [ClientId; 2]) {
    let lossy = Conditions::latency(RTT / 2).with_loss(0.05);
    for id in &ids {
        world.set_conditions(*id, lossy, lossy);
    }
    let since = world.now();
    world.run(Duration::from_secs(10));
    let until = world.now();
    world.run(2 * SECOND);
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let lost = world.link_counts(to, Direction::Down).lost;
        assert!(lost > 50, "the network did lose: {lost}");
        let log = log(world, to, from, 0);
        // Frames that begin to arrive in time, and those between them, which a repair may bring later.
        let timely = log.frames.iter().filter(|(_, frame)| (since..until).contains(&frame.at));
        let numbers: BTreeSet<u64> = timely.map(|((_, number), _)| *number).collect();
        assert!(numbers.len() > 500);
        let all = numbers.first().copied().unwrap_or(0)..=numbers.last().copied().unwrap_or(0);
        let whole = |(_, frame): &(_, &FrameLog)| frame.have == frame.of;
        let repaired = log.frames.iter().filter(whole).map(|((_, number), _)| *number);
        let repaired: BTreeSet<u64> = repaired.collect();
        let unrepaired: Vec<u64> = all.filter(|number| !repaired.contains(number)).collect();
        assert!(unrepaired.is_empty(), "frames {unrepaired:?} never arrived whole");
    }
    world.check_invariants(SOON).unwrap();
}

#[test]
fn jitter_and_reordering_tear_nothing() {
    let (mut world, ids) = call(51, &["ann", "bob"]);
    let rough =
        Conditions::latency(RTT / 2).with_jitter(Duration::from_millis(30)).with_reordering(0.05);
    for id in &ids {
        world.set_conditions(*id, rough, rough);
    }
    world.run(Duration::from_secs(10));
    let before = world.now() - SECOND;
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let log = log(&world, to, from, 0);
        let torn = |frame: &FrameLog| frame.have < frame.of;
        let torn = log.frames.values().filter(|frame| frame.at < before && torn(frame)).count();
        assert_eq!(torn, 0);
    }
    world.check_invariants(SOON).unwrap();
}

#[test]
fn an_ice_restart_interrupts_nothing() {
    let (mut world, ids) = call(52, &["ann", "bob"]);
    let since = world.now();
    for _ in 0..3 {
        world.act(ids[1], |client, now| client.restart_ice(now));
        world.run(2 * SECOND);
    }
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let gap = longest_gap(&log(&world, to, from, 0), since);
        assert!(gap <= Duration::from_millis(150), "{gap:?} without a frame");
    }
    world.check_invariants(SOON).unwrap();
    assert_flows(&mut world, &ids);
}

/// Both ways wait for the client's next check from its new address, at most 2.5 s away.
#[test]
fn after_a_silent_change_of_address_media_flows_up_within_three_seconds_and_down_within_four() {
    let (mut world, ids) = call(53, &["ann", "bob", "cy"]);
    let packets = |world: &World, to, from| log(world, to, from, 0).packets;
    world.rebind(ids[1]);
    world.run(RTT);
    let (up, down) = (packets(&world, ids[0], ids[1]), packets(&world, ids[1], ids[0]));
    let limit = Duration::from_secs(60);
    let up = world.run_until(limit, |world| packets(world, ids[0], ids[1]) > up + 10);
    assert!(up.expect("up again") <= 3 * SECOND, "{up:?}");
    let down = world.run_until(limit, |world| packets(world, ids[1], ids[0]) > down + 10);
    assert!(down.expect("down again") <= 4 * SECOND, "{down:?}");
    assert_flows(&mut world, &ids);
    world.check_invariants(SOON).unwrap();
    assert!(world.client(ids[0]).departures().is_empty());
}

#[test]
fn a_new_address_and_an_ice_restart_together_are_a_network_change() {
    let (mut world, ids) = call(54, &["ann", "bob"]);
    let since = world.now();
    world.rebind(ids[1]);
    world.act(ids[1], |client, now| client.restart_ice(now));
    world.run(3 * SECOND);
    let gap = longest_gap(&log(&world, ids[0], ids[1], 0), since);
    assert!(gap <= SECOND, "{gap:?} without a frame");
    assert_flows(&mut world, &ids);
    world.check_invariants(SOON).unwrap();
}

#[test]
fn one_narrow_downlink_hurts_nobody_else() {
    let (mut world, ids) = call(55, &["ann", "bob", "cy"]);
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(ids[2], wire, wire.with_bandwidth(Bitrate(30_000), 4_000));
    world.run(Duration::from_secs(10));
    assert!(world.link_counts(ids[2], Direction::Down).lost > 100);
    assert_flows(&mut world, &ids[..2]);
}
