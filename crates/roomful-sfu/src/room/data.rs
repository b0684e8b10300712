//! Data messages between participants.

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message;
use proto::data_packet::Value;
use proto::leave_request::Action;

use super::Room;
use crate::ids::{Identity, ParticipantId};
use crate::participant::Participant;
use crate::transport::{Channel, Delivery};

impl Room {
    /// Forwards a data message to those it names, or to everyone else, on the channel it came by. The sender
    /// is written into it here: nobody can speak in another's name.
    pub(super) fn forward_data(
        &mut self,
        from: ParticipantId,
        channel: Channel,
        message: &[u8],
        now: Instant,
    ) {
        let Some(sender) = self.participants.get(&from) else { return };
        if !sender.grant.permissions.can_publish_data {
            tracing::debug!(participant = from.0, "a data message without the right to send any");
            return;
        }
        let Ok(mut packet) = proto::DataPacket::decode(message) else {
            tracing::debug!(
                participant = from.0,
                bytes = message.len(),
                "a malformed data message"
            );
            return;
        };
        // Who talks is this server's to say.
        #[expect(deprecated, reason = "clients still believe it")]
        if matches!(packet.value, Some(Value::Speaker(_))) {
            return;
        }
        sign(&mut packet, sender);
        let recipients = recipients(&packet);
        let message = packet.encode_to_vec();
        for other in self.others(from) {
            let Some(recipient) = self.participants.get_mut(&other) else { continue };
            if recipients.is_empty() || recipients.contains(&recipient.grant.identity) {
                self.send_data(other, channel, &message, now);
            }
        }
    }

    fn send_data(&mut self, to: ParticipantId, channel: Channel, message: &[u8], now: Instant) {
        let Some(recipient) = self.participants.get_mut(&to) else { return };
        self.touched.push(to);
        match channel {
            // Lossy: a message for which there is no room is gone.
            Channel::Lossy => {
                let _: Delivery = recipient.transport.send_data(channel, message);
            }
            Channel::Reliable => {
                if !recipient.send_reliable(message) {
                    tracing::info!(
                        participant = to.0,
                        "cannot keep up with data: sent to reconnect"
                    );
                    let reason = proto::DisconnectReason::ConnectionTimeout;
                    self.remove(to, reason, Some(Action::Reconnect), now);
                }
            }
        }
    }
}

#[expect(deprecated, reason = "older clients read sender and kind inside")]
fn sign(packet: &mut proto::DataPacket, sender: &Participant) {
    packet.participant_identity = sender.profile.identity.clone();
    packet.participant_sid = sender.profile.sid.clone();
    if let Some(Value::User(user)) = &mut packet.value {
        user.participant_identity = sender.profile.identity.clone();
        user.participant_sid = sender.profile.sid.clone();
    }
}

#[expect(deprecated, reason = "older clients name recipients inside")]
fn recipients(packet: &proto::DataPacket) -> Vec<Identity> {
    let inside = match &packet.value {
        Some(Value::User(user)) => user.destination_identities.as_slice(),
        _ => &[],
    };
    packet.destination_identities.iter().chain(inside).map(Identity::new).collect()
}
