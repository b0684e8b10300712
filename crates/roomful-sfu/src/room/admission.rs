//! Who comes in, who comes back, who goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;

use super::lifetime::is_dependent;
use super::scenarios::CutAt;
use super::{Room, RoomOutput, RosterBudget, Timer};
use crate::client::Client;
use crate::ids::{ConnectionId, Identity, ParticipantId, ParticipantSid};
use crate::join::{JoinAttempt, PeerConnections};
use crate::link::Told;
use crate::liveness::Liveness;
use crate::participant::{Access, DataState, Negotiation, Participant, Whereabouts};
use crate::signalling::{Change, Command, Welcome};
use crate::subscription::ReceivingSections;
use crate::token::Grant;
use crate::transport::{Transport, TransportOutput};
use crate::transports::{OffersMade, ReceivingTransport, Role, TransportId, Transports};

/// How long media may take to connect for the first time, as LiveKit has it. Longer keeps tiles without a picture
/// in the room, shorter sends people away whose network needs many tries.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Someone about to enter: what the worker made for it.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: ParticipantId,
    pub(crate) connection: ConnectionId,
    pub(crate) attempt: JoinAttempt,
    pub(crate) transport: Transport,
    /// By which its client receives, if it does not by the other.
    pub(crate) receiving: Option<Transport>,
}

impl Room {
    /// Lets a newcomer in, tells everyone, and takes the tracks and the offer it brought.
    pub(crate) fn admit(&mut self, newcomer: Newcomer, now: Instant) {
        let Newcomer { id, connection, attempt, transport, receiving } = newcomer;
        let since = self.replace_former_presence(&attempt.grant.identity, now);
        self.tell_departures_of(&attempt.grant.identity, now);
        self.outside.expected.handle_arrival(&attempt.grant.identity);
        let client = Client::new(&attempt.request);
        let profile = self.profile(&attempt.grant, &client, since);
        let liveness = Liveness::new(now);
        self.timers.set(Timer::Liveness(id), Some(liveness.poll_timeout(now)));
        self.timers.set(Timer::Join(id), Some(now + JOIN_TIMEOUT));
        let session = self.media.add_session(id, &profile.sid, now);
        let mut transports = Box::new(Transports::one(transport));
        if let Some(transport) = receiving {
            let session = self.media.add_session(id, &profile.sid, now);
            let is_primary = attempt.grant.permissions.can_subscribe;
            // Told first of all, with whatever there is to receive by then.
            let offers = OffersMade { restarts: is_primary, ..OffersMade::default() };
            let receiving =
                ReceivingTransport { transport, session, connected: false, is_primary, offers };
            transports.receiving = Some(Box::new(receiving));
        }
        let participant = Participant {
            id,
            grant: attempt.grant,
            profile,
            connection: Some(connection),
            whereabouts: Whereabouts::Here(transports),
            session,
            connected: false,
            publications: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            receiving: ReceivingSections::default(),
            negotiation: Negotiation::default(),
            client,
            liveness,
            data: DataState::default(),
            roster_budget: RosterBudget::new(now),
            access: Access::default(),
        };
        self.participants.insert(id, participant);
        self.touched.push(id);
        self.arrange_end(now);
        for transport in TransportId::all(id) {
            self.learn_ufrag(transport);
        }
        self.welcome(id, now);
        self.subscribe_to_everything(id, now);
        self.subscribe_to_all_data(id);
        self.refresh_sections(id, now);
        self.tell_others_about(id, now);
        self.launch_for(id, proto::JobType::JtParticipant);
        for request in attempt.request.add_track_requests {
            self.handle_command(id, Ok(Command::AddTrack(Box::new(request))), now);
        }
        if let Some(offer) = attempt.request.publisher_offer {
            self.handle_command(id, Ok(Command::Offer { sdp: offer.sdp, id: offer.id }), now);
        }
        self.settle(now);
    }

    /// Gives `connection` to the participant that lost its own, and repeats what it may have missed. `None`:
    /// nobody here by that identity and sid.
    pub(crate) fn resume(
        &mut self,
        connection: ConnectionId,
        attempt: &JoinAttempt,
        now: Instant,
    ) -> Option<ParticipantId> {
        let sid = &attempt.request.participant_sid;
        let mut here = self.participants.values_mut().filter(|one| one.link().is_none());
        let participant = here.find(|one| {
            let has_two = one.receiving_transport().is_some();
            one.grant.identity == attempt.grant.identity
                && has_two == (attempt.peer_connections == PeerConnections::Two)
                // Clients before protocol 12 may name none: there is one presence of each identity.
                && (one.profile.sid == *sid || has_two && sid.is_empty())
        })?;
        let id = participant.id;
        if let Some(former) = participant.connection.replace(connection) {
            self.outputs.push_back(RoomOutput::Close { connection: former });
        }
        participant.negotiation.asked = None;
        participant.liveness.handle_connection(now);
        if self.cut_if_armed(id, connection, CutAt::Opening, now) {
            return Some(id);
        }
        let participant = self.participants.get(&id)?;
        let configuration = self.configuration(participant, now);
        let last_message = participant.data.last_sequence;
        self.tell(id, Change::Resumed { configuration, last_message });
        let mut everyone = self.missed_departures();
        everyone.extend(self.visible_infos(None));
        self.tell(id, Change::Participants(everyone));
        self.repeat_published(id);
        self.repeat_decisions(id, now);
        self.tell_presence_to(id, true);
        self.assess_presence(id, now);
        self.restart_offers(id);
        self.refresh_sections(id, now);
        self.refresh_token(id, now);
        if let Some(state) = attempt.request.sync_state.clone() {
            self.handle_command(id, Ok(Command::SyncState(Box::new(state))), now);
        }
        self.cut_if_armed(id, connection, CutAt::Resumed, now);
        self.settle(now);
        Some(id)
    }

    /// The time a newcomer has for connecting is over.
    pub(super) fn require_connected(&mut self, id: ParticipantId, now: Instant) {
        if self.participants.get(&id).is_some_and(|one| !one.connected) {
            tracing::info!(participant = id.0, "media never connected: removed");
            self.remove(id, DisconnectReason::JoinFailure, Some(Action::Disconnect), now);
        }
    }

    /// The participant's WebSocket closed. It stays until it is silent on both paths for too long.
    pub(crate) fn handle_disconnect(
        &mut self,
        id: ParticipantId,
        connection: ConnectionId,
        now: Instant,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.connection == Some(connection) {
            participant.connection = None;
            participant.liveness.handle_close(now);
            self.assess_presence(id, now);
        }
        self.settle(now);
    }

    /// Takes `id` out of the room; with an action, it is told why and what to do.
    pub(super) fn remove(
        &mut self,
        id: ParticipantId,
        reason: DisconnectReason,
        tell: Option<Action>,
        now: Instant,
    ) {
        if let Some(action) = tell {
            self.tell(id, Change::Left { reason, action });
        }
        let Some(mut participant) = self.participants.remove(&id) else { return };
        if let Some(connection) = participant.connection.take() {
            self.outputs.push_back(RoomOutput::Close { connection });
        }
        self.drain_farewell(&mut participant);
        self.clear_timers(&participant);
        self.speakers.handle_mute_or_gone(id);
        self.report_speakers(now);
        for (track, subscription) in &participant.subscriptions {
            if let Some(publisher) = self.participants.get_mut(&subscription.publisher)
                && let Some(publication) = publisher.publications.get_mut(track)
            {
                publication.subscribers.remove(&id);
            }
            self.reconsider_demand(subscription.publisher, track, now);
        }
        for publication in std::mem::take(&mut participant.publications).into_values() {
            self.notice_unpublished(&participant.profile, &publication, now);
            self.end_subscriptions(&publication, now);
        }
        self.forget_data_of(&mut participant);
        for role in Role::ALL {
            self.media.remove_session(participant.session_of(role));
        }
        participant.profile.disconnect_reason = reason.into();
        participant.set_state(State::Disconnected);
        self.notice_left(&participant, now);
        let member = ParticipantSid::new(participant.profile.sid.as_str());
        self.tell_links(participant.link(), &Told::Gone { member, reason });
        self.end_appearances_of(&participant, reason, now);
        self.let_guest_go(&participant, reason);
        self.handle_left(&participant, reason);
        if !participant.grant.permissions.hidden {
            self.roster.departures.push(&participant.info(), now);
        }
        self.tell_of_departure(&participant, now);
        self.end_calls_of(id);
        self.arrange_end(now);
        self.outputs.push_back(RoomOutput::Gone { participant: id });
    }

    /// Whether the room has no place for the bearer of `grant`, not counting whom it replaces. Agents and recorders
    /// take no place.
    pub(crate) fn is_full(&self, grant: &Grant, now: Instant) -> bool {
        !is_dependent(grant) && !self.has_place_for(&grant.identity, now)
    }

    /// Whether the room has a place for one more, not counting whom it replaces; places are kept for those who are on
    /// the way.
    pub(super) fn has_place_for(&self, identity: &Identity, now: Instant) -> bool {
        let limit = self.info.max_participants as usize;
        let here = self
            .participants
            .values()
            .filter(|one| !one.is_dependent() && one.grant.identity != *identity);
        let expected = self.expected(now).filter(|one| *one != identity);
        let coming = expected.filter(|one| self.id_of(one).is_none());
        limit == 0 || here.count() + coming.count() < limit
    }

    /// Whether a client that says so of itself is told how long to hold pictures back.
    pub(crate) fn tells_playout_delay(&self, request: &proto::JoinRequest) -> bool {
        Client::new(request).takes_delay(&self.terms.playout)
    }

    /// The room as it is now.
    pub(crate) fn info(&self) -> proto::Room {
        let mut info = proto::Room {
            num_participants: 0,
            num_publishers: 0,
            active_recording: false,
            ..self.info.clone()
        };
        for one in self.participants.values() {
            let counts = !one.is_dependent() && !one.grant.permissions.hidden;
            info.num_participants += u32::from(counts);
            info.num_publishers += u32::from(one.is_publisher());
            info.active_recording |= one.grant.permissions.recorder;
        }
        info
    }

    /// Returns from when on the newcomer is here: after whom it replaces, so that every part of the room agrees on who
    /// came last.
    fn replace_former_presence(&mut self, identity: &Identity, now: Instant) -> i64 {
        let mut since = self.clock.unix_millis(now);
        let former: Vec<_> = self
            .participants
            .values()
            .filter(|one| one.grant.identity == *identity)
            .map(|one| (one.id, one.profile.joined_at_ms))
            .collect();
        for (id, joined) in former {
            since = since.max(joined + 1);
            self.remove(id, DisconnectReason::DuplicateIdentity, Some(Action::Disconnect), now);
        }
        since
    }

    fn profile(&mut self, grant: &Grant, client: &Client, joined: i64) -> proto::ParticipantInfo {
        proto::ParticipantInfo {
            sid: self.participant_sid(),
            identity: grant.identity.to_string(),
            name: grant.name.clone(),
            state: State::Joined.into(),
            metadata: grant.metadata.clone(),
            attributes: grant.attributes.clone().into_iter().collect(),
            joined_at: joined / 1_000,
            joined_at_ms: joined,
            version: 1,
            permission: Some((&grant.permissions).into()),
            kind: grant.kind.into(),
            client_protocol: client.data_protocol(),
            capabilities: client.capabilities(),
            ..Default::default()
        }
    }

    fn welcome(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let disabled = participant.client.disabled_codecs();
        let welcome = Welcome {
            room: self.info(),
            participant: participant.info(),
            others: self.visible_infos(Some(id)),
            configuration: self.configuration(participant, now),
            publish_codecs: self.terms.codecs.for_publishing(&disabled).of_client(),
            sif_trailer: self.terms.sif_trailer.to_vec(),
            may_publish: participant.grant.permissions.can_publish,
            receives_first: participant.receiving_transport().is_some_and(|one| one.is_primary),
        };
        self.tell(id, Change::Joined(Box::new(welcome)));
        self.refresh_token(id, now);
        self.tell_presence_to(id, false);
    }

    fn visible_infos(&self, but: Option<ParticipantId>) -> Vec<proto::ParticipantInfo> {
        self.participants
            .values()
            .filter(|one| Some(one.id) != but && !one.grant.permissions.hidden)
            .map(Participant::info)
            .collect()
    }

    /// Who left lately and is not back: clients know people by identity.
    fn missed_departures(&self) -> Vec<proto::ParticipantInfo> {
        let here: BTreeSet<&str> =
            self.participants.values().map(|one| one.profile.identity.as_str()).collect();
        let back = |identity: &str| here.contains(identity);
        self.roster.departures.recent().filter(|info| !back(&info.identity)).cloned().collect()
    }

    /// Names the tracks of `id` that no offer has carried yet: the first time may have been lost with the
    /// connection.
    fn repeat_published(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let waiting = participant.publications.values().filter(|one| one.section.is_none());
        let published: Vec<_> = waiting
            .map(|one| Change::TrackPublished {
                cid: one.cid.clone(),
                track: Box::new(one.info.clone()),
            })
            .collect();
        for change in published {
            self.tell(id, change);
        }
    }

    fn drain_farewell(&mut self, participant: &mut Participant) {
        for from in TransportId::all(participant.id) {
            let Some(transport) = participant.transport_mut(from.role) else { continue };
            transport.close();
            while let Some(output) = transport.poll_output() {
                if let TransportOutput::Transmit { route, payload } = output {
                    self.outputs.push_back(RoomOutput::Transmit { from, route, payload });
                }
            }
        }
    }

    fn clear_timers(&mut self, participant: &Participant) {
        let id = participant.id;
        for transport in TransportId::all(id) {
            self.timers.set(Timer::Transport(transport), None);
        }
        self.timers.set(Timer::Liveness(id), None);
        self.timers.set(Timer::Join(id), None);
        self.timers.set(Timer::Demand(id), None);
        self.timers.set(Timer::SimulatedSpeech(id), None);
        self.rehearsals.forget(id);
        self.timers.set(Timer::Capacity(id), None);
        self.timers.set(Timer::Negotiation(id), None);
        self.timers.set(Timer::Roster(id), None);
        self.timers.set(Timer::Token(id), None);
        self.timers.set(Timer::Dismissal(id), None);
    }
}
