//! `livekit.AgentDispatchService`: which agents are wanted in a room, for the room's administrators.

use livekit_protocol as proto;
use roomful_sfu::administration::{Administration, RoomRequest};
use roomful_sfu::ids::{DispatchId, RoomName};
use roomful_sfu::token::ApiGrant;

use super::TwirpError;
use super::message::Message;

pub(super) const NAME: &str = "livekit.AgentDispatchService";

/// Every method it has.
pub(super) const METHODS: &[&str] = &["CreateDispatch", "DeleteDispatch", "ListDispatch"];

/// What `method`, called with `message`, asks for.
pub(super) fn administration(
    method: &str,
    message: &Message<'_>,
    grant: &ApiGrant,
) -> Result<Administration, TwirpError> {
    let (room, request) = match method {
        "CreateDispatch" => {
            let request: proto::CreateAgentDispatchRequest = message.decode()?;
            (request.room.clone(), RoomRequest::CreateDispatch(Box::new(request)))
        }
        "DeleteDispatch" => {
            let request: proto::DeleteAgentDispatchRequest = message.decode()?;
            (request.room, RoomRequest::DeleteDispatch(DispatchId::new(request.dispatch_id)))
        }
        "ListDispatch" => {
            let request: proto::ListAgentDispatchRequest = message.decode()?;
            let only = Some(request.dispatch_id).filter(|id| !id.is_empty());
            (request.room, RoomRequest::ListDispatches(only.map(DispatchId::new)))
        }
        other => return Err(TwirpError::unimplemented(format!("{NAME} has no method {other}"))),
    };
    let room = RoomName::new(room);
    if !grant.may_administer(&room) {
        return Err(TwirpError::denied());
    }
    Ok(Administration::InRoom(room, request))
}
