use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use roomful_sim::client::Channel;
use roomful_sim::{Bitrate, ClientId, Conditions, World};

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
fn a_message_reaches_those_it_names_on_the_channel_it_came_by() {
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
fn nobody_can_speak_in_anothers_name() {
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
fn reliable_messages_arrive_all_and_in_order_over_a_lossy_network() {
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

#[test]
fn one_who_cannot_keep_up_with_data_holds_nobody_up() {
    let (mut world, ids) = with_channels(63, &["ann", "bob", "cy"]);
    let wire = Conditions::latency(RTT / 2);
    world.set_conditions(ids[2], wire, wire.with_bandwidth(Bitrate(20_000), 3_000));
    let packet = message(&[7; 14_000], &[]);
    let mut accepted = 0;
    for _ in 0..2_000 {
        if accepted < 200 {
            let sent = |client: &mut roomful_sim::Client, now| {
                client.send_data(Channel::Reliable, &packet, now)
            };
            accepted += usize::from(world.act(ids[0], sent));
        }
        world.run(Duration::from_millis(10));
    }
    assert_eq!(accepted, 200);
    assert_eq!(world.client(ids[1]).messages().len(), 200);
    let cy = participant_sid(&world, ids[2]);
    assert!(world.client(ids[0]).departures().contains(&cy), "it was sent to reconnect");
    assert_flows(&mut world, &ids[..2]);
}

#[test]
fn data_that_is_none_reaches_nobody() {
    let (mut world, ids) = with_channels(64, &["ann", "bob"]);
    for bytes in [&b""[..], b"\xff\xff\xff", &[0; 10_000]] {
        world.act(ids[0], |client, now| client.send_raw_data(Channel::Reliable, bytes, now));
    }
    world.run(SECOND);
    assert!(world.client(ids[1]).messages().iter().all(|(_, packet)| packet.value.is_none()));
    assert_flows(&mut world, &ids);
}
