//! One WebSocket frame ⇄ one signalling message.
//!
//! Binary frames carry protobuf, text frames LiveKit's JSON mapping of it. The server answers in
//! the encoding of the last frame it received, and in protobuf before the first one.

use livekit_protocol::{SignalRequest, SignalResponse};
use prost::Message as _;

/// Largest frame accepted from a client, in bytes. The largest honest message is a metadata update
/// (LiveKit's limit for metadata is 512 KiB) or the offer of a room with hundreds of tracks
/// (about 1 KiB a section): both fit. Larger, and one participant can make the server hold that
/// much per connection; smaller, and big rooms fail to renegotiate.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// A frame as it came off a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Protobuf.
    Binary(&'a [u8]),
    /// JSON.
    Text(&'a str),
}

impl Frame<'_> {
    /// How its sender wants to be answered.
    pub fn encoding(&self) -> Encoding {
        match self {
            Frame::Binary(_) => Encoding::Protobuf,
            Frame::Text(_) => Encoding::Json,
        }
    }

    /// Payload length in bytes.
    pub fn byte_len(&self) -> usize {
        match self {
            Frame::Binary(bytes) => bytes.len(),
            Frame::Text(text) => text.len(),
        }
    }
}

/// How messages of one connection travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Text frames.
    Json,
    /// Binary frames.
    #[default]
    Protobuf,
}

/// A frame to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodedFrame {
    /// Protobuf.
    Binary(Vec<u8>),
    /// JSON.
    Text(String),
}

/// Why a frame is no message. The text goes to whoever sent it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A text frame that is not the JSON of a signalling request.
    #[error("text frame is not the JSON of a SignalRequest: {0}")]
    Json(serde_json::Error),
    /// A binary frame that is not the protobuf of a signalling request.
    #[error("binary frame is not the protobuf of a SignalRequest: {0}")]
    Protobuf(prost::DecodeError),
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("frame of {size} bytes: the limit is {MAX_FRAME_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// A well-formed request of a kind this server does not know (or of no kind at all): newer
    /// clients send such, so it is no reason to close the connection.
    #[error("signalling request of a kind this server does not know")]
    UnknownKind,
}

/// Reads one request. Unknown fields inside a known kind are skipped, as protobuf demands.
pub fn decode(frame: Frame<'_>) -> Result<SignalRequest, FrameError> {
    if frame.byte_len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge { size: frame.byte_len() });
    }
    let request = match frame {
        Frame::Binary(bytes) => SignalRequest::decode(bytes).map_err(FrameError::Protobuf)?,
        Frame::Text(text) => serde_json::from_str(text).map_err(FrameError::Json)?,
    };
    if request.message.is_none() {
        return Err(FrameError::UnknownKind);
    }
    Ok(request)
}

/// Writes one response. Fails only where JSON cannot hold a value that protobuf can (an enum
/// number without a name), which no message of this server contains.
pub fn encode(response: &SignalResponse, encoding: Encoding) -> Result<EncodedFrame, FrameError> {
    match encoding {
        Encoding::Json => {
            serde_json::to_string(response).map(EncodedFrame::Text).map_err(FrameError::Json)
        }
        Encoding::Protobuf => Ok(EncodedFrame::Binary(response.encode_to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_protocol::{Ping, Pong, SimulateScenario, signal_request, signal_response};

    #[test]
    fn a_binary_frame_is_protobuf() {
        let bytes = ping().encode_to_vec();
        assert_eq!(decode(Frame::Binary(&bytes)).unwrap(), ping());
    }

    #[test]
    fn a_text_frame_is_json_with_either_spelling_of_a_name() {
        for text in [
            r#"{"pingReq":{"timestamp":"5","rtt":"7"}}"#,
            r#"{"ping_req":{"timestamp":5,"rtt":7}}"#,
        ] {
            assert_eq!(decode(Frame::Text(text)).unwrap(), ping(), "{text}");
        }
    }

    #[test]
    fn responses_come_in_the_encoding_asked_for() {
        let pong = Pong { last_ping_timestamp: 5, timestamp: 9 };
        let message = signal_response::Message::PongResp(pong);
        let response = SignalResponse { message: Some(message) };
        assert_eq!(
            encode(&response, Encoding::Json).unwrap(),
            EncodedFrame::Text(r#"{"pongResp":{"lastPingTimestamp":"5","timestamp":"9"}}"#.into())
        );
        assert_eq!(
            encode(&response, Encoding::default()).unwrap(),
            EncodedFrame::Binary(response.encode_to_vec())
        );
    }

    #[test]
    fn an_unknown_kind_is_told_from_a_malformed_frame() {
        // Field 900, length-delimited, empty: a kind of the future.
        let future = [0xA2, 0x38, 0x00];
        assert!(matches!(decode(Frame::Binary(&future)), Err(FrameError::UnknownKind)));
        assert!(matches!(decode(Frame::Binary(&[])), Err(FrameError::UnknownKind)));
        let future = r#"{"teleport":{"to":"garden"}}"#;
        assert!(matches!(decode(Frame::Text(future)), Err(FrameError::UnknownKind)));
    }

    #[test]
    fn malformed_frames_are_named_by_their_encoding() {
        assert!(matches!(decode(Frame::Binary(&[0xFF; 64])), Err(FrameError::Protobuf(_))));
        for text in ["", "nonsense", "[]", "{\"offer\":7}", "{\"offer\":", &"[".repeat(100_000)] {
            assert!(matches!(decode(Frame::Text(text)), Err(FrameError::Json(_))));
        }
    }

    #[test]
    fn the_limit_is_exact() {
        let padded = |size: usize| {
            let json = r#"{"pingReq":{"timestamp":"5","rtt":"7"}}"#;
            format!("{json}{}", " ".repeat(size - json.len()))
        };
        assert!(decode(Frame::Text(&padded(MAX_FRAME_BYTES))).is_ok());
        assert!(matches!(
            decode(Frame::Text(&padded(MAX_FRAME_BYTES + 1))),
            Err(FrameError::TooLarge { size }) if size == MAX_FRAME_BYTES + 1
        ));
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let mut nested = SignalRequest {
            message: Some(signal_request::Message::Simulate(SimulateScenario { scenario: None })),
        }
        .encode_to_vec();
        // Groups within groups (wire type 3), the deepest thing a small frame can say.
        nested.extend(std::iter::repeat_n([0xA3, 0x38], 400_000).flatten());
        assert!(matches!(decode(Frame::Binary(&nested)), Err(FrameError::Protobuf(_))));
    }

    fn ping() -> SignalRequest {
        let ping = Ping { timestamp: 5, rtt: 7 };
        SignalRequest { message: Some(signal_request::Message::PingReq(ping)) }
    }
}
