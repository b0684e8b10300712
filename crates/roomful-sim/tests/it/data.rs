use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use proto::request_response::Reason;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::token::{Grant, Permissions};
use roomful_sfu::{DataPolicy, RoomPolicy};
use roomful_sim::client::Channel;
use roomful_sim::{Bitrate, ClientId, Conditions, JoinOptions, World};

use crate::calls::*;

fn message(text: &[u8], to: &[&str]) -> proto::DataPacket {
    proto::DataPacket {
        destination_identities: to.iter().map(|one| (*one).to_owned()).collect(),
        value: Some(Value::User(proto::UserPacket {
            payload: text.to_vec(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn payload(packet: &proto::DataPacket) -> &[u8] {
    match &packet.value {
        Some(Value::User(user)) => &user.payload,
        _ => &[],
    }
}

fn with_channels(seed: u64, names: &[&str]) -> (World, Vec<ClientId>) {
    let (mut world, ids) = call(seed, names);
    let open = |world: &World| {
        ids.iter().all(|id| {
            [Channel::Lossy, Channel::Reliable]
                .into_iter()
                .all(|channel| world.client(*id).is_open(channel))
        })
    };
    world.run_until(2 * SECOND, open).expect("channels open");
    (world, ids)
}

#[test]
pub(crate) fn a_message_reaches_those_it_names_on_the_channel_it_came_by() {
    let (mut world, ids) = with_channels(60, &["ann", "bob", "cy"]);
    for channel in [Channel::Reliable, Channel::Lossy] {
        let to_bob = message(b"psst", &["bob"]);
        assert!(world.act(ids[0], |client, now| client.send_data(channel, &to_bob, now)));
        let to_all = message(b"hello", &[]);
        assert!(world.act(ids[0], |client, now| client.send_data(channel, &to_all, now)));
    }
    world.run(SECOND);
    let got = |id: ClientId| {
        let mut got: Vec<_> = world
            .client(id)
            .messages()
            .iter()
            .map(|(channel, packet)| (*channel, payload(packet).to_vec()))
            .collect();
        got.sort();
        got
    };
    let (psst, hello) = (b"psst".to_vec(), b"hello".to_vec());
    let bob = [
        (Channel::Lossy, hello.clone()),
        (Channel::Lossy, psst.clone()),
        (Channel::Reliable, hello.clone()),
        (Channel::Reliable, psst),
    ];
    assert_eq!(got(ids[1]), bob);
    assert_eq!(got(ids[2]), [(Channel::Lossy, hello.clone()), (Channel::Reliable, hello)]);
    assert_eq!(got(ids[0]), []);
}

#[test]
pub(crate) fn nobody_can_speak_in_anothers_name() {
    let (mut world, ids) = with_channels(61, &["ann", "bob", "cy"]);
    let cy = participant_sid(&world, ids[2]);
    #[expect(deprecated, reason = "older clients read the sender inside")]
    let forged = proto::DataPacket {
        participant_identity: "cy".into(),
        participant_sid: cy.clone(),
        value: Some(Value::User(proto::UserPacket {
            participant_identity: "cy".into(),
            participant_sid: cy,
            payload: b"it was me".to_vec(),
            ..Default::default()
        })),
        ..Default::default()
    };
    world.act(ids[0], |client, now| client.send_data(Channel::Reliable, &forged, now));
    world.run(SECOND);
    let ann = participant_sid(&world, ids[0]);
    let (_, packet) = world.client(ids[1]).messages().first().expect("a message").clone();
    assert_eq!((packet.participant_identity.as_str(), &packet.participant_sid), ("ann", &ann));
    let Some(Value::User(user)) = packet.value else { panic!("not what was sent") };
    #[expect(deprecated, reason = "older clients read the sender inside")]
    let inside = (user.participant_identity.as_str(), user.participant_sid);
    assert_eq!(inside, ("ann", ann));
}

#[test]
pub(crate) fn reliable_messages_arrive_all_and_in_order_over_a_lossy_network() {
    let (mut world, ids) = with_channels(62, &["ann", "bob"]);
    let lossy = Conditions::latency(RTT / 2).with_loss(0.05);
    for id in &ids {
        world.set_conditions(*id, lossy, lossy);
    }
    for number in 0..200_u32 {
        let packet = message(&number.to_be_bytes(), &[]);
        world.act(ids[0], |client, now| client.send_data(Channel::Reliable, &packet, now));
        world.run(Duration::from_millis(20));
    }
    world.run(10 * SECOND);
    let got: Vec<_> =
        world.client(ids[1]).messages().iter().map(|(_, packet)| payload(packet)).collect();
    let sent: Vec<_> = (0..200_u32).map(u32::to_be_bytes).collect();
    assert_eq!(got, sent);
}

/// A room of three with data channels, whose operator decided so about slow receivers.
fn with_policy(seed: u64, data: DataPolicy) -> (World, Vec<ClientId>) {
    let rooms = RoomPolicy { data, ..RoomPolicy::default() };
    let mut world = World::with_rooms(seed, rooms).unwrap();
    let ids = ["ann", "bob", "cy"].map(|name| join(&mut world, name, "garden")).to_vec();
    let open = |world: &World| {
        let channels = [Channel::Lossy, Channel::Reliable];
        ids.iter().all(|id| channels.iter().all(|channel| world.client(*id).is_open(*channel)))
    };
    world.run_until(2 * SECOND, open).expect("channels open");
    (world, ids)
}

/// What somebody gets arrives at no more than so many bits a second.
fn narrow(world: &mut World, id: ClientId, bits: u64) {
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(id, wire, wire.with_bandwidth(Bitrate(bits), 20_000));
}

fn widen(world: &mut World, id: ClientId) {
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(id, wire, wire);
}

const CHUNK: usize = 14_000;

/// Sends so many large numbered messages as fast as they are taken.
fn flood(world: &mut World, from: ClientId, count: u32) {
    let mut sent = 0_u32;
    for _ in 0..5_000 {
        let mut text = vec![7; CHUNK];
        text[..4].copy_from_slice(&sent.to_be_bytes());
        let packet = message(&text, &[]);
        if world.act(from, |client, now| client.send_data(Channel::Reliable, &packet, now)) {
            sent += 1;
        }
        if sent == count {
            return;
        }
        world.run(Duration::from_millis(5));
    }
    panic!("only {sent} messages were taken");
}

/// The numbers of the messages that somebody got.
fn numbers(world: &World, id: ClientId) -> Vec<u32> {
    let number = |packet: &proto::DataPacket| {
        payload(packet).first_chunk().copied().map(u32::from_be_bytes).unwrap_or(u32::MAX)
    };
    world.client(id).messages().iter().map(|(_, packet)| number(packet)).collect()
}

#[test]
pub(crate) fn one_who_cannot_keep_up_with_data_holds_nobody_up_and_loses_what_is_too_much() {
    let policy = DataPolicy { most_waiting: 50 * CHUNK, ..DataPolicy::default() };
    let (mut world, ids) = with_policy(63, policy);
    narrow(&mut world, ids[2], 20_000);
    flood(&mut world, ids[0], 200);
    world.run(SECOND);
    assert_eq!(numbers(&world, ids[1]), (0..200).collect::<Vec<_>>());
    widen(&mut world, ids[2]);
    world.run(20 * SECOND);
    let got = numbers(&world, ids[2]);
    assert!((50..80).contains(&got.len()), "{} wait and arrive", got.len());
    assert_eq!(got[..50], (0..50).collect::<Vec<_>>(), "the oldest");
    assert!(got.is_sorted(), "and in order");
    assert!(world.client(ids[2]).farewell().is_none(), "it is still there");
    let later = message(&[0; 4], &[]);
    world.act(ids[0], |client, now| client.send_data(Channel::Reliable, &later, now));
    world.run(SECOND);
    assert_eq!(numbers(&world, ids[2]).len(), got.len() + 1, "and gets what comes later");
}

#[test]
fn messages_for_one_who_is_fast_enough_wait_and_for_one_who_is_not_they_do_not() {
    let policy = DataPolicy { slow_below: 200_000, ..DataPolicy::default() };
    let (mut world, ids) = with_policy(73, policy);
    narrow(&mut world, ids[1], 1_000_000);
    narrow(&mut world, ids[2], 50_000);
    flood(&mut world, ids[0], 100);
    world.run(SECOND);
    widen(&mut world, ids[2]);
    world.run(30 * SECOND);
    assert_eq!(numbers(&world, ids[1]), (0..100).collect::<Vec<_>>());
    let got = numbers(&world, ids[2]).len();
    assert!(got < 60, "{got} were more than its channel takes");
    assert!(got > 10, "{got}");
}

#[test]
fn lossy_messages_that_would_come_late_are_left_out() {
    let latency = Duration::from_millis(100);
    let policy = DataPolicy { lossy_latency: latency, ..DataPolicy::default() };
    let (mut world, ids) = with_policy(74, policy);
    narrow(&mut world, ids[2], 400_000);
    let mut sent = 0_u32;
    for _ in 0..1_000 {
        let mut text = vec![0; 1_000];
        text[..4].copy_from_slice(&sent.to_be_bytes());
        let packet = message(&text, &[]);
        let taken =
            |client: &mut roomful_sim::Client, now| client.send_data(Channel::Lossy, &packet, now);
        sent += u32::from(world.act(ids[0], taken));
        world.run(Duration::from_millis(5));
    }
    let newest = *numbers(&world, ids[2]).last().expect("some arrive");
    // At 5 ms each: the way of 40 ms, 100 ms that may wait, and what the network itself holds.
    assert!(sent - newest < 140, "{newest} of {sent} arrived last");
    assert!(numbers(&world, ids[2]).len() > 100);
    assert!(numbers(&world, ids[1]).len() > 950, "the other gets nearly all");
}

#[test]
fn data_that_is_none_reaches_nobody() {
    let (mut world, ids) = with_channels(64, &["ann", "bob"]);
    for bytes in [&b""[..], b"\xff\xff\xff", &[0; 10_000]] {
        world.act(ids[0], |client, now| client.send_raw_data(Channel::Reliable, bytes, now));
    }
    world.run(SECOND);
    assert_eq!(world.client(ids[1]).messages(), []);
    assert_flows(&mut world, &ids);
}

fn numbered(sequence: u32) -> proto::DataPacket {
    proto::DataPacket { sequence, ..message(&sequence.to_be_bytes(), &[]) }
}

#[test]
pub(crate) fn a_message_repeated_after_a_resume_arrives_once_and_none_is_lost() {
    let (mut world, ids) = with_channels(66, &["ann", "bob"]);
    let send = |world: &mut World, numbers: std::ops::RangeInclusive<u32>| {
        for number in numbers {
            let packet = numbered(number);
            let sent =
                world.act(ids[0], |client, now| client.send_data(Channel::Reliable, &packet, now));
            assert!(sent);
        }
    };
    send(&mut world, 1..=3);
    world.run(SECOND);
    world.cut_websocket(ids[0]);
    send(&mut world, 4..=5);
    world.run(SECOND);
    world.act(ids[0], |client, _| client.resume());
    world.run(SECOND);
    let told = world.client(ids[0]).heard().iter().find_map(|heard| match heard {
        Response::Reconnect(told) => Some(told.last_message_seq),
        _ => None,
    });
    assert_eq!(told, Some(5), "the client repeats what follows");
    send(&mut world, 4..=7);
    world.run(SECOND);
    let got = world.client(ids[1]).messages().iter().map(|(_, packet)| packet.sequence);
    assert_eq!(got.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
}

/// A room of somebody and of one who joins with these rights.
fn with_special(seed: u64, permissions: Permissions) -> (World, ClientId, ClientId) {
    let (mut world, ids) = with_channels(seed, &["ann"]);
    let mut grant = Grant::new(Identity::new("eve"), "Eve", RoomName::new("garden"));
    grant.permissions = permissions;
    let eve = world.add_client_with(grant, JoinOptions::default(), Conditions::latency(RTT / 2));
    connected(&mut world, eve);
    let open = |world: &World| world.client(eve).is_open(Channel::Reliable);
    world.run_until(2 * SECOND, open).expect("channels open");
    (world, ids[0], eve)
}

fn say(world: &mut World, who: ClientId, identity: &str, value: Value) {
    let packet = proto::DataPacket {
        participant_identity: identity.into(),
        value: Some(value),
        ..Default::default()
    };
    world.act(who, |client, now| client.send_data(Channel::Reliable, &packet, now));
    world.run(SECOND);
}

fn chat(text: &str) -> Value {
    Value::ChatMessage(proto::ChatMessage { message: text.into(), ..Default::default() })
}

#[test]
fn agents_write_what_others_said_and_nobody_else_does() {
    let agent = Permissions { agent: true, ..Permissions::default() };
    let (mut world, ann, eve) = with_special(67, agent);
    say(&mut world, eve, "bob", chat("bob said so"));
    say(&mut world, eve, "bob", Value::Transcription(proto::Transcription::default()));
    let (_, said) = world.client(ann).messages()[0].clone();
    assert_eq!(said.participant_identity, "bob");
    assert!(matches!(&said.value, Some(Value::ChatMessage(chat)) if chat.generated));
    assert_eq!(world.client(ann).messages()[1].1.participant_identity, "eve");

    say(&mut world, ann, "bob", chat("bob said so"));
    say(&mut world, ann, "bob", Value::Transcription(proto::Transcription::default()));
    let heard = world.client(eve).messages();
    assert_eq!(heard.len(), 1, "no transcription of people");
    assert_eq!(heard[0].1.participant_identity, "ann");
}

#[test]
fn whoever_is_hidden_sends_without_a_name() {
    let hidden = Permissions { hidden: true, ..Permissions::default() };
    let (mut world, ann, eve) = with_special(68, hidden);
    say(&mut world, eve, "eve", chat("boo"));
    assert_eq!(world.client(ann).messages()[0].1.participant_identity, "");
}

#[test]
pub(crate) fn metrics_are_for_those_who_may_read_them() {
    let observer = Permissions { can_subscribe_metrics: true, ..Permissions::default() };
    let (mut world, ann, eve) = with_special(69, observer);
    say(&mut world, ann, "", Value::Metrics(proto::MetricsBatch::default()));
    say(&mut world, eve, "", Value::Metrics(proto::MetricsBatch::default()));
    assert_eq!(world.client(ann).messages().len(), 0);
    assert_eq!(world.client(eve).messages().len(), 2, "its own, too");
}

#[test]
fn streams_calls_and_tones_pass_unchanged() {
    let (mut world, ids) = with_channels(70, &["ann", "bob"]);
    let values = [
        Value::SipDtmf(proto::SipDtmf { code: 5, digit: "5".into() }),
        Value::RpcRequest(proto::RpcRequest { id: "1".into(), ..Default::default() }),
        Value::RpcAck(proto::RpcAck { request_id: "1".into() }),
        Value::RpcResponse(proto::RpcResponse { request_id: "1".into(), ..Default::default() }),
        Value::StreamChunk(proto::data_stream::Chunk {
            stream_id: "s".into(),
            content: vec![1, 2, 3],
            ..Default::default()
        }),
        Value::EncryptedPacket(proto::EncryptedPacket { iv: vec![9], ..Default::default() }),
    ];
    for value in values.clone() {
        say(&mut world, ids[0], "", value);
    }
    let got = world.client(ids[1]).messages().iter().filter_map(|(_, packet)| packet.value.clone());
    assert_eq!(got.collect::<Vec<_>>(), values);
}

fn key(name: &str) -> proto::DataBlobKey {
    proto::DataBlobKey { key: Some(proto::data_blob_key::Key::Generic(name.into())) }
}

fn store(request_id: u32, name: &str) -> Request {
    let blob = proto::DataBlob { key: Some(key(name)), contents: b"what ann left".to_vec() };
    Request::StoreDataBlobRequest(proto::StoreDataBlobRequest { request_id, blob: Some(blob) })
}

fn fetch(request_id: u32, from: &str, name: &str) -> Request {
    Request::GetDataBlobRequest(proto::GetDataBlobRequest {
        request_id,
        participant_identity: from.into(),
        key: Some(key(name)),
    })
}

#[test]
pub(crate) fn what_somebody_leaves_is_fetched_by_others_where_that_is_allowed() {
    let allowed = RoomPolicy { data_blobs: true, ..RoomPolicy::default() };
    let mut world = World::with_rooms(71, allowed).unwrap();
    let [ann, bob] = ["ann", "bob"].map(|name| join(&mut world, name, "garden"));
    world.act(ann, |client, _| client.send_request(store(1, "a")));
    world.run(SECOND);
    for (number, from, name) in [(2, "ann", "a"), (3, "ann", "b"), (4, "cy", "a")] {
        world.act(bob, |client, _| client.send_request(fetch(number, from, name)));
    }
    world.run(SECOND);
    let stored = world.client(ann).heard().iter().any(
        |heard| matches!(heard, Response::StoreDataBlobResponse(answer) if answer.request_id == 1),
    );
    assert!(stored);
    let fetched: Vec<_> = world
        .client(bob)
        .heard()
        .iter()
        .filter_map(|heard| match heard {
            Response::GetDataBlobResponse(answer) => Some(answer.clone()),
            _ => None,
        })
        .collect();
    assert_eq!((fetched.len(), fetched[0].request_id), (1, 2));
    assert_eq!(fetched[0].blob.as_ref().unwrap().contents, b"what ann left");
    let refused = world.client(bob).refusals().iter();
    let mut refused: Vec<_> = refused.map(|one| (one.request_id, one.reason())).collect();
    // Whoever is in another part of the room is asked over a link.
    refused.sort();
    assert_eq!(refused, [(3, Reason::NotFound), (4, Reason::NotFound)]);
}

#[test]
fn nothing_is_left_where_the_operator_did_not_allow_it() {
    let (mut world, ids) = with_channels(72, &["ann"]);
    world.act(ids[0], |client, _| client.send_request(store(1, "a")));
    world.run(SECOND);
    let refusal = &world.client(ids[0]).refusals()[0];
    assert_eq!((refusal.request_id, refusal.reason()), (1, Reason::NotAllowed));
}
