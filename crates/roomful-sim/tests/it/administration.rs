use std::collections::HashMap;
use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use roomful_sfu::administration::{
    Administration, AdministrationError, Reply, RequestId, RoomRequest, RpcError,
};
use roomful_sfu::ids::{Identity, RoomName, TrackSid};
use roomful_sfu::{RoomPolicy, SfuEvent};
use roomful_sim::client::{Channel, TrackKey};
use roomful_sim::{ClientId, JoinOptions, TrackPlan, World};

use crate::calls::*;

fn in_garden(what: RoomRequest) -> Administration {
    Administration::InRoom(RoomName::new("garden"), what)
}

/// What is answered at once.
fn ask(world: &mut World, what: Administration) -> Result<Reply, AdministrationError> {
    world.administer(what).expect("an answer at once")
}

fn identity(name: &str) -> Identity {
    Identity::new(name)
}

fn create(name: &str) -> proto::CreateRoomRequest {
    proto::CreateRoomRequest { name: name.to_owned(), ..Default::default() }
}

fn may(change: impl FnOnce(&mut proto::ParticipantPermission)) -> proto::ParticipantPermission {
    let mut permission = proto::ParticipantPermission {
        can_publish: true,
        can_subscribe: true,
        can_publish_data: true,
        ..Default::default()
    };
    change(&mut permission);
    permission
}

fn update(name: &str, change: impl FnOnce(&mut proto::UpdateParticipantRequest)) -> Administration {
    let mut request =
        proto::UpdateParticipantRequest { identity: name.to_owned(), ..Default::default() };
    change(&mut request);
    in_garden(RoomRequest::UpdateParticipant(Box::new(request)))
}

#[test]
fn a_room_made_by_the_api_waits_empty_and_is_as_asked() {
    let mut world =
        World::with_rooms(200, RoomPolicy { auto_create: false, ..RoomPolicy::default() }).unwrap();
    let wanted = proto::CreateRoomRequest {
        metadata: "plants".into(),
        empty_timeout: 60,
        ..create("garden")
    };
    let made = ask(&mut world, Administration::CreateRoom(Box::new(wanted.clone())));
    let Ok(Reply::Room(room)) = made.clone() else { panic!("{made:?}") };
    assert_eq!((room.name.as_str(), room.metadata.as_str()), ("garden", "plants"));
    assert_eq!((room.empty_timeout, room.departure_timeout), (60, 20));
    assert!(room.sid.starts_with("RM_") && room.creation_time > 0);

    let other = proto::CreateRoomRequest { metadata: "weeds".into(), ..create("garden") };
    let again = ask(&mut world, Administration::CreateRoom(Box::new(other)));
    assert_eq!(again, made, "a room that exists stays as it is");

    world.run(50 * SECOND);
    let ann = join(&mut world, "ann", "garden");
    assert_eq!(world.client(ann).room().unwrap().metadata, "plants");
    world.run(20 * SECOND);
    assert_eq!(world.events().len(), 1, "somebody is there");
    world.act(ann, |client, _| client.leave());
    world.run(21 * SECOND);
    assert!(matches!(world.events().last(), Some(SfuEvent::RoomEnded(_))));
    assert!(ask(&mut world, Administration::CreateRoom(Box::new(wanted))).is_ok());
    world.run(61 * SECOND);
    assert_eq!(ask(&mut world, Administration::ListRooms(Vec::new())), Ok(Reply::Rooms(vec![])));
}

#[test]
pub(crate) fn rooms_are_listed_with_their_numbers() {
    let (mut world, _) = call(201, &["ann", "bob"]);
    ask(&mut world, Administration::CreateRoom(Box::new(create("attic")))).unwrap();
    let list = |world: &mut World, names: &[&str]| {
        let names = names.iter().map(|name| RoomName::new(*name)).collect();
        let reply = ask(world, Administration::ListRooms(names));
        let Ok(Reply::Rooms(rooms)) = reply else { panic!("{reply:?}") };
        rooms
            .iter()
            .map(|room| (room.name.clone(), room.num_participants, room.num_publishers))
            .collect::<Vec<_>>()
    };
    let (attic, garden) = (("attic".to_owned(), 0, 0), ("garden".to_owned(), 2, 2));
    assert_eq!(list(&mut world, &[]), [attic.clone(), garden.clone()]);
    assert_eq!(list(&mut world, &["garden", "cellar"]), [garden]);
}

#[test]
pub(crate) fn whoever_is_in_a_deleted_room_is_told_and_leaves() {
    let (mut world, ids) = call(202, &["ann", "bob"]);
    let delete = Administration::DeleteRoom(RoomName::new("garden"));
    assert_eq!(ask(&mut world, delete.clone()), Ok(Reply::Done));
    world.run(SECOND);
    for id in ids {
        let farewell = world.client(id).farewell().unwrap();
        assert_eq!(farewell.reason, proto::DisconnectReason::RoomDeleted);
        assert_eq!(farewell.action, proto::leave_request::Action::Disconnect);
    }
    assert!(matches!(world.events().last(), Some(SfuEvent::RoomEnded(_))));
    assert_eq!(ask(&mut world, delete), Err(AdministrationError::NoRoom));
}

#[test]
fn participants_are_told_as_they_are() {
    let (mut world, ids) = call(203, &["ann", "bob"]);
    let Ok(Reply::Participants(all)) = ask(&mut world, in_garden(RoomRequest::ListParticipants))
    else {
        panic!("no list")
    };
    let names: Vec<_> = all.iter().map(|one| (one.identity.as_str(), one.tracks.len())).collect();
    assert_eq!(names, [("ann", 2), ("bob", 2)]);
    let one = ask(&mut world, in_garden(RoomRequest::GetParticipant(identity("bob"))));
    assert_eq!(one, Ok(Reply::Participant(Box::new(all[1].clone()))));
    assert_eq!(all[1].sid, participant_sid(&world, ids[1]));
    for what in [
        RoomRequest::GetParticipant(identity("cy")),
        RoomRequest::RemoveParticipant(identity("cy")),
    ] {
        assert_eq!(ask(&mut world, in_garden(what)), Err(AdministrationError::NoParticipant));
    }
    let elsewhere = |what| Administration::InRoom(RoomName::new("cellar"), what);
    let list = ask(&mut world, elsewhere(RoomRequest::ListParticipants));
    assert_eq!(list, Ok(Reply::Participants(vec![])));
    let one = ask(&mut world, elsewhere(RoomRequest::GetParticipant(identity("bob"))));
    assert_eq!(one, Err(AdministrationError::NoRoom));
}

#[test]
pub(crate) fn a_removed_participant_is_told_and_gone_for_the_others() {
    let (mut world, ids) = call(204, &["ann", "bob", "cy"]);
    let removed = ask(&mut world, in_garden(RoomRequest::RemoveParticipant(identity("bob"))));
    assert_eq!(removed, Ok(Reply::Done));
    world.run(SECOND);
    let farewell = world.client(ids[1]).farewell().unwrap();
    assert_eq!(farewell.reason, proto::DisconnectReason::ParticipantRemoved);
    assert!(!world.client(ids[0]).roster().contains_key("bob"));
    assert!(world.client(ids[0]).roster().contains_key("cy"));
}

#[test]
pub(crate) fn a_track_is_muted_for_everyone_and_unmuted_only_where_that_is_allowed() {
    let mut world =
        World::with_rooms(205, RoomPolicy { remote_unmute: true, ..RoomPolicy::default() })
            .unwrap();
    let ids: Vec<_> = ["ann", "bob"].map(|name| join(&mut world, name, "garden")).into();
    let voice = publish(&mut world, ids[0], TrackPlan::VOICE);
    world.run(SECOND);
    let track = TrackSid::new(sid(&world, ids[0], voice));
    let mute = |muted| {
        in_garden(RoomRequest::MuteTrack { identity: identity("ann"), track: track.clone(), muted })
    };
    for muted in [true, false] {
        let reply = ask(&mut world, mute(muted));
        let Ok(Reply::Track(info)) = reply else { panic!("{reply:?}") };
        assert_eq!((info.sid.as_str(), info.muted), (track.as_str(), muted));
        world.run(RTT);
        world.check_invariants(SOON).unwrap();
        assert_eq!(world.client(ids[0]).track(voice).unwrap().is_muted(), muted);
        assert_eq!(world.client(ids[1]).roster()["ann"].tracks[0].muted, muted);
    }
    let unknown = RoomRequest::MuteTrack {
        identity: identity("ann"),
        track: TrackSid::new("TR_x"),
        muted: true,
    };
    assert_eq!(ask(&mut world, in_garden(unknown)), Err(AdministrationError::NoTrack));

    let (mut world, ids) = call(206, &["ann"]);
    let track = TrackSid::new(sid(&world, ids[0], TrackKey(0)));
    let unmute = RoomRequest::MuteTrack { identity: identity("ann"), track, muted: false };
    assert_eq!(ask(&mut world, in_garden(unmute)), Err(AdministrationError::UnmuteDisabled));
}

#[test]
pub(crate) fn a_participant_is_described_anew_to_itself_and_to_others() {
    let (mut world, ids) = call(207, &["ann", "bob"]);
    let attributes = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let first = update("ann", |request| {
        request.name = "Dr. Ann".into();
        request.metadata = "botanist".into();
        request.attributes = attributes(&[("hand", "up"), ("seat", "3")]);
    });
    ask(&mut world, first).unwrap();
    let second = update("ann", |request| request.attributes = attributes(&[("hand", "")]));
    let Ok(Reply::Participant(info)) = ask(&mut world, second) else { panic!("no participant") };
    world.run(SECOND);
    for seen in [&*info, world.client(ids[0]).me().unwrap(), &world.client(ids[1]).roster()["ann"]]
    {
        assert_eq!((seen.name.as_str(), seen.metadata.as_str()), ("Dr. Ann", "botanist"));
        assert_eq!(seen.attributes, attributes(&[("seat", "3")]));
    }
    let long = update("ann", |request| request.name = "n".repeat(257));
    assert!(matches!(ask(&mut world, long), Err(AdministrationError::OverLimit(_))));
}

#[test]
fn a_permission_taken_ends_what_it_allowed() {
    let (mut world, ids) = call(208, &["ann", "bob"]);
    let silent = may(|permission| {
        permission.can_publish_sources = vec![proto::TrackSource::Microphone.into()];
    });
    ask(&mut world, update("ann", |request| request.permission = Some(silent.clone()))).unwrap();
    world.run(RTT);
    world.check_invariants(SOON).unwrap();
    let sources = |world: &World| -> Vec<_> {
        world.client(ids[1]).roster()["ann"].tracks.iter().map(|track| track.source()).collect()
    };
    assert_eq!(sources(&world), [proto::TrackSource::Microphone]);
    assert_eq!(world.client(ids[0]).me().unwrap().permission, Some(silent));

    let mute = may(|permission| permission.can_publish = false);
    ask(&mut world, update("ann", |request| request.permission = Some(mute))).unwrap();
    world.run(RTT);
    world.check_invariants(SOON).unwrap();
    assert_eq!(sources(&world), []);
    let key = world.act(ids[0], |client, now| client.publish(TrackPlan::CAMERA, now));
    world.run(SECOND);
    assert_eq!(world.client(ids[0]).track(key).unwrap().sid(), None, "it may not publish");
}

#[test]
fn without_the_right_to_subscribe_nothing_more_arrives_until_it_is_given_back() {
    let (mut world, ids) = call(209, &["ann", "bob"]);
    let frames = |world: &World| {
        let track = sid(world, ids[1], TrackKey(0));
        world.client(ids[0]).received(&track).packets
    };
    let deaf = may(|permission| permission.can_subscribe = false);
    ask(&mut world, update("ann", |request| request.permission = Some(deaf))).unwrap();
    world.run(SECOND);
    let before = frames(&world);
    world.run(2 * SECOND);
    assert_eq!(frames(&world), before);
    let back = may(|_| {});
    ask(&mut world, update("ann", |request| request.permission = Some(back))).unwrap();
    world.run(3 * SECOND);
    assert!(frames(&world) > before + 10);
}

#[test]
fn whoever_becomes_hidden_leaves_the_others_rosters_and_comes_back() {
    let (mut world, ids) = call(210, &["ann", "bob"]);
    let hide = |hidden| {
        let permission = may(|permission| permission.hidden = hidden);
        update("ann", |request| request.permission = Some(permission))
    };
    ask(&mut world, hide(true)).unwrap();
    world.run(SECOND);
    assert!(!world.client(ids[1]).roster().contains_key("ann"));
    ask(&mut world, hide(false)).unwrap();
    world.run(SECOND);
    assert!(world.client(ids[1]).roster().contains_key("ann"));
}

#[test]
fn subscriptions_are_made_and_ended_for_a_participant() {
    let mut world = World::new(211).unwrap();
    let ann = join(&mut world, "ann", "garden");
    let voice = publish(&mut world, ann, TrackPlan::VOICE);
    let options = JoinOptions { manual_subscription: true, ..JoinOptions::default() };
    let bob = world.add_client("bob", "garden", options);
    connected(&mut world, bob);
    world.run(SECOND);
    let track = sid(&world, ann, voice);
    assert!(world.client(bob).received_tracks().is_empty());
    let subscribe = |wanted| {
        in_garden(RoomRequest::UpdateSubscriptions {
            identity: identity("bob"),
            tracks: vec![TrackSid::new(track.clone())],
            wanted,
        })
    };
    assert_eq!(ask(&mut world, subscribe(true)), Ok(Reply::Done));
    world.run(2 * SECOND);
    let packets = |world: &World| world.client(bob).received(&track).packets;
    assert!(packets(&world) > 10);
    assert_eq!(ask(&mut world, subscribe(false)), Ok(Reply::Done));
    world.run(SECOND);
    let before = packets(&world);
    world.run(SECOND);
    assert_eq!(packets(&world), before);
}

#[test]
pub(crate) fn everyone_is_told_of_new_metadata_at_once_and_of_numbers_soon() {
    let (mut world, ids) = call(212, &["ann", "bob"]);
    let describe = |text: String| in_garden(RoomRequest::UpdateMetadata(text));
    let Ok(Reply::Room(room)) = ask(&mut world, describe("plants".into())) else {
        panic!("no room")
    };
    assert_eq!(room.metadata, "plants");
    world.run(RTT);
    for id in &ids {
        assert_eq!(world.client(*id).room().unwrap().metadata, "plants");
    }
    let long = ask(&mut world, describe("x".repeat(1024 * 1024)));
    assert!(matches!(long, Err(AdministrationError::OverLimit(_))), "{long:?}");
    join(&mut world, "cy", "garden");
    world.run(6 * SECOND);
    assert_eq!(world.client(ids[0]).room().unwrap().num_participants, 3);
}

/// A call whose data channels are open.
fn with_channels(seed: u64, names: &[&str]) -> (World, Vec<ClientId>) {
    let (mut world, ids) = call(seed, names);
    let open = |world: &World| ids.iter().all(|id| world.client(*id).is_open(Channel::Reliable));
    world.run_until(2 * SECOND, open).expect("channels open");
    (world, ids)
}

#[test]
pub(crate) fn data_from_the_api_reaches_whom_it_names_once() {
    let (mut world, ids) = with_channels(213, &["ann", "bob", "cy"]);
    let send = |text: &str, to: &[&str], nonce: u8| {
        let request = proto::SendDataRequest {
            data: text.into(),
            destination_identities: to.iter().map(|one| (*one).to_owned()).collect(),
            topic: Some("news".into()),
            nonce: vec![nonce; 16],
            ..Default::default()
        };
        in_garden(RoomRequest::SendData(Box::new(request)))
    };
    for (text, to, nonce) in
        [("all", &[][..], 1), ("bob", &["bob"][..], 2), ("bob", &["bob"][..], 2)]
    {
        assert_eq!(ask(&mut world, send(text, to, nonce)), Ok(Reply::Done));
    }
    world.run(SECOND);
    let got = |id: ClientId| -> Vec<String> {
        let texts = world.client(id).messages().iter().filter_map(|(_, packet)| {
            assert_eq!(packet.participant_identity, "", "nobody's name");
            match &packet.value {
                Some(Value::User(user)) if user.topic.as_deref() == Some("news") => {
                    Some(String::from_utf8(user.payload.clone()).unwrap())
                }
                _ => None,
            }
        });
        texts.collect()
    };
    assert_eq!(got(ids[0]), ["all"]);
    assert_eq!(got(ids[1]), ["all", "bob"]);
    assert_eq!(got(ids[2]), ["all"]);
}

fn call_method(world: &mut World, of: &str, payload: &str) -> RequestId {
    let request = proto::PerformRpcRequest {
        destination_identity: of.to_owned(),
        method: "water".into(),
        payload: payload.to_owned(),
        response_timeout_ms: 5_000,
        ..Default::default()
    };
    world.ask(in_garden(RoomRequest::PerformRpc(Box::new(request))))
}

/// The request that reached `id`, and who asks.
fn rpc_request(world: &World, id: ClientId) -> (String, proto::RpcRequest) {
    let (_, packet) = world.client(id).messages().last().expect("a message");
    match &packet.value {
        Some(Value::RpcRequest(request)) => (packet.participant_identity.clone(), request.clone()),
        other => panic!("{other:?}"),
    }
}

fn answer(world: &mut World, id: ClientId, to: &str, value: Value) {
    let packet = proto::DataPacket {
        destination_identities: vec![to.to_owned()],
        value: Some(value),
        ..Default::default()
    };
    assert!(world.act(id, |client, now| client.send_data(Channel::Reliable, &packet, now)));
    world.run(RTT);
}

fn ack(request: &proto::RpcRequest) -> Value {
    Value::RpcAck(proto::RpcAck { request_id: request.id.clone() })
}

fn response(request: &proto::RpcRequest, value: proto::rpc_response::Value) -> Value {
    Value::RpcResponse(proto::RpcResponse { request_id: request.id.clone(), value: Some(value) })
}

#[test]
pub(crate) fn a_method_is_called_and_its_result_comes_back() {
    let (mut world, ids) = with_channels(214, &["ann", "bob"]);
    let asked = call_method(&mut world, "ann", "2 l");
    world.run(RTT);
    let (caller, request) = rpc_request(&world, ids[0]);
    assert_eq!((request.method.as_str(), request.payload.as_str()), ("water", "2 l"));
    assert_eq!((request.version, request.response_timeout_ms), (1, 5_000));
    answer(&mut world, ids[0], &caller, ack(&request));
    world.run(3 * SECOND);
    assert_eq!(world.reply(asked), None);
    // Somebody else cannot answer for her.
    let forged = proto::rpc_response::Value::Payload("dry".into());
    answer(&mut world, ids[1], &caller, response(&request, forged));
    assert_eq!(world.reply(asked), None);
    let wet = proto::rpc_response::Value::Payload("wet".into());
    answer(&mut world, ids[0], &caller, response(&request, wet));
    assert_eq!(world.reply(asked), Some(&Ok(Reply::Payload("wet".into()))));
    assert!(world.client(ids[1]).messages().is_empty(), "it was nobody else's business");
}

#[test]
fn a_call_fails_with_the_reason() {
    let (mut world, ids) = with_channels(215, &["ann", "bob"]);
    let error = |world: &World, asked| match world.reply(asked) {
        Some(Err(AdministrationError::Rpc(error))) => error.clone(),
        other => panic!("{other:?}"),
    };
    let large = call_method(&mut world, "ann", &"x".repeat(15_361));
    assert_eq!(error(&world, large).code, RpcError::REQUEST_PAYLOAD_TOO_LARGE);

    let failing = call_method(&mut world, "ann", "");
    world.run(RTT);
    let (caller, request) = rpc_request(&world, ids[0]);
    let failed = proto::RpcError { code: 1500, message: "no can".into(), data: "why".into() };
    let failed = proto::rpc_response::Value::Error(failed);
    answer(&mut world, ids[0], &caller, response(&request, failed));
    assert_eq!(error(&world, failing).to_string(), "RpcError 1500: no can: why");

    let unheard = call_method(&mut world, "ann", "");
    world.run(Duration::from_millis(2_100));
    assert_eq!(error(&world, unheard).code, RpcError::CONNECTION_TIMEOUT);

    let slow = call_method(&mut world, "ann", "");
    world.run(RTT);
    let (caller, request) = rpc_request(&world, ids[0]);
    answer(&mut world, ids[0], &caller, ack(&request));
    world.run(5 * SECOND);
    assert_eq!(error(&world, slow).code, RpcError::RESPONSE_TIMEOUT);

    let left = call_method(&mut world, "ann", "");
    world.act(ids[0], |client, _| client.leave());
    world.run(RTT);
    assert_eq!(error(&world, left).code, RpcError::RECIPIENT_DISCONNECTED);
}
