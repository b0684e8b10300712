//! The WebSocket of a participant: opened and written here, read by `tungstenite`.
//!
//! The library copies what it writes into a buffer that stays as large as the largest message for as long as the
//! connection lasts. The largest one is the welcome, which names everyone in the room: in a room of hundreds that buffer
//! was most of what a participant cost. A server's frames are not masked (RFC 6455 §5.1), and whole messages need no
//! fragments (§5.4): so a frame is a short header and the bytes as they are, which many connections may share.

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf as _;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use roomful_sfu::frame::{EncodedFrame, MAX_FRAME_BYTES};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The transport's own limit, above the protocol's: frames in between are read and answered with
/// a reason; beyond it the connection may just break, since the rest is never read. Larger lets one connection
/// take more memory, smaller leaves honest mistakes without their reason.
const TRANSPORT_FRAME_LIMIT: usize = 16 * MAX_FRAME_BYTES;

/// Bytes set aside for each connection to read into, and read at a time. Most messages are shorter; larger, and every
/// participant costs memory whether it talks or not (the library's own choice is 128 KiB), smaller costs a long offer
/// more system calls.
const READ_BUFFER: usize = 1024;

/// What is added to a key to prove that a server knows the protocol (RFC 6455 §1.3).
const PROOF: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bit that ends a message, and the kinds of frames (RFC 6455 §5.2).
const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const PING: u8 = 0x9;

/// A request that asks to become a WebSocket.
pub(crate) struct Upgrade {
    accept: HeaderValue,
    upgrading: OnUpgrade,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = StatusCode;

    /// The conditions are those of RFC 6455 §4.2.1.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let headers = &parts.headers;
        let asks = has_token(headers, &header::CONNECTION, "upgrade")
            && has_token(headers, &header::UPGRADE, "websocket")
            && has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13");
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks);
        let accept = key.and_then(accept).ok_or(StatusCode::BAD_REQUEST)?;
        let upgrading = parts.extensions.remove::<OnUpgrade>();
        Ok(Self { accept, upgrading: upgrading.ok_or(StatusCode::BAD_REQUEST)? })
    }
}

impl Upgrade {
    /// The answer that opens the WebSocket; `serve` gets it.
    pub(crate) fn serve<F>(self, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(async move {
            match self.upgrading.await {
                // As a task of its own: this one holds what the connection needs only to begin.
                Ok(upgraded) => {
                    let socket = Socket::new(TokioIo::new(upgraded)).await;
                    tokio::spawn(serve(socket));
                }
                Err(error) => tracing::debug!(%error, "a WebSocket was asked for and not opened"),
            }
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

/// See the module text.
pub(crate) struct Socket<S = TokioIo<Upgraded>> {
    inner: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_frame_size(Some(TRANSPORT_FRAME_LIMIT))
            .max_message_size(Some(TRANSPORT_FRAME_LIMIT));
        Self { inner: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await }
    }

    /// The next message; `None` once it is closed. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// The connection broke, or its other end broke the protocol.
    pub(crate) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        self.inner.next().await
    }

    /// Writes one frame. Dropped before it is done, it leaves the connection unusable.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn send(&mut self, frame: Outbound) -> Result<(), Error> {
        // The library may hold an answer to a ping, or half of one.
        self.inner.flush().await?;
        let (header, length) = header(frame.kind, frame.payload.len());
        let mut bytes = header[..length].chain(frame.payload);
        let stream = self.inner.get_mut();
        stream.write_all_buf(&mut bytes).await?;
        Ok(stream.flush().await?)
    }

    /// Says goodbye: nothing may be sent after that.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn close(&mut self, why: CloseFrame) -> Result<(), Error> {
        self.inner.close(Some(why)).await
    }
}

/// One frame to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outbound {
    kind: u8,
    payload: Bytes,
}

impl Outbound {
    pub(crate) const fn ping() -> Self {
        Self { kind: PING, payload: Bytes::new() }
    }

    #[cfg(test)]
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }
}

impl From<EncodedFrame> for Outbound {
    fn from(frame: EncodedFrame) -> Self {
        match frame {
            EncodedFrame::Binary(bytes) => Self { kind: BINARY, payload: bytes.into() },
            EncodedFrame::Text(text) => Self { kind: TEXT, payload: text.into() },
        }
    }
}

/// The header of a whole, unmasked frame and its length (RFC 6455 §5.2).
fn header(kind: u8, payload: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = FINAL | kind;
    let length = match u16::try_from(payload) {
        Ok(payload @ ..126) => {
            header[1] = payload.to_be_bytes()[1];
            2
        }
        Ok(payload) => {
            header[1] = 126;
            header[2..4].copy_from_slice(&payload.to_be_bytes());
            4
        }
        Err(_) => {
            header[1] = 127;
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (header, length)
}

/// Whether a header that lists tokens names one, however it is written.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// What proves to whoever sent `key` that it was understood (RFC 6455 §4.2.2).
fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(PROOF);
    HeaderValue::from_str(&STANDARD.encode(digest.finish())).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};
    use tokio::time::timeout;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    /// A socket and the client at its other end, with `room` bytes on the way between them.
    async fn pair(room: usize) -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (here, there) = duplex(room);
        let client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        (Socket::new(here).await, client)
    }

    fn binary(length: usize) -> Outbound {
        EncodedFrame::Binary(vec![7; length]).into()
    }

    #[test]
    fn the_proof_is_that_of_the_standards_example() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn upgrades_are_asked_for_in_lists_and_any_case() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has_token(&headers, &header::CONNECTION, "upgrade"));
        assert!(!has_token(&headers, &header::CONNECTION, "grade"));
        assert!(!has_token(&headers, &header::UPGRADE, "websocket"));
    }

    #[tokio::test]
    async fn messages_of_every_length_arrive_whole_even_in_small_pieces() {
        let (mut socket, mut client) = pair(100).await;
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 300_000];
        let send = async {
            for length in lengths {
                socket.send(binary(length)).await.unwrap();
            }
        };
        let receive = async {
            for length in lengths {
                let message = client.next().await.unwrap().unwrap();
                assert_eq!(message, Message::binary(vec![7; length]), "{length}");
            }
        };
        timeout(Duration::from_secs(10), async { tokio::join!(send, receive) }).await.unwrap();
    }

    #[tokio::test]
    async fn text_travels_as_text() {
        let (mut socket, mut client) = pair(1_000).await;
        socket.send(EncodedFrame::Text("hällo".into()).into()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("hällo"));
    }

    #[tokio::test]
    async fn answers_to_pings_stand_between_messages_never_within() {
        let (mut socket, mut client) = pair(64).await;
        let serve = async {
            for _ in 0..50 {
                let ping = socket.recv().await.unwrap().unwrap();
                assert!(ping.is_ping(), "{ping:?}");
                socket.send(binary(200)).await.unwrap();
            }
            socket.send(Outbound::ping()).await.unwrap();
        };
        let ask = async {
            let (mut pongs, mut messages) = (0, 0);
            for number in 0..50_u8 {
                client.send(Message::Ping(vec![number].into())).await.unwrap();
                while messages <= number {
                    match client.next().await.unwrap().unwrap() {
                        Message::Pong(_) => pongs += 1,
                        Message::Binary(bytes) => {
                            assert_eq!(bytes, vec![7; 200]);
                            messages += 1;
                        }
                        other => panic!("not expected: {other:?}"),
                    }
                }
            }
            assert!(client.next().await.unwrap().unwrap().is_ping());
            pongs
        };
        let both = timeout(Duration::from_secs(10), async { tokio::join!(serve, ask) });
        assert_eq!(both.await.unwrap().1, 50);
    }

    #[tokio::test]
    async fn the_goodbye_says_why() {
        let (mut socket, mut client) = pair(1_000).await;
        let why = CloseFrame { code: CloseCode::Policy, reason: "read faster".into() };
        socket.send(binary(10)).await.unwrap();
        socket.close(why.clone()).await.unwrap();
        client.next().await.unwrap().unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(why)));
    }
}
