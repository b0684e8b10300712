//! Showing somebody in another room, too, by the server API. The rooms begin on two workers where there are two, and
//! everyone sits on the next worker, so that most links there are get used.

use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use proto::participant_info::{Kind, KindDetail};
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::{DisconnectReason, PerformRpcRequest};
use roomful_sfu::administration::{Administration, AdministrationError, Reply, RoomRequest};
use roomful_sfu::ids::{Identity, RoomName, TrackSid};
use roomful_sfu::token::Grant;
use roomful_sfu::{NoticePolicy, RoomPolicy, SfuEvent};
use roomful_sim::client::{Channel, TrackKey};
use roomful_sim::world::DEFAULT_LATENCY;
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, VideoCodecs, World};

use crate::calls::*;
use crate::codecs::{wanted, with_video};

type Outcome = Result<Reply, AdministrationError>;

const CAMERA: TrackKey = TrackKey(0);
const VOICE: TrackKey = TrackKey(1);

/// A world whose garden and attic begin on two workers.
fn world(seed: u64, rooms: RoomPolicy) -> World {
    let mut world = World::with_rooms(seed, rooms).unwrap();
    world.set_home("attic", 1);
    world
}

/// Ann and bob in the garden, cy and dan in the attic, each with a camera and a voice.
fn two_rooms(seed: u64) -> (World, [ClientId; 4]) {
    let mut world =
        world(seed, RoomPolicy { notices: NoticePolicy::Named, ..RoomPolicy::default() });
    let places = [("ann", "garden"), ("bob", "garden"), ("cy", "attic"), ("dan", "attic")];
    let ids = places.map(|(name, room)| join(&mut world, name, room));
    for id in &ids {
        publish(&mut world, *id, TrackPlan::CAMERA);
        publish(&mut world, *id, TrackPlan::VOICE);
    }
    world.check_invariants(3 * SECOND).unwrap();
    (world, ids)
}

fn forward(world: &mut World, who: &str) -> Outcome {
    let request = world.forward("garden", who, "attic");
    world.run_until(SECOND, |world| world.reply(request).is_some()).expect("an answer");
    let outcome = world.reply(request).unwrap().clone();
    world.run(SECOND);
    outcome
}

fn ask(world: &mut World, room: &str, what: RoomRequest) -> Outcome {
    let what = Administration::InRoom(RoomName::new(room), what);
    world.administer(what).expect("an answer at once")
}

fn remove(world: &mut World, room: &str, who: &str) {
    let gone = ask(world, room, RoomRequest::RemoveParticipant(Identity::new(who)));
    assert_eq!(gone, Ok(Reply::Done));
    world.run(SECOND);
}

fn roster(world: &World, id: ClientId) -> Vec<&str> {
    world.client(id).roster().keys().map(String::as_str).collect()
}

/// Whether `to` gets a camera and a voice of `from` now.
fn flows(world: &mut World, from: ClientId, to: ClientId) -> bool {
    let since = world.now();
    world.run(SECOND);
    let fresh = |key: TrackKey| {
        let log = log(world, to, from, key.0);
        log.whole_frames().filter(|(_, frame)| frame.at >= since).count()
    };
    fresh(CAMERA) >= 12 && fresh(VOICE) >= 45
}

fn data(text: &[u8], to: &[&str]) -> proto::DataPacket {
    let user = proto::UserPacket { payload: text.to_vec(), ..Default::default() };
    let destination_identities = to.iter().map(|one| (*one).to_owned()).collect();
    proto::DataPacket {
        destination_identities,
        value: Some(Value::User(user)),
        ..Default::default()
    }
}

fn texts(world: &World, id: ClientId) -> Vec<(&str, &[u8])> {
    let messages = world.client(id).messages().iter();
    messages
        .filter_map(|(_, packet)| match &packet.value {
            Some(Value::User(user)) => Some((&*packet.participant_identity, &*user.payload)),
            _ => None,
        })
        .collect()
}

#[test]
pub(crate) fn a_guest_is_seen_and_heard_where_it_is_one_and_its_own_room_does_not_notice() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(620);
    for who in ["ann", "bob"] {
        assert_eq!(forward(&mut world, who), Ok(Reply::Done));
    }
    assert_eq!(roster(&world, cy), ["ann", "bob", "dan"]);
    assert_eq!(roster(&world, dan), ["ann", "bob", "cy"]);
    let guest = &world.client(cy).roster()["ann"];
    assert_eq!(guest.kind_details, [i32::from(KindDetail::Forwarded)]);
    assert_eq!((guest.kind(), guest.name.as_str()), (Kind::Standard, "ann"));
    assert!(world.client(cy).roster()["dan"].kind_details.is_empty());
    assert!(world.client(bob).roster()["ann"].kind_details.is_empty());
    for guest in [ann, bob] {
        for to in [cy, dan] {
            assert!(flows(&mut world, guest, to), "{guest:?} to {to:?}");
        }
    }
    assert!(flows(&mut world, ann, bob) && flows(&mut world, dan, cy));
    for (guest, other) in [(ann, "bob"), (bob, "ann")] {
        assert_eq!(roster(&world, guest), [other], "nobody of the attic is in the garden");
        assert_eq!(world.client(guest).received_tracks().len(), 2);
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn whatever_a_guest_does_is_so_in_both_rooms() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(621);
    for who in ["ann", "bob"] {
        forward(&mut world, who).unwrap();
    }
    let described = |who: &str| proto::UpdateParticipantRequest {
        identity: who.into(),
        name: "Doctor".into(),
        metadata: "on call".into(),
        attributes: [("seat".to_owned(), "7".to_owned())].into(),
        ..Default::default()
    };
    for (guest, who) in [(ann, "ann"), (bob, "bob")] {
        let since = world.client(cy).roster()[who].joined_at_ms;
        ask(&mut world, "garden", RoomRequest::UpdateParticipant(Box::new(described(who))))
            .unwrap();
        world.act(guest, |client, _| client.set_muted(VOICE, true));
        world.act(guest, |client, now| client.unpublish(CAMERA, now));
        world.run(SECOND);
        let desk = publish(&mut world, guest, TrackPlan::CAMERA);
        world.run(2 * SECOND);
        for to in [cy, dan] {
            let seen = &world.client(to).roster()[who];
            assert_eq!((seen.name.as_str(), seen.metadata.as_str()), ("Doctor", "on call"));
            assert_eq!(seen.attributes["seat"], "7");
            assert_eq!(
                seen.kind_details,
                [i32::from(KindDetail::Forwarded)],
                "it is still a guest"
            );
            assert_eq!(seen.joined_at_ms, since, "and since then");
            let muted: Vec<_> =
                seen.tracks.iter().map(|one| (one.sid.clone(), one.muted)).collect();
            let (voice, desk) = (sid(&world, guest, VOICE), sid(&world, guest, desk));
            assert_eq!(muted.len(), 2);
            assert!(muted.contains(&(voice, true)) && muted.contains(&(desk, false)));
        }
        assert!(log(&world, cy, guest, desk.0).whole_frames().count() > 10);
        let before = log(&world, cy, guest, VOICE.0).packets;
        world.run(SECOND);
        assert_eq!(log(&world, cy, guest, VOICE.0).packets, before, "what is muted is not heard");
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn a_guest_that_talks_is_marked_and_what_it_sends_to_everyone_arrives() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(622);
    for who in ["ann", "bob"] {
        forward(&mut world, who).unwrap();
    }
    for (guest, name) in [(ann, "ann"), (bob, "bob")] {
        let guest_sid = participant_sid(&world, guest);
        let active = |world: &World| {
            let mut told = world.client(dan).speakers().iter().rev();
            told.find(|(_, one)| one.sid == guest_sid).map(|(_, one)| one.active)
        };
        assert_eq!(active(&world), Some(true), "{name} talked before it came");
        world.act(guest, |client, _| client.set_level(VOICE, 80));
        world.run(3 * SECOND);
        assert_eq!(active(&world), Some(false), "{name} is silent");
        world.act(guest, |client, _| client.set_level(VOICE, 20));
        world.run(SECOND);
        assert_eq!(active(&world), Some(true), "{name} talks again");
        for (text, to) in [(&b"hello"[..], &[][..]), (b"psst", &["dan"][..])] {
            let packet = data(text, to);
            world.act(guest, |client, now| client.send_data(Channel::Reliable, &packet, now));
        }
    }
    world.run(SECOND);
    for to in [cy, dan] {
        let mut got = texts(&world, to);
        got.sort_unstable();
        assert_eq!(got, [("ann", &b"hello"[..]), ("bob", b"hello")], "what names somebody stays");
    }
    assert_eq!(texts(&world, bob), [("ann", &b"hello"[..])], "and once in its own room");

    world.act(ann, |client, _| client.leave());
    world.run(SECOND);
    let alone = data(b"anybody?", &[]);
    world.act(bob, |client, now| client.send_data(Channel::Lossy, &alone, now));
    world.run(SECOND);
    assert_eq!(texts(&world, cy).last(), Some(&("bob", &b"anybody?"[..])));
}

#[test]
pub(crate) fn an_appearance_ends_with_its_participant_and_with_its_room_and_nothing_else_does() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(623);
    for who in ["ann", "bob"] {
        forward(&mut world, who).unwrap();
    }
    remove(&mut world, "attic", "ann");
    assert_eq!(roster(&world, cy), ["bob", "dan"]);
    assert!(!flows(&mut world, ann, cy) && flows(&mut world, ann, bob), "the garden goes on");
    assert_eq!(world.client(ann).farewell(), None);
    let before = world.link_packets();
    forward(&mut world, "ann").unwrap();
    assert!(flows(&mut world, ann, cy), "it may come again");
    assert!(world.link_packets() > before);

    world.act(bob, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(roster(&world, dan), ["ann", "cy"]);
    let reasons = world.client(dan).departure_reasons();
    assert_eq!(reasons.last(), Some(&DisconnectReason::ClientInitiated));

    let delete = Administration::DeleteRoom(RoomName::new("attic"));
    world.administer(delete).unwrap().unwrap();
    world.run(SECOND);
    assert!(world.client(cy).farewell().is_some() && world.client(ann).farewell().is_none());
    let (packets, messages) = (world.link_packets(), world.link_messages());
    world.run(2 * SECOND);
    assert_eq!(world.link_packets(), packets, "nothing goes anywhere any more");
    assert_eq!(world.link_messages(), messages);

    let eve = join(&mut world, "eve", "attic");
    forward(&mut world, "ann").unwrap();
    assert!(flows(&mut world, ann, eve));
    let delete = Administration::DeleteRoom(RoomName::new("garden"));
    world.administer(delete).unwrap().unwrap();
    world.run(SECOND);
    assert_eq!(roster(&world, eve), Vec::<&str>::new());
    assert_eq!(world.client(eve).departure_reasons(), [DisconnectReason::RoomDeleted]);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn the_room_of_a_guest_has_no_power_over_it() {
    let rooms = RoomPolicy { data_blobs: true, remote_unmute: true, ..RoomPolicy::default() };
    let mut world = world(624, rooms);
    let [ann, bob] = ["ann", "bob"].map(|name| join(&mut world, name, "garden"));
    let cy = join(&mut world, "cy", "attic");
    publish(&mut world, ann, TrackPlan::CAMERA);
    let voice = publish(&mut world, ann, TrackPlan::VOICE);
    forward(&mut world, "ann").unwrap();
    let (identity, track) = (Identity::new("ann"), TrackSid::new(sid(&world, ann, voice)));
    let described = proto::UpdateParticipantRequest {
        identity: "ann".into(),
        name: "Nobody".into(),
        permission: Some(proto::ParticipantPermission::default()),
        ..Default::default()
    };
    let call = PerformRpcRequest { destination_identity: "ann".into(), ..Default::default() };
    let tracks = vec![track.clone()];
    let wishes = [
        RoomRequest::MuteTrack { identity: identity.clone(), track, muted: true },
        RoomRequest::UpdateParticipant(Box::new(described)),
        RoomRequest::UpdateSubscriptions { identity: identity.clone(), tracks, wanted: true },
        RoomRequest::PerformRpc(Box::new(call)),
        RoomRequest::MoveParticipant { identity, destination: Box::default() },
    ];
    let before = world.client(ann).heard().len();
    for wish in wishes {
        assert_eq!(
            ask(&mut world, "attic", wish.clone()),
            Err(AdministrationError::Guest),
            "{wish:?}"
        );
    }
    let again = world.forward("attic", "ann", "cellar");
    world.run(SECOND);
    assert_eq!(world.reply(again), Some(&Err(AdministrationError::Guest)), "nor is it handed on");
    let looked_at = RoomRequest::GetParticipant(Identity::new("ann"));
    assert!(matches!(ask(&mut world, "attic", looked_at), Ok(Reply::Participant(_))));

    for to in [&[][..], &["ann"][..], &["bob"][..]] {
        let packet = data(b"hey", to);
        world.act(cy, |client, now| client.send_data(Channel::Reliable, &packet, now));
    }
    let key = proto::data_blob_key::Key::Generic("a".into());
    let key = Some(proto::DataBlobKey { key: Some(key) });
    let fetch =
        proto::GetDataBlobRequest { request_id: 4, participant_identity: "ann".into(), key };
    world.act(cy, |client, _| client.send_request(Request::GetDataBlobRequest(fetch)));
    world.run(SECOND);
    assert!(texts(&world, ann).is_empty() && texts(&world, bob).is_empty());
    let refused = world.client(cy).refusals().last().expect("an answer");
    assert_eq!((refused.request_id, refused.reason()), (4, Reason::NotFound));
    assert!(!world.client(ann).track(voice).unwrap().is_muted());
    let heard = &world.client(ann).heard()[before..];
    let about_it = |one: &&proto::signal_response::Message| {
        !matches!(one, proto::signal_response::Message::PongResp(_))
    };
    assert_eq!(heard.iter().filter(about_it).collect::<Vec<_>>(), Vec::<&_>::new());
    assert!(flows(&mut world, ann, bob) && flows(&mut world, ann, cy));
}

#[test]
pub(crate) fn who_may_receive_a_guest_is_for_the_guest_to_say() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(625);
    forward(&mut world, "ann").unwrap();
    let only = |who: &[&str]| {
        let permission = |who: &&str| proto::TrackPermission {
            participant_identity: (*who).into(),
            all_tracks: true,
            ..Default::default()
        };
        Request::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: who.iter().map(permission).collect(),
        })
    };
    world.act(ann, |client, _| client.send_request(only(&["bob", "dan"])));
    world.run(SECOND);
    assert!(!flows(&mut world, ann, cy));
    assert!(flows(&mut world, ann, dan) && flows(&mut world, ann, bob));
    world.act(ann, |client, _| client.send_request(only(&["cy"])));
    world.run(SECOND);
    assert!(flows(&mut world, ann, cy));
    assert!(!flows(&mut world, ann, dan) && !flows(&mut world, ann, bob));
}

#[test]
pub(crate) fn a_publisher_sends_what_any_room_wants_of_it() {
    let mut world = world(626, RoomPolicy::default());
    // On the second worker, where there are two: not at home.
    let _first = join(&mut world, "zoe", "garden");
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    publish(&mut world, ann, TrackPlan::VOICE);
    let camera = sid(&world, ann, CAMERA);
    let sent = |world: &World| world.client(ann).track(CAMERA).unwrap().wanted_layers();
    world.act(_first, |client, _| client.subscribe(&[&camera], false));
    world.run(11 * SECOND);
    assert_eq!(sent(&world), [false, false, false], "nobody wants it");
    forward(&mut world, "ann").unwrap();
    world.run(SECOND);
    assert_eq!(sent(&world), [false, false, false], "nor in the other room");
    let cy = join(&mut world, "cy", "attic");
    let since = world.now();
    let seen = |world: &World| {
        let log = log(world, cy, ann, 0);
        log.whole_frames().any(|(_, frame)| frame.keyframe && frame.at >= since)
    };
    world.run_until(2 * SECOND, seen).expect("a keyframe");
    assert_eq!(sent(&world), [true, true, true]);
    world.act(cy, |client, _| client.set_wishes(&camera, Some((160, 90))));
    world.run(7 * SECOND);
    assert_eq!(sent(&world), [true, false, false]);
    assert_eq!(log(&world, cy, ann, 0).layer, 0);
    world.act(cy, |client, _| client.leave());
    world.run(7 * SECOND);
    assert_eq!(sent(&world), [false, false, false]);
}

#[test]
pub(crate) fn a_guest_sends_the_codec_that_somebody_in_its_other_room_needs() {
    let mut world = world(632, RoomPolicy::default());
    let ann = with_video(&mut world, "ann", VideoCodecs::Both);
    let camera = publish(&mut world, ann, TrackPlan::H264Camera);
    let cy = join(&mut world, "cy", "attic");
    world.run(SECOND);
    forward(&mut world, "ann").unwrap();
    world.run(SECOND);
    assert_eq!(wanted(&world, ann).last(), Some(&("vp8".to_owned(), true)));
    world.act(ann, |client, now| client.publish_backup(camera, now)).unwrap();
    world.run(2 * SECOND);
    assert!(log(&world, cy, ann, camera.0).whole_frames().count() > 15);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn a_guest_that_resumes_is_one_all_the_while() {
    let (mut world, [ann, bob, cy, _]) = two_rooms(627);
    for who in ["ann", "bob"] {
        forward(&mut world, who).unwrap();
    }
    let since = world.now();
    for guest in [ann, bob] {
        world.cut_websocket(guest);
        world.run(SECOND);
        world.act(guest, |client, _| client.resume());
        world.run(2 * SECOND);
        let gap = longest_gap(&log(&world, cy, guest, VOICE.0), since);
        assert!(gap < Duration::from_millis(100), "{gap:?}");
    }
    assert_eq!(world.client(cy).departures(), [] as [String; 0]);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn a_guest_takes_a_place_and_a_name_and_keeps_the_room_open_until_it_leaves() {
    let mut world = world(628, RoomPolicy::default());
    let [ann, _] = ["ann", "bob"].map(|name| join(&mut world, name, "garden"));
    let wanted = proto::CreateRoomRequest {
        name: "attic".into(),
        max_participants: 2,
        departure_timeout: 3,
        empty_timeout: 3,
        ..Default::default()
    };
    world.administer(Administration::CreateRoom(Box::new(wanted))).unwrap().unwrap();
    let cy = join(&mut world, "cy", "attic");
    assert_eq!(forward(&mut world, "ann"), Ok(Reply::Done));
    assert_eq!(forward(&mut world, "bob"), Err(AdministrationError::Full));
    let rival = world.add_client("dan", "attic", JoinOptions::default());
    world.run(SECOND);
    let refused = world.client(rival).farewell().map(|farewell| farewell.reason);
    assert_eq!(refused, Some(DisconnectReason::JoinFailure));
    assert_eq!(roster(&world, cy), ["ann"]);

    world.act(cy, |client, _| client.leave());
    world.run(10 * SECOND);
    let ended = |world: &World| {
        let mut events = world.events().iter();
        events.any(|one| matches!(one, SfuEvent::RoomEnded(room) if room.as_str() == "attic"))
    };
    assert!(!ended(&world), "ann is there");
    let other = join(&mut world, "ann", "attic");
    world.run(SECOND);
    assert!(world.client(ann).farewell().is_none() && roster(&world, other).is_empty());
    assert_eq!(forward(&mut world, "ann"), Err(AdministrationError::AlreadyThere));
    world.act(other, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(forward(&mut world, "ann"), Ok(Reply::Done));
    world.act(ann, |client, _| client.leave());
    world.run(5 * SECOND);
    assert!(ended(&world), "the last one left");
}

#[test]
fn only_somebody_of_its_own_is_shown_and_only_once() {
    let (mut world, [_, _, cy, _]) = two_rooms(629);
    let agent = Grant {
        kind: Kind::Agent,
        ..Grant::new(Identity::new("helper"), "helper", RoomName::new("garden"))
    };
    let wire = Conditions::latency(DEFAULT_LATENCY);
    let agent = world.add_client_with(agent, JoinOptions::default(), wire);
    connected(&mut world, agent);
    assert_eq!(forward(&mut world, "nobody"), Err(AdministrationError::NoParticipant));
    assert_eq!(forward(&mut world, "helper"), Err(AdministrationError::CannotForward));
    let nowhere = world.forward("cellar", "ann", "attic");
    world.run(SECOND);
    assert_eq!(world.reply(nowhere), Some(&Err(AdministrationError::NoRoom)));
    // The second while the first is on its way.
    let both = [0, 1].map(|_| world.forward("garden", "ann", "attic"));
    world.run(SECOND);
    for request in both {
        assert_eq!(world.reply(request), Some(&Ok(Reply::Done)));
    }
    assert_eq!(forward(&mut world, "ann"), Ok(Reply::Done), "it is there already");
    assert_eq!(roster(&world, cy), ["ann", "dan"]);
    assert_eq!(world.client(cy).departures(), [] as [String; 0]);
    let before = world.events().len();
    let new = world.forward("garden", "bob", "cellar");
    world.run(SECOND);
    assert_eq!(world.reply(new), Some(&Ok(Reply::Done)));
    let begun = matches!(&world.events()[before..], [SfuEvent::RoomStarted(room)] if room.as_str() == "cellar");
    assert!(begun, "a room begins for it");
}

#[test]
pub(crate) fn applications_are_told_of_a_guest_as_of_anyone() {
    let (mut world, [ann, _, _, _]) = two_rooms(630);
    let begun = world.notices().len();
    forward(&mut world, "ann").unwrap();
    world.act(ann, |client, now| client.unpublish(CAMERA, now));
    world.run(SECOND);
    remove(&mut world, "attic", "ann");
    let told = |world: &World, room: &str| -> Vec<String> {
        let mut told = Vec::new();
        for event in &world.notices()[begun..] {
            if event.room.as_ref().is_some_and(|one| one.name == room) {
                assert_eq!(event.participant.as_ref().unwrap().identity, "ann");
                told.push(event.event.clone());
            }
        }
        told
    };
    let attic = [
        "participant_joined",
        "track_published",
        "track_published",
        "track_unpublished",
        "track_unpublished",
        "participant_left",
    ];
    assert_eq!(told(&world, "attic"), attic);
    assert_eq!(told(&world, "garden"), ["track_unpublished"]);
}

#[test]
fn a_broken_link_ends_an_appearance_and_no_call() {
    let (mut world, [ann, bob, cy, dan]) = two_rooms(631);
    forward(&mut world, "ann").unwrap();
    world.cut_links();
    world.run(SECOND);
    assert_eq!(roster(&world, cy), ["dan"]);
    for id in [ann, bob, cy, dan] {
        assert_eq!(world.client(id).farewell(), None);
    }
    assert_eq!(forward(&mut world, "ann"), Ok(Reply::Done));
    assert!(flows(&mut world, ann, cy));
    let before = world.forward("garden", "bob", "attic");
    world.cut_links();
    world.run(SECOND);
    assert_eq!(world.reply(before), Some(&Err(AdministrationError::Unreachable)));
}
