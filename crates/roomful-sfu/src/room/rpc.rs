//! Methods of participants called by the server API: LiveKit's RPC over data messages, this server being the caller.
//!
//! A call is a request, an acknowledgement that it arrived, and a response. The caller is named by the call's own id,
//! which nobody else knows: so the participant's answers name it as their recipient, and are told from those it gives
//! to other participants.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::data_packet::{Kind, Value};
use proto::rpc_response;

use super::{Room, Timer};
use crate::administration::{AdministrationError, Reply, RequestId, RpcError};
use crate::ids::{Identity, ParticipantId};
use crate::transport::Channel;

/// How long the acknowledgement may take. Longer makes applications wait for participants who cannot answer, shorter
/// gives up people on slow networks. LiveKit's own value.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// How long the response may take if the caller does not say. LiveKit's own value.
const DEFAULT_RESPONSE_TIMEOUT_MS: u32 = 10_000;

/// Largest payload, in bytes: LiveKit's limit, which clients keep too.
const MAX_PAYLOAD: usize = 15_360;

/// Calls one room may wait for at a time. Each is a few hundred bytes for as long as its caller allows; fewer refuse a
/// program that asks everyone in a hall at once.
const MAX_CALLS: usize = 2_000;

/// The only version of the messages there is.
const VERSION: u32 = 1;

/// Calls without a response yet.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<RequestId, Call>);

#[derive(Debug)]
struct Call {
    id: String,
    of: ParticipantId,
    is_acknowledged: bool,
    response_due: Instant,
}

impl Room {
    /// Sends the request; the reply comes when the participant has answered, left, or taken too long.
    pub(super) fn perform_rpc(
        &mut self,
        request: RequestId,
        call: &proto::PerformRpcRequest,
        now: Instant,
    ) -> Result<(), AdministrationError> {
        let of = self.called(&Identity::new(call.destination_identity.clone()))?;
        if call.payload.len() > MAX_PAYLOAD {
            let code = RpcError::REQUEST_PAYLOAD_TOO_LARGE;
            return Err(RpcError::new(code, "Request payload too large").into());
        }
        if self.outside.calls.0.len() >= MAX_CALLS {
            return Err(RpcError::new(RpcError::SEND_FAILED, "Failed to send").into());
        }
        let timeout = match call.response_timeout_ms {
            0 => DEFAULT_RESPONSE_TIMEOUT_MS,
            said => said,
        };
        let response_due = now + Duration::from_millis(timeout.into());
        let id = crate::sids::make("RPC_", &mut self.rng);
        let packet = request_packet(&id, call, timeout);
        let message = prost::Message::encode_to_vec(&packet).into();
        self.send_data(of, Channel::Reliable, &message, now);
        self.outside.calls.0.insert(request, Call { id, of, is_acknowledged: false, response_due });
        let due = response_due.min(now + ACKNOWLEDGED_WITHIN);
        self.timers.set(Timer::Call(request), Some(due));
        Ok(())
    }

    /// Takes a message that answers a call of this server. `false`: it is for somebody else.
    pub(super) fn handle_answer(
        &mut self,
        from: ParticipantId,
        packet: &proto::DataPacket,
    ) -> bool {
        let (id, outcome) = match &packet.value {
            Some(Value::RpcAck(ack)) => (&ack.request_id, None),
            Some(Value::RpcResponse(response)) => (&response.request_id, Some(outcome(response))),
            _ => return false,
        };
        let calls = &mut self.outside.calls.0;
        let found = calls.iter_mut().find(|(_, call)| call.of == from && call.id == *id);
        let Some((request, call)) = found else { return false };
        let request = *request;
        match outcome {
            None => {
                call.is_acknowledged = true;
                self.timers.set(Timer::Call(request), Some(call.response_due));
            }
            Some(outcome) => self.end_call(request, outcome),
        }
        true
    }

    /// A call took too long.
    pub(super) fn give_call_up(&mut self, request: RequestId) {
        let Some(call) = self.outside.calls.0.get(&request) else { return };
        let error = if call.is_acknowledged {
            RpcError::new(RpcError::RESPONSE_TIMEOUT, "Response timeout")
        } else {
            RpcError::new(RpcError::CONNECTION_TIMEOUT, "Connection timeout")
        };
        self.end_call(request, Err(error));
    }

    /// A participant left: it answers no more.
    pub(super) fn end_calls_of(&mut self, id: ParticipantId) {
        let open: Vec<RequestId> = self
            .outside
            .calls
            .0
            .iter()
            .filter(|(_, call)| call.of == id)
            .map(|(id, _)| *id)
            .collect();
        for request in open {
            let code = RpcError::RECIPIENT_DISCONNECTED;
            self.end_call(request, Err(RpcError::new(code, "Recipient disconnected")));
        }
    }

    fn end_call(&mut self, request: RequestId, outcome: Result<String, RpcError>) {
        self.timers.set(Timer::Call(request), None);
        if self.outside.calls.0.remove(&request).is_some() {
            let outcome = outcome.map(Reply::Payload).map_err(AdministrationError::from);
            self.reply(request, outcome);
        }
    }
}

fn request_packet(id: &str, call: &proto::PerformRpcRequest, timeout: u32) -> proto::DataPacket {
    #[expect(deprecated, reason = "older clients read the kind")]
    proto::DataPacket {
        kind: Kind::Reliable.into(),
        participant_identity: id.to_owned(),
        destination_identities: vec![call.destination_identity.clone()],
        value: Some(Value::RpcRequest(proto::RpcRequest {
            id: id.to_owned(),
            method: call.method.clone(),
            payload: call.payload.clone(),
            response_timeout_ms: timeout,
            version: VERSION,
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn outcome(response: &proto::RpcResponse) -> Result<String, RpcError> {
    match &response.value {
        Some(rpc_response::Value::Payload(payload)) => Ok(payload.clone()),
        Some(rpc_response::Value::Error(error)) => Err(RpcError {
            code: error.code,
            message: error.message.clone(),
            data: error.data.clone(),
        }),
        // Nothing compressed was asked with.
        Some(rpc_response::Value::CompressedPayload(_)) => {
            Err(RpcError::new(RpcError::UNSUPPORTED_VERSION, "Unsupported RPC version"))
        }
        None => Ok(String::new()),
    }
}
