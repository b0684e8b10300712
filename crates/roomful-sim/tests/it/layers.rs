use std::time::Duration;

use roomful_sim::client::TrackKey;

use crate::calls::*;

#[test]
pub(crate) fn a_muted_publisher_sends_nothing_and_comes_back_with_a_keyframe() {
    let (mut world, ids) = call(20, &["ann", "bob"]);
    let received =
        |world: &roomful_sim::World| [0, 1].map(|key| log(world, ids[1], ids[0], key).packets);
    for key in [0, 1] {
        world.act(ids[0], |client, _| client.set_muted(TrackKey(key), true));
    }
    world.check_invariants(SOON).unwrap();
    world.run(RTT);
    let before = received(&world);
    world.run(3 * SECOND);
    assert_eq!(received(&world), before, "the publisher goes on sending, the server does not");
    let since = world.now();
    for key in [0, 1] {
        world.act(ids[0], |client, _| client.set_muted(TrackKey(key), false));
    }
    world.run(SECOND);
    let camera = log(&world, ids[1], ids[0], 0);
    let (_, first) = camera.first_whole_frame_since(since).expect("a frame");
    assert!(first.keyframe);
    assert!(first.at - since <= 2 * RTT + Duration::from_millis(67));
    assert_flows(&mut world, &ids);
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
}

#[test]
pub(crate) fn the_layer_follows_the_size_and_switches_without_a_gap() {
    let (mut world, ids) = call(21, &["ann", "bob"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 2, "the best one without a wish");
    let since = world.now();
    for (size, layer) in
        [((160, 90), 0), ((640, 360), 1), ((1280, 720), 2), ((320, 180), 0), ((1920, 1080), 2)]
    {
        world.act(ids[1], |client, _| client.set_wishes(&camera, Some(size)));
        world.run(SECOND);
        assert_eq!(log(&world, ids[1], ids[0], 0).layer, layer, "at {size:?}");
    }
    let log = log(&world, ids[1], ids[0], 0);
    let gap = longest_gap(&log, since);
    assert!(gap <= Duration::from_millis(140), "{gap:?} without a frame");
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn what_one_subscriber_wishes_changes_nothing_for_another() {
    let (mut world, ids) = call(22, &["ann", "bob", "cy"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    world.act(ids[1], |client, _| client.set_wishes(&camera, Some((160, 90))));
    world.run(SECOND);
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 0);
    assert_eq!(log(&world, ids[2], ids[0], 0).layer, 2);
    world.act(ids[1], |client, _| client.set_wishes(&camera, None));
    world.run(SECOND);
    assert_flows(&mut world, &ids[1..]);
    let since = world.now() - SECOND;
    assert!(longest_gap(&log(&world, ids[2], ids[0], 0), since) <= Duration::from_millis(100));
}

#[test]
fn video_that_is_off_screen_is_not_sent() {
    let (mut world, ids) = call(23, &["ann", "bob"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    world.act(ids[1], |client, _| client.set_wishes(&camera, None));
    world.run(2 * RTT);
    let before = log(&world, ids[1], ids[0], 0).packets;
    world.run(3 * SECOND);
    assert_eq!(log(&world, ids[1], ids[0], 0).packets, before);
    let since = world.now();
    world.act(ids[1], |client, _| client.set_wishes(&camera, Some((640, 360))));
    world.run(SECOND);
    let back = log(&world, ids[1], ids[0], 0);
    assert!(back.first_whole_frame_since(since).expect("a frame").1.keyframe);
    assert_eq!(back.layer, 1);
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
    world.check_invariants(SOON).unwrap();
}

#[test]
pub(crate) fn a_storm_of_keyframe_requests_reaches_the_publisher_thinned_out() {
    let (mut world, ids) = call(24, &["ann", "bob", "cy"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    let since = world.now();
    for _ in 0..100 {
        for id in &ids[1..] {
            world.act(*id, |client, now| client.request_keyframe(&camera, now));
        }
        world.run(Duration::from_millis(50));
    }
    let log = log(&world, ids[1], ids[0], 0);
    let keyframes =
        log.whole_frames().filter(|(_, frame)| frame.keyframe && frame.at >= since).count();
    assert!((5..=12).contains(&keyframes), "{keyframes} keyframes in 5 s");
    world.check_invariants(SOON).unwrap();
}
