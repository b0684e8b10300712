use livekit_protocol as proto;
use proto::SubscriptionError;
use proto::signal_response::Message as Response;
use roomful_sfu::RoomPolicy;
use roomful_sfu::codecs::{Codec, EnabledCodecs};
use roomful_sfu::join::PeerConnections;
use roomful_sim::client::TrackKey;
use roomful_sim::reception::TrackLog;
use roomful_sim::{AudioCodecs, ClientId, Conditions, JoinOptions, TrackPlan, VideoCodecs, World};

use crate::calls::*;

pub(crate) fn with_video(world: &mut World, name: &str, video: VideoCodecs) -> ClientId {
    let options = JoinOptions { video, ..JoinOptions::default() };
    let id = world.add_client(name, "garden", options);
    connected(world, id);
    id
}

fn with_audio(world: &mut World, name: &str, audio: AudioCodecs) -> ClientId {
    let options = JoinOptions { audio, ..JoinOptions::default() };
    let id = world.add_client(name, "garden", options);
    connected(world, id);
    id
}

/// The frames of sound that never came, between the first and the last that did.
fn frames_missing(log: &TrackLog) -> u64 {
    let numbers = || log.frames.keys().map(|(_, frame)| *frame);
    let (first, last) = (numbers().min().unwrap(), numbers().max().unwrap());
    last - first + 1 - numbers().count() as u64
}

fn mime(world: &World, to: ClientId, from: &str) -> String {
    world.client(to).roster()[from].tracks[0].mime_type.clone()
}

#[test]
pub(crate) fn sound_comes_with_redundancy_to_those_who_take_it_and_without_to_others() {
    let mut world = World::new(506).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::Redundant);
    let bob = with_audio(&mut world, "bob", AudioCodecs::Redundant);
    let cy = join(&mut world, "cy", "garden");
    for id in [ann, cy] {
        publish(&mut world, id, TrackPlan::VOICE);
    }
    world.run(3 * SECOND);
    assert_eq!(mime(&world, bob, "ann"), "audio/red");
    assert_eq!(mime(&world, bob, "cy"), "audio/opus", "its client does not offer it");
    let got = log(&world, bob, ann, 0);
    assert!(got.packets > 100 && got.redundant + 5 > got.packets, "{got:?}");
    for (to, from) in [(cy, ann), (bob, cy)] {
        let got = log(&world, to, from, 0);
        assert!(got.packets > 100 && got.redundant == 0, "{got:?}");
    }
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn sound_lost_on_the_way_up_is_recovered_for_everyone() {
    let mut world = World::new(507).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::Redundant);
    let bob = with_audio(&mut world, "bob", AudioCodecs::Redundant);
    let cy = join(&mut world, "cy", "garden");
    let dan = join(&mut world, "dan", "garden");
    publish(&mut world, ann, TrackPlan::VOICE);
    publish(&mut world, dan, TrackPlan::VOICE);
    world.run(SECOND);
    let wire = Conditions::latency(RTT / 2);
    for id in [ann, dan] {
        world.set_conditions(id, wire.with_loss(0.1), wire);
    }
    world.run(20 * SECOND);
    for to in [bob, cy] {
        let missing = frames_missing(&log(&world, to, ann, 0));
        assert!((1..30).contains(&missing), "two in a row of 1,000, about 10: {missing}");
    }
    let missing = frames_missing(&log(&world, cy, dan, 0));
    assert!(missing > 60, "one in ten without redundancy: {missing}");
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn over_two_peer_connections_redundancy_is_offered_to_those_who_take_it() {
    let mut world = World::new(508).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::Redundant);
    publish(&mut world, ann, TrackPlan::VOICE);
    let mut two = |name: &str, audio| {
        let peer_connections = PeerConnections::Two;
        let options = JoinOptions { audio, peer_connections, ..JoinOptions::default() };
        let id = world.add_client(name, "garden", options);
        connected(&mut world, id);
        id
    };
    let bob = two("bob", AudioCodecs::Redundant);
    let cy = two("cy", AudioCodecs::Opus);
    world.run(3 * SECOND);
    let got = log(&world, bob, ann, 0);
    assert!(got.redundant > 100, "{got:?}");
    let got = log(&world, cy, ann, 0);
    assert!(got.packets > 100 && got.redundant == 0, "{got:?}");
    publish(&mut world, bob, TrackPlan::VOICE);
    world.run(2 * SECOND);
    assert!(log(&world, ann, bob, 0).redundant > 50);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn a_room_without_redundancy_agrees_on_none() {
    let enabled = EnabledCodecs::new([Codec::Vp8, Codec::Opus]);
    let rooms = RoomPolicy { enabled_codecs: enabled, ..RoomPolicy::default() };
    let mut world = World::with_rooms(509, rooms).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::Redundant);
    let bob = with_audio(&mut world, "bob", AudioCodecs::Redundant);
    publish(&mut world, ann, TrackPlan::VOICE);
    world.run(2 * SECOND);
    let got = log(&world, bob, ann, 0);
    assert!(got.packets > 50 && got.redundant == 0, "{got:?}");
    assert_eq!(mime(&world, bob, "ann"), "audio/opus");
    assert!(answers(&world, ann).iter().all(|answer| !answer.contains("red/48000")));
}

#[test]
fn sound_in_g711_is_forwarded_as_it_is_and_only_to_those_who_take_it() {
    let mut world = World::new(510).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::Pcma);
    let bob = with_audio(&mut world, "bob", AudioCodecs::All);
    let cy = join(&mut world, "cy", "garden");
    publish(&mut world, ann, TrackPlan::VOICE);
    world.run(3 * SECOND);
    assert_eq!(mime(&world, bob, "ann"), "audio/PCMA");
    assert!(log(&world, bob, ann, 0).packets > 100);
    let told = [(sid(&world, ann, TrackKey(0)), SubscriptionError::SeCodecUnsupported)];
    assert_eq!(refused(&world, cy), told);
    publish(&mut world, bob, TrackPlan::VOICE);
    world.run(2 * SECOND);
    assert_eq!(mime(&world, cy, "bob"), "audio/opus", "which bob's offer has first");
    assert!(log(&world, cy, bob, 0).packets > 50);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

/// Which codecs of its sound somebody was told last that anybody gets.
fn wanted_sound(world: &World, id: ClientId) -> Vec<(String, bool)> {
    let last = world.client(id).heard().iter().rev().find_map(|heard| match heard {
        Response::SubscribedAudioCodecUpdate(told) => Some(told.subscribed_audio_codecs.clone()),
        _ => None,
    });
    last.unwrap_or_default().into_iter().map(|one| (one.codec, one.enabled)).collect()
}

#[test]
pub(crate) fn whoever_publishes_sound_in_several_codecs_is_told_which_of_them_anybody_gets() {
    let codecs = |pcma, opus| [("pcma".to_owned(), pcma), ("opus".to_owned(), opus)];
    let mut world = World::new(512).unwrap();
    let ann = with_audio(&mut world, "ann", AudioCodecs::All);
    let voice = publish(&mut world, ann, TrackPlan::PcmaVoice);
    world.run(SECOND);
    assert_eq!(wanted_sound(&world, ann), [], "nobody is there");
    let cy = join(&mut world, "cy", "garden");
    world.run(SECOND);
    assert_eq!(wanted_sound(&world, ann), codecs(false, true), "cy has no G.711");
    assert_eq!(refused(&world, cy), []);
    world.act(ann, |client, now| client.publish_backup(voice, now)).unwrap();
    let bob = with_audio(&mut world, "bob", AudioCodecs::Pcma);
    world.run(2 * SECOND);
    assert_eq!(wanted_sound(&world, ann), codecs(true, true));
    // What it sends says of which publication it is; the further codec is a track of its own to the virtual client.
    assert!(log(&world, bob, ann, voice.0).packets > 50);
    assert!(log(&world, cy, ann, voice.0).packets > 50);
    world.act(cy, |client, _| client.leave());
    world.run(SECOND);
    assert_eq!(wanted_sound(&world, ann), codecs(true, false), "at once");
    publish(&mut world, bob, TrackPlan::Microphone { level: 30 });
    world.run(SECOND);
    assert_eq!(wanted_sound(&world, bob), [], "of one codec nothing is told");
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
pub(crate) fn pictures_in_h265_come_in_layers_and_only_to_those_who_take_them() {
    let mut world = World::new(511).unwrap();
    let ann = with_video(&mut world, "ann", VideoCodecs::H265);
    let bob = with_video(&mut world, "bob", VideoCodecs::H265);
    let cy = join(&mut world, "cy", "garden");
    let camera = publish(&mut world, ann, TrackPlan::H265Camera);
    world.run(3 * SECOND);
    assert_eq!(mime(&world, bob, "ann"), "video/H265");
    let got = log(&world, bob, ann, 0);
    assert!(got.whole_frames().count() > 30 && got.layer == 2, "{got:?}");
    let track = sid(&world, ann, camera);
    assert_eq!(refused(&world, cy), [(track.clone(), SubscriptionError::SeCodecUnsupported)]);
    world.act(bob, |client, _| client.set_wishes(&track, Some((200, 120))));
    world.run(2 * SECOND);
    assert_eq!(log(&world, bob, ann, 0).layer, 0);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

/// The tracks that somebody was told it cannot have, and why.
pub(crate) fn refused(world: &World, id: ClientId) -> Vec<(String, SubscriptionError)> {
    let heard = world.client(id).heard().iter();
    heard
        .filter_map(|heard| match heard {
            Response::SubscriptionResponse(told) => Some((told.track_sid.clone(), told.err())),
            _ => None,
        })
        .collect()
}

/// In which codecs somebody was told last to send its video, and whether at all.
pub(crate) fn wanted(world: &World, id: ClientId) -> Vec<(String, bool)> {
    let last = world.client(id).heard().iter().rev().find_map(|heard| match heard {
        Response::SubscribedQualityUpdate(told) => Some(told.subscribed_codecs.clone()),
        _ => None,
    });
    let any = |one: &proto::SubscribedCodec| one.qualities.iter().any(|quality| quality.enabled);
    last.unwrap_or_default().iter().map(|one| (one.codec.clone(), any(one))).collect()
}

pub(crate) fn codecs(h264: bool, vp8: bool) -> [(String, bool); 2] {
    [("h264".into(), h264), ("vp8".into(), vp8)]
}

#[test]
pub(crate) fn a_further_codec_is_sent_for_those_who_do_not_decode_the_first_and_only_then() {
    let mut world = World::new(505).unwrap();
    let ann = with_video(&mut world, "ann", VideoCodecs::Both);
    let camera = publish(&mut world, ann, TrackPlan::H264Camera);
    let bob = with_video(&mut world, "bob", VideoCodecs::H264);
    world.run(SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, false));
    let cy = join(&mut world, "cy", "garden");
    world.run(SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, true), "cy has no H.264");
    assert_eq!(refused(&world, cy), []);
    let backup = world.act(ann, |client, now| client.publish_backup(camera, now)).unwrap();
    world.run(3 * SECOND);
    let got = log(&world, cy, ann, camera.0);
    assert!(got.whole_frames().count() > 20, "{got:?}");
    assert_eq!(log(&world, bob, ann, camera.0).packets, 0, "bob has the first codec");
    let tracks = &world.client(cy).roster()["ann"].tracks;
    assert_eq!(tracks.len(), 1, "it is the same track");

    world.act(ann, |client, now| client.unpublish(backup, now));
    world.run(2 * SECOND);
    let before = log(&world, cy, ann, camera.0).packets;
    world.act(ann, |client, now| client.publish_backup(camera, now)).unwrap();
    world.run(3 * SECOND);
    assert!(log(&world, cy, ann, camera.0).packets > before + 20, "it may stop and begin again");

    world.act(cy, |client, _| client.leave());
    world.run(7 * SECOND);
    assert_eq!(wanted(&world, ann), codecs(true, false));
    world.act(bob, |client, _| client.leave());
    world.run(7 * SECOND);
    assert_eq!(wanted(&world, ann), codecs(false, false));
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

fn answers(world: &World, id: ClientId) -> Vec<String> {
    let heard = world.client(id).heard().iter();
    heard
        .filter_map(|heard| match heard {
            Response::Answer(answer) => Some(answer.sdp.clone()),
            _ => None,
        })
        .collect()
}

#[test]
pub(crate) fn whoever_cannot_decode_a_track_is_told_once_and_gets_the_others() {
    let mut world = World::new(500).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::CAMERA);
    publish(&mut world, ann, TrackPlan::VOICE);
    let bob = with_video(&mut world, "bob", VideoCodecs::H264);
    world.run(2 * SECOND);
    let camera = sid(&world, ann, TrackKey(0));
    let told = [(camera.clone(), SubscriptionError::SeCodecUnsupported)];
    assert_eq!(refused(&world, bob), told);
    assert!(log(&world, bob, ann, 1).packets > 50, "it hears");
    assert_eq!(world.client(bob).labels().len(), 1);

    publish(&mut world, ann, TrackPlan::VOICE);
    world.run(2 * SECOND);
    assert_eq!(refused(&world, bob), told, "it is not tried again and again");
    assert!(log(&world, bob, ann, 2).packets > 50);
    world.act(bob, |client, _| client.subscribe(&[&camera], true));
    world.run(SECOND);
    assert_eq!(refused(&world, bob).len(), 2, "it asked, and is answered");
    let cy = join(&mut world, "cy", "garden");
    world.run(2 * SECOND);
    assert!(log(&world, cy, ann, 0).whole_frames().count() > 10);
    assert_eq!(world.take_violations(), Vec::<String>::new());
}

#[test]
fn a_track_that_is_nowhere_is_answered_as_such() {
    let (mut world, ids) = call(501, &["ann", "bob"]);
    world.act(ids[1], |client, _| client.subscribe(&["TR_nowhere"], true));
    world.run(SECOND);
    let told = [("TR_nowhere".to_owned(), SubscriptionError::SeTrackNotfound)];
    assert_eq!(refused(&world, ids[1]), told);
}

#[test]
pub(crate) fn whoever_declined_a_track_does_not_get_it_with_the_publishers_next_one() {
    let (mut world, ids) = call(502, &["ann", "bob"]);
    let camera = sid(&world, ids[0], TrackKey(0));
    world.act(ids[1], |client, _| client.subscribe(&[&camera], false));
    world.run(SECOND);
    publish(&mut world, ids[0], TrackPlan::VOICE);
    world.run(SECOND);
    let before = log(&world, ids[1], ids[0], 0).packets;
    world.run(SECOND);
    assert_eq!(log(&world, ids[1], ids[0], 0).packets, before);
    assert!(log(&world, ids[1], ids[0], 2).packets > 50);
    world.act(ids[1], |client, _| client.subscribe(&[&camera], true));
    world.run(SECOND);
    assert!(log(&world, ids[1], ids[0], 0).packets > before);
}

#[test]
fn a_codec_that_a_room_does_not_allow_is_never_agreed_on() {
    let enabled = EnabledCodecs::new([Codec::Vp8, Codec::Opus]);
    let rooms = RoomPolicy { enabled_codecs: enabled, ..RoomPolicy::default() };
    let mut world = World::with_rooms(503, rooms).unwrap();
    let ann = with_video(&mut world, "ann", VideoCodecs::Both);
    let bob = with_video(&mut world, "bob", VideoCodecs::Both);
    for id in [ann, bob] {
        publish(&mut world, id, TrackPlan::CAMERA);
        publish(&mut world, id, TrackPlan::VOICE);
    }
    world.run(2 * SECOND);
    assert_flows(&mut world, &[ann, bob]);
    let answers = answers(&world, ann);
    assert!(!answers.is_empty());
    for answer in answers {
        assert!(answer.contains("VP8/90000") && !answer.contains("H264"), "{answer}");
    }
}

#[test]
fn whoever_has_only_codecs_that_a_room_does_not_allow_is_in_it_and_hears() {
    let enabled = EnabledCodecs::new([Codec::Vp8, Codec::Opus]);
    let rooms = RoomPolicy { enabled_codecs: enabled, ..RoomPolicy::default() };
    let mut world = World::with_rooms(504, rooms).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::VOICE);
    let bob = with_video(&mut world, "bob", VideoCodecs::H264);
    world.act(bob, |client, now| client.publish(TrackPlan::CAMERA, now));
    publish(&mut world, bob, TrackPlan::VOICE);
    world.run(2 * SECOND);
    assert!(log(&world, bob, ann, 0).packets > 50);
    assert!(log(&world, ann, bob, 1).packets > 50);
    let tracks = &world.client(ann).roster()["bob"].tracks;
    assert_eq!(tracks.len(), 1, "nothing can come of its camera");
}
