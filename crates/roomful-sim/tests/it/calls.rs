//! Calls to begin a test with, and questions to ask of them.

use std::time::Duration;

use roomful_sim::client::TrackKey;
use roomful_sim::reception::TrackLog;
use roomful_sim::{ClientId, JoinOptions, TrackPlan, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const RTT: Duration = roomful_sim::world::DEFAULT_LATENCY.saturating_mul(2);

/// How long clients may take to know what is so when nothing is lost: an offer that waits for another, both
/// debounced, and the answers.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// A room in which everyone is connected and publishes a camera and a voice.
pub(crate) fn call(seed: u64, names: &[&str]) -> (World, Vec<ClientId>) {
    call_in(World::new(seed).unwrap(), names)
}

/// The same in a world of one's own.
pub(crate) fn call_in(mut world: World, names: &[&str]) -> (World, Vec<ClientId>) {
    let ids: Vec<_> = names.iter().map(|name| join(&mut world, name, "garden")).collect();
    for id in &ids {
        publish(&mut world, *id, TrackPlan::CAMERA);
        publish(&mut world, *id, TrackPlan::VOICE);
    }
    world.check_invariants(3 * SECOND).unwrap();
    world.run(SECOND);
    (world, ids)
}

/// A client that has joined and is connected.
pub(crate) fn join(world: &mut World, name: &str, room: &str) -> ClientId {
    let id = world.add_client(name, room, JoinOptions::default());
    connected(world, id);
    id
}

pub(crate) fn connected(world: &mut World, id: ClientId) -> Duration {
    world
        .run_until(5 * SECOND, |world| {
            world.client(id).is_joined() && world.client(id).is_connected()
        })
        .expect("connects")
}

/// Publishes, and waits until the track has been negotiated.
pub(crate) fn publish(world: &mut World, id: ClientId, plan: TrackPlan) -> TrackKey {
    let key = world.act(id, |client, now| client.publish(plan, now));
    world
        .run_until(5 * SECOND, |world| world.client(id).track(key).unwrap().is_live())
        .expect("is published");
    key
}

/// The server's name for a track.
pub(crate) fn sid(world: &World, id: ClientId, key: TrackKey) -> String {
    world.client(id).track(key).unwrap().sid().unwrap().to_owned()
}

pub(crate) fn participant_sid(world: &World, id: ClientId) -> String {
    world.client(id).sid().unwrap().to_owned()
}

/// What `to` received of the `key`th track of `from`.
pub(crate) fn log(world: &World, to: ClientId, from: ClientId, key: usize) -> TrackLog {
    world.client(to).received(&sid(world, from, TrackKey(key)))
}

/// Everyone gets a camera and a voice from everyone else, now.
pub(crate) fn assert_flows(world: &mut World, ids: &[ClientId]) {
    let since = world.now();
    world.run(SECOND);
    for to in ids {
        for from in ids.iter().filter(|from| *from != to) {
            let camera = log(world, *to, *from, 0);
            let frames = camera.whole_frames().filter(|(_, frame)| frame.at >= since).count();
            assert!(frames >= 12, "{to:?} has {frames} frames of {from:?}'s camera in a second");
            let voice = log(world, *to, *from, 1);
            let packets = voice.whole_frames().filter(|(_, frame)| frame.at >= since).count();
            assert!(packets >= 45, "{to:?} has {packets} packets of {from:?}'s voice in a second");
        }
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

/// The longest time without a whole frame since `since`.
pub(crate) fn longest_gap(log: &TrackLog, since: std::time::Instant) -> Duration {
    let mut times: Vec<_> = log.whole_frames().map(|(_, frame)| frame.at).collect();
    times.retain(|at| *at >= since);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
}
