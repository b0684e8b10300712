use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use proto::update_data_subscription::Update;
use roomful_sfu::RoomPolicy;
use roomful_sfu::token::Permissions;
use roomful_sim::client::Channel;
use roomful_sim::{Bitrate, ClientId, Conditions, World};

use crate::calls::*;

/// People whose channels for data tracks are open.
fn people(world: &mut World, names: &[&str]) -> Vec<ClientId> {
    let ids: Vec<_> = names.iter().map(|name| join(world, name, "garden")).collect();
    let open = |world: &World| ids.iter().all(|id| world.client(*id).is_open(Channel::DataTrack));
    world.run_until(2 * SECOND, open).expect("channels open");
    ids
}

fn request(world: &mut World, who: ClientId, request: Request) {
    world.act(who, |client, _| client.send_request(request));
    world.run(SECOND / 2);
}

fn publish(world: &mut World, who: ClientId, handle: u32, name: &str) {
    let asked = proto::PublishDataTrackRequest {
        pub_handle: handle,
        name: name.into(),
        ..Default::default()
    };
    request(world, who, Request::PublishDataTrackRequest(asked));
}

fn published(world: &World, who: ClientId) -> Vec<proto::DataTrackInfo> {
    let heard = world.client(who).heard().iter();
    heard
        .filter_map(|heard| match heard {
            Response::PublishDataTrackResponse(told) => told.info.clone(),
            _ => None,
        })
        .collect()
}

fn subscribe(world: &mut World, who: ClientId, track: &str, subscribe: bool) {
    let update = Update { track_sid: track.into(), subscribe, ..Default::default() };
    let update = proto::UpdateDataSubscription { updates: vec![update] };
    request(world, who, Request::UpdateDataSubscription(update));
}

/// Under which handles somebody gets which tracks, as it was told last.
fn handles(world: &World, who: ClientId) -> Vec<(u16, String)> {
    let last = world.client(who).heard().iter().rev().find_map(|heard| match heard {
        Response::DataTrackSubscriberHandles(told) => Some(told.sub_handles.clone()),
        _ => None,
    });
    let told = last.unwrap_or_default();
    let mut handles: Vec<_> = told
        .into_iter()
        .map(|(handle, track)| (u16::try_from(handle).unwrap(), track.track_sid))
        .collect();
    handles.sort();
    handles
}

fn packet(handle: u16, number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0b0001_1000, 0];
    for word in [handle, number, number, 0, number] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

fn send(world: &mut World, who: ClientId, bytes: &[u8]) {
    world.act(who, |client, now| client.send_raw_data(Channel::DataTrack, bytes, now));
}

#[test]
pub(crate) fn whoever_subscribes_gets_every_packet_under_its_own_handle_and_nobody_else_any() {
    let mut world = World::new(540).unwrap();
    let ids = people(&mut world, &["ann", "bob", "cy"]);
    publish(&mut world, ids[0], 700, "wheels");
    publish(&mut world, ids[0], 3, "arm");
    let tracks = published(&world, ids[0]);
    assert_eq!(tracks.len(), 2);
    let roster = &world.client(ids[1]).roster()["ann"];
    let told: Vec<_> = roster.data_tracks.iter().map(|one| one.name.as_str()).collect();
    assert!(told.contains(&"wheels") && told.contains(&"arm") && roster.is_publisher);

    subscribe(&mut world, ids[1], &tracks[0].sid, true);
    let bob = handles(&world, ids[1]);
    assert_eq!(bob.len(), 1);
    assert_eq!(bob[0].1, tracks[0].sid);
    for number in 0..50_u16 {
        send(&mut world, ids[0], &packet(700, number, &number.to_be_bytes()));
        send(&mut world, ids[0], &packet(3, number, b"not for bob"));
        world.run(Duration::from_millis(10));
    }
    world.run(SECOND);
    let expected: Vec<_> =
        (0..50_u16).map(|number| packet(bob[0].0, number, &number.to_be_bytes())).collect();
    assert_eq!(world.client(ids[1]).data_packets(), expected);
    assert!(world.client(ids[2]).data_packets().is_empty());
    assert!(world.client(ids[0]).data_packets().is_empty());
    subscribe(&mut world, ids[1], &tracks[0].sid, false);
    assert_eq!(handles(&world, ids[1]), []);
    send(&mut world, ids[0], &packet(700, 50, b"too late"));
    world.run(SECOND);
    assert_eq!(world.client(ids[1]).data_packets().len(), 50);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn a_track_that_ends_or_whose_publisher_leaves_is_nobodys() {
    let mut world = World::new(541).unwrap();
    let ids = people(&mut world, &["ann", "bob"]);
    publish(&mut world, ids[0], 1, "wheels");
    publish(&mut world, ids[0], 2, "arm");
    for track in published(&world, ids[0]) {
        subscribe(&mut world, ids[1], &track.sid, true);
    }
    assert_eq!(handles(&world, ids[1]).len(), 2);
    let ended = proto::UnpublishDataTrackRequest { pub_handle: 1 };
    request(&mut world, ids[0], Request::UnpublishDataTrackRequest(ended));
    let told = world.client(ids[0]).heard().iter().any(|heard| {
        matches!(heard, Response::UnpublishDataTrackResponse(told)
            if told.info.as_ref().is_some_and(|info| info.name == "wheels"))
    });
    assert!(told);
    assert_eq!(handles(&world, ids[1]).len(), 1);
    let tracks = &world.client(ids[1]).roster()["ann"].data_tracks;
    assert_eq!(tracks.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["arm"]);
    world.act(ids[0], |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(handles(&world, ids[1]), []);
}

#[test]
fn what_cannot_be_published_is_refused_with_livekits_reasons() {
    let mut world = World::new(542).unwrap();
    let ids = people(&mut world, &["ann", "bob"]);
    publish(&mut world, ids[0], 1, "wheels");
    for (handle, name) in [(0, "a"), (65_536, "a"), (2, ""), (1, "a"), (2, "wheels")] {
        publish(&mut world, ids[0], handle, name);
    }
    let unknown = proto::UnpublishDataTrackRequest { pub_handle: 9 };
    request(&mut world, ids[0], Request::UnpublishDataTrackRequest(unknown));
    let mute = Permissions { can_publish_data: false, ..Permissions::default() };
    assert!(world.set_permissions("garden", "ann", mute));
    publish(&mut world, ids[0], 2, "arm");
    let refused: Vec<_> =
        world.client(ids[0]).refusals().iter().map(proto::RequestResponse::reason).collect();
    let expected = [
        Reason::InvalidHandle,
        Reason::InvalidHandle,
        Reason::InvalidName,
        Reason::DuplicateHandle,
        Reason::DuplicateName,
        Reason::NotFound,
        Reason::NotAllowed,
    ];
    assert_eq!(refused, expected);
    assert!(world.client(ids[0]).refusals().iter().all(|one| one.request.is_some()));
    assert!(world.client(ids[1]).roster()["ann"].data_tracks.is_empty(), "the right is gone");
}

#[test]
fn where_the_operator_allows_no_data_tracks_there_are_none() {
    let rooms = RoomPolicy { data_tracks: false, ..RoomPolicy::default() };
    let mut world = World::with_rooms(543, rooms).unwrap();
    let ids = people(&mut world, &["ann"]);
    publish(&mut world, ids[0], 1, "wheels");
    assert_eq!(world.client(ids[0]).refusals()[0].reason(), Reason::NotAllowed);
}

#[test]
pub(crate) fn a_publisher_decides_who_gets_its_data_tracks() {
    let mut world = World::new(544).unwrap();
    let ids = people(&mut world, &["ann", "bob", "cy"]);
    publish(&mut world, ids[0], 1, "wheels");
    let track = published(&world, ids[0])[0].sid.clone();
    for id in &ids[1..] {
        subscribe(&mut world, *id, &track, true);
    }
    let only = |identities: &[&str]| {
        let permission = |identity: &&str| proto::TrackPermission {
            participant_identity: (*identity).into(),
            all_tracks: true,
            ..Default::default()
        };
        Request::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: identities.iter().map(permission).collect(),
        })
    };
    request(&mut world, ids[0], only(&["cy"]));
    assert_eq!(handles(&world, ids[1]), []);
    assert_eq!(handles(&world, ids[2]).len(), 1);
    send(&mut world, ids[0], &packet(1, 1, b"for cy"));
    world.run(SECOND);
    assert!(world.client(ids[1]).data_packets().is_empty());
    assert_eq!(world.client(ids[2]).data_packets().len(), 1);
    request(&mut world, ids[0], only(&["bob", "cy"]));
    assert_eq!(handles(&world, ids[1]).len(), 1, "it had not given up");
    let allowed: Vec<bool> = world
        .client(ids[1])
        .heard()
        .iter()
        .filter_map(|heard| match heard {
            Response::SubscriptionPermissionUpdate(told) => Some(told.allowed),
            _ => None,
        })
        .collect();
    assert_eq!(allowed, [true, false, true]);
}

#[test]
fn a_slow_subscriber_loses_packets_and_no_other_does() {
    let mut world = World::new(545).unwrap();
    let ids = people(&mut world, &["ann", "bob", "cy"]);
    publish(&mut world, ids[0], 1, "wheels");
    let track = published(&world, ids[0])[0].sid.clone();
    for id in &ids[1..] {
        subscribe(&mut world, *id, &track, true);
    }
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(ids[2], wire, wire.with_bandwidth(Bitrate(400_000), 20_000));
    for number in 0..1_000_u16 {
        send(&mut world, ids[0], &packet(1, number, &[7; 1_000]));
        world.run(Duration::from_millis(5));
    }
    let newest = |id: ClientId| {
        let packet = world.client(id).data_packets().last().expect("some arrive");
        u16::from_be_bytes([packet[4], packet[5]])
    };
    assert!(1_000 - newest(ids[2]) < 140, "{} came last", newest(ids[2]));
    assert!(world.client(ids[2]).data_packets().len() > 100);
    assert!(world.client(ids[1]).data_packets().len() > 950);
}

#[test]
fn whoever_resumes_with_a_data_track_that_is_not_published_joins_anew() {
    let mut world = World::new(546).unwrap();
    let ids = people(&mut world, &["ann", "bob"]);
    publish(&mut world, ids[0], 1, "wheels");
    let known = published(&world, ids[0]).remove(0);
    let state = |info: proto::DataTrackInfo| {
        let publish_data_tracks = vec![proto::PublishDataTrackResponse { info: Some(info) }];
        Request::SyncState(proto::SyncState { publish_data_tracks, ..Default::default() })
    };
    request(&mut world, ids[0], state(known.clone()));
    assert_eq!(world.client(ids[0]).farewell(), None);
    let unknown = proto::DataTrackInfo { sid: "DTR_unknown".into(), ..known };
    request(&mut world, ids[0], state(unknown));
    let farewell = world.client(ids[0]).farewell().expect("it is told to join anew");
    assert_eq!(farewell.action, proto::leave_request::Action::Reconnect);
}

#[test]
fn packets_of_no_data_track_reach_nobody() {
    let mut world = World::new(547).unwrap();
    let ids = people(&mut world, &["ann", "bob"]);
    publish(&mut world, ids[0], 1, "wheels");
    let track = published(&world, ids[0])[0].sid.clone();
    subscribe(&mut world, ids[1], &track, true);
    for bytes in [&b""[..], b"short", &[0xff; 12], &packet(0, 1, b"x"), &packet(2, 1, b"x")] {
        send(&mut world, ids[0], bytes);
        send(&mut world, ids[1], &packet(1, 1, b"not mine"));
    }
    world.run(SECOND);
    assert!(world.client(ids[1]).data_packets().is_empty());
    assert!(world.client(ids[0]).data_packets().is_empty());
    send(&mut world, ids[0], &packet(1, 1, b"x"));
    world.run(SECOND);
    assert_eq!(world.client(ids[1]).data_packets().len(), 1);
}
