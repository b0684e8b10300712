use std::net::IpAddr;

use futures_util::future::join_all;
use livekit_protocol::signal_response::Message as Response;
use livekit_protocol::{DisconnectReason, Ping, SessionDescription, SignalRequest, signal_request};
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::stage::{KEY, Participant, SECRET, Stage, token};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_is_the_join_response() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    assert_eq!(join.room.unwrap().name, "garden");
    assert_eq!(join.participant.unwrap().identity, "ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_pings_and_answers_pings_in_the_encoding_of_the_client() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.ping().await;
    ann.send(&ping(7)).await;
    assert_eq!(pong(&mut ann).await, 7);
    ann.send_raw(Message::text(r#"{"pingReq":{"timestamp":"8"}}"#)).await;
    let text = loop {
        if let Some(Message::Text(text)) = ann.frame().await {
            break text;
        }
    };
    assert!(text.contains("\"lastPingTimestamp\":\"8\""), "{text}");
    ann.send(&ping(9)).await;
    assert_eq!(pong(&mut ann).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_two_peer_connections_is_offered_the_one_it_receives_by() {
    let stage = Stage::start_with_keys();
    let query = format!("access_token={}&protocol=9&sdk=go", token("garden", "ann"));
    let mut ann = stage.open_at("/rtc", &query).await.expect("is let in");
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    assert!(join.subscriber_primary && join.fast_publish);
    let offered = ann.until(|message| matches!(message, Response::Offer(_))).await;
    let Response::Offer(offer) = offered else { panic!("not an offer") };
    assert_eq!((&offer.r#type[..], offer.id), ("offer", 1));
    let sections: Vec<_> = offer.sdp.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(sections.len(), 1, "there is nobody else: {sections:?}");
    assert!(sections[0].starts_with("m=application"));
    assert!(!candidates(&offer.sdp).is_empty(), "every address is in it");
    let nonsense = SessionDescription { sdp: "nonsense".into(), id: 1, ..Default::default() };
    let message = Some(signal_request::Message::Answer(nonsense));
    ann.send(&SignalRequest { message }).await;
    ann.send(&ping(7)).await;
    assert_eq!(pong(&mut ann).await, 7, "a bad answer is refused and nothing else happens");
    let mut bob = stage.join("garden", "bob").await;
    let Response::Join(join) = bob.message().await else { panic!("no join response") };
    assert!(!join.subscriber_primary, "the other path is as it was");
}

/// On a machine without a network nothing could arrive there, and nothing is offered.
#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_of_the_page_is_offered_unless_one_is_configured() {
    let stage = Stage::start_with_keys();
    let mut bob = stage.join("garden", "bob").await;
    let found = candidates(&answer(&mut bob).await);
    let has_network = found.iter().any(|ip| ip.is_ipv4() && !ip.is_loopback());
    let public = "203.0.113.7".parse().unwrap();
    let mut ann = stage.join_by("203.0.113.7:7880", "garden", "ann").await;
    let offered = candidates(&answer(&mut ann).await);
    assert_eq!(offered.contains(&public), has_network, "{offered:?}");
    assert!(!found.contains(&public), "Ann's way is hers alone");
    if has_network {
        let keys = format!("--keys={KEY}: {SECRET}");
        let stage = Stage::start(&[&keys, "--node-ip=198.51.100.7"]);
        let mut ann = stage.join_by("203.0.113.7:7880", "garden", "ann").await;
        let offered = candidates(&answer(&mut ann).await);
        assert!(offered.contains(&"198.51.100.7".parse().unwrap()), "{offered:?}");
        assert!(!offered.contains(&public), "{offered:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_connection_with_a_reason_and_no_other() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    for (frame, code, words) in [
        (Message::binary(vec![0xFF; 64]), CloseCode::Invalid, "protobuf"),
        (Message::text("nonsense"), CloseCode::Invalid, "JSON"),
        (Message::text("{\"offer\": 7}"), CloseCode::Invalid, "JSON"),
        (Message::binary(vec![0; 1024 * 1024 + 1]), CloseCode::Size, "1048576"),
    ] {
        let mut mallory = stage.join("garden", "mallory").await;
        mallory.message().await;
        mallory.send_raw(frame).await;
        let close = mallory.end().await.expect("a close frame");
        assert_eq!(close.code, code);
        assert!(close.reason.contains(words), "{}", close.reason);
    }
    ann.send(&ping(7)).await;
    assert_eq!(pong(&mut ann).await, 7, "the room goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_beyond_what_is_read_at_all_ends_its_connection_and_no_other() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    let mut mallory = stage.join("garden", "mallory").await;
    mallory.message().await;
    mallory.send_raw(Message::binary(vec![0; 5 * 1024 * 1024])).await;
    // The rest of the frame is never read, so a reset may overtake the reason.
    if let Some(close) = mallory.end().await {
        assert_eq!(close.code, CloseCode::Size);
    }
    ann.send(&ping(7)).await;
    assert_eq!(pong(&mut ann).await, 7, "the room goes on");
}

/// Ten at a time, so that the newcomers race each other.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_joins_under_one_identity_one_stays_and_the_room_goes_on() {
    let stage = Stage::start_with_keys();
    let mut bob = stage.join("garden", "bob").await;
    bob.message().await;
    let replaced = |message: &Response| {
        matches!(message, Response::Leave(leave)
            if leave.reason() == DisconnectReason::DuplicateIdentity)
    };
    let enter = async || {
        let mut ann = stage.join("garden", "ann").await;
        ann.until(|message| matches!(message, Response::Join(_))).await;
        ann
    };
    let each = async || {
        let mut last = enter().await;
        for _ in 1..100 {
            let next = enter().await;
            last.until(replaced).await;
            assert!(last.end().await.is_some(), "a close frame");
            last = next;
        }
        last
    };
    let mut last = join_all((0..10).map(|_| each())).await;
    let mut staying = Vec::new();
    for one in &mut last {
        one.send(&ping(7)).await;
        let end = one.until(|message| replaced(message) || is_pong(message)).await;
        staying.push(is_pong(&end));
    }
    assert_eq!(staying.iter().filter(|stays| **stays).count(), 1, "{staying:?}");
    bob.send(&ping(8)).await;
    assert_eq!(pong(&mut bob).await, 8, "the room goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_unknown_kinds_are_ignored() {
    let stage = Stage::start_with_keys();
    let mut ann = stage.join("garden", "ann").await;
    // Only then does the text frame below not change how this is encoded.
    ann.message().await;
    ann.send_raw(Message::binary(vec![0xA2, 0x38, 0x00])).await;
    ann.send_raw(Message::text(r#"{"teleport": {}}"#)).await;
    ann.send(&ping(7)).await;
    assert_eq!(pong(&mut ann).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_tells_everyone_and_ends_cleanly() {
    let stage = Stage::start_with_keys();
    let mut people = Vec::new();
    for (room, identity) in [("garden", "ann"), ("garden", "bob"), ("cellar", "cid")] {
        let mut participant = stage.join(room, identity).await;
        participant.message().await;
        people.push(participant);
    }
    let stopping = tokio::spawn(stage.stop());
    for mut participant in people {
        participant.until(|message| matches!(message, Response::Leave(_))).await;
        assert!(participant.end().await.is_some(), "a close frame");
    }
    stopping.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_waits_for_whoever_comes_back() {
    let stage = Stage::start_with_keys();
    let mut first = stage.join("garden", "ann").await;
    let Response::Join(join) = first.message().await else { panic!("no join response") };
    let sid = join.room.unwrap().sid;
    first.send(&leave()).await;
    first.end().await;
    let mut again = stage.join("garden", "ann").await;
    let Response::Join(join) = again.message().await else { panic!("no join response") };
    assert_eq!(join.room.unwrap().sid, sid, "the same life of the room");
}

fn ping(timestamp: i64) -> SignalRequest {
    let ping = Ping { timestamp, rtt: 0 };
    SignalRequest { message: Some(signal_request::Message::PingReq(ping)) }
}

fn is_pong(message: &Response) -> bool {
    matches!(message, Response::PongResp(_))
}

fn leave() -> SignalRequest {
    SignalRequest { message: Some(signal_request::Message::Leave(Default::default())) }
}

async fn pong(participant: &mut Participant) -> i64 {
    loop {
        match participant.frame().await {
            Some(Message::Binary(bytes)) => {
                let response = livekit_protocol::SignalResponse::decode(bytes).unwrap();
                if let Some(Response::PongResp(pong)) = response.message {
                    return pong.last_ping_timestamp;
                }
            }
            other => panic!("no message but {other:?}"),
        }
    }
}

/// What the server answers to an offer of a data channel.
pub(crate) async fn answer(participant: &mut Participant) -> String {
    let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:01:02:03:\
        04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n";
    let offer = SessionDescription {
        r#type: "offer".into(),
        sdp: sdp.into(),
        ..SessionDescription::default()
    };
    let message = Some(signal_request::Message::Offer(offer));
    participant.send(&SignalRequest { message }).await;
    loop {
        if let Response::Answer(answer) = participant.message().await {
            return answer.sdp;
        }
    }
}

/// The addresses the candidates of an answer name.
fn candidates(sdp: &str) -> Vec<IpAddr> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=candidate:")?.split(' ').nth(4)?.parse().ok())
        .collect()
}
