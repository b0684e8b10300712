//! A server on ports of the system's choice, and the clients that the tests need.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser as _;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol::{
    JoinRequest, SignalRequest, SignalResponse, WrappedJoinRequest, signal_response,
};
use prost::Message as _;
use roomful::config::Flags;
use roomful::{Config, Server};
use roomful_sfu::ids::{Identity, RoomName, UnixTime};
use roomful_sfu::token::{ApiGrant, ApiKey, ApiKeys, ApiSecret, Grant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const KEY: &str = "test-key";
pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";

/// A running server.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Stage {
    /// Open mode with `flags` over it.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let fixed = ["roomful", "--port=0", "--udp-port=0", "--bind=127.0.0.1"];
        let is_open = |name: &&&str| {
            let name = name.split('=').next().unwrap_or_default();
            !flags.iter().any(|flag| flag.starts_with(name))
        };
        let usual = ["--workers=2", "--tcp-port=0"];
        let usual = usual.iter().filter(is_open);
        let flags = Flags::parse_from(fixed.iter().chain(usual).chain(flags));
        let server = Server::bind(Config::from_flags(flags).unwrap()).unwrap();
        let address =
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.local_addresses()[0].port());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, stop, running }
    }

    /// With a key pair of the tests, so that they can make tokens.
    pub(crate) fn start_with_keys() -> Self {
        Self::start(&[&format!("--keys={KEY}: {SECRET}")])
    }

    /// The same with one more flag.
    pub(crate) fn start_with(flag: &str) -> Self {
        Self::start(&[&format!("--keys={KEY}: {SECRET}"), flag])
    }

    /// Ends it as Ctrl-C would, and waits for that.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.running).await.expect("the server stops").unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, b"").await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &serde_json::Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.request("POST", path, &headers, body.to_string().as_bytes()).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        // A server that refuses a large body early closes while it is still being written.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer");
        Answer::parse(&bytes)
    }

    /// Asks for a WebSocket at `path`; the status of the answer, after which nobody goes on.
    pub(crate) async fn upgrade(&self, path: &str) -> u16 {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade, close\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        let read = timeout(PATIENCE, stream.read_exact(&mut head)).await;
        read.expect("an answer").unwrap();
        std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
    }

    /// Sends exactly these bytes, which must ask for the end of the connection.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer");
        Answer::parse(&bytes)
    }

    /// Opens the signalling WebSocket as `identity` in `room`.
    pub(crate) async fn join(&self, room: &str, identity: &str) -> Participant {
        let query =
            format!("access_token={}&join_request={}", token(room, identity), join_request());
        self.open(&query).await.expect("the server lets them in")
    }

    /// The same as somebody who came through a proxy on this machine and calls the server `host`.
    pub(crate) async fn join_by(&self, host: &str, room: &str, identity: &str) -> Participant {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (token, join_request) = (token(room, identity), join_request());
        let mut request =
            format!("ws://{host}/rtc/v1?access_token={token}&join_request={join_request}")
                .into_client_request()
                .unwrap();
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        let (socket, _) = timeout(PATIENCE, client_async(request, stream)).await.unwrap().unwrap();
        Participant { socket }
    }

    /// Opens the signalling WebSocket with this query; the error is the status of the refusal.
    pub(crate) async fn open(&self, query: &str) -> Result<Participant, u16> {
        self.open_at("/rtc/v1", query).await
    }

    /// The same at another path.
    pub(crate) async fn open_at(&self, path: &str, query: &str) -> Result<Participant, u16> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://{}{path}?{query}", self.address);
        match timeout(PATIENCE, client_async(url, stream)).await.expect("an answer") {
            Ok((socket, _)) => Ok(Participant { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One signalling client.
pub(crate) struct Participant {
    socket: WebSocketStream<TcpStream>,
}

impl Participant {
    pub(crate) async fn send(&mut self, request: &SignalRequest) {
        self.send_raw(Message::Binary(request.encode_to_vec().into())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        // The server may already have closed: what it said about that is still to be read.
        let _ = timeout(PATIENCE, self.socket.send(message)).await.expect("the server reads");
    }

    /// The next frame that is no ping.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame")? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(_) => return None,
            }
        }
    }

    /// Waits for a ping of the server.
    pub(crate) async fn ping(&mut self) {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a ping") {
                Some(Ok(Message::Ping(_))) => return,
                Some(Ok(_)) => {}
                end => panic!("the connection ended instead of pinging: {end:?}"),
            }
        }
    }

    /// The next message, which must be protobuf.
    pub(crate) async fn message(&mut self) -> signal_response::Message {
        match self.frame().await {
            Some(Message::Binary(bytes)) => {
                SignalResponse::decode(bytes).unwrap().message.expect("a known kind")
            }
            other => panic!("no message but {other:?}"),
        }
    }

    /// Reads on until a message for which `wanted` says yes.
    pub(crate) async fn until(
        &mut self,
        wanted: impl Fn(&signal_response::Message) -> bool,
    ) -> signal_response::Message {
        loop {
            let message = self.message().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Reads on until the end; what the server said about it.
    pub(crate) async fn end(&mut self) -> Option<CloseFrame> {
        loop {
            match self.frame().await {
                Some(Message::Close(reason)) => return reason,
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// A token of the tests' key, valid for a minute.
pub(crate) fn token(room: &str, identity: &str) -> String {
    token_until(room, identity, 60)
}

/// A token of the tests' key for what `change` makes of the grant, valid for a minute.
pub(crate) fn token_with(room: &str, identity: &str, change: impl FnOnce(&mut Grant)) -> String {
    let mut grant = Grant::new(Identity::new(identity), identity, RoomName::new(room));
    change(&mut grant);
    sign(&grant, 60)
}

/// A token of the tests' key that ends in so many seconds.
pub(crate) fn token_until(room: &str, identity: &str, seconds: i64) -> String {
    sign(&Grant::new(Identity::new(identity), identity, RoomName::new(room)), seconds)
}

fn sign(grant: &Grant, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new(KEY), ApiSecret::new(SECRET));
    let expires = UnixTime(now.checked_add_signed(seconds).unwrap());
    keys.sign(grant, UnixTime(now), expires).unwrap()
}

/// A token of the tests' key for the server API, valid for a minute.
pub(crate) fn api_token(grant: &ApiGrant) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new(KEY), ApiSecret::new(SECRET));
    keys.sign_api(grant, UnixTime(now), UnixTime(now + 60)).unwrap()
}

/// The value of the query parameter, without an offer.
pub(crate) fn join_request() -> String {
    wrapped(&JoinRequest::default())
}

/// The value of the query parameter for this request.
pub(crate) fn wrapped(request: &JoinRequest) -> String {
    let join_request = request.encode_to_vec();
    let wrapped = WrappedJoinRequest { compression: 0, join_request };
    let mut bytes = wrapped.encode_to_vec();
    if bytes.is_empty() {
        // It would make an empty parameter; this says that the request is empty.
        bytes.extend([0x12, 0x00]);
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
