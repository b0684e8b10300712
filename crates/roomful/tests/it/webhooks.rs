use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use livekit_protocol::signal_response::Message as Response;
use roomful_sfu::ids::UnixTime;
use roomful_sfu::token::{ApiKey, ApiKeys, ApiSecret};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::stage::{KEY, SECRET, Stage};

/// Longer than an event may take that is sent twice.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request as it came.
pub(crate) struct Delivered {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Delivered {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An application that listens, and answers with these statuses in turn, then with 200.
pub(crate) struct Application {
    pub(crate) url: String,
    deliveries: mpsc::UnboundedReceiver<Delivered>,
}

impl Application {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, deliveries) = mpsc::unbounded_channel();
        let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let delivered = read(&mut stream).await;
                let status = statuses.pop_front().unwrap_or(200);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                if sender.send(delivered).is_err() {
                    return;
                }
            }
        });
        Self { url, deliveries }
    }

    pub(crate) async fn next(&mut self) -> Delivered {
        timeout(PATIENCE, self.deliveries.recv()).await.expect("a delivery").unwrap()
    }

    /// The name of the next event.
    async fn event(&mut self) -> String {
        self.next().await.json()["event"].as_str().unwrap().to_owned()
    }
}

async fn read(stream: &mut TcpStream) -> Delivered {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let size = stream.read(&mut chunk).await.unwrap();
        assert!(size > 0, "the request breaks off");
        bytes.extend_from_slice(&chunk[..size]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let headers: Vec<(String, String)> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            return Delivered { headers, body: bytes[end + 4..].to_vec() };
        }
    }
}

/// A server that tells `urls`; `more` is added to the section.
pub(crate) fn stage(urls: &[&str], more: &Value) -> Stage {
    let mut webhook = json!({"api_key": KEY, "urls": urls});
    webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let file = json!({"keys": {KEY: SECRET}, "webhook": webhook, "room": {"departure_timeout": 0}});
    let path: PathBuf = std::env::temp_dir().join(format!(
        "roomful-webhooks-{}-{:?}.yaml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, file.to_string()).unwrap();
    let stage = Stage::start(&[&format!("--config={}", path.display())]);
    std::fs::remove_file(path).unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_order_and_sealed() {
    let mut application = Application::start(&[]).await;
    let stage = stage(&[&application.url], &json!({}));
    let mut ann = stage.join("garden", "ann").await;
    let Response::Join(join) = ann.message().await else { panic!("no join response") };
    let started = application.next().await;
    assert_eq!(started.header("content-type"), "application/webhook+json");
    let token = started.header("authorization");
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new(KEY), ApiSecret::new(SECRET));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(keys.verify_api(token, UnixTime(now.as_secs())).is_ok(), "signed by the key");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let sum = STANDARD.encode(digest::digest(&digest::SHA256, &started.body));
    assert_eq!((&claims["iss"], &claims["sha256"]), (&json!(KEY), &json!(sum)));
    let event = started.json();
    assert_eq!(event["event"], "room_started");
    assert_eq!(event["room"]["sid"], join.room.unwrap().sid.as_str());
    assert!(event["id"].as_str().unwrap().starts_with("EV_"));
    drop(ann);
    stage.stop().await.unwrap();
    assert_eq!(application.event().await, "participant_connection_aborted");
    assert_eq!(application.event().await, "room_finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_fails_is_asked_again_before_the_next_event() {
    let mut application = Application::start(&[503, 500]).await;
    let stage = stage(&[&application.url], &json!({}));
    let _ann = stage.join("garden", "ann").await;
    let first = application.next().await;
    let second = application.next().await;
    assert_eq!(first.body, second.body, "the same event again");
    assert_eq!(application.event().await, "room_started");
    stage.stop().await.unwrap();
    assert_eq!(application.event().await, "participant_connection_aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_is_away_holds_up_no_other_and_refusals_are_final() {
    let mut application = Application::start(&[404]).await;
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = format!("http://{away}/");
    let stage = stage(&[&away, &application.url], &json!({}));
    let mut ann = stage.join("garden", "ann").await;
    ann.message().await;
    drop(ann);
    for expected in ["room_started"] {
        assert_eq!(application.event().await, expected);
    }
    let _bob = stage.join("attic", "bob").await;
    assert_eq!(application.next().await.json()["room"]["name"], "attic");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_wanted_is_told() {
    let mut application = Application::start(&[]).await;
    let only = json!({"filter_params": {"include_events": ["room_finished"]}});
    let stage = stage(&[&application.url], &only);
    let ann = stage.join("garden", "ann").await;
    drop(ann);
    stage.stop().await.unwrap();
    assert_eq!(application.event().await, "room_finished");
}
