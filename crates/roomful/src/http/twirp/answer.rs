//! Bodies of answers. In JSON they look as LiveKit's do: names as in the `.proto` files, and what is empty is written,
//! too, because scripts look for it.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use livekit_protocol as proto;
use roomful_sfu::administration::Reply;
use serde::Serialize;

use super::TwirpError;
use super::json_defaults::{self as shapes, Shape};
use super::message::Encoding;

/// The answer to a request in `encoding`.
pub(super) fn encode(reply: Reply, encoding: Encoding) -> Result<Response, TwirpError> {
    let body = match reply {
        Reply::Room(room) => body(&*room, &shapes::ROOM, encoding),
        Reply::Rooms(rooms) => body(&proto::ListRoomsResponse { rooms }, &shapes::ROOMS, encoding),
        Reply::Participants(participants) => {
            let list = proto::ListParticipantsResponse { participants };
            body(&list, &shapes::PARTICIPANTS, encoding)
        }
        Reply::Participant(participant) => body(&*participant, &shapes::PARTICIPANT, encoding),
        Reply::Track(track) => {
            let track = proto::MuteRoomTrackResponse { track: Some(*track) };
            body(&track, &shapes::TRACK_RESPONSE, encoding)
        }
        Reply::Payload(payload) => {
            body(&proto::PerformRpcResponse { payload }, &shapes::PAYLOAD, encoding)
        }
        Reply::Dispatch(dispatch) => body(&*dispatch, &shapes::DISPATCH, encoding),
        Reply::Dispatches(agent_dispatches) => {
            let list = proto::ListAgentDispatchResponse { agent_dispatches };
            body(&list, &shapes::DISPATCHES, encoding)
        }
        // The answers that say nothing are all alike.
        Reply::Done => body(&proto::SendDataResponse {}, &shapes::EMPTY, encoding),
    }?;
    Ok(([(header::CONTENT_TYPE, encoding.content_type())], body).into_response())
}

fn body<M>(message: &M, shape: &Shape, encoding: Encoding) -> Result<Vec<u8>, TwirpError>
where
    M: prost::Message + Serialize,
{
    match encoding {
        Encoding::Protobuf => Ok(message.encode_to_vec()),
        Encoding::Json => serde_json::to_value(message)
            .and_then(|value| serde_json::to_vec(&shape.complete(value)))
            .map_err(|error| TwirpError::internal(error.to_string())),
    }
}
