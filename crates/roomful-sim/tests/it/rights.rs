use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::token::Permissions;
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, World};

use crate::calls::*;

/// What somebody was told of which tracks its publishers let it have.
fn allowances(world: &World, id: ClientId) -> Vec<(String, bool)> {
    let heard = world.client(id).heard().iter();
    heard
        .filter_map(|heard| match heard {
            Response::SubscriptionPermissionUpdate(update) => {
                Some((update.track_sid.clone(), update.allowed))
            }
            _ => None,
        })
        .collect()
}

fn allow(world: &mut World, from: ClientId, permissions: Vec<proto::TrackPermission>) {
    let said =
        proto::SubscriptionPermission { all_participants: false, track_permissions: permissions };
    world.act(from, |client, _| client.send_request(Request::SubscriptionPermission(said)));
}

fn everything_for(identity: &str) -> proto::TrackPermission {
    proto::TrackPermission {
        participant_identity: identity.into(),
        all_tracks: true,
        ..Default::default()
    }
}

/// Whole frames or packets of a track that arrive within a second.
fn arrives(world: &mut World, to: ClientId, from: ClientId, key: usize) -> usize {
    world.run(SECOND);
    let since = world.now();
    world.run(SECOND);
    let log = log(world, to, from, key);
    log.whole_frames().filter(|(_, frame)| frame.at >= since).count()
}

#[test]
pub(crate) fn a_publisher_decides_who_receives_its_tracks_now_and_later() {
    let (mut world, ids) = call(210, &["ann", "bob", "cy"]);
    allow(&mut world, ids[0], vec![everything_for("bob")]);
    world.run(SECOND);
    let told = allowances(&world, ids[2]);
    assert!(told[..4].iter().all(|(_, allowed)| *allowed), "of each when it was new: {told:?}");
    assert_eq!(told.len(), 6, "of both tracks that are taken: {told:?}");
    assert!(told[4..].iter().all(|(_, allowed)| !allowed));
    assert!(allowances(&world, ids[1]).iter().all(|(_, allowed)| *allowed));
    assert_eq!(arrives(&mut world, ids[2], ids[0], 0), 0);
    assert!(arrives(&mut world, ids[1], ids[0], 0) >= 12);

    let dan = join(&mut world, "dan", "garden");
    assert_eq!(arrives(&mut world, dan, ids[0], 0), 0, "not even who comes later");
    let of_ann = [0, 1].map(|key| sid(&world, ids[0], roomful_sim::client::TrackKey(key)));
    let told = allowances(&world, dan);
    let of_ann = |(track, _): &&(String, bool)| of_ann.contains(track);
    assert_eq!(told.iter().filter(of_ann).filter(|(_, allowed)| !allowed).count(), 2);
    assert_eq!(told.iter().filter(of_ann).count(), 2);

    allow(&mut world, ids[0], vec![everything_for("cy"), everything_for("dan")]);
    assert!(arrives(&mut world, ids[2], ids[0], 0) >= 12, "it had not given up");
    assert!(arrives(&mut world, dan, ids[0], 1) >= 45);
    assert_eq!(arrives(&mut world, ids[1], ids[0], 0), 0);
    let told = allowances(&world, ids[2])[6..].to_vec();
    assert_eq!(told.iter().filter(|(_, allowed)| *allowed).count(), 2);
}

#[test]
pub(crate) fn one_track_may_be_for_some_and_another_for_others() {
    let (mut world, ids) = call(211, &["ann", "bob"]);
    let voice = sid(&world, ids[0], roomful_sim::client::TrackKey(1));
    let only_voice = proto::TrackPermission {
        participant_sid: participant_sid(&world, ids[1]),
        track_sids: vec![voice],
        ..Default::default()
    };
    allow(&mut world, ids[0], vec![only_voice]);
    assert!(arrives(&mut world, ids[1], ids[0], 1) >= 45);
    assert_eq!(arrives(&mut world, ids[1], ids[0], 0), 0);
}

#[test]
fn a_permission_for_nobody_is_refused_and_changes_nothing() {
    let (mut world, ids) = call(212, &["ann", "bob"]);
    allow(&mut world, ids[0], vec![proto::TrackPermission::default()]);
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).refusals()[0].reason(), Reason::InvalidRequest);
    assert_flows(&mut world, &ids);
}

#[test]
pub(crate) fn whoever_may_no_longer_publish_a_source_loses_its_track_and_no_other() {
    let (mut world, ids) = call(213, &["ann", "bob"]);
    let camera = sid(&world, ids[0], roomful_sim::client::TrackKey(0));
    let mute = Permissions {
        can_publish_sources: vec![proto::TrackSource::Microphone],
        ..Permissions::default()
    };
    assert!(world.set_permissions("garden", "ann", mute));
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).unpublished(), [camera]);
    let ann = world.client(ids[1]).roster()["ann"].clone();
    assert_eq!(ann.tracks.len(), 1);
    assert_eq!(ann.permission.unwrap().can_publish_sources.len(), 1);
    assert!(arrives(&mut world, ids[1], ids[0], 1) >= 45);
    let camera = proto::AddTrackRequest {
        cid: "again".into(),
        r#type: proto::TrackType::Video.into(),
        source: proto::TrackSource::Camera.into(),
        ..Default::default()
    };
    world.act(ids[0], |client, _| client.send_request(Request::AddTrack(camera)));
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).refusals().last().unwrap().reason(), Reason::NotAllowed);
    let token = *world.client(ids[0]).tokens().last().unwrap();
    let grant = roomful_sim::world::keys().verify(token, world.unix_now()).unwrap();
    assert_eq!(grant.permissions.can_publish_sources, [proto::TrackSource::Microphone]);
}

#[test]
pub(crate) fn whoever_may_subscribe_again_receives_everything_again() {
    let (mut world, ids) = call(214, &["ann", "bob"]);
    let deaf = Permissions { can_subscribe: false, ..Permissions::default() };
    world.set_permissions("garden", "bob", deaf);
    assert_eq!(arrives(&mut world, ids[1], ids[0], 1), 0);
    assert!(arrives(&mut world, ids[0], ids[1], 1) >= 45, "it is still heard");
    publish(&mut world, ids[0], TrackPlan::VOICE);
    world.run(SECOND);
    assert_eq!(world.client(ids[1]).labels().len(), 0);
    world.set_permissions("garden", "bob", Permissions::default());
    world.run(2 * SECOND);
    assert_flows(&mut world, &ids);
    assert_eq!(world.client(ids[1]).labels().len(), 3, "what came meanwhile, too");
}

#[test]
pub(crate) fn whoever_hides_leaves_every_roster_and_comes_back_to_it() {
    let (mut world, ids) = call(215, &["ann", "bob"]);
    let hidden = Permissions { hidden: true, ..Permissions::default() };
    world.set_permissions("garden", "ann", hidden);
    world.run(SECOND);
    assert!(!world.client(ids[1]).roster().contains_key("ann"));
    world.set_permissions("garden", "ann", Permissions::default());
    world.run(SECOND);
    assert!(world.client(ids[1]).roster().contains_key("ann"));
    assert!(!world.set_permissions("garden", "nobody", Permissions::default()));
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn whoever_never_connects_is_removed_after_a_minute() {
    let mut world = World::new(216).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let bob = world.add_client("bob", "garden", JoinOptions::default());
    let websocket_only = Conditions::latency(RTT / 2).with_loss(1.0);
    world.set_conditions(bob, websocket_only, websocket_only);
    world.run(Duration::from_secs(50));
    assert!(world.client(ann).roster().contains_key("bob"), "patience");
    world.run(Duration::from_secs(15));
    assert!(!world.client(ann).roster().contains_key("bob"));
    let farewell = world.client(bob).farewell().unwrap();
    assert_eq!(farewell.reason, proto::DisconnectReason::JoinFailure);
    assert!(world.client(ann).is_connected() && world.client(ann).farewell().is_none());
}

#[test]
fn whoever_was_away_when_a_track_was_allowed_hears_of_it_on_resuming() {
    let (mut world, ids) = call(217, &["ann", "bob"]);
    allow(&mut world, ids[0], Vec::new());
    world.run(SECOND);
    assert!(allowances(&world, ids[1])[2..].iter().all(|(_, allowed)| !allowed));
    world.cut_websocket(ids[1]);
    world.run(SECOND / 2);
    let everyone = proto::SubscriptionPermission { all_participants: true, ..Default::default() };
    let everyone = Request::SubscriptionPermission(everyone);
    world.act(ids[0], |client, _| client.send_request(everyone));
    world.run(SECOND);
    let before = allowances(&world, ids[1]).len();
    world.act(ids[1], |client, _| client.resume());
    world.run(SECOND);
    let told = allowances(&world, ids[1])[before..].to_vec();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(_, allowed)| *allowed));
    assert!(arrives(&mut world, ids[1], ids[0], 1) >= 45);
}
