//! Data messages between participants.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;
use proto::participant_info;

use super::Room;
use crate::ids::{ParticipantId, ParticipantSid};
use crate::link::{LinkId, Told};
use crate::participant::{DataState, Participant};
use crate::transport::Channel;

impl Room {
    /// Forwards a data message to those it names, or to everyone else, on the channel it came by.
    pub(super) fn forward_data(
        &mut self,
        from: ParticipantId,
        channel: Channel,
        message: &[u8],
        now: Instant,
    ) {
        let Some(sender) = self.participants.get_mut(&from) else { return };
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
        if channel == Channel::Reliable && !sender.data.is_next(packet.sequence) {
            tracing::debug!(participant = from.0, "a repeated data message");
            return;
        }
        if self.handle_answer(from, &packet) {
            return;
        }
        self.tell_gathered_of(from, now);
        let Some(sender) = self.participants.get(&from) else { return };
        let Some(readers) = readers(&packet, sender) else { return };
        sign(&mut packet, sender);
        set_channel(&mut packet, channel);
        let named = Recipients::of(&packet);
        let message: Arc<[u8]> = packet.encode_to_vec().into();
        let recipients: Vec<ParticipantId> = self
            .participants
            .values()
            .filter(|one| readers.include(one, from) && named.include(one))
            .map(|one| one.id)
            .collect();
        let for_observers = matches!(readers, Readers::Observers);
        let for_everyone = !for_observers && named.is_everyone();
        let parcel = Parcel { channel, message: &message, for_observers, for_everyone };
        self.deliver(&recipients, parcel, None, now);
        if for_everyone {
            self.deliver_to_appearances(from, channel, &message);
        }
    }

    /// Delivers a message of somebody behind `link`, which its own part has judged and signed.
    pub(super) fn forward_from_link(
        &mut self,
        link: LinkId,
        channel: Channel,
        message: &Arc<[u8]>,
        for_observers: bool,
        now: Instant,
    ) {
        let Ok(packet) = proto::DataPacket::decode(&message[..]) else { return };
        let readers = if for_observers { Readers::Observers } else { Readers::Others };
        let named = Recipients::of(&packet);
        let recipients: Vec<ParticipantId> = self
            .participants
            .values()
            // The sender is behind the link.
            .filter(|one| readers.include(one, ParticipantId(u64::MAX)) && named.include(one))
            .map(|one| one.id)
            .collect();
        let for_everyone = !for_observers && named.is_everyone();
        let parcel = Parcel { channel, message, for_observers, for_everyone };
        self.deliver(&recipients, parcel, Some(link), now);
        if for_everyone {
            let sender = ParticipantSid::new(packet.participant_sid);
            if let Some(sender) = self.member_behind(link, &sender) {
                self.deliver_to_appearances(sender, channel, message);
            }
        }
    }

    /// Sends one message to those here, and once over each link behind which anybody is to have it. What is for everyone
    /// goes to the home in any case, which knows in what other rooms its sender is a guest.
    pub(super) fn deliver(
        &mut self,
        recipients: &[ParticipantId],
        parcel: Parcel<'_>,
        from: Option<LinkId>,
        now: Instant,
    ) {
        let Parcel { channel, message, for_observers, for_everyone } = parcel;
        let mut links: BTreeSet<LinkId> =
            self.links.home.into_iter().filter(|_| for_everyone).collect();
        for recipient in recipients {
            match self.participants.get(recipient).map(Participant::link) {
                // Nothing is for guests.
                Some(Some(link)) if self.links.guests.contains(&link) => {}
                Some(Some(link)) => {
                    links.insert(link);
                }
                Some(None) => self.send_data(*recipient, channel, message, now),
                None => {}
            }
        }
        for link in links.into_iter().filter(|link| Some(*link) != from) {
            self.tell_link(
                link,
                Told::Data { channel, message: Arc::clone(message), for_observers },
            );
        }
    }

    /// Sends one message, as far as its recipient keeps up.
    pub(super) fn send_data(
        &mut self,
        to: ParticipantId,
        channel: Channel,
        message: &Arc<[u8]>,
        now: Instant,
    ) {
        let Some(recipient) = self.participants.get_mut(&to) else { return };
        recipient.send_data(channel, message, &self.terms.data, now);
        self.touched.push(to);
    }
}

/// A data message ready to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parcel<'a> {
    pub(super) channel: Channel,
    pub(super) message: &'a Arc<[u8]>,
    /// Only for those who may read metrics.
    pub(super) for_observers: bool,
    /// It names nobody.
    pub(super) for_everyone: bool,
}

/// Who reads messages of a kind at all.
enum Readers {
    /// Everyone but the sender.
    Others,
    /// Whoever may read metrics, the sender too.
    Observers,
}

impl Readers {
    fn include(&self, participant: &Participant, sender: ParticipantId) -> bool {
        match self {
            Self::Others => participant.id != sender,
            Self::Observers => participant.grant.permissions.can_subscribe_metrics,
        }
    }
}

/// Those who read `packet`; `None` if nobody shall. Only agents transcribe, and who talks is this server's to say.
#[expect(deprecated, reason = "clients still believe who talks")]
fn readers(packet: &proto::DataPacket, sender: &Participant) -> Option<Readers> {
    match packet.value {
        None | Some(Value::Speaker(_)) => None,
        Some(Value::Transcription(_)) if !sender.is_agent() => None,
        Some(Value::Metrics(_)) => Some(Readers::Observers),
        Some(_) => Some(Readers::Others),
    }
}

/// Writes the sender into the packet: nobody can speak in another's name, but for agents, who may write what others
/// said; that is marked. Someone hidden has no name.
#[expect(deprecated, reason = "older clients read sender and recipients inside")]
fn sign(packet: &mut proto::DataPacket, sender: &Participant) {
    let hidden = sender.grant.permissions.hidden;
    let own = |text: &String| if hidden { String::new() } else { text.clone() };
    let (identity, sid) = (own(&sender.profile.identity), own(&sender.profile.sid));
    let claims_another =
        !packet.participant_identity.is_empty() && packet.participant_identity != identity;
    let for_another = sender.is_agent() && claims_another && mark_generated(packet);
    // Receivers count numbered messages by it, so it stays even where the name is hidden.
    packet.participant_sid = sender.profile.sid.clone();
    if !for_another {
        packet.participant_identity.clone_from(&identity);
    }
    if let Some(Value::User(user)) = &mut packet.value {
        user.participant_identity = identity;
        user.participant_sid = sid;
        if packet.destination_identities.is_empty() {
            packet.destination_identities.clone_from(&user.destination_identities);
        } else {
            user.destination_identities.clone_from(&packet.destination_identities);
        }
    }
}

/// Marks text as made by a machine. `false`: it is nothing an agent may write for another.
fn mark_generated(packet: &mut proto::DataPacket) -> bool {
    match &mut packet.value {
        Some(Value::ChatMessage(chat)) => {
            chat.generated = true;
            true
        }
        Some(Value::StreamHeader(header)) => match &mut header.content_header {
            Some(ContentHeader::TextHeader(text)) => {
                text.generated = true;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The channel a message came by decides, not what it says.
#[expect(deprecated, reason = "older clients read it")]
fn set_channel(packet: &mut proto::DataPacket, channel: Channel) {
    packet.kind = match channel {
        Channel::Reliable => Kind::Reliable.into(),
        Channel::Lossy | Channel::DataTrack => Kind::Lossy.into(),
    };
}

/// Whom a message names; nobody is everybody.
struct Recipients {
    identities: Vec<String>,
    sids: Vec<String>,
}

impl Recipients {
    #[expect(deprecated, reason = "older clients name recipients by sid")]
    fn of(packet: &proto::DataPacket) -> Self {
        let sids = match &packet.value {
            Some(Value::User(user)) => user.destination_sids.clone(),
            _ => Vec::new(),
        };
        Self { identities: packet.destination_identities.clone(), sids }
    }

    fn is_everyone(&self) -> bool {
        self.identities.is_empty() && self.sids.is_empty()
    }

    fn include(&self, participant: &Participant) -> bool {
        self.is_everyone()
            || self.identities.contains(&participant.profile.identity)
            || self.sids.contains(&participant.profile.sid)
    }
}

impl Participant {
    fn is_agent(&self) -> bool {
        self.grant.permissions.agent || self.grant.kind == participant_info::Kind::Agent
    }
}

impl DataState {
    /// Whether a reliable message of that number was not passed on before; one without a number (0) never was.
    fn is_next(&mut self, sequence: u32) -> bool {
        let is_next = sequence == 0 || sequence > self.last_sequence;
        self.last_sequence = self.last_sequence.max(sequence);
        is_next
    }
}
