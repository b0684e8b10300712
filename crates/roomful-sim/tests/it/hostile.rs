use std::fmt::Write as _;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use roomful_sim::{ClientId, TrackPlan, World};

use crate::calls::*;

/// Someone sends what nobody should: the others' media goes on, and only the sender is refused.
fn assert_undisturbed(world: &mut World, ids: &[ClientId]) {
    assert_flows(world, ids);
    for id in &ids[1..] {
        assert_eq!(world.client(*id).refusals(), [], "refusals are for the sender alone");
        assert!(world.client(*id).departures().is_empty());
        assert_eq!(world.client(*id).missing_packets(), 0);
    }
    world.check_invariants(SOON).unwrap();
}

fn offer(sdp: String) -> Request {
    Request::Offer(proto::SessionDescription {
        r#type: "offer".into(),
        sdp,
        id: 1_000,
        ..Default::default()
    })
}

fn random_bytes(world: &mut World, first: u8) -> Vec<u8> {
    let length = 1 + world.draw(1_400);
    let mut bytes: Vec<u8> = (0..length).map(|_| world.draw(256) as u8).collect();
    bytes[0] = first;
    bytes
}

#[test]
fn garbage_datagrams_from_anywhere_disturb_nobody() {
    let (mut world, ids) = call(80, &["ann", "bob", "cy"]);
    // The classes of RFC 7983: STUN, DTLS, TURN channels, RTP; and what is none of them.
    for first in [0, 1, 20, 22, 23, 64, 79, 128, 144, 191, 200, 255] {
        for _ in 0..20 {
            let bytes = random_bytes(&mut world, first);
            world.send_stray_datagram(&bytes);
            world.send_datagram(ids[0], bytes);
        }
        world.send_datagram(ids[0], vec![first]);
        world.send_stray_datagram(&[]);
    }
    world.run(SECOND);
    assert_undisturbed(&mut world, &ids);
}

#[test]
fn offers_that_are_none_are_refused_to_their_sender_who_stays_in_the_call() {
    let (mut world, ids) = call(81, &["ann", "bob"]);
    let bad = ["", "not sdp", "v=0\r\n", "m=video", "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n"];
    for (index, sdp) in bad.into_iter().enumerate() {
        world.act(ids[0], |client, _| client.send_request(offer(sdp.into())));
        world.run(SECOND);
        assert_eq!(world.client(ids[0]).refusals().len(), index + 1, "{sdp:?}");
    }
    for refusal in world.client(ids[0]).refusals() {
        assert!(!refusal.message.is_empty());
    }
    assert_undisturbed(&mut world, &ids);
    publish(&mut world, ids[0], TrackPlan::VOICE);
    world.check_invariants(SOON).unwrap();
}

#[test]
fn an_offer_of_two_thousand_sections_is_refused_with_the_limit() {
    let (mut world, ids) = call(82, &["ann", "bob"]);
    let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    for mid in 0..2_000 {
        let _ = write!(
            sdp,
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=recvonly\r\n\
             a=rtpmap:96 VP8/90000\r\n"
        );
    }
    world.act(ids[0], |client, _| client.send_request(offer(sdp)));
    world.run(SECOND);
    let refusal = world.client(ids[0]).refusals().first().expect("a refusal");
    assert!(refusal.message.contains("2000"), "{}", refusal.message);
    assert_undisturbed(&mut world, &ids);
}

#[test]
fn requests_that_make_no_sense_are_refused_to_their_sender() {
    let (mut world, ids) = call(83, &["ann", "bob"]);
    let mute = proto::MuteTrackRequest { sid: "TR_none".into(), muted: true };
    let kind = proto::AddTrackRequest { cid: "x".into(), r#type: 2, ..Default::default() };
    for request in [
        Request::Mute(mute),
        Request::AddTrack(proto::AddTrackRequest::default()),
        Request::AddTrack(kind),
        Request::Answer(proto::SessionDescription::default()),
    ] {
        let before = world.client(ids[0]).refusals().len();
        world.act(ids[0], |client, _| client.send_request(request.clone()));
        world.run(SECOND);
        assert_eq!(world.client(ids[0]).refusals().len(), before + 1, "{request:?}");
    }
    assert_undisturbed(&mut world, &ids);
}

#[test]
fn a_message_of_an_unknown_kind_is_refused_and_nothing_more() {
    let (mut world, ids) = call(84, &["ann", "bob"]);
    // Field 1000 with an empty message inside.
    world.send_frame(ids[0], vec![0xc2, 0x3e, 0x00]);
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).refusals().len(), 1);
    assert_undisturbed(&mut world, &ids);
}

#[test]
fn a_frame_that_is_no_message_ends_its_connection_and_no_other() {
    let (mut world, ids) = call(85, &["ann", "bob", "cy"]);
    world.send_frame(ids[0], vec![0xff; 40]);
    world.run(SECOND);
    assert!(!world.client(ids[0]).is_joined());
    for id in &ids[1..] {
        assert!(world.client(*id).is_joined());
    }
    world.act(ids[0], |client, _| client.resume());
    world.run(SECOND);
    assert_undisturbed(&mut world, &ids);
}

#[test]
fn who_publishes_without_end_meets_a_limit() {
    let (mut world, ids) = call(86, &["ann", "bob"]);
    for number in 0..100 {
        let request = proto::AddTrackRequest { cid: format!("x{number}"), ..Default::default() };
        world.act(ids[0], |client, _| client.send_request(Request::AddTrack(request)));
    }
    world.run(SECOND);
    assert!(world.client(ids[0]).refusals().len() >= 60);
    // The server told of tracks this client's program did not announce.
    world.take_violations();
    assert_undisturbed(&mut world, &ids);
}
