//! Media over TCP, as bytes: what a firewalled browser does first, and what others might try.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use livekit_protocol::request_response::Reason;
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use livekit_protocol::simulate_scenario::Scenario;
use livekit_protocol::{
    ClientConfigSetting, Ping, RequestResponse, SignalRequest, SimulateScenario,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::signalling::answer;
use crate::stage::{Participant, Stage};

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a participant is told of its transport.
#[derive(Clone)]
struct Told {
    port: u16,
    ufrag: String,
    password: String,
}

impl Told {
    fn read(sdp: &str) -> Self {
        let value = |name: &str| {
            let line = sdp.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {sdp}")).to_owned()
        };
        let port = sdp
            .lines()
            .find(|line| line.starts_with("a=candidate:") && line.contains(" 1 tcp "))
            .and_then(|line| line.split(' ').nth(5)?.parse().ok())
            .unwrap_or_else(|| panic!("no way by TCP in {sdp}"));
        Self { port, ufrag: value("a=ice-ufrag:"), password: value("a=ice-pwd:") }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A framed STUN binding request (RFC 8489) with this transaction, sealed with `password`.
    fn check(&self, transaction: u8, password: &str) -> Vec<u8> {
        let name = format!("{}:abcd", self.ufrag);
        let mut attributes = vec![0, 6];
        attributes.extend((name.len() as u16).to_be_bytes());
        attributes.extend(name.as_bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        // PRIORITY, ICE-CONTROLLING, USE-CANDIDATE.
        attributes.extend([0, 0x24, 0, 4, 0x6e, 0, 0x1e, 0xff]);
        attributes.extend([0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        attributes.extend([0, 0x25, 0, 0]);
        let header = |length: usize| {
            let mut header = vec![0, 1];
            header.extend((length as u16).to_be_bytes());
            header.extend([0x21, 0x12, 0xa4, 0x42]);
            header.extend([transaction; 12]);
            header
        };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let sealed = [header(attributes.len() + 24), attributes.clone()].concat();
        attributes.extend([0, 8, 0, 20]);
        attributes.extend(hmac::sign(&key, &sealed).as_ref());
        let summed = [header(attributes.len() + 8), attributes.clone()].concat();
        attributes.extend([0x80, 0x28, 0, 4]);
        attributes.extend((crc32(&summed) ^ 0x5354_554e).to_be_bytes());
        framed(&[header(attributes.len()), attributes].concat())
    }
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat()
}

/// As Ethernet computes it (RFC 8489 §14.7).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// The transaction of the binding success that comes next; `None` at the end of the connection.
async fn answered(stream: &mut TcpStream) -> Option<u8> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("an answer or the end").ok()?;
    let mut datagram = vec![0; usize::from(length)];
    stream.read_exact(&mut datagram).await.unwrap();
    assert_eq!(datagram[..2], [1, 1], "a binding success");
    Some(datagram[8])
}

async fn told(stage: &Stage) -> (Told, Participant) {
    let mut ann = stage.join("garden", "ann").await;
    let told = Told::read(&answer(&mut ann).await);
    (told, ann)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_answered_however_the_stream_is_cut_and_only_with_the_right_password() {
    let stage = Stage::start_with_keys();
    let (told, _ann) = told(&stage).await;
    let checks = [
        told.check(1, &told.password),
        told.check(2, "not the password of this transport"),
        told.check(3, &told.password),
    ];
    let stream = checks.concat();
    for piece in [1, 7, checks[0].len() + 1, stream.len()] {
        let mut lane = told.connect().await;
        for piece in stream.chunks(piece) {
            lane.write_all(piece).await.unwrap();
        }
        assert_eq!(answered(&mut lane).await, Some(1));
        assert_eq!(answered(&mut lane).await, Some(3), "what is sealed wrongly is not answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_nobody_here_is_cut_off_without_a_word() {
    let stage = Stage::start_with_keys();
    let (told, _ann) = told(&stage).await;
    let stranger = Told { ufrag: "nobody".into(), ..told.clone() };
    for bytes in [
        stranger.check(1, &told.password),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        vec![0xff; 4],
        framed(b""),
        framed(&[0x80; 200]),
    ] {
        let mut lane = told.connect().await;
        lane.write_all(&bytes).await.unwrap();
        let asked = Instant::now();
        assert_eq!(answered(&mut lane).await, None);
        assert!(asked.elapsed() < Duration::from_secs(3), "at once");
    }
    let mut lane = told.connect().await;
    lane.write_all(&told.check(1, &told.password)).await.unwrap();
    assert_eq!(answered(&mut lane).await, Some(1), "the others are served on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_little_for_too_long_is_cut_off() {
    let stage = Stage::start_with_keys();
    let (told, _ann) = told(&stage).await;
    let mut silent = told.connect().await;
    let mut trickling = told.connect().await;
    let check = told.check(1, &told.password);
    let started = Instant::now();
    let trickle = async {
        for byte in &check[..check.len() - 1] {
            if trickling.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        answered(&mut trickling).await
    };
    assert_eq!(tokio::join!(answered(&mut silent), trickle), (None, None));
    assert!(started.elapsed() > Duration::from_secs(4), "honest slowness is waited for");
}

/// Has `who` rehearse a choice of protocol (0: UDP, 1: TCP, 2: TLS), and waits until the server read that.
async fn rehearse(who: &mut Participant, protocol: i32) -> Option<RequestResponse> {
    let scenario = Some(Scenario::SwitchCandidateProtocol(protocol));
    let message = Some(Request::Simulate(SimulateScenario { scenario }));
    who.send(&SignalRequest { message }).await;
    let ping = Some(Request::PingReq(Ping { timestamp: 7, rtt: 0 }));
    who.send(&SignalRequest { message: ping }).await;
    let mut refused = None;
    loop {
        match who.message().await {
            Response::RequestResponse(response) => refused = Some(response),
            Response::PongResp(_) => return refused,
            _ => {}
        }
    }
}

/// The protocols of the ways that `identity` is told of when it joins.
async fn protocols(stage: &Stage, identity: &str) -> Vec<&'static str> {
    let mut participant = stage.join("garden", identity).await;
    let sdp = answer(&mut participant).await;
    let told = |protocol: &&str| {
        sdp.lines().any(|line| {
            line.starts_with("a=candidate:") && line.contains(&format!(" 1 {protocol} "))
        })
    };
    ["udp", "tcp"].into_iter().filter(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rehearses_tcp_is_told_of_nothing_else_when_it_joins_anew() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    assert!(rehearse(&mut ann, 1).await.is_none());
    assert_eq!(protocols(&stage, "ann").await, ["tcp"]);
    assert_eq!(protocols(&stage, "bob").await, ["udp", "tcp"], "nobody else is");
    let mut ann = stage.join("garden", "ann").await;
    let (told, check) = {
        let told = Told::read(&answer(&mut ann).await);
        let check = told.check(1, &told.password);
        (told, check)
    };
    let mut lane = told.connect().await;
    lane.write_all(&check).await.unwrap();
    assert_eq!(answered(&mut lane).await, Some(1), "that way leads here");
    assert!(rehearse(&mut ann, 0).await.is_none());
    assert_eq!(protocols(&stage, "ann").await, ["udp", "tcp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rehearses_tls_is_to_use_the_turn_servers_that_are_reached_by_it() {
    let server = "{host: turn.example, port: 443, protocol: tls, username: u, credential: c}";
    let other = "{host: turn.example, port: 3478, protocol: udp, username: u, credential: c}";
    let flag = format!("--livekit-config={{rtc: {{turn_servers: [{other}, {server}]}}}}");
    let stage = Stage::start_with(&flag);
    let mut ann = stage.join("garden", "ann").await;
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    assert_eq!((join.ice_servers.len(), join.client_configuration), (2, None));
    assert!(rehearse(&mut ann, 2).await.is_none());
    let mut ann = stage.join("garden", "ann").await;
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    assert_eq!(join.client_configuration.unwrap().force_relay(), ClientConfigSetting::Enabled);
    assert_eq!(join.ice_servers.len(), 1);
    assert!(join.ice_servers[0].urls[0].starts_with("turns:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_server_is_not_configured_for_is_not_rehearsed() {
    let stage = Stage::start_with("--tcp-port=off");
    let mut ann = stage.join("garden", "ann").await;
    for (protocol, remedy) in [(1, "rtc.tcp_port"), (2, "rtc.turn_servers"), (9, "not know")] {
        let refused = rehearse(&mut ann, protocol).await.expect("a refusal");
        assert_eq!(refused.reason(), Reason::UnsupportedType);
        assert!(refused.message.contains(remedy), "{}", refused.message);
    }
    assert_eq!(protocols(&stage, "ann").await, ["udp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_tcp_where_it_is_off() {
    let stage = Stage::start_with("--tcp-port=off");
    let mut ann = stage.join("garden", "ann").await;
    assert!(!answer(&mut ann).await.contains(" 1 tcp "));
}
