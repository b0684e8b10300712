use livekit_protocol as proto;
use livekit_protocol::signal_response::Message as Response;
use prost::Message as _;
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;
use serde_json::{Value, json};

use crate::stage::{Answer, Stage, api_token, join_request};

/// Everything one program may be allowed, about the room "garden".
fn everything() -> ApiGrant {
    ApiGrant {
        create_rooms: true,
        list_rooms: true,
        administers: Some(RoomName::new("garden")),
        destination: Some(RoomName::new("attic")),
        agent: false,
    }
}

async fn call(stage: &Stage, grant: &ApiGrant, method: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {}", api_token(grant));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let path = format!("/twirp/livekit.RoomService/{method}");
    stage.request("POST", &path, &headers, body.to_string().as_bytes()).await
}

/// The answer's JSON, if it went well.
async fn ok(stage: &Stage, method: &str, body: Value) -> Value {
    let answer = call(stage, &everything(), method, body).await;
    assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    answer.json()
}

/// Status and code of an error.
fn error(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_on_every_worker_are_made_listed_and_ended() {
    let stage = Stage::start_with_keys();
    let names: Vec<String> = (0..8).map(|n| format!("room-{n}")).collect();
    for name in &names {
        let room = ok(
            &stage,
            "CreateRoom",
            json!({"name": name, "emptyTimeout": 60, "max_participants": 3}),
        )
        .await;
        assert_eq!(room["name"], name.as_str());
        assert_eq!((&room["empty_timeout"], &room["max_participants"]), (&json!(60), &json!(3)));
        assert_eq!(room["num_participants"], 0, "what is empty is written, too");
    }
    let list = ok(&stage, "ListRooms", json!({})).await;
    let mut listed: Vec<_> =
        list["rooms"].as_array().unwrap().iter().map(|room| room["name"].clone()).collect();
    listed.sort_by_key(|name| name.to_string());
    assert_eq!(Value::from(listed), json!(names));
    let some = ok(&stage, "ListRooms", json!({"names": ["room-3", "nowhere"], "later": 1})).await;
    assert_eq!(some["rooms"].as_array().unwrap().len(), 1);
    assert_eq!(ok(&stage, "DeleteRoom", json!({"room": "room-3"})).await, json!({}));
    let gone = call(&stage, &everything(), "DeleteRoom", json!({"room": "room-3"})).await;
    assert_eq!(error(&gone), (404, "not_found".into()));
    assert_eq!(gone.json()["msg"], "requested room does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_answered_in_protobuf() {
    let stage = Stage::start_with_keys();
    let request = proto::CreateRoomRequest {
        name: "garden".into(),
        metadata: "plants".into(),
        ..Default::default()
    };
    let bearer = format!("Bearer {}", api_token(&everything()));
    let headers = [("content-type", "application/protobuf"), ("authorization", bearer.as_str())];
    let path = "/twirp/livekit.RoomService/CreateRoom";
    let answer = stage.request("POST", path, &headers, &request.encode_to_vec()).await;
    assert_eq!(answer.header("content-type"), Some("application/protobuf"));
    let room = proto::Room::decode(&answer.body[..]).unwrap();
    assert_eq!((room.name.as_str(), room.metadata.as_str()), ("garden", "plants"));
    let garbage = stage.request("POST", path, &headers, &[0xFF; 9]).await;
    assert_eq!(error(&garbage), (400, "malformed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_are_found_described_muted_and_removed() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    let sid = join.participant.unwrap().sid;
    let list = ok(&stage, "ListParticipants", json!({"room": "garden"})).await;
    assert_eq!(list["participants"][0]["sid"], sid.as_str());
    assert_eq!(list["participants"][0]["tracks"], json!([]));
    let name = |identity: &str| json!({"room": "garden", "identity": identity});
    assert_eq!(ok(&stage, "GetParticipant", name("ann")).await["identity"], "ann");

    let described = json!({"room": "garden", "identity": "ann", "name": "Dr. Ann",
        "attributes": {"handUp": "1"}, "permission": {"canPublish": false, "canSubscribe": true}});
    let described = ok(&stage, "UpdateParticipant", described).await;
    assert_eq!(
        (&described["name"], &described["attributes"]["handUp"]),
        (&json!("Dr. Ann"), &json!("1"))
    );
    assert_eq!(described["permission"]["can_publish"], false);
    let told = ann
        .until(|message| {
            matches!(message, Response::Update(update)
            if update.participants.iter().any(|one| one.name == "Dr. Ann"))
        })
        .await;
    assert!(matches!(told, Response::Update(_)));

    let room = json!({"room": "garden", "metadata": "plants"});
    assert_eq!(ok(&stage, "UpdateRoomMetadata", room).await["metadata"], "plants");
    ann.until(|message| {
        matches!(message, Response::RoomUpdate(update)
        if update.room.as_ref().is_some_and(|room| room.metadata == "plants"))
    })
    .await;

    let data = json!({"room": "garden", "data": "aGVsbG8=", "kind": "RELIABLE", "topic": "news"});
    assert_eq!(ok(&stage, "SendData", data).await, json!({}));
    let subscribe =
        json!({"room": "garden", "identity": "ann", "trackSids": ["TR_x"], "subscribe": true});
    assert_eq!(ok(&stage, "UpdateSubscriptions", subscribe).await, json!({}));
    assert_eq!(ok(&stage, "RemoveParticipant", name("ann")).await, json!({}));
    let leave = ann.until(|message| matches!(message, Response::Leave(_))).await;
    let Response::Leave(leave) = leave else { unreachable!() };
    assert_eq!(leave.reason(), proto::DisconnectReason::ParticipantRemoved);
    assert!(ann.end().await.is_some(), "a close frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_is_moved_to_a_room_that_begins_with_it() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    let to = |room: &str, who: &str| json!({"room": "garden", "identity": who, "destination_room": room});
    let same = ApiGrant { destination: Some(RoomName::new("garden")), ..everything() };
    let refused = call(&stage, &same, "MoveParticipant", to("garden", "ann")).await;
    assert_eq!(error(&refused), (400, "invalid_argument".into()));
    let nobody = call(&stage, &everything(), "MoveParticipant", to("attic", "bob")).await;
    assert_eq!(error(&nobody), (404, "not_found".into()));
    let rooms = ok(&stage, "ListRooms", json!({})).await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1, "for nobody no room begins: {rooms}");

    assert_eq!(ok(&stage, "MoveParticipant", to("attic", "ann")).await, json!({}));
    let moved = ann.until(|message| matches!(message, Response::RoomMoved(_))).await;
    let Response::RoomMoved(moved) = moved else { unreachable!() };
    assert_eq!(moved.room.as_ref().unwrap().name, "attic");
    let leave = ann.until(|message| matches!(message, Response::Leave(_))).await;
    let Response::Leave(leave) = leave else { unreachable!() };
    assert_eq!(leave.action(), proto::leave_request::Action::Reconnect);
    let query = format!("access_token={}&join_request={}", moved.token, join_request());
    let mut there = stage.open(&query).await.expect("the new token opens the new room");
    let Response::Join(join) = there.message().await else { panic!("no join response") };
    assert_eq!(join.room.unwrap().sid, moved.room.unwrap().sid);
    let gone = json!({"room": "garden", "identity": "ann"});
    assert_eq!(error(&call(&stage, &everything(), "GetParticipant", gone).await).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_moved_to_where_no_place_is_left() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ok(&stage, "CreateRoom", json!({"name": "attic", "max_participants": 1})).await;
    let mut bob = stage.join("attic", "bob").await;
    bob.message().await;
    let go = json!({"room": "garden", "identity": "ann", "destination_room": "attic"});
    let full = call(&stage, &everything(), "MoveParticipant", go).await;
    assert_eq!(error(&full), (429, "resource_exhausted".into()));
    let room = json!({"room": "garden", "metadata": "still here"});
    ok(&stage, "UpdateRoomMetadata", room).await;
    let update =
        ann.until(|message| matches!(message, Response::RoomUpdate(_) | Response::Leave(_))).await;
    assert!(matches!(update, Response::RoomUpdate(_)), "ann stays: {update:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_is_forwarded_once_and_whoever_cannot_be_is_refused() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let to = |room: &str, who: &str| json!({"room": "garden", "identity": who, "destination_room": room});
    let same = ApiGrant { destination: Some(RoomName::new("garden")), ..everything() };
    let refused = call(&stage, &same, "ForwardParticipant", to("garden", "ann")).await;
    assert_eq!(error(&refused), (400, "invalid_argument".into()));
    let nobody = call(&stage, &everything(), "ForwardParticipant", to("attic", "bob")).await;
    assert_eq!(error(&nobody), (404, "not_found".into()));
    let rooms = ok(&stage, "ListRooms", json!({})).await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 1, "for nobody no room begins: {rooms}");

    assert_eq!(ok(&stage, "ForwardParticipant", to("attic", "ann")).await, json!({}));
    let mut cleo = stage.join("attic", "cleo").await;
    let Response::Join(join) = cleo.message().await else { panic!("no join response") };
    let [guest] = &join.other_participants[..] else { panic!("only ann: {join:?}") };
    let forwarded = proto::participant_info::KindDetail::Forwarded;
    assert_eq!(
        (guest.identity.as_str(), &guest.kind_details[..]),
        ("ann", &[forwarded.into()][..])
    );
    let attic = ApiGrant { administers: Some(RoomName::new("attic")), ..everything() };
    let rename = json!({"room": "attic", "identity": "ann", "name": "Nobody"});
    let renamed = call(&stage, &attic, "UpdateParticipant", rename).await;
    assert_eq!(error(&renamed), (412, "failed_precondition".into()));

    stage.join("garden", "cleo").await.message().await;
    let taken = call(&stage, &everything(), "ForwardParticipant", to("attic", "cleo")).await;
    assert_eq!(error(&taken), (409, "already_exists".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_is_muted_over_http_and_unmuted_only_if_the_operator_says_so() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    let add = proto::AddTrackRequest {
        cid: "mic".into(),
        r#type: proto::TrackType::Audio.into(),
        ..Default::default()
    };
    let message = Some(proto::signal_request::Message::AddTrack(add));
    ann.send(&proto::SignalRequest { message }).await;
    let published = ann.until(|message| matches!(message, Response::TrackPublished(_))).await;
    let Response::TrackPublished(published) = published else { unreachable!() };
    let sid = published.track.unwrap().sid;
    let mute = |sid: &str, muted: bool| json!({"room": "garden", "identity": "ann", "track_sid": sid, "muted": muted});
    let track = &ok(&stage, "MutePublishedTrack", mute(&sid, true)).await["track"];
    assert_eq!((&track["sid"], &track["muted"]), (&json!(sid), &json!(true)));
    ann.until(|message| matches!(message, Response::Mute(mute) if mute.sid == sid && mute.muted))
        .await;
    let unmute = call(&stage, &everything(), "MutePublishedTrack", mute(&sid, false)).await;
    assert_eq!(error(&unmute), (412, "failed_precondition".into()));
    let unknown = call(&stage, &everything(), "MutePublishedTrack", mute("TR_x", true)).await;
    assert_eq!(error(&unknown), (404, "not_found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_needs_its_own_grant() {
    let stage = Stage::start_with_keys();
    let all = everything();
    let elsewhere = Some(RoomName::new("cellar"));
    let not_admin = [
        ApiGrant { administers: None, ..all.clone() },
        ApiGrant { administers: elsewhere.clone(), ..all.clone() },
    ];
    let to_attic = json!({"room": "garden", "identity": "ann", "destination_room": "attic"});
    let not_to_attic =
        [&not_admin[..], &[ApiGrant { destination: elsewhere, ..all.clone() }]].concat();
    let in_garden = json!({"room": "garden", "identity": "ann", "destination_identity": "ann"});
    let cases = [
        ("CreateRoom", json!({"name": "x"}), vec![ApiGrant { create_rooms: false, ..all.clone() }]),
        ("DeleteRoom", json!({"room": "x"}), vec![ApiGrant { create_rooms: false, ..all.clone() }]),
        ("ListRooms", json!({}), vec![ApiGrant { list_rooms: false, ..all.clone() }]),
        ("ListParticipants", in_garden.clone(), not_admin.to_vec()),
        ("GetParticipant", in_garden.clone(), not_admin.to_vec()),
        ("RemoveParticipant", in_garden.clone(), not_admin.to_vec()),
        ("MutePublishedTrack", in_garden.clone(), not_admin.to_vec()),
        ("UpdateParticipant", in_garden.clone(), not_admin.to_vec()),
        ("UpdateSubscriptions", in_garden.clone(), not_admin.to_vec()),
        ("SendData", in_garden.clone(), not_admin.to_vec()),
        ("UpdateRoomMetadata", in_garden.clone(), not_admin.to_vec()),
        ("PerformRpc", in_garden, not_admin.to_vec()),
        ("MoveParticipant", to_attic.clone(), not_to_attic.clone()),
        ("ForwardParticipant", to_attic, not_to_attic),
    ];
    for (method, body, grants) in cases {
        for grant in grants {
            let answer = call(&stage, &grant, method, body.clone()).await;
            assert_eq!(error(&answer), (401, "unauthenticated".into()), "{method} {grant:?}");
            assert_eq!(answer.json()["msg"], "permissions denied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_token_nothing_is_answered() {
    let stage = Stage::start_with_keys();
    let path = "/twirp/livekit.RoomService/ListRooms";
    let json = ("content-type", "application/json");
    let none = stage.request("POST", path, &[json], b"{}").await;
    assert_eq!(error(&none), (401, "unauthenticated".into()));
    for header in ["Bearer nonsense", "Basic YTpi", "Bearer "] {
        let answer = stage.request("POST", path, &[json, ("authorization", header)], b"{}").await;
        assert_eq!(error(&answer), (401, "unauthenticated".into()), "{header}");
    }
    let joiner = format!("Bearer {}", crate::stage::token("garden", "ann"));
    let answer =
        stage.request("POST", path, &[json, ("authorization", joiner.as_str())], b"{}").await;
    assert_eq!(error(&answer), (401, "unauthenticated".into()));
    let in_query = format!("{path}?access_token={}", api_token(&everything()));
    assert_eq!(stage.request("POST", &in_query, &[json], b"{}").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_has_twirps_code() {
    let stage = Stage::start_with_keys();
    let bearer = format!("Bearer {}", api_token(&everything()));
    let authorization = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    let service = |method: &str| format!("/twirp/livekit.RoomService/{method}");
    let long = json!({"name": "n".repeat(257)}).to_string();
    type Case<'a> = (&'a str, String, (&'a str, &'a str), &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 13] = [
        ("GET", service("ListRooms"), json, b"", 404, "bad_route"),
        ("POST", service("Nonsense"), json, b"{}", 404, "bad_route"),
        ("POST", "/twirp/livekit.Nonsense/ListRooms".into(), json, b"{}", 404, "bad_route"),
        ("POST", "/twirp/nonsense".into(), json, b"{}", 404, "bad_route"),
        ("POST", service("ListRooms"), ("content-type", "text/plain"), b"{}", 404, "bad_route"),
        ("POST", service("ListRooms"), json, b"{", 400, "malformed"),
        ("POST", service("ListRooms"), json, b"{\"names\": 7}", 400, "malformed"),
        ("POST", service("CreateRoom"), json, b"{}", 400, "invalid_argument"),
        ("POST", service("CreateRoom"), json, long.as_bytes(), 400, "invalid_argument"),
        (
            "POST",
            service("SendData"),
            json,
            b"{\"room\":\"garden\",\"nonce\":\"AAAA\"}",
            400,
            "invalid_argument",
        ),
        ("POST", service("PerformRpc"), json, b"{\"room\":\"garden\"}", 400, "invalid_argument"),
        ("POST", service("CreateRoom"), json, &[b' '; 1024 * 1024 + 1], 429, "resource_exhausted"),
        (
            "POST",
            service("GetParticipant"),
            json,
            b"{\"room\":\"garden\",\"identity\":\"x\"}",
            404,
            "not_found",
        ),
    ];
    for (method, path, content_type, body, status, code) in cases {
        let answer = stage.request(method, &path, &[content_type, authorization], body).await;
        assert_eq!(error(&answer), (status, code.to_owned()), "{method} {path}");
    }
    for service in ["Egress", "Ingress", "SIP"] {
        let path = format!("/twirp/livekit.{service}/Anything");
        let answer = stage.request("POST", &path, &[json, authorization], b"{}").await;
        assert_eq!(error(&answer), (501, "unimplemented".into()), "{service}");
    }
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    let answer =
        stage.request("POST", &service("ListRooms"), &[charset, authorization], b"{}").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_any_origin_may_ask() {
    let stage = Stage::start_with_keys();
    let path = "/twirp/livekit.RoomService/ListRooms";
    let asked = [
        ("origin", "https://elsewhere.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let preflight = stage.request("OPTIONS", path, &asked, b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    let refused = stage.request("POST", path, &[], b"").await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_somebody_who_cannot_answer_is_given_up() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let rpc = json!({"room": "garden", "destination_identity": "ann", "method": "water"});
    let answer = call(&stage, &everything(), "PerformRpc", rpc).await;
    assert_eq!(error(&answer), (408, "canceled".into()));
    assert_eq!(answer.json()["msg"], "RpcError 1501: Connection timeout");
}
