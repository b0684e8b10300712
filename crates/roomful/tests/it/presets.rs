//! Rooms that begin as a preset of the configuration says (`room.room_configurations`).

use livekit_protocol::signal_response::Message as Response;
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::{ApiGrant, Grant};
use serde_json::{Value, json};

use crate::stage::{Answer, Stage, api_token, join_request, token_with};

const PRESETS: &str = "--livekit-config={room: {max_participants: 9, room_configurations: {stage: \
     {empty_timeout: 60, max_participants: 2, metadata: a stage, agents: [{agent_name: prompter}]}}}}";

async fn call(stage: &Stage, service: &str, body: Value) -> Answer {
    let grant = ApiGrant {
        create_rooms: true,
        list_rooms: true,
        administers: Some(RoomName::new("garden")),
        ..Default::default()
    };
    let bearer = format!("Bearer {}", api_token(&grant));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let path = format!("/twirp/livekit.{service}");
    stage.request("POST", &path, &headers, body.to_string().as_bytes()).await
}

fn query(room: &str, change: impl FnOnce(&mut Grant)) -> String {
    format!("access_token={}&join_request={}", token_with(room, "ann", change), join_request())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_made_as_the_preset_it_names_and_the_request_itself_wins() {
    let stage = Stage::start_with(PRESETS);
    let wanted = json!({"name": "garden", "roomPreset": "stage", "emptyTimeout": 7});
    let room = call(&stage, "RoomService/CreateRoom", wanted).await.json();
    assert_eq!((&room["empty_timeout"], &room["max_participants"]), (&json!(7), &json!(2)));
    assert_eq!((&room["metadata"], &room["departure_timeout"]), (&json!("a stage"), &json!(20)));
    let agents = call(&stage, "AgentDispatchService/ListDispatch", json!({"room": "garden"})).await;
    assert_eq!(agents.json()["agent_dispatches"][0]["agent_name"], "prompter");
    let plain = call(&stage, "RoomService/CreateRoom", json!({"name": "attic"})).await.json();
    assert_eq!(plain["max_participants"], 9, "who names no preset gets what is so of every room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_name_a_preset_and_what_else_it_says_of_the_room_wins() {
    let stage = Stage::start_with(PRESETS);
    let query = query("garden", |grant| {
        grant.room_preset = "stage".into();
        grant.room_configuration = Some(Box::new(livekit_protocol::RoomConfiguration {
            metadata: "mine".into(),
            ..Default::default()
        }));
    });
    let mut ann = stage.open(&query).await.expect("the room begins");
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    let room = join.room.unwrap();
    assert_eq!((room.max_participants, room.metadata.as_str()), (2, "mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_that_is_not_there_is_refused_with_its_name() {
    let stage = Stage::start_with(PRESETS);
    let wanted = json!({"name": "garden", "roomPreset": "stag"});
    let refused = call(&stage, "RoomService/CreateRoom", wanted.clone()).await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_argument")));
    let words = "unknown room configuration in create room request";
    assert!(refused.json()["msg"].as_str().unwrap().starts_with(words), "{}", refused.text());

    let unknown = query("garden", |grant| grant.room_preset = "stag".into());
    assert_eq!(stage.open(&unknown).await.err(), Some(400));
    let refused = stage.get(&format!("/rtc/v1/validate?{unknown}"), &[]).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().starts_with(words) && refused.text().contains("stag"));

    let mut host = stage.open(&query("garden", |_| {})).await.expect("the room begins");
    host.message().await;
    assert!(stage.open(&unknown).await.is_ok(), "a room that is there needs no preset");
    assert_eq!(call(&stage, "RoomService/CreateRoom", wanted).await.status, 200);
}
