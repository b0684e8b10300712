use roomful_sim::client::TrackKey;
use roomful_sim::{Plan, TrackPlan};

use crate::calls::*;

const CAMERA: TrackPlan = TrackPlan::Camera { simulcast: false, fps: 10 };

#[test]
fn sections_are_asked_for_when_there_are_more_tracks_and_all_arrive() {
    let (mut world, ids) = call(10, &["ann", "bob", "cy", "dee", "eve", "fay"]);
    for id in &ids {
        assert_eq!(world.client(*id).receiving_sections(), 10, "five others, two tracks each");
    }
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn a_newcomer_gets_all_tracks_of_a_full_room() {
    let (mut world, mut ids) = call(11, &["ann", "bob", "cy", "dee", "eve"]);
    ids.push(join(&mut world, "fay", "garden"));
    for plan in [TrackPlan::CAMERA, TrackPlan::VOICE] {
        publish(&mut world, ids[5], plan);
    }
    world.check_invariants(SOON).unwrap();
    world.run(SECOND);
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn sections_are_used_again_and_never_show_another_track_than_their_label() {
    let (mut world, ids) = call(12, &["ann", "bob"]);
    for round in 0..10 {
        let name = format!("visitor{round}");
        let visitor = join(&mut world, &name, "garden");
        publish(&mut world, visitor, CAMERA);
        publish(&mut world, visitor, TrackPlan::VOICE);
        world.check_invariants(SOON).unwrap();
        world.run(SECOND);
        for id in &ids {
            assert!(log(&world, *id, visitor, 0).whole_frames().count() > 5);
        }
        world.act(visitor, |client, _| client.leave());
        world.check_invariants(SOON).unwrap();
    }
    for id in ids {
        assert_eq!(world.client(id).receiving_sections(), 6, "the first six were enough");
        assert_eq!(world.client(id).missing_packets(), 0);
    }
}

#[test]
pub(crate) fn a_track_published_and_unpublished_again_and_again_is_each_time_another() {
    let mut plan = Plan::new().join("ann", "garden").join("bob", "garden");
    for round in 0..6 {
        plan = plan
            .publish("ann", CAMERA)
            .run_for(SECOND / 2)
            .check("bob sees it", move |world, names| {
                let log = log(world, names["bob"], names["ann"], round);
                let first = log.first_whole_frame_since(world.now() - SECOND);
                if first.is_some_and(|(_, frame)| frame.keyframe) {
                    return Ok(());
                }
                Err(format!("round {round}: {first:?}"))
            })
            .unpublish("ann", round);
    }
    plan.run_for(SECOND).run(13).unwrap();
}

#[test]
pub(crate) fn everyone_may_publish_at_the_same_instant() {
    let mut world = roomful_sim::World::new(14).unwrap();
    let ids: Vec<_> =
        ["ann", "bob", "cy", "dee"].map(|name| join(&mut world, name, "garden")).to_vec();
    for id in &ids {
        for plan in [TrackPlan::CAMERA, TrackPlan::VOICE] {
            world.act(*id, |client, now| client.publish(plan, now));
        }
    }
    world.run(RTT);
    world.check_invariants(SOON).unwrap();
    world.run(SECOND);
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn tracks_swapped_in_one_breath_reach_everyone_under_their_own_labels() {
    let (mut world, ids) = call(15, &["ann", "bob", "cy"]);
    for round in 0..8 {
        let (out, into) = (ids[round % 3], ids[(round + 1) % 3]);
        let last = world.client(out).tracks().filter(|(_, track)| track.is_live()).last();
        let last = last.map(|(key, _)| key);
        world.act(into, |client, now| client.publish(CAMERA, now));
        if let Some(key) = last.filter(|key| key.0 > 1) {
            world.act(out, |client, now| client.unpublish(key, now));
        }
        world.run(RTT / 3);
    }
    world.check_invariants(2 * SOON).unwrap();
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn who_unsubscribes_gets_nothing_and_gets_it_back_by_subscribing() {
    let (mut world, ids) = call(16, &["ann", "bob"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    world.act(ids[1], |client, _| client.subscribe(&[&camera], false));
    world.run(SECOND / 2);
    let before = log(&world, ids[1], ids[0], 0).packets;
    world.run(2 * SECOND);
    assert_eq!(log(&world, ids[1], ids[0], 0).packets, before);
    let since = world.now();
    world.act(ids[1], |client, _| client.subscribe(&[&camera], true));
    world.run(SECOND);
    let back = log(&world, ids[1], ids[0], 0);
    assert!(back.first_whole_frame_since(since).expect("comes back").1.keyframe);
    world.check_invariants(SOON).unwrap();
}
