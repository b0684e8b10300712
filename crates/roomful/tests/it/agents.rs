//! Agencies over real WebSockets, and the API that says where agents are wanted.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use prost::Message as _;
use proto::server_message::Message as Said;
use proto::worker_message::Message as Say;
use proto::{JobType, ServerMessage, WorkerMessage};
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stage::{Answer, Participant, Stage, api_token, join_request};

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// One agency.
struct Agency(WebSocketStream<TcpStream>);

impl Agency {
    /// Connects with this query; the error is the status of the refusal.
    async fn connect(stage: &Stage, query: &str) -> Result<Self, u16> {
        let stream = TcpStream::connect(stage.address).await.unwrap();
        let url = format!("ws://{}/agent?{query}", stage.address);
        match timeout(PATIENCE, client_async(url, stream)).await.expect("an answer") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn open(stage: &Stage) -> Self {
        let token = api_token(&ApiGrant { agent: true, ..ApiGrant::default() });
        Self::connect(stage, &format!("access_token={token}&protocol=1")).await.unwrap()
    }

    /// One that takes such jobs.
    async fn register(stage: &Stage, kind: JobType, name: &str) -> Self {
        let mut agency = Self::open(stage).await;
        let register = proto::RegisterWorkerRequest {
            r#type: kind.into(),
            agent_name: name.into(),
            version: "1.0".into(),
            ..Default::default()
        };
        agency.say(Say::Register(register)).await;
        let Said::Register(registered) = agency.hear().await else { panic!("no answer") };
        assert!(registered.worker_id.starts_with("AW_"));
        assert_eq!(registered.server_info.unwrap().agent_protocol, 1);
        agency
    }

    async fn say(&mut self, message: Say) {
        let bytes = WorkerMessage { message: Some(message) }.encode_to_vec();
        self.send(Message::Binary(bytes.into())).await;
    }

    async fn send(&mut self, message: Message) {
        // The server may already have closed: what it said about that is still to be read.
        let _ = timeout(PATIENCE, self.0.send(message)).await.expect("the server reads");
    }

    async fn frame(&mut self) -> Option<Message> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a frame")? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(_) => return None,
            }
        }
    }

    async fn hear(&mut self) -> Said {
        match self.frame().await {
            Some(Message::Binary(bytes)) => ServerMessage::decode(bytes).unwrap().message.unwrap(),
            other => panic!("no message but {other:?}"),
        }
    }

    async fn offer(&mut self) -> proto::Job {
        match self.hear().await {
            Said::Availability(offer) => offer.job.unwrap(),
            other => panic!("no offer but {other:?}"),
        }
    }

    /// Takes the job that is offered, for an agent of this identity.
    async fn take(&mut self, identity: &str) -> proto::JobAssignment {
        let job = self.offer().await;
        let answer = proto::AvailabilityResponse {
            job_id: job.id.clone(),
            available: true,
            participant_identity: identity.into(),
            participant_name: "The gardener".into(),
            ..Default::default()
        };
        self.say(Say::Availability(answer)).await;
        match self.hear().await {
            Said::Assignment(assignment) => {
                assert_eq!(assignment.job.as_ref().unwrap().id, job.id);
                assignment
            }
            other => panic!("no assignment but {other:?}"),
        }
    }

    /// Reads on until the end; what the server said about it.
    async fn end(&mut self) -> Option<CloseFrame> {
        loop {
            if let Message::Close(reason) = self.frame().await? {
                return reason;
            }
        }
    }
}

fn admin() -> ApiGrant {
    ApiGrant {
        create_rooms: true,
        administers: Some(RoomName::new("garden")),
        ..ApiGrant::default()
    }
}

async fn call(stage: &Stage, grant: &ApiGrant, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", api_token(grant));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let path = format!("/twirp/livekit.{path}");
    stage.request("POST", &path, &headers, body.to_string().as_bytes()).await
}

async fn ok(stage: &Stage, method: &str, body: Value) -> Value {
    let path = format!("AgentDispatchService/{method}");
    let answer = call(stage, &admin(), &path, &body).await;
    assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    answer.json()
}

/// The dispatches of the room once they look so.
async fn listed(stage: &Stage, is_so: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let list = ok(stage, "ListDispatch", json!({"room": "garden"})).await;
            if is_so(&list) {
                return list;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the list changes")
}

/// Whoever has this token, in its room.
async fn join_with(stage: &Stage, token: &str) -> (Participant, proto::JoinResponse) {
    let query = format!("access_token={token}&join_request={}", join_request());
    let mut participant = stage.open(&query).await.expect("the token is good");
    let Response::Join(join) = participant.message().await else { panic!("no join response") };
    (participant, join)
}

/// Announces a microphone, and offers to send it.
async fn publish(participant: &mut Participant) {
    let add = proto::AddTrackRequest {
        cid: "mic".into(),
        r#type: proto::TrackType::Audio.into(),
        source: proto::TrackSource::Microphone.into(),
        ..Default::default()
    };
    let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:01:02:03:\
        04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=msid:- mic\r\n\
        a=ssrc:1234 cname:ann\r\n";
    let offer =
        proto::SessionDescription { r#type: "offer".into(), sdp: sdp.into(), ..Default::default() };
    for message in [Request::AddTrack(add), Request::Offer(offer)] {
        participant.send(&proto::SignalRequest { message: Some(message) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_comes_into_a_room_that_begins_and_leaves_when_it_ends() {
    let stage = Stage::start_with_keys();
    let mut agency = Agency::register(&stage, JobType::JtRoom, "").await;
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let assignment = agency.take("agent-1").await;
    let job = assignment.job.unwrap();
    assert_eq!((job.r#type(), job.room.unwrap().name.as_str()), (JobType::JtRoom, "garden"));
    let (mut agent, join) = join_with(&stage, &assignment.token).await;
    let participant = join.participant.unwrap();
    assert_eq!(
        (participant.identity.as_str(), participant.name.as_str()),
        ("agent-1", "The gardener")
    );
    assert_eq!(participant.kind(), proto::participant_info::Kind::Agent);
    assert!(participant.attributes.contains_key("lk.agent_name"));
    let seen = ann
        .until(|message| {
            matches!(message, Response::Update(update)
                if update.participants.iter().any(|one| one.identity == "agent-1"))
        })
        .await;
    assert!(matches!(seen, Response::Update(_)));
    let running = listed(&stage, |list| {
        list["agent_dispatches"][0]["state"]["jobs"][0]["id"] == job.id.as_str()
    })
    .await;
    let state = &running["agent_dispatches"][0]["state"]["jobs"][0]["state"];
    assert_eq!(
        (&state["status"], &state["participant_identity"]),
        (&json!("JS_RUNNING"), &json!("agent-1"))
    );
    assert_eq!(
        call(&stage, &admin(), "RoomService/DeleteRoom", &json!({"room": "garden"})).await.status,
        200
    );
    let Said::Termination(over) = agency.hear().await else { panic!("the job goes on") };
    assert_eq!(over.job_id, job.id);
    agent.until(|message| matches!(message, Response::Leave(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_and_publishers_get_agents_of_their_own() {
    let stage = Stage::start_with_keys();
    let mut participants = Agency::register(&stage, JobType::JtParticipant, "").await;
    let mut publishers = Agency::register(&stage, JobType::JtPublisher, "").await;
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let job = participants.take("agent-1").await.job.unwrap();
    assert_eq!(job.participant.unwrap().identity, "ann");
    publish(&mut ann).await;
    let job = publishers.take("agent-2").await.job.unwrap();
    assert_eq!(
        (job.r#type(), job.participant.unwrap().identity.as_str()),
        (JobType::JtPublisher, "ann")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_wanted_listed_and_wanted_no_more_over_the_api() {
    let stage = Stage::start_with_keys();
    let mut agency = Agency::register(&stage, JobType::JtRoom, "gardener").await;
    let wanted = json!({"room": "garden", "agent_name": "gardener", "metadata": "roses",
        "attributes": {"tool": "shears"}});
    let dispatch = ok(&stage, "CreateDispatch", wanted).await;
    assert_eq!((&dispatch["room"], &dispatch["metadata"]), (&json!("garden"), &json!("roses")));
    assert_eq!(dispatch["restart_policy"], "JRP_ON_FAILURE", "what is empty is written, too");
    let assignment = agency.take("agent-1").await;
    let job = assignment.job.unwrap();
    assert_eq!((job.metadata.as_str(), job.attributes["tool"].as_str()), ("roses", "shears"));
    assert_eq!(job.dispatch_id, dispatch["id"].as_str().unwrap());
    let (mut agent, _) = join_with(&stage, &assignment.token).await;
    let only = json!({"room": "garden", "dispatchId": dispatch["id"]});
    let list = ok(&stage, "ListDispatch", only.clone()).await;
    assert_eq!(list["agent_dispatches"].as_array().unwrap().len(), 1);
    assert_eq!(ok(&stage, "DeleteDispatch", only.clone()).await["id"], dispatch["id"]);
    let Said::Termination(over) = agency.hear().await else { panic!("the job goes on") };
    assert_eq!(over.job_id, job.id);
    let leave = agent.until(|message| matches!(message, Response::Leave(_))).await;
    let Response::Leave(leave) = leave else { unreachable!() };
    assert_eq!(leave.reason(), proto::DisconnectReason::ParticipantRemoved);
    let again = call(&stage, &admin(), "AgentDispatchService/DeleteDispatch", &only).await;
    assert_eq!((again.status, &again.json()["code"]), (404, &json!("not_found")));
    assert_eq!(again.json()["msg"], "dispatch ID not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatches_travel_as_protobuf_too() {
    let stage = Stage::start_with_keys();
    let bearer = format!("Bearer {}", api_token(&admin()));
    let headers = [("content-type", "application/protobuf"), ("authorization", bearer.as_str())];
    let request = proto::CreateAgentDispatchRequest { room: "garden".into(), ..Default::default() };
    let post = async |method: &str, body: Vec<u8>| {
        let path = format!("/twirp/livekit.AgentDispatchService/{method}");
        stage.request("POST", &path, &headers, &body).await.body
    };
    let created = post("CreateDispatch", request.encode_to_vec()).await;
    let created = proto::AgentDispatch::decode(&created[..]).unwrap();
    let request = proto::ListAgentDispatchRequest { room: "garden".into(), ..Default::default() };
    let list = post("ListDispatch", request.encode_to_vec()).await;
    let list = proto::ListAgentDispatchResponse::decode(&list[..]).unwrap();
    assert_eq!(list.agent_dispatches.len(), 2, "and the unnamed one every room has");
    assert_eq!(list.agent_dispatches[1], created);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_room_s_administrators_say_which_agents_it_has() {
    let stage = Stage::start_with_keys();
    let stranger = ApiGrant { administers: Some(RoomName::new("attic")), ..admin() };
    for method in ["CreateDispatch", "DeleteDispatch", "ListDispatch"] {
        for grant in [&stranger, &ApiGrant { administers: None, ..admin() }] {
            let path = format!("AgentDispatchService/{method}");
            let answer = call(&stage, grant, &path, &json!({"room": "garden"})).await;
            assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("unauthenticated")));
        }
    }
    let garden = json!({"room": "garden"});
    let nowhere = call(&stage, &admin(), "AgentDispatchService/ListDispatch", &garden).await;
    assert_eq!((nowhere.status, &nowhere.json()["code"]), (404, &json!("not_found")));
    let odd = json!({"room": "garden", "deployment": "a b"});
    let odd = call(&stage, &admin(), "AgentDispatchService/CreateDispatch", &odd).await;
    assert_eq!((odd.status, &odd.json()["code"]), (400, &json!("invalid_argument")));
    let unknown = call(&stage, &admin(), "AgentDispatchService/Nonsense", &json!({})).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("bad_route")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_a_room_s_maker_may_name_agents() {
    let stage = Stage::start_with_keys();
    let mut agency = Agency::register(&stage, JobType::JtRoom, "gardener").await;
    let room = json!({"name": "garden", "agents": [{"agentName": "gardener", "metadata": "api"}]});
    assert_eq!(call(&stage, &admin(), "RoomService/CreateRoom", &room).await.status, 200);
    assert_eq!(agency.take("agent-1").await.job.unwrap().metadata, "api");
    let configuration = proto::RoomConfiguration {
        agents: vec![proto::RoomAgentDispatch {
            agent_name: "gardener".into(),
            metadata: "token".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let token = crate::stage::token_with("attic", "ann", |grant| {
        grant.room_configuration = Some(Box::new(configuration));
    });
    join_with(&stage, &token).await;
    assert_eq!(agency.take("agent-2").await.job.unwrap().metadata, "token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_its_agency_leaves_behind_has_failed_and_an_offer_goes_to_the_next() {
    let stage = Stage::start_with_keys();
    let mut first = Agency::register(&stage, JobType::JtRoom, "").await;
    let _ann = stage.join("garden", "ann").await;
    let job = first.take("agent-1").await.job.unwrap();
    let _bob = stage.join("attic", "bob").await;
    let offered = first.offer().await;
    let mut second = Agency::register(&stage, JobType::JtRoom, "").await;
    drop(first);
    assert_eq!(second.offer().await.id, offered.id);
    let list = listed(&stage, |list| {
        list["agent_dispatches"][0]["state"]["jobs"][0]["state"]["status"] == "JS_FAILED"
    })
    .await;
    assert_eq!(list["agent_dispatches"][0]["state"]["jobs"][0]["id"], job.id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn agencies_need_a_token_that_says_so() {
    let stage = Stage::start_with_keys();
    let joiner = crate::stage::token("garden", "ann");
    let admin = api_token(&admin());
    for token in ["", "nonsense", &joiner, &admin] {
        let refused = Agency::connect(&stage, &format!("access_token={token}")).await;
        assert_eq!(refused.err(), Some(401), "{token}");
    }
    assert_eq!(stage.get("/agent", &[]).await.status, 404, "no WebSocket");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_talks_nonsense_is_told_so_and_nobody_else_notices() {
    let stage = Stage::start_with_keys();
    let mut good = Agency::register(&stage, JobType::JtRoom, "").await;
    let mut early = Agency::open(&stage).await;
    early.say(Say::UpdateWorker(proto::UpdateWorkerStatus::default())).await;
    assert_eq!(early.end().await.unwrap().reason.as_str(), "the first message must be register");
    let mut garbage = Agency::open(&stage).await;
    garbage.send(Message::Binary(vec![0xFF; 9].into())).await;
    assert_eq!(garbage.end().await.unwrap().reason.as_str(), "not a WorkerMessage");
    let mut large = Agency::open(&stage).await;
    large.send(Message::Binary(vec![0; 2 * 1024 * 1024 + 1].into())).await;
    large.end().await;
    let mut future = Agency::register(&stage, JobType::JtRoom, "other").await;
    future.send(Message::Binary(vec![0xA2, 0x38, 0x00].into())).await;
    future.say(Say::Ping(proto::WorkerPing { timestamp: 7 })).await;
    let Said::Pong(pong) = future.hear().await else { panic!("no pong") };
    assert_eq!(pong.last_timestamp, 7, "what a later version says is ignored");
    let _ann = stage.join("garden", "ann").await;
    good.take("agent-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agencies_may_speak_json() {
    let stage = Stage::start_with_keys();
    let mut agency = Agency::open(&stage).await;
    agency
        .send(Message::text(
            r#"{"register": {"type": "JT_ROOM", "agent_name": "cat", "later": 1}}"#,
        ))
        .await;
    let Some(Message::Text(text)) = agency.frame().await else { panic!("no JSON") };
    let registered: Value = serde_json::from_str(&text).unwrap();
    assert!(registered["register"]["workerId"].as_str().unwrap().starts_with("AW_"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_the_jobs_and_sends_agencies_away() {
    let stage = Stage::start_with_keys();
    let mut agency = Agency::register(&stage, JobType::JtRoom, "").await;
    let _ann = stage.join("garden", "ann").await;
    let job = agency.take("agent-1").await.job.unwrap();
    let stopping = tokio::spawn(stage.stop());
    let Said::Termination(over) = agency.hear().await else { panic!("the job goes on") };
    assert_eq!(over.job_id, job.id);
    assert!(agency.end().await.is_some(), "a close frame");
    stopping.await.unwrap().unwrap();
}
