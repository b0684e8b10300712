use livekit_protocol as proto;
use proto::SubscriptionError;
use proto::signal_response::Message as Response;
use roomful_sfu::RoomPolicy;
use roomful_sfu::codecs::{Codec, EnabledCodecs};
use roomful_sim::client::TrackKey;
use roomful_sim::{ClientId, JoinOptions, TrackPlan, VideoCodecs, World};

use crate::calls::*;

pub(crate) fn with_video(world: &mut World, name: &str, video: VideoCodecs) -> ClientId {
    let options = JoinOptions { video, ..JoinOptions::default() };
    let id = world.add_client(name, "garden", options);
    connected(world, id);
    id
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
