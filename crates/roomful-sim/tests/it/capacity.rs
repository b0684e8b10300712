use livekit_protocol as proto;
use proto::StreamState;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use proto::simulate_scenario::Scenario;
use roomful_sfu::RoomPolicy;
use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, World};

use crate::calls::*;

/// Ann and Bob with cameras and voices, in a room where pictures may be paused or not.
fn room(seed: u64, may_pause: bool) -> (World, Vec<ClientId>) {
    let rooms = RoomPolicy { may_pause, ..RoomPolicy::default() };
    call_in(World::with_rooms(seed, rooms).unwrap(), &["ann", "bob"])
}

/// Lets somebody receive so many bits a second; 0 for all.
pub(crate) fn narrow(world: &mut World, who: ClientId, bits: i64) {
    let scenario = Some(Scenario::SubscriberBandwidth(bits));
    let request = Request::Simulate(proto::SimulateScenario { scenario });
    world.act(who, |client, _| client.send_request(request));
    world.run(2 * SECOND);
}

/// What somebody was told of paused pictures, in order.
fn states(world: &World, who: ClientId) -> Vec<(String, StreamState)> {
    let updates = world.client(who).heard().iter().filter_map(|message| match message {
        Response::StreamStateUpdate(update) => Some(&update.stream_states),
        _ => None,
    });
    updates.flatten().map(|info| (info.track_sid.clone(), info.state())).collect()
}

/// Frames of Ann's camera and voice that Bob gets in a second.
fn frames(world: &mut World, ids: &[ClientId]) -> [usize; 2] {
    let since = world.now();
    world.run(SECOND);
    [0, 1].map(|key| {
        let log = log(world, ids[1], ids[0], key);
        log.whole_frames().filter(|(_, frame)| frame.at >= since).count()
    })
}

#[test]
fn whoever_can_receive_little_gets_small_pictures_and_all_the_sound_and_others_notice_nothing() {
    let (mut world, ids) = room(300, false);
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 2);
    narrow(&mut world, ids[1], 1);
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 0, "the smallest, whatever it takes");
    let [camera, voice] = frames(&mut world, &ids);
    assert!(camera >= 12 && voice >= 45, "{camera} frames, {voice} of sound");
    assert_eq!(log(&world, ids[0], ids[1], 0).layer, 2);
    narrow(&mut world, ids[1], 10_000_000);
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 2, "there is room for all");
    narrow(&mut world, ids[1], 1);
    narrow(&mut world, ids[1], 0);
    assert_eq!(log(&world, ids[1], ids[0], 0).layer, 2, "nothing is simulated any more");
    assert_eq!(states(&world, ids[1]), []);
    assert_eq!(world.client(ids[1]).missing_packets(), 0);
}

#[test]
fn pictures_without_room_are_paused_where_that_is_allowed_and_their_receiver_is_told() {
    let (mut world, ids) = room(301, true);
    let camera = sid(&world, ids[0], TrackKey(0));
    narrow(&mut world, ids[1], 1);
    let [pictures, voice] = frames(&mut world, &ids);
    assert!(pictures == 0 && voice >= 45, "{pictures} frames, {voice} of sound");
    let paused = vec![(camera.clone(), StreamState::Paused)];
    assert_eq!(states(&world, ids[1]), paused, "once, and of no sound");
    world.act(ids[1], |client, _| client.resume());
    world.run(SECOND);
    let paused_twice = [&paused[..], &paused].concat();
    assert_eq!(states(&world, ids[1]), paused_twice, "again to whoever was away");
    narrow(&mut world, ids[1], 0);
    let active = vec![(camera, StreamState::Active)];
    assert_eq!(states(&world, ids[1]), [paused_twice, active].concat());
    let [pictures, _] = frames(&mut world, &ids);
    assert!(pictures >= 12, "{pictures} frames");
    assert_eq!(states(&world, ids[0]), []);
}
