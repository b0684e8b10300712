//! `Participant`: one presence of one person or device in one room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use livekit_protocol as proto;
use proto::participant_info::State;

use crate::audience::Audience;
use crate::client::Client;
use crate::data_blobs::DataBlobs;
use crate::ids::{ConnectionId, ParticipantId, TrackSid};
use crate::link::LinkId;
use crate::liveness::Liveness;
use crate::media::SessionKey;
use crate::publication::Publication;
use crate::room::RosterBudget;
use crate::subscription::{ReceivingSections, Subscription};
use crate::token::Grant;
use crate::transport::{Channel, Delivery, Section, Transport};

/// See the module text.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) grant: Grant,
    /// As told to others, but for the tracks.
    pub(crate) profile: proto::ParticipantInfo,
    /// Its WebSocket; `None` while it is being replaced.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) whereabouts: Whereabouts,
    /// Its media.
    pub(crate) session: SessionKey,
    /// Media may flow.
    pub(crate) connected: bool,
    pub(crate) publications: BTreeMap<TrackSid, Publication>,
    pub(crate) subscriptions: BTreeMap<TrackSid, Subscription>,
    pub(crate) receiving: ReceivingSections,
    pub(crate) negotiation: Negotiation,
    /// The program behind it.
    pub(crate) client: Client,
    pub(crate) liveness: Liveness,
    pub(crate) data: DataState,
    pub(crate) roster_budget: RosterBudget,
    pub(crate) access: Access,
}

/// Where a participant's client is connected.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// To this part of the room.
    Here(Box<Transport>),
    /// To another part, reached by this link: what is known of it here was told by that part.
    Beyond(LinkId),
}

/// Who may receive what of whom, as far as it is decided during the call.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Who may receive this participant's tracks.
    pub(crate) audience: Audience,
    /// It decided something else than everyone at some time: others may still believe so.
    pub(crate) was_restricted: bool,
    /// The tracks this participant wants and may not have for now.
    pub(crate) barred: BTreeSet<TrackSid>,
}

/// Where a participant stands with its offers: it alone makes them, so the room asks and waits.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    /// It has offered at least once.
    pub(crate) begun: bool,
    /// An offer was asked for: receiving sections it must have at least, and when.
    pub(crate) asked: Option<(usize, Instant)>,
    /// Announced tracks that wait until one of the same id ends. Counted with the publications, so bounded.
    pub(crate) queued: Vec<proto::AddTrackRequest>,
}

/// What is known of the data a participant sends.
#[derive(Debug, Default)]
pub(crate) struct DataState {
    held: HeldData,
    /// The number of its last reliable message that was passed on; 0 if it numbers none. After a resume it repeats
    /// all since, and none of them is passed on twice.
    pub(crate) last_sequence: u32,
    /// Its reliable channel took a message once.
    opened: bool,
    /// What it left for others to fetch.
    pub(crate) blobs: DataBlobs,
}

/// Reliable messages that a participant's data channel has no room for yet. Lossless: a participant for whom
/// it overflows is sent away to reconnect. Lossy before its channel was ever open: a client without data channels
/// is no slow one.
#[derive(Debug, Default)]
struct HeldData {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// Larger keeps slower participants at the price of memory for each, smaller sends them away in a burst of
/// messages.
const HELD_DATA_BYTES: usize = 1024 * 1024;

impl Participant {
    /// The participant as others should see it now.
    pub(crate) fn info(&self) -> proto::ParticipantInfo {
        let announced = self.publications.values().filter(|track| track.section.is_some());
        proto::ParticipantInfo {
            tracks: announced.map(|track| track.info.clone()).collect(),
            is_publisher: self.is_publisher(),
            ..self.profile.clone()
        }
    }

    /// It publishes something, here or, as another part says, there.
    pub(crate) fn is_publisher(&self) -> bool {
        self.profile.is_publisher || !self.publications.is_empty()
    }

    /// Its transport, if it is connected to this part.
    pub(crate) fn transport(&self) -> Option<&Transport> {
        match &self.whereabouts {
            Whereabouts::Here(transport) => Some(transport),
            Whereabouts::Beyond(_) => None,
        }
    }

    /// The same to be changed.
    pub(crate) fn transport_mut(&mut self) -> Option<&mut Transport> {
        match &mut self.whereabouts {
            Whereabouts::Here(transport) => Some(transport),
            Whereabouts::Beyond(_) => None,
        }
    }

    /// The link behind which it is connected, if not to this part.
    pub(crate) fn link(&self) -> Option<LinkId> {
        match self.whereabouts {
            Whereabouts::Here(_) => None,
            Whereabouts::Beyond(link) => Some(link),
        }
    }

    /// Sends a data message, if it is connected to this part and its channel takes it.
    pub(crate) fn send_data(&mut self, channel: Channel, message: &[u8]) -> Delivery {
        self.transport_mut()
            .map_or(Delivery::Impossible, |transport| transport.send_data(channel, message))
    }

    /// Something others can see changed: clients keep the highest version.
    pub(crate) fn touch(&mut self) {
        self.profile.version = self.profile.version.wrapping_add(1);
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.profile.set_state(state);
        self.touch();
    }

    /// Whether messages wait for room in its data channel.
    pub(crate) fn holds_data(&self) -> bool {
        !self.data.held.messages.is_empty()
    }

    /// The subscription that `section` carried is over.
    pub(crate) fn release(&mut self, section: Section) {
        self.receiving.release(section);
        if let Some(transport) = self.transport_mut() {
            transport.renew_stream(section);
        }
    }

    /// Sends or holds a reliable message. `false`: it cannot keep up.
    #[must_use]
    pub(crate) fn send_reliable(&mut self, message: &[u8]) -> bool {
        self.flush_held_data();
        if self.holds_data() {
            return self.hold(message);
        }
        match self.send_data(Channel::Reliable, message) {
            Delivery::Sent => {
                self.data.opened = true;
                true
            }
            Delivery::Impossible => true,
            Delivery::Later => self.hold(message),
        }
    }

    /// Sends what was held, as far as there is room.
    pub(crate) fn flush_held_data(&mut self) {
        let Whereabouts::Here(transport) = &mut self.whereabouts else { return };
        while let Some(message) = self.data.held.messages.front() {
            match transport.send_data(Channel::Reliable, message) {
                Delivery::Later => return,
                Delivery::Sent => self.data.opened = true,
                Delivery::Impossible => {}
            }
            self.data.held.pop();
        }
    }

    fn hold(&mut self, message: &[u8]) -> bool {
        self.data.held.push(message) || !self.data.opened
    }
}

impl HeldData {
    fn push(&mut self, message: &[u8]) -> bool {
        if self.bytes + message.len() > HELD_DATA_BYTES {
            return false;
        }
        self.bytes += message.len();
        self.messages.push_back(message.to_vec());
        true
    }

    fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.len();
        }
    }
}
