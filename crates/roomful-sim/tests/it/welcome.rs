use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::ids::{Identity, RoomName, UnixTime};
use roomful_sfu::token::Grant;
use roomful_sim::world::{DEFAULT_LATENCY, keys};
use roomful_sim::{ClientId, Conditions, JoinOptions, TrackPlan, World};

use crate::calls::*;

fn describer(identity: &str) -> Grant {
    let mut grant = Grant::new(Identity::new(identity), identity, RoomName::new("garden"));
    grant.permissions.can_update_own_metadata = true;
    grant
}

fn join_with(world: &mut World, grant: Grant) -> ClientId {
    let near = Conditions::latency(DEFAULT_LATENCY);
    let id = world.add_client_with(grant, JoinOptions::default(), near);
    connected(world, id);
    id
}

/// The last token a client was given, as whoever it is shown to reads it.
fn last_token(world: &World, id: ClientId) -> Grant {
    let token = *world.client(id).tokens().last().expect("a token");
    keys().verify(token, world.unix_now()).expect("a valid token")
}

fn update(name: &str, metadata: &str, request_id: u32) -> Request {
    Request::UpdateMetadata(proto::UpdateParticipantMetadata {
        name: name.into(),
        metadata: metadata.into(),
        request_id,
        ..Default::default()
    })
}

#[test]
fn whoever_joins_learns_all_a_client_wants_to_know() {
    let mut world = World::new(200).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let bob = join(&mut world, "bob", "garden");
    let welcome = world.client(bob).welcome().unwrap();
    let server = welcome.server_info.as_ref().unwrap();
    assert!(server.node_id.starts_with("ND_") && server.protocol >= 15);
    assert_eq!(welcome.server_version, server.version);
    assert_eq!((welcome.ping_interval, welcome.ping_timeout), (5, 15));
    let codecs: Vec<_> = welcome.enabled_publish_codecs.iter().map(|one| &one.mime[..]).collect();
    assert_eq!(
        codecs,
        [
            "video/VP8",
            "video/H264",
            "video/VP9",
            "video/AV1",
            "video/H265",
            "audio/PCMU",
            "audio/PCMA",
            "audio/opus",
            "audio/red"
        ]
    );
    assert_eq!(welcome.room.as_ref().unwrap().enabled_codecs.len(), 10);
    assert!(welcome.fast_publish && !welcome.subscriber_primary);
    assert_eq!(welcome.sif_trailer, world.client(ann).welcome().unwrap().sif_trailer);
    assert!(welcome.sif_trailer.len() >= 16, "nothing that ends a frame by chance");
    assert_eq!(welcome.other_participants.len(), 1);
}

#[test]
fn tokens_are_renewed_before_they_end_and_keep_a_later_end() {
    let mut world = World::new(201).unwrap();
    let begin = world.unix_now();
    let ann = join(&mut world, "ann", "garden");
    assert_eq!(world.client(ann).tokens().len(), 1, "one at once");
    let soon = last_token(&world, ann).expires.unwrap();
    assert_eq!(soon.0 - begin.0, 10 * 60);
    world.run(Duration::from_secs(5 * 60));
    assert_eq!(world.client(ann).tokens().len(), 2, "one before the first ends");
    assert!(last_token(&world, ann).expires.unwrap().0 >= soon.0 + 5 * 60 - 1);

    let mut patient = describer("bob");
    patient.expires = Some(UnixTime(begin.0 + 86_400));
    let bob = join_with(&mut world, patient);
    assert_eq!(last_token(&world, bob).expires, Some(UnixTime(begin.0 + 86_400)));
}

#[test]
fn a_new_name_is_in_the_next_token_and_in_every_roster() {
    let mut world = World::new(202).unwrap();
    let ann = join_with(&mut world, describer("ann"));
    let bob = join(&mut world, "bob", "garden");
    world.act(ann, |client, _| client.send_request(update("Anna", "about her", 7)));
    world.run(SECOND);
    let grant = last_token(&world, ann);
    assert_eq!((grant.name.as_str(), grant.metadata.as_str()), ("Anna", "about her"));
    assert_eq!(world.client(bob).roster()["ann"].name, "Anna");
    let answer = world.client(ann).refusals().first().expect("an answer").clone();
    assert_eq!((answer.request_id, answer.reason()), (7, Reason::Ok));
    assert!(world.client(bob).tokens().len() == 1, "another's name is not in one's token");
}

#[test]
fn what_may_not_be_said_of_oneself_is_answered_by_number_and_changes_nothing() {
    let mut world = World::new(203).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let bob = join_with(&mut world, describer("bob"));
    world.act(ann, |client, _| client.send_request(update("Anna", "", 7)));
    world.act(bob, |client, _| client.send_request(update(&"b".repeat(257), "", 8)));
    world.act(bob, |client, _| client.send_request(update("", &"m".repeat(600_000), 9)));
    world.run(SECOND);
    let answers = |id: ClientId| {
        let refusals = world.client(id).refusals().iter();
        refusals.map(|one| (one.request_id, one.reason(), one.message.clone())).collect::<Vec<_>>()
    };
    assert_eq!(answers(ann)[0].0, 7);
    assert_eq!(answers(ann)[0].1, Reason::NotAllowed);
    let bobs = answers(bob);
    assert_eq!((bobs[0].0, bobs[0].1), (8, Reason::LimitExceeded));
    assert!(bobs[0].2.starts_with("exceeds name length limit"), "{}", bobs[0].2);
    assert!(bobs[1].2.starts_with("exceeds metadata size limit"), "{}", bobs[1].2);
    assert_eq!(world.client(ann).roster()["bob"].name, "bob");
    assert_eq!(world.client(ann).tokens().len(), 1);
}

#[test]
fn a_second_track_of_one_id_follows_when_the_first_ends() {
    let (mut world, ids) = call(204, &["ann", "bob"]);
    let key = publish(&mut world, ids[0], TrackPlan::VOICE);
    let first = sid(&world, ids[0], key);
    let cid = world.client(ids[0]).track(key).unwrap().cid().to_owned();
    let again = proto::AddTrackRequest {
        cid,
        r#type: proto::TrackType::Audio.into(),
        ..Default::default()
    };
    world.act(ids[0], |client, _| client.send_request(Request::AddTrack(again)));
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).refusals().last().unwrap().reason(), Reason::Queued);
    world.act(ids[0], |client, now| client.unpublish(key, now));
    world.run(SECOND);
    let cid = world.client(ids[0]).track(key).unwrap().cid();
    let sids = world.client(ids[0]).heard().iter().filter_map(|heard| match heard {
        Response::TrackPublished(published) if published.cid == cid => published.track.as_ref(),
        _ => None,
    });
    let sids: Vec<_> = sids.map(|track| track.sid.clone()).collect();
    assert_eq!((sids.len(), &sids[0]), (2, &first), "announced once more");
    assert_ne!(sids[1], first, "as another track");
}
