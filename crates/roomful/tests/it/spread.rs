//! Rooms on two workers: virtual clients over real WebSockets and real datagrams.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use livekit_protocol::JoinRequest;
use livekit_protocol::participant_info::KindDetail;
use livekit_protocol::signal_response::Message as Response;
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;
use roomful_sim::client::{Client, ClientOutput, JoinOptions, PeerConnection, TrackPlan};
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout};

use crate::stage::{KEY, Participant, SECRET, Stage, api_token, token, wrapped};

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks at what is so.
const LOOK: Duration = Duration::from_millis(20);

/// A client with its sockets.
struct Guest {
    identity: &'static str,
    client: Client,
    socket: UdpSocket,
    signalling: Participant,
}

impl Guest {
    /// Joins, and publishes a camera and a voice.
    async fn join(stage: &Stage, room: &str, identity: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let now = Instant::now();
        let seed = identity.bytes().map(u64::from).sum();
        let address = socket.local_addr().unwrap();
        let mut client = Client::new(JoinOptions::default(), address, seed, now);
        client.join(now);
        let Some(ClientOutput::Connect(request)) = client.poll_output() else {
            panic!("joining begins with a WebSocket")
        };
        let query = query(room, identity, &request);
        let signalling = stage.open(&query).await.expect("the server lets them in");
        client.publish(TrackPlan::Camera { simulcast: false, fps: 15 }, now);
        client.publish(TrackPlan::VOICE, now);
        Self { identity, client, socket, signalling }
    }

    async fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(end).await;
        }
    }

    async fn turn(&mut self, end: Instant) {
        while let Some(output) = self.client.poll_output() {
            match output {
                ClientOutput::Request(request) => self.signalling.send(&request).await,
                ClientOutput::Transmit { destination, payload, .. } => {
                    self.socket.send_to(&payload, destination).await.unwrap();
                }
                ClientOutput::Connect(_) | ClientOutput::Close => {}
            }
        }
        let wake = self.client.poll_timeout(Instant::now()).min(end);
        let mut bytes = [0; 2048];
        tokio::select! {
            message = self.signalling.message() => {
                let response = livekit_protocol::SignalResponse { message: Some(message) };
                self.client.handle_response(response, Instant::now());
            }
            received = self.socket.recv_from(&mut bytes) => {
                let (length, source) = received.unwrap();
                let at = PeerConnection::Publishing;
                self.client.handle_datagram(at, source, &bytes[..length], Instant::now());
            }
            () = sleep_until(wake.into()) => self.client.handle_timeout(Instant::now()),
        }
    }

    /// Whole frames of each track that arrives.
    fn frames(&self) -> Vec<usize> {
        let tracks = self.client.received_tracks();
        tracks.iter().map(|track| self.client.received(track).whole_frames().count()).collect()
    }

    /// What it knows of others, for whoever reads why a test failed.
    fn seen(&self) -> String {
        let roster: Vec<_> = self.client.roster().keys().collect();
        let (connected, frames) = (self.client.is_connected(), self.frames());
        format!("{}: connected {connected}, knows {roster:?}, frames {frames:?}", self.identity)
    }

    fn sid(&self) -> String {
        self.client.sid().unwrap_or_default().to_owned()
    }
}

fn query(room: &str, identity: &str, request: &JoinRequest) -> String {
    format!("access_token={}&join_request={}", token(room, identity), wrapped(request))
}

async fn run_until(guests: &mut [Guest], what: &str, done: impl Fn(&[Guest]) -> bool) {
    let waiting = async {
        while !done(guests) {
            join_all(guests.iter_mut().map(|guest| guest.run_for(LOOK))).await;
        }
    };
    if timeout(PATIENCE, waiting).await.is_err() {
        let seen: Vec<_> = guests.iter().map(Guest::seen).collect();
        panic!("not within {PATIENCE:?}: {what}: {seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_on_two_workers_is_one_room() {
    let stage = Stage::start(&[
        &format!("--keys={KEY}: {SECRET}"),
        "--spread-above=1",
        "--node-ip=127.0.0.1",
    ]);
    let mut guests = Vec::new();
    for identity in ["ann", "bob", "cyril"] {
        guests.push(Guest::join(&stage, "garden", identity).await);
    }
    run_until(&mut guests, "everyone sees and hears everyone", |guests| {
        guests.iter().all(|one| one.client.roster().len() == 2)
            && guests
                .iter()
                .all(|one| one.frames().len() == 4 && one.frames().iter().all(|frames| *frames > 5))
    })
    .await;
    let ends: Vec<_> = guests.iter().map(|one| one.sid().chars().last()).collect();
    assert_ne!(ends[0], ends[1], "Ann and Bob are on two workers");

    let bob = &mut guests[1];
    let resuming =
        JoinRequest { reconnect: true, participant_sid: bob.sid(), ..JoinRequest::default() };
    bob.signalling = stage.open(&query("garden", "bob", &resuming)).await.expect("is let in");
    let answer = bob.signalling.message().await;
    assert!(matches!(answer, Response::Reconnect(_)), "led to its own worker: {answer:?}");

    let mut gone = guests.remove(1);
    gone.client.leave();
    gone.turn(Instant::now()).await;
    run_until(&mut guests, "Bob is gone for those on either worker", |guests| {
        guests.iter().all(|one| !one.client.roster().contains_key(gone.identity))
    })
    .await;
    for guest in &mut guests {
        assert_eq!(guest.client.take_violations(), Vec::<String>::new(), "{}", guest.identity);
    }
    stage.stop().await.unwrap();
}

/// What the server API answers to a call about Ann, who is in the garden, and the other room.
async fn ask(stage: &Stage, method: &str, room: &str, body: &str) -> u16 {
    let grant = ApiGrant {
        create_rooms: false,
        list_rooms: false,
        administers: Some(RoomName::new(room)),
        destination: Some(RoomName::new("attic")),
        agent: false,
    };
    let bearer = format!("Bearer {}", api_token(&grant));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let path = format!("/twirp/livekit.RoomService/{method}");
    stage.request("POST", &path, &headers, body.as_bytes()).await.status
}

/// Whether Cleo sees and hears Ann, who is forwarded, and everyone is in a room of their own.
fn shows_ann(guests: &[Guest]) -> bool {
    let [ann, cleo] = guests else { return false };
    let seen = cleo.client.roster().get("ann");
    let forwarded = i32::from(KindDetail::Forwarded);
    seen.is_some_and(|one| one.kind_details == [forwarded] && one.tracks.len() == 2)
        && cleo.frames().len() == 2
        && cleo.frames().iter().all(|frames| *frames > 20)
        && ann.client.roster().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_shown_in_a_room_on_the_same_and_on_another_worker() {
    for workers in [2, 1] {
        let stage = Stage::start_with(&format!("--workers={workers}"));
        let mut guests = vec![Guest::join(&stage, "garden", "ann").await];
        // A room begins where least is to be done.
        guests.push(Guest::join(&stage, "attic", "cleo").await);
        run_until(&mut guests, "both are in", |guests| {
            guests.iter().all(|one| !one.sid().is_empty() && one.client.is_connected())
        })
        .await;
        let ends: Vec<_> = guests.iter().map(|one| one.sid().chars().last()).collect();
        assert_eq!(ends[0] != ends[1], workers == 2, "{ends:?}");
        let go = r#"{"room": "garden", "identity": "ann", "destination_room": "attic"}"#;
        for _ in 0..2 {
            assert_eq!(ask(&stage, "ForwardParticipant", "garden", go).await, 200);
        }
        run_until(&mut guests, "Cleo sees and hears Ann", shows_ann).await;
        let her = r#"{"room": "attic", "identity": "ann"}"#;
        assert_eq!(ask(&stage, "RemoveParticipant", "attic", her).await, 200);
        run_until(&mut guests, "Ann is gone for Cleo", |guests| {
            guests[1].client.roster().is_empty()
        })
        .await;
        let still = r#"{"room": "garden", "identity": "ann"}"#;
        assert_eq!(ask(&stage, "GetParticipant", "garden", still).await, 200);
        for guest in &mut guests {
            assert_eq!(guest.client.farewell(), None);
            assert_eq!(guest.client.take_violations(), Vec::<String>::new(), "{}", guest.identity);
        }
        stage.stop().await.unwrap();
    }
}
