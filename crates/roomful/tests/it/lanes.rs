//! Media over TCP, as bytes: what a firewalled browser does first, and what others might try.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::signalling::answer;
use crate::stage::Stage;

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

async fn told(stage: &Stage) -> (Told, crate::stage::Participant) {
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

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_tcp_where_it_is_off() {
    let stage = Stage::start_with("--tcp-port=off");
    let mut ann = stage.join("garden", "ann").await;
    assert!(!answer(&mut ann).await.contains(" 1 tcp "));
}
