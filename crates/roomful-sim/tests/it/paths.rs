use std::time::Duration;

use roomful_sim::{Bitrate, Conditions, Direction};

use crate::calls::*;

#[test]
fn every_frame_is_repaired_at_five_percent_loss_each_way() {
    let (mut world, ids) = call(50, &["ann", "bob"]);
    let lossy = Conditions::latency(RTT / 2).with_loss(0.05);
    for id in &ids {
        world.set_conditions(*id, lossy, lossy);
    }
    world.run(Duration::from_secs(20));
    let lost = ids.iter().map(|id| world.link_counts(*id, Direction::Down).lost).sum::<u64>();
    assert!(lost > 100, "the network did lose: {lost}");
    let judged_until = world.now();
    world.run(2 * SECOND);
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let log = log(&world, to, from, 0);
        let sent: Vec<_> = log.frames.iter().filter(|(_, frame)| frame.at < judged_until).collect();
        let torn = sent.iter().filter(|(_, frame)| frame.have < frame.of).count();
        let numbers: Vec<u64> = sent.iter().map(|((_, number), _)| *number).collect();
        let absent = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>();
        assert_eq!((torn, absent), (0, 0), "torn and absent of {} frames", sent.len());
    }
    world.check_invariants(SOON).unwrap();
}

#[test]
fn jitter_and_reordering_tear_nothing() {
    let (mut world, ids) = call(51, &["ann", "bob"]);
    let rough = Conditions::latency(RTT / 2)
        .with_jitter(Duration::from_millis(30))
        .with_reordering(0.05);
    for id in &ids {
        world.set_conditions(*id, rough, rough);
    }
    world.run(Duration::from_secs(10));
    let before = world.now() - SECOND;
    for (to, from) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let log = log(&world, to, from, 0);
        let torn = |frame: &roomful_sim::reception::FrameLog| frame.have < frame.of;
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

#[test]
fn media_goes_on_after_the_router_gave_a_new_address() {
    let (mut world, ids) = call(53, &["ann", "bob", "cy"]);
    world.rebind(ids[1]);
    for s in 0..40 { let n = log(&world, ids[1], ids[0], 0).packets; let m = log(&world, ids[0], ids[1], 0).packets; println!("{s} down {n} up {m}"); world.run(SECOND); }
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
