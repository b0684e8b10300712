//! LiveKit's own server library for Rust, unchanged: what an application in Rust would ask of this server.

use livekit_api::access_token::{AccessToken, TokenVerifier, VideoGrants};
use livekit_api::services::agent_dispatch::AgentDispatchClient;
use livekit_api::services::room::{
    CreateRoomOptions, RoomClient, SendDataOptions, UpdateParticipantOptions,
};
use livekit_api::services::{ServerError, ServerErrorCode, ServiceError, ServiceResult};
use livekit_api::webhooks::{WebhookError, WebhookReceiver};
use livekit_protocol as proto;
use livekit_protocol::signal_response::Message as Response;
use serde_json::json;

use crate::stage::{KEY, Participant, SECRET, Stage, join_request};
use crate::webhooks::{self, Application};

fn rooms(stage: &Stage) -> RoomClient {
    RoomClient::with_api_key(&format!("http://{}", stage.address), KEY, SECRET)
}

/// Joins with a token that the library made.
async fn join(stage: &Stage, room: &str, identity: &str) -> Participant {
    let grants = VideoGrants { room_join: true, room: room.into(), ..Default::default() };
    let token = AccessToken::with_api_key(KEY, SECRET)
        .with_identity(identity)
        .with_name("Ann A.")
        .with_metadata("likes tea")
        .with_attributes([("role", "host")])
        .with_grants(grants)
        .to_jwt()
        .unwrap();
    let query = format!("access_token={token}&join_request={}", join_request());
    let mut participant = stage.open(&query).await.expect("the token is accepted");
    participant.until(|message| matches!(message, Response::Join(_))).await;
    participant
}

/// The sid of a microphone that is announced, and sends nothing.
async fn announce(participant: &mut Participant) -> String {
    let add = proto::AddTrackRequest {
        cid: "mic".into(),
        r#type: proto::TrackType::Audio.into(),
        ..Default::default()
    };
    let message = Some(proto::signal_request::Message::AddTrack(add));
    participant.send(&proto::SignalRequest { message }).await;
    let published =
        participant.until(|message| matches!(message, Response::TrackPublished(_))).await;
    let Response::TrackPublished(published) = published else { unreachable!() };
    published.track.unwrap().sid
}

/// The code with which the server refused.
fn code<T: std::fmt::Debug>(result: ServiceResult<T>) -> String {
    match result.unwrap_err() {
        ServiceError::Twirp(ServerError::Twirp(error)) => error.code,
        other => panic!("no error of the server: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_made_listed_described_and_deleted() {
    let stage = Stage::start_with_keys();
    let rooms = rooms(&stage);
    let options = CreateRoomOptions {
        empty_timeout: 111,
        departure_timeout: 22,
        max_participants: 7,
        metadata: "first".into(),
        ..Default::default()
    };
    let made = rooms.create_room("garden", options).await.unwrap();
    assert_eq!((made.empty_timeout, made.departure_timeout, made.max_participants), (111, 22, 7));
    assert!(made.sid.starts_with("RM_"), "{}", made.sid);
    let again = rooms.create_room("garden", CreateRoomOptions::default()).await.unwrap();
    assert_eq!(again.sid, made.sid, "what is there is not made again");
    rooms.create_room("attic", CreateRoomOptions::default()).await.unwrap();
    assert_eq!(rooms.list_rooms(Vec::new()).await.unwrap().len(), 2);
    let some = rooms.list_rooms(vec!["attic".into(), "nowhere".into()]).await.unwrap();
    assert_eq!(some.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["attic"]);
    let described = rooms.update_room_metadata("garden", "second").await.unwrap();
    assert_eq!(described.metadata, "second");
    rooms.delete_room("garden").await.unwrap();
    assert_eq!(code(rooms.delete_room("garden").await), ServerErrorCode::NOT_FOUND);
    let nameless = rooms.create_room("", CreateRoomOptions::default()).await;
    assert_eq!(code(nameless), ServerErrorCode::INVALID_ARGUMENT);
    let forward = rooms.forward_participant("attic", "ann", "garden").await;
    assert_eq!(code(forward), ServerErrorCode::NOT_FOUND);
    let stranger = RoomClient::with_api_key(&format!("http://{}", stage.address), KEY, "guessed");
    assert_eq!(code(stranger.list_rooms(Vec::new()).await), ServerErrorCode::UNAUTHENTICATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_are_told_described_and_removed() {
    let stage = Stage::start_with_keys();
    let rooms = rooms(&stage);
    let mut ann = join(&stage, "garden", "ann").await;
    let told = rooms.get_participant("garden", "ann").await.unwrap();
    assert_eq!((told.name.as_str(), told.metadata.as_str()), ("Ann A.", "likes tea"));
    assert_eq!(told.attributes["role"], "host");
    assert_eq!(rooms.list_participants("garden").await.unwrap().len(), 1);

    let options = UpdateParticipantOptions {
        name: "Dr. Ann".into(),
        metadata: "likes coffee".into(),
        attributes: [("role".into(), "guest".into())].into(),
        permission: Some(proto::ParticipantPermission {
            can_subscribe: true,
            ..Default::default()
        }),
    };
    let updated = rooms.update_participant("garden", "ann", options).await.unwrap();
    assert_eq!((updated.name.as_str(), updated.attributes["role"].as_str()), ("Dr. Ann", "guest"));
    assert!(!updated.permission.unwrap().can_publish);
    let is_doctor = |message: &Response| {
        matches!(message, Response::Update(update)
            if update.participants.iter().any(|one| one.name == "Dr. Ann"))
    };
    ann.until(is_doctor).await;

    rooms.forward_participant("garden", "ann", "attic").await.unwrap();
    let there = rooms.get_participant("attic", "ann").await.unwrap();
    assert_eq!((there.name.as_str(), there.kind_details.len()), ("Dr. Ann", 1));
    rooms.remove_participant("attic", "ann").await.unwrap();
    assert!(rooms.list_participants("attic").await.unwrap().is_empty());

    let unknown = rooms.get_participant("garden", "nobody").await;
    assert_eq!(code(unknown), ServerErrorCode::NOT_FOUND);
    rooms.remove_participant("garden", "ann").await.unwrap();
    let leave = ann.until(|message| matches!(message, Response::Leave(_))).await;
    let Response::Leave(leave) = leave else { unreachable!() };
    assert_eq!(leave.reason(), proto::DisconnectReason::ParticipantRemoved);
    assert!(rooms.list_participants("garden").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_are_muted_subscribed_to_and_data_is_sent() {
    let stage = Stage::start_with_keys();
    let rooms = rooms(&stage);
    let mut ann = join(&stage, "garden", "ann").await;
    let sid = announce(&mut ann).await;
    let muted = rooms.mute_published_track("garden", "ann", &sid, true).await.unwrap();
    assert_eq!((muted.sid.as_str(), muted.muted), (sid.as_str(), true));
    ann.until(|message| matches!(message, Response::Mute(mute) if mute.sid == sid && mute.muted))
        .await;
    let unmute = rooms.mute_published_track("garden", "ann", &sid, false).await;
    assert_eq!(code(unmute), ServerErrorCode::FAILED_PRECONDITION);
    let unknown = rooms.mute_published_track("garden", "ann", "TR_unknown", true).await;
    assert_eq!(code(unknown), ServerErrorCode::NOT_FOUND);

    let _bob = join(&stage, "garden", "bob").await;
    for wanted in [false, true] {
        rooms.update_subscriptions("garden", "bob", vec![sid.clone()], wanted).await.unwrap();
    }
    let nobody = rooms.update_subscriptions("garden", "nobody", vec![sid], true).await;
    assert_eq!(code(nobody), ServerErrorCode::NOT_FOUND);
    rooms.send_data("garden", b"hello".to_vec(), SendDataOptions::default()).await.unwrap();
    let nowhere = rooms.send_data("nowhere", b"hello".to_vec(), SendDataOptions::default()).await;
    assert_eq!(code(nowhere), ServerErrorCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_moved_with_a_token_that_says_so() {
    let stage = Stage::start_with_keys();
    let mut ann = join(&stage, "garden", "ann").await;
    rooms(&stage).move_participant("garden", "ann", "attic").await.unwrap();
    let moved = ann.until(|message| matches!(message, Response::RoomMoved(_))).await;
    let Response::RoomMoved(moved) = moved else { unreachable!() };
    let claims = TokenVerifier::with_api_key(KEY, SECRET).verify(&moved.token).unwrap();
    assert_eq!((claims.video.room.as_str(), claims.sub.as_str()), ("attic", "ann"));
    assert_eq!((claims.name.as_str(), claims.metadata.as_str()), ("Ann A.", "likes tea"));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_dispatched_listed_and_called_off() {
    let stage = Stage::start_with_keys();
    let agents =
        AgentDispatchClient::with_api_key(&format!("http://{}", stage.address), KEY, SECRET);
    let request = proto::CreateAgentDispatchRequest {
        agent_name: "gardener".into(),
        room: "garden".into(),
        metadata: "water".into(),
        ..Default::default()
    };
    let made = agents.create_dispatch(request).await.unwrap();
    assert_eq!((made.agent_name.as_str(), made.metadata.as_str()), ("gardener", "water"));
    // A room that begins wants agents without a name, too.
    let wanted = async || {
        let all = agents.list_dispatch("garden").await.unwrap();
        all.iter().filter(|one| one.id == made.id).count()
    };
    assert_eq!(wanted().await, 1);
    let found = agents.get_dispatch(made.id.as_str(), "garden").await.unwrap();
    assert_eq!(found.map(|one| one.id).as_ref(), Some(&made.id));
    let ended = agents.delete_dispatch(made.id.as_str(), "garden").await.unwrap();
    assert_eq!((ended.id.as_str(), wanted().await), (made.id.as_str(), 0));
    let again = agents.delete_dispatch(made.id.as_str(), "garden").await;
    assert_eq!(code(again), ServerErrorCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_verified_and_a_changed_one_is_not() {
    let mut application = Application::start(&[]).await;
    let stage = webhooks::stage(&[&application.url], &json!({}));
    let _ann = join(&stage, "garden", "ann").await;
    let delivered = application.next().await;
    let (body, token) = (delivered.text().to_owned(), delivered.header("authorization").to_owned());
    let receiver = WebhookReceiver::new(TokenVerifier::with_api_key(KEY, SECRET));
    let event = receiver.receive(&body, &token).unwrap();
    assert_eq!(
        (event.event.as_str(), event.room.unwrap().name.as_str()),
        ("room_started", "garden")
    );
    let changed = receiver.receive(&body.replace("garden", "cellar"), &token);
    assert!(matches!(changed, Err(WebhookError::InvalidSignature)), "{changed:?}");
    let others = WebhookReceiver::new(TokenVerifier::with_api_key(KEY, "another secret"));
    assert!(matches!(others.receive(&body, &token), Err(WebhookError::InvalidAuth(_))));
}
