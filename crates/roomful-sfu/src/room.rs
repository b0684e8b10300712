//! `Room`: the participants who can see each other, and everything between them.
//!
//! Messages edit it ([`Room::apply`]), packets read it ([`forwarding`]); it has one owner, so nothing in it
//! is locked. After every verb the room has settled: each transport is drained and each consequence queued
//! in [`Room::poll_output`].

mod administration;
mod admission;
mod agents;
mod appearances;
mod asking;
mod audience;
mod blobs;
mod capacity;
mod data;
mod data_tracks;
mod demand;
mod departures;
mod forwarding;
mod guests;
mod lifetime;
mod links;
mod moves;
mod negotiation;
mod news;
mod notices;
mod offering;
mod people;
mod presence;
mod remote;
mod resumption;
mod roster;
mod rpc;
mod scenarios;
mod spread;
mod subscriptions;
mod telling;
mod tokens;
mod tracks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use livekit_protocol as proto;
use proto::leave_request::Action;

use crate::administration::{AdministrationError, Reply, RequestId};
use crate::agents::AgentRequest;
use crate::clock::WallClock;
use crate::codecs::EnabledCodecs;
use crate::egress::codec::Codec;
use crate::ids::{ConnectionId, ParticipantId, RoomName};
use crate::link::{LinkId, Told};
use crate::liveness::Presence;
use crate::media::MediaPlane;
use crate::outflow::DataPolicy;
use crate::participant::Participant;
use crate::playout::Playout;
use crate::room_policy::{RoomPlan, RoomPolicy};
use crate::route::Route;
use crate::signalling::{Change, Command, Refusal};
use crate::speakers::Speakers;
use crate::timers::Timers;
use crate::token::Grant;
use crate::transport::{Channel, TransportEvent, TransportOutput};
use crate::transports::TransportId;
use administration::FromOutside;
pub(crate) use admission::Newcomer;
use lifetime::Lifetime;
use links::Links;
use roster::Roster;
pub(crate) use roster::RosterBudget;
use scenarios::Rehearsals;
pub(crate) use spread::Spread;
pub(crate) use tokens::TOKEN_LASTS;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Room {
    info: proto::Room,
    participants: BTreeMap<ParticipantId, Participant>,
    roster: Roster,
    lifetime: Lifetime,
    media: MediaPlane,
    /// Other parts of the room.
    links: Links,
    outside: FromOutside,
    speakers: Speakers,
    /// What is to go wrong, for tests.
    rehearsals: Rehearsals,
    timers: Timers<Timer>,
    /// Participants whose transports may have outputs.
    touched: Vec<ParticipantId>,
    /// Participants who may have to be made an offer.
    to_offer: BTreeSet<ParticipantId>,
    outputs: VecDeque<RoomOutput>,
    clock: WallClock,
    rng: fastrand::Rng,
    terms: Terms,
}

/// What is so in one room from its beginning to its end.
#[derive(Debug)]
struct Terms {
    /// What may be published here.
    codecs: EnabledCodecs,
    /// What is asked of players.
    playout: Playout,
    /// With more participants it is a large room ([`roster`]).
    large_above: usize,
    /// Participants may leave data with the room.
    data_blobs: bool,
    /// Participants may publish data tracks.
    data_tracks: bool,
    /// When data for slow receivers is lost.
    data: DataPolicy,
    /// Pictures may be paused that a receiver's link has no room for.
    may_pause: bool,
    /// Ends frames made by a server, so that whoever decrypts frames lets them pass. LiveKit's clients expect one
    /// in each room.
    sif_trailer: [u8; SIF_TRAILER_BYTES],
}

/// As long as a secret of 256 bits: a shorter one could end a frame of somebody's by chance, which would then be
/// taken for one that is not encrypted.
const SIF_TRAILER_BYTES: usize = 32;

/// What a room asks for.
#[derive(Debug)]
pub(crate) enum RoomOutput {
    Transmit {
        from: TransportId,
        route: Route,
        payload: Vec<u8>,
    },
    Tell {
        connection: ConnectionId,
        change: Change,
    },
    /// The same for each of them.
    TellAll {
        connections: Vec<ConnectionId>,
        change: Change,
    },
    Ping {
        connection: ConnectionId,
    },
    Close {
        connection: ConnectionId,
    },
    /// Tell the other end of a link.
    Link {
        link: LinkId,
        told: Told,
    },
    /// Nothing more goes over the link, nor comes.
    CloseLink {
        link: LinkId,
    },
    /// Tell it a token for this grant, and then, with the same token, where it is moved.
    RefreshToken {
        connection: ConnectionId,
        grant: Box<Grant>,
        moved: Option<Box<proto::RoomMovedResponse>>,
    },
    /// STUN checks with this user name are for this transport.
    Reachable {
        transport: TransportId,
        ufrag: String,
    },
    /// The answer to what the server API asked.
    Reply {
        request: RequestId,
        outcome: Result<Reply, AdministrationError>,
    },
    /// What applications are told.
    Notice(Box<proto::WebhookEvent>),
    /// Something is asked of the agencies.
    Agents(AgentRequest),
    /// The participant is no longer in the room.
    Gone {
        participant: ParticipantId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Transport(TransportId),
    Liveness(ParticipantId),
    /// Media must have connected by then.
    Join(ParticipantId),
    Media,
    /// A publisher may have to be told what is wanted.
    Demand(ParticipantId),
    /// An offer that was asked for may have to be asked for again; one that was made should be answered.
    Negotiation(ParticipantId),
    /// What it can receive is to be shared out anew.
    Capacity(ParticipantId),
    /// What others are told of a participant waits for the end of a burst.
    Roster(ParticipantId),
    /// Everyone is told what was gathered.
    Gathered,
    /// Its token is to be renewed.
    Token(ParticipantId),
    Speakers,
    /// Somebody seems to talk until then.
    SimulatedSpeech(ParticipantId),
    /// An agent that is not wanted any more should have left.
    Dismissal(ParticipantId),
    /// The room ends if nobody has come by then.
    End,
    /// Participants are told how many they are.
    News,
    /// Other parts of the room may have to be asked for less.
    AskForLess,
    /// A method called by the server API should have answered.
    Call(RequestId),
}

impl Room {
    /// A room without participants, which ends by its timeout if nobody comes.
    pub(crate) fn new(
        plan: RoomPlan,
        policy: &RoomPolicy,
        clock: WallClock,
        now: Instant,
        seed: u64,
    ) -> Self {
        let RoomPlan { info: wanted, playout, .. } = plan;
        let mut rng = fastrand::Rng::with_seed(seed);
        let created = clock.unix_millis(now);
        let allowed = wanted.enabled_codecs.iter();
        let codecs = EnabledCodecs::new(allowed.filter_map(|codec| Codec::of_name(&codec.mime)));
        let mut sif_trailer = [0; SIF_TRAILER_BYTES];
        rng.fill(&mut sif_trailer);
        let info = proto::Room {
            sid: crate::sids::make("RM_", &mut rng),
            creation_time: created / 1_000,
            creation_time_ms: created,
            ..wanted
        };
        let mut room = Self {
            info,
            participants: BTreeMap::new(),
            roster: Roster::default(),
            lifetime: Lifetime::default(),
            media: MediaPlane::new(),
            links: Links::default(),
            outside: FromOutside::default(),
            speakers: Speakers::new(),
            rehearsals: Rehearsals::default(),
            timers: Timers::new(),
            touched: Vec::new(),
            to_offer: BTreeSet::new(),
            outputs: VecDeque::new(),
            clock,
            rng,
            terms: Terms {
                codecs,
                playout,
                large_above: policy.large_above,
                data_blobs: policy.data_blobs,
                data_tracks: policy.data_tracks,
                data: policy.data.clone(),
                may_pause: policy.may_pause,
                sif_trailer,
            },
        };
        room.arrange_end(now);
        room
    }

    pub(crate) fn name(&self) -> RoomName {
        RoomName::new(self.info.name.clone())
    }

    /// Carries out a command of `from`. What it refuses, it tells the sender.
    pub(crate) fn handle_command(
        &mut self,
        from: ParticipantId,
        command: Result<Command, Refusal>,
        now: Instant,
    ) {
        self.handle_alive(from, now);
        if let Err(refusal) = command.and_then(|command| self.apply(from, command, now)) {
            tracing::debug!(participant = from.0, reason = %refusal.message, "a request is refused");
            self.tell(from, Change::Refused(Box::new(refusal)));
        }
        self.settle(now);
    }

    fn apply(
        &mut self,
        from: ParticipantId,
        command: Command,
        now: Instant,
    ) -> Result<(), Refusal> {
        match command {
            Command::Offer { sdp, id } => self.handle_offer(from, &sdp, id, now)?,
            Command::Answer { sdp, id } => self.accept_answer(from, &sdp, id, now)?,
            Command::AddTrack(request) => self.add_track(from, &request)?,
            Command::Mute { track, muted } => self.set_muted(from, &track, muted, now)?,
            Command::Subscribe { tracks, wanted } => {
                self.set_subscribed(from, &tracks, wanted, now)?;
            }
            Command::SetWishes { tracks, wishes, rate } => {
                self.set_wishes(from, &tracks, (wishes, rate), now)?;
            }
            Command::SetAudience(said) => self.set_audience(from, &said, now)?,
            Command::UpdateMetadata(update) => self.update_own_description(from, update, now)?,
            Command::SetAudioFeatures(update) => self.set_audio_features(from, &update, now)?,
            Command::SetDimensions(update) => self.set_dimensions(from, &update, now)?,
            Command::Ping { sent } => {
                let pong = Change::Pong { sent, now: self.clock.unix_millis(now) };
                self.tell(from, pong);
            }
            Command::LegacyPing => {
                let pong = Change::LegacyPong { now: self.clock.unix_millis(now) };
                self.tell(from, pong);
            }
            Command::Leave { reason } => self.remove(from, reason, None, now),
            Command::SyncState(state) => self.sync_state(from, &state, now)?,
            Command::StoreBlob(request) => self.store_blob(from, request)?,
            Command::FetchBlob(request) => self.fetch_blob(from, &request)?,
            Command::PublishDataTrack(request) => self.publish_data_track(from, &request, now)?,
            Command::UnpublishDataTrack(request) => {
                self.unpublish_data_track(from, request, now)?;
            }
            Command::SubscribeDataTracks(update) => self.subscribe_data_tracks(from, &update)?,
            Command::Simulate(scenario) => self.simulate(from, scenario, now),
            Command::Nothing => {}
        }
        Ok(())
    }

    /// A datagram for a participant of this room, of ICE or DTLS: media is [`Room::handle_media`]'s.
    pub(crate) fn handle_datagram(
        &mut self,
        to: TransportId,
        route: Route,
        payload: &[u8],
        now: Instant,
    ) {
        let TransportId { participant: to, role } = to;
        let Some(participant) = self.participants.get_mut(&to) else { return };
        participant.liveness.handle_media(now);
        if let Some(transport) = participant.transport_mut(role) {
            transport.handle_datagram(route, payload, now);
        }
        participant.flush_data(now);
        self.touched.push(to);
        if participant.liveness.told != Presence::Present {
            self.assess_presence(to, now);
        }
        self.settle(now);
    }

    /// A deadline has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // Each at most once, so that a deadline which comes back at once cannot hold the worker.
        let due: Vec<Timer> = std::iter::from_fn(|| self.timers.take_due(now)).collect();
        for timer in due {
            self.handle_timer(timer, now);
        }
        self.settle(now);
    }

    fn handle_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Transport(TransportId { participant: id, role }) => {
                if let Some(participant) = self.participants.get_mut(&id)
                    && let Some(transport) = participant.transport_mut(role)
                {
                    transport.handle_timeout(now);
                    participant.flush_data(now);
                    self.touched.push(id);
                }
            }
            Timer::Liveness(id) => self.assess_presence(id, now),
            Timer::Join(id) => self.require_connected(id, now),
            Timer::Media => {
                self.media.handle_timeout(now);
                self.tell_path_qualities();
            }
            Timer::Negotiation(id) => self.refresh_sections(id, now),
            Timer::Demand(id) => self.tell_demand(id, now),
            Timer::Capacity(id) => self.share_out(id, now),
            Timer::Roster(id) => self.tell_roster(id, now),
            Timer::Gathered => self.tell_gathered(now),
            Timer::Token(id) => self.refresh_token(id, now),
            Timer::Speakers => self.report_speakers(now),
            Timer::SimulatedSpeech(id) => self.tell_simulated_speaker(id, false),
            Timer::Dismissal(id) => self.dismiss(id, now),
            Timer::End => self.end_deserted(now),
            Timer::News => self.tell_room(),
            Timer::AskForLess => self.ask_for_less(),
            Timer::Call(request) => self.give_call_up(request),
        }
    }

    /// When [`Room::handle_timeout`] is next due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    /// Drains every transport that was touched, and makes the offers that are due, until none has anything to say.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(id) = self.touched.pop() {
                for id in TransportId::all(id) {
                    self.settle_transport(id, now);
                }
            } else if let Some(id) = self.to_offer.pop_first() {
                self.offer_if_needed(id, now);
            } else {
                break;
            }
        }
        self.timers.set(Timer::Media, self.media.poll_timeout());
    }

    fn settle_transport(&mut self, id: TransportId, now: Instant) {
        let of = |room: &mut Self| {
            room.participants.get_mut(&id.participant)?.transport_mut(id.role)?.poll_output()
        };
        while let Some(output) = of(self) {
            match output {
                TransportOutput::Transmit { route, payload } => {
                    let transmit = RoomOutput::Transmit { from: id, route, payload };
                    self.outputs.push_back(transmit);
                }
                TransportOutput::Event(event) => self.handle_transport_event(id, event, now),
            }
        }
        let participant = self.participants.get(&id.participant);
        if let Some(transport) = participant.and_then(|one| one.transport(id.role)) {
            self.timers.set(Timer::Transport(id), transport.poll_timeout());
        }
    }

    fn handle_transport_event(&mut self, from: TransportId, event: TransportEvent, now: Instant) {
        let TransportId { participant: id, role } = from;
        match event {
            TransportEvent::Connected => self.handle_connected(id, role, now),
            TransportEvent::Keys(keys) => {
                if let Some(participant) = self.participants.get(&id) {
                    self.media.set_keys(participant.session_of(role), &keys, now);
                }
            }
            TransportEvent::Path(path) => {
                if let Some(participant) = self.participants.get(&id) {
                    self.media.set_path(participant.session_of(role), Some(path));
                }
            }
            // Nothing revives it: a participant that is still there joins again.
            TransportEvent::Closed => {
                tracing::debug!(participant = id.0, "the media path was closed by the other end");
                let reason = proto::DisconnectReason::MediaFailure;
                self.remove(id, reason, Some(Action::Reconnect), now);
            }
            TransportEvent::Data(Channel::DataTrack, packet) => {
                self.forward_data_track(id, packet, now);
            }
            TransportEvent::Data(channel, message) => self.forward_data(id, channel, &message, now),
        }
    }

    fn others(&self, than: ParticipantId) -> Vec<ParticipantId> {
        self.participants.keys().copied().filter(|id| *id != than).collect()
    }
}
