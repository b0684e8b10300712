use std::time::Duration;

use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, TrackPlan, World};

use crate::calls::*;

const CAMERA: TrackKey = TrackKey(0);

/// Which layers of its camera somebody sends, by what it was told.
fn sent(world: &World, id: ClientId) -> Vec<bool> {
    world.client(id).track(CAMERA).unwrap().wanted_layers()
}

fn wish(world: &mut World, who: ClientId, of: ClientId, size: Option<(u32, u32)>) {
    let track = sid(world, of, CAMERA);
    world.act(who, |client, _| client.set_wishes(&track, size));
}

#[test]
pub(crate) fn layers_nobody_wants_are_not_sent_after_a_while() {
    let (mut world, ids) = call(240, &["ann", "bob", "cy"]);
    wish(&mut world, ids[1], ids[0], Some((160, 90)));
    wish(&mut world, ids[2], ids[0], Some((640, 360)));
    world.run(4 * SECOND);
    assert_eq!(sent(&world, ids[0]), [true, true, true], "whoever turns a page often turns back");
    world.run(2 * SECOND);
    assert_eq!(sent(&world, ids[0]), [true, true, false]);
    assert_flows(&mut world, &ids);
    wish(&mut world, ids[2], ids[0], None);
    world.run(6 * SECOND);
    assert_eq!(sent(&world, ids[0]), [true, false, false]);
    wish(&mut world, ids[1], ids[0], None);
    world.run(6 * SECOND);
    assert_eq!(sent(&world, ids[0]), [false, false, false]);
}

#[test]
pub(crate) fn whoever_wants_more_gets_it_at_once() {
    let (mut world, ids) = call(241, &["ann", "bob"]);
    wish(&mut world, ids[1], ids[0], None);
    world.run(6 * SECOND);
    assert_eq!(sent(&world, ids[0]), [false, false, false]);
    wish(&mut world, ids[1], ids[0], Some((1280, 720)));
    let asked = world.now();
    let arrived = |world: &World| {
        let log = log(world, ids[1], ids[0], 0);
        log.whole_frames().any(|(_, frame)| frame.at > asked)
    };
    let waited = world.run_until(SECOND, arrived).expect("a picture");
    assert!(waited <= 3 * RTT + Duration::from_millis(100), "{waited:?}");
}

#[test]
pub(crate) fn a_picture_nobody_receives_is_sent_again_when_somebody_comes() {
    let mut world = World::new(242).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    world.run(9 * SECOND);
    assert_eq!(sent(&world, ann), [true, true, true]);
    world.run(2 * SECOND);
    assert_eq!(sent(&world, ann), [false, false, false]);
    let bob = join(&mut world, "bob", "garden");
    world.run(SECOND);
    assert_eq!(sent(&world, ann), [true, true, true]);
    assert!(log(&world, bob, ann, 0).whole_frames().count() > 3);
    world.act(bob, |client, _| client.leave());
    world.run(6 * SECOND);
    assert_eq!(sent(&world, ann), [false, false, false], "and stops when it leaves");
}

#[test]
fn whoever_was_away_when_more_was_wanted_hears_of_it_on_resuming() {
    let (mut world, ids) = call(243, &["ann", "bob"]);
    wish(&mut world, ids[1], ids[0], None);
    world.run(6 * SECOND);
    world.cut_websocket(ids[0]);
    world.run(SECOND / 2);
    wish(&mut world, ids[1], ids[0], Some((1280, 720)));
    world.run(SECOND);
    assert_eq!(sent(&world, ids[0]), [false, false, false], "it could not be told");
    world.act(ids[0], |client, _| client.resume());
    world.run(SECOND);
    assert_eq!(sent(&world, ids[0]), [true, true, true]);
    assert_flows(&mut world, &ids);
}
