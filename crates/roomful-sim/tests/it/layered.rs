//! Cameras with layers inside their only encoding (SVC).

use std::time::{Duration, Instant};

use livekit_protocol::VideoQuality;
use livekit_protocol::signal_response::Message as Response;
use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, VideoCodecs, World};

use crate::calls::*;

const CAMERA: TrackKey = TrackKey(0);
const QUALITIES: [VideoQuality; 3] = [VideoQuality::Low, VideoQuality::Medium, VideoQuality::High];

/// Everyone speaks VP9, and the first has a camera with layers inside.
fn layered_call(seed: u64, names: &[&str]) -> (World, Vec<ClientId>) {
    let mut world = World::new(seed).unwrap();
    let options = JoinOptions { video: VideoCodecs::Vp9, ..JoinOptions::default() };
    let ids: Vec<ClientId> =
        names.iter().map(|name| world.add_client(name, "garden", options.clone())).collect();
    for id in &ids {
        connected(&mut world, *id);
    }
    publish(&mut world, ids[0], TrackPlan::LayeredCamera { fps: 30 });
    world.check_invariants(3 * SECOND).unwrap();
    world.run(3 * SECOND);
    (world, ids)
}

fn wish(world: &mut World, who: ClientId, of: ClientId, quality: VideoQuality, fps: u32) {
    let camera = sid(world, of, CAMERA);
    world.act(who, |client, _| client.set_quality(&camera, quality, fps));
}

/// Layers of the whole pictures since then: the largest, and how many pictures.
fn pictures(world: &World, to: ClientId, from: ClientId, since: Instant) -> (u8, usize) {
    let log = log(world, to, from, CAMERA.0);
    let recent = || log.whole_frames().filter(|(_, frame)| frame.at >= since);
    let largest = recent().map(|((layer, _), _)| *layer).max().unwrap_or(99);
    (largest, recent().filter(|((layer, _), _)| *layer == 0).count())
}

#[test]
pub(crate) fn each_subscriber_gets_the_layers_it_wants_and_no_more() {
    let (mut world, ids) = layered_call(700, &["ann", "bob", "cy", "dan"]);
    for (id, quality) in ids[1..].iter().zip(QUALITIES) {
        wish(&mut world, *id, ids[0], quality, 0);
    }
    world.run(SECOND);
    let since = world.now();
    world.run(SECOND);
    for (id, layer) in ids[1..].iter().zip(0..) {
        let (largest, count) = pictures(&world, *id, ids[0], since);
        assert_eq!(largest, layer);
        assert!((28..=31).contains(&count), "{count} pictures in a second");
        assert_eq!(world.client(*id).missing_packets(), 0, "what is left out leaves no gap");
        assert_eq!(log(&world, *id, ids[0], 0).torn_frames(), 0);
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn the_size_of_a_tile_picks_a_layer_and_changes_without_a_gap() {
    let (mut world, ids) = layered_call(701, &["ann", "bob"]);
    let camera = sid(&world, ids[0], CAMERA);
    let begun = world.now();
    for (size, layer) in
        [((160, 90), 0), ((640, 360), 1), ((1280, 720), 2), ((320, 180), 0), ((1920, 1080), 2)]
    {
        world.act(ids[1], |client, _| client.set_wishes(&camera, Some(size)));
        world.run(SECOND);
        assert_eq!(log(&world, ids[1], ids[0], 0).layer, layer, "at {size:?}");
    }
    let log = log(&world, ids[1], ids[0], 0);
    assert!(longest_gap(&log, begun) <= Duration::from_millis(70), "two frames");
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn a_frame_rate_leaves_pictures_out_and_brings_them_back() {
    let (mut world, ids) = layered_call(702, &["ann", "bob"]);
    for (fps, expected) in [(7, 7), (15, 15), (0, 30), (5, 7), (30, 30)] {
        wish(&mut world, ids[1], ids[0], VideoQuality::High, fps);
        world.run(SECOND);
        let since = world.now();
        world.run(2 * SECOND);
        let (largest, count) = pictures(&world, ids[1], ids[0], since);
        assert_eq!(largest, 2, "at {fps}");
        assert!(count.abs_diff(2 * expected) <= 2, "{count} pictures in two seconds at {fps}");
    }
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn what_is_lost_of_a_small_picture_is_repaired_and_nothing_else_is_asked_for() {
    let (mut world, ids) = layered_call(703, &["ann", "bob"]);
    wish(&mut world, ids[1], ids[0], VideoQuality::Low, 0);
    world.run(SECOND);
    let lossy = Conditions::latency(RTT / 2).with_loss(0.05);
    for id in &ids {
        world.set_conditions(*id, lossy, lossy);
    }
    let since = world.now();
    world.run(10 * SECOND);
    let (largest, count) = pictures(&world, ids[1], ids[0], since);
    assert_eq!(largest, 0);
    assert!(count >= 290, "{count} whole pictures of 300");
    let missing = world.client(ids[1]).missing_packets();
    assert!(missing <= 5, "{missing} places were never filled");
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn a_publisher_is_told_the_largest_layer_that_anybody_wants() {
    let (mut world, ids) = layered_call(704, &["ann", "bob", "cy"]);
    let wanted = |world: &World| {
        let last = world.client(ids[0]).heard().iter().rev().find_map(|heard| match heard {
            Response::SubscribedQualityUpdate(told) => Some(told.subscribed_codecs.clone()),
            _ => None,
        });
        let codecs = last.unwrap_or_default();
        assert_eq!(codecs.len(), 1);
        codecs[0].qualities.iter().map(|quality| quality.enabled).collect::<Vec<bool>>()
    };
    assert_eq!(wanted(&world), [true, true, true]);
    wish(&mut world, ids[1], ids[0], VideoQuality::Low, 0);
    wish(&mut world, ids[2], ids[0], VideoQuality::Medium, 0);
    world.run(6 * SECOND);
    assert_eq!(wanted(&world), [true, true, false]);
    wish(&mut world, ids[2], ids[0], VideoQuality::Low, 0);
    world.run(6 * SECOND);
    assert_eq!(wanted(&world), [true, false, false]);
    wish(&mut world, ids[1], ids[0], VideoQuality::High, 0);
    world.run(SECOND);
    assert_eq!(wanted(&world), [true, true, true]);
}

#[test]
fn whoever_can_receive_little_gets_the_smallest_layer() {
    let (mut world, ids) = layered_call(712, &["ann", "bob", "cy"]);
    for (bits, layer) in [(1, 0), (0, 2)] {
        crate::capacity::narrow(&mut world, ids[1], bits);
        let since = world.now();
        world.run(SECOND);
        let (largest, count) = pictures(&world, ids[1], ids[0], since);
        assert_eq!(largest, layer);
        assert!((28..=31).contains(&count), "{count} pictures in a second");
        assert_eq!(pictures(&world, ids[2], ids[0], since).0, 2);
    }
}
