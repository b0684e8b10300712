//! `Participant`: one presence of one person or device in one room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::participant_info::State;

use crate::audience::Audience;
use crate::client::Client;
use crate::codecs::{AllowedCodecs, Codec, EnabledCodecs};
use crate::data_blobs::DataBlobs;
use crate::data_tracks::DataTracks;
use crate::ids::{ConnectionId, ParticipantId, TrackSid};
use crate::link::LinkId;
use crate::liveness::Liveness;
use crate::media::SessionKey;
use crate::outflow::{DataPolicy, Outflow};
use crate::publication::Publication;
use crate::room::RosterBudget;
use crate::subscription::{ReceivingSections, Subscription};
use crate::token::Grant;
use crate::transport::{Channel, Section, Transport};
use crate::transports::{OffersMade, ReceivingTransport, Role, Transports};

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
    /// Its media, or what of it goes by the transport on which its client offers.
    pub(crate) session: SessionKey,
    /// Its primary transport is connected, or once was.
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
    Here(Box<Transports>),
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
    /// The tracks it does not want, or cannot decode: they are given to it only if it asks.
    pub(crate) declined: BTreeSet<TrackSid>,
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

/// What is known of the data a participant sends and is sent.
#[derive(Debug, Default)]
pub(crate) struct DataState {
    /// What it is sent.
    outflow: Outflow,
    /// The number of its last reliable message that was passed on; 0 if it numbers none. After a resume it repeats
    /// all since, and none of them is passed on twice.
    pub(crate) last_sequence: u32,
    /// What it publishes and gets of data tracks.
    pub(crate) tracks: DataTracks,
    /// What it left for others to fetch.
    pub(crate) blobs: DataBlobs,
}

impl Participant {
    /// The participant as others should see it now.
    pub(crate) fn info(&self) -> proto::ParticipantInfo {
        let announced = self.publications.values().filter(|track| track.section.is_some());
        proto::ParticipantInfo {
            tracks: announced.map(|track| track.info.clone()).collect(),
            data_tracks: self.data.tracks.infos(),
            is_publisher: self.is_publisher(),
            ..self.profile.clone()
        }
    }

    /// It publishes something, here or, as another part says, there.
    pub(crate) fn is_publisher(&self) -> bool {
        self.profile.is_publisher
            || !self.publications.is_empty()
            || !self.data.tracks.published.is_empty()
    }

    /// What may be agreed on with it in a room that allows `enabled`.
    pub(crate) fn allowed_codecs(&self, enabled: &EnabledCodecs) -> AllowedCodecs {
        let allowed = AllowedCodecs::new(enabled, &self.client.disabled_codecs());
        match self.client.plays_redundancy() {
            true => allowed,
            false => allowed.without_receiving(Codec::Red),
        }
    }

    /// Its transports, if it is connected to this part.
    pub(crate) fn transports(&self) -> Option<&Transports> {
        match &self.whereabouts {
            Whereabouts::Here(transports) => Some(transports),
            Whereabouts::Beyond(_) => None,
        }
    }

    /// The same to be changed.
    pub(crate) fn transports_mut(&mut self) -> Option<&mut Transports> {
        match &mut self.whereabouts {
            Whereabouts::Here(transports) => Some(transports),
            Whereabouts::Beyond(_) => None,
        }
    }

    /// Its transport of that role.
    pub(crate) fn transport(&self, role: Role) -> Option<&Transport> {
        self.transports()?.get(role)
    }

    /// The same to be changed.
    pub(crate) fn transport_mut(&mut self, role: Role) -> Option<&mut Transport> {
        self.transports_mut()?.get_mut(role)
    }

    /// The transport by which it receives and nothing else, if it has one.
    pub(crate) fn receiving_transport(&self) -> Option<&ReceivingTransport> {
        self.transports()?.receiving.as_deref()
    }

    /// The offers that are made to it, if it has such a transport.
    pub(crate) fn offers_mut(&mut self) -> Option<&mut OffersMade> {
        Some(&mut self.transports_mut()?.receiving.as_mut()?.offers)
    }

    /// The media of its transport of that role.
    pub(crate) fn session_of(&self, role: Role) -> SessionKey {
        match role {
            Role::Publishing => self.session,
            Role::Receiving => self.receiving_session(),
        }
    }

    /// Where what it receives goes.
    pub(crate) fn receiving_session(&self) -> SessionKey {
        self.receiving_transport().map_or(self.session, |receiving| receiving.session)
    }

    /// The transport by which it receives; everything, if it has only one.
    pub(crate) fn receives_by(&self) -> Role {
        self.transports().map_or(Role::Publishing, Transports::receiving_role)
    }

    /// Media can be sent to it.
    pub(crate) fn can_receive_media(&self) -> bool {
        self.receiving_transport().map_or(self.connected, |receiving| receiving.connected)
    }

    /// The link behind which it is connected, if not to this part.
    pub(crate) fn link(&self) -> Option<LinkId> {
        match self.whereabouts {
            Whereabouts::Here(_) => None,
            Whereabouts::Beyond(link) => Some(link),
        }
    }

    /// Sends a data message, if it is connected to this part and takes it in time.
    pub(crate) fn send_data(
        &mut self,
        channel: Channel,
        message: &Arc<[u8]>,
        policy: &DataPolicy,
        now: Instant,
    ) {
        let Whereabouts::Here(transports) = &mut self.whereabouts else { return };
        let transport = transports.primary_mut();
        let outflow = &mut self.data.outflow;
        match channel {
            Channel::Reliable => outflow.send_reliable(transport, message, policy, now),
            Channel::Lossy | Channel::DataTrack => {
                outflow.send_lossy(transport, channel, message, policy, now);
            }
        }
    }

    /// Sends a packet of a data track, if it is connected to this part and takes it in time.
    pub(crate) fn send_data_packet(&mut self, packet: &[u8], policy: &DataPolicy, now: Instant) {
        let Whereabouts::Here(transports) = &mut self.whereabouts else { return };
        let transport = transports.primary_mut();
        self.data.outflow.send_lossy(transport, Channel::DataTrack, packet, policy, now);
    }

    /// Sends data that waits, as far as there is room.
    pub(crate) fn flush_data(&mut self, now: Instant) {
        let Whereabouts::Here(transports) = &mut self.whereabouts else { return };
        if self.data.outflow.is_waiting() {
            self.data.outflow.flush(transports.primary_mut(), now);
        }
    }

    /// Something others can see changed: clients keep the highest version.
    pub(crate) fn touch(&mut self) {
        self.profile.version = self.profile.version.wrapping_add(1);
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.profile.set_state(state);
        self.touch();
    }

    /// The subscription that `section` carried is over.
    pub(crate) fn release(&mut self, section: Section) {
        self.receiving.release(section);
        let role = self.receives_by();
        if let Some(transport) = self.transport_mut(role) {
            transport.renew_stream(section);
        }
    }
}
