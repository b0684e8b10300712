//! `Sfu` owns every room of one worker and is driven by a handful of verbs.

mod administration;
mod agents;
mod guests;
mod links;
mod people;
mod transmits;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::SignalRequest;
use proto::leave_request::Action;

use crate::clock::WallClock;
use crate::demux::{self, Demux};
use crate::ids::{ConnectionId, Origin, ParticipantId, RoomName};
use crate::join::{JoinAttempt, PeerConnections};
use crate::link::LinkMessage;
use crate::media::MediaDrops;
use crate::output::{Output, SfuEvent};
use crate::reached;
use crate::room::{Newcomer, Room, RoomOutput, TOKEN_LASTS};
use crate::room_policy::{self, RoomPolicy, UnknownPreset};
use crate::route::{Protocol, Route};
use crate::signalling::{self, Change, Command, Refusal, Scenario, ServerFacts, Ways};
use crate::timers::Timers;
use crate::token::ApiKeys;
use crate::transport::{Beginning, TransportFactory};
use transmits::Transmits;

/// One incoming datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The way it came.
    pub route: Route,
    /// UDP payload. Its content is undefined afterwards: it is decrypted in place.
    pub payload: &'a mut [u8],
}

/// An address on which this worker receives media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAddress {
    /// What clients are told (an ICE host candidate): differs from `local` behind a 1:1 NAT.
    pub advertised: SocketAddr,
    /// The address the datagrams carry when they arrive here.
    pub local: SocketAddr,
}

/// Media by TCP (RFC 6544).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOffer {
    /// The port to connect to.
    pub port: u16,
    /// Participants are told of nothing else.
    pub only: bool,
}

/// What a worker's core needs to know before it starts.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// Where media arrives. A loopback address is told only to participants on this machine.
    pub media_addresses: Vec<MediaAddress>,
    /// How media arrives by TCP at the same addresses, for those whom UDP does not reach.
    pub tcp: Option<TcpOffer>,
    /// What is so of every room unless its maker says otherwise.
    pub rooms: RoomPolicy,
    /// The time of day.
    pub clock: WallClock,
    /// Sign the tokens of those who are in. Without one they get none.
    pub keys: ApiKeys,
    /// Told to clients as further ways for their media.
    pub ice_servers: Vec<proto::IceServer>,
    /// Ends the sids of this core's participants: another for each core whose rooms have parts on others.
    pub origin: Origin,
}

/// Decides every random choice of one core that is not a secret: sids and first sequence numbers. ICE
/// credentials and SSRCs are `str0m`'s.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

/// The crypto library could not make a DTLS certificate.
#[derive(Debug, thiserror::Error)]
#[error(
    "no DTLS certificate could be made: the crypto library refuses (is the system out of entropy?)"
)]
pub struct NoCertificate;

/// Datagrams that led nowhere, or got nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropCounts {
    /// From no known address and naming no transport.
    pub unroutable: u64,
    /// To be sent, but too many others waited, or UDP cannot carry them.
    pub unsent: u64,
    /// Media that reached a participant's session and was of no use there.
    pub media: MediaDrops,
}

/// The rooms of one worker. Every call, [`Sfu::poll_transmits`] included, must be followed by a full drain of
/// [`Sfu::poll_output`]; datagrams may wait in the former until a batch is worth sending.
#[derive(Debug)]
pub struct Sfu {
    config: SfuConfig,
    facts: ServerFacts,
    transports: TransportFactory,
    rooms: BTreeMap<RoomKey, Room>,
    names: BTreeMap<RoomName, RoomKey>,
    homes: BTreeMap<ParticipantId, RoomKey>,
    connections: BTreeMap<ConnectionId, ParticipantId>,
    links: links::Links,
    demux: Demux,
    timers: Timers<RoomKey>,
    outputs: VecDeque<Output>,
    transmits: Transmits,
    drops: DropCounts,
    last_id: u64,
    rng: fastrand::Rng,
    now: Instant,
}

/// One life of one room; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RoomKey(u64);

/// How long to sleep when nothing is due: any arrival wakes the worker anyway.
const IDLE: Duration = Duration::from_secs(3_600);

impl Sfu {
    /// A core without rooms.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn new(config: SfuConfig, seed: Seed, now: Instant) -> Result<Self, NoCertificate> {
        let mut rng = fastrand::Rng::with_seed(seed.0);
        let node = crate::sids::make("ND_", &mut rng);
        let facts = ServerFacts { node, ice_servers: config.ice_servers.clone() };
        Ok(Self {
            config,
            facts,
            transports: TransportFactory::new().ok_or(NoCertificate)?,
            rooms: BTreeMap::new(),
            names: BTreeMap::new(),
            homes: BTreeMap::new(),
            connections: BTreeMap::new(),
            links: links::Links::default(),
            demux: Demux::default(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            transmits: Transmits::default(),
            drops: DropCounts::default(),
            last_id: 0,
            rng,
            now,
        })
    }

    /// A client opened `connection` and asks to join (or resume); the token was verified.
    pub fn handle_join(&mut self, connection: ConnectionId, attempt: JoinAttempt, now: Instant) {
        self.now = now;
        let Some(attempt) = self.wait_for_part(connection, attempt) else { return };
        if attempt.request.reconnect {
            return self.resume(connection, &attempt, now);
        }
        let existing = self.names.get(&attempt.grant.room).and_then(|key| self.rooms.get(key));
        let is_admitted = match existing {
            Some(room) => !room.is_full(&attempt.grant, now),
            None => self.config.rooms.auto_create || attempt.grant.can_create_room,
        };
        if !is_admitted {
            return self.turn_away(connection, proto::DisconnectReason::JoinFailure);
        }
        let wanted = room_policy::begun_by(&attempt.grant);
        let Ok(key) = self.room(&wanted, now) else {
            return self.turn_away(connection, proto::DisconnectReason::JoinFailure);
        };
        let id = ParticipantId(self.next_id());
        let Some(room) = self.rooms.get(&key) else { return };
        let tells_playout_delay = room.tells_playout_delay(&attempt.request);
        let addresses = self.addresses_for(&attempt, room.ways_of(&attempt.grant.identity, now));
        let mut beginning =
            || Beginning { addresses: &addresses, tells_playout_delay, rng: self.rng.fork() };
        let transport = self.transports.transport(beginning(), now);
        let receiving = (attempt.peer_connections == PeerConnections::Two)
            .then(|| self.transports.offering_transport(beginning(), now));
        self.homes.insert(id, key);
        self.connections.insert(connection, id);
        if let Some(room) = self.rooms.get_mut(&key) {
            room.admit(Newcomer { id, connection, attempt, transport, receiving }, now);
        }
        self.settle(key);
    }

    /// A signalling message arrived.
    pub fn handle_message(&mut self, from: ConnectionId, message: SignalRequest, now: Instant) {
        let Some(message) = self.keep_for_part(from, message) else { return };
        let command = signalling::command(message).and_then(|one| self.require_ways(one));
        self.with_room_of(from, now, |room, id| room.handle_command(id, command, now));
    }

    /// The connection proves its other end alive (a WebSocket pong, any frame).
    pub fn handle_alive(&mut self, connection: ConnectionId, now: Instant) {
        self.with_room_of(connection, now, |room, id| room.handle_alive(id, now));
    }

    /// The connection is gone, however that came.
    pub fn handle_disconnect(&mut self, connection: ConnectionId, now: Instant) {
        self.with_room_of(connection, now, |room, id| room.handle_disconnect(id, connection, now));
        self.connections.remove(&connection);
        self.stop_waiting(connection);
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) {
        self.now = now;
        let Datagram { route, payload } = datagram;
        let Some(id) = self.demux.route(route.far_end(), payload) else {
            self.drops.unroutable += 1;
            return;
        };
        let Some(key) = self.homes.get(&id.participant).copied() else { return };
        if demux::is_media(payload) {
            if let Some(room) = self.rooms.get_mut(&key) {
                room.handle_media(id, payload, now);
            }
        } else {
            let route = Route { local: self.advertised(route.local), ..route };
            if let Some(room) = self.rooms.get_mut(&key) {
                room.handle_datagram(id, route, payload, now);
            }
        }
        self.settle(key);
    }

    /// The instant of the last [`Output::Timeout`] has come, or any later one.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let due: Vec<RoomKey> = std::iter::from_fn(|| self.timers.take_due(now)).collect();
        for key in due {
            if let Some(room) = self.rooms.get_mut(&key) {
                room.handle_timeout(now);
            }
            self.settle(key);
        }
    }

    /// The server stops: everyone is told and every connection closed.
    pub fn handle_shutdown(&mut self, now: Instant) {
        self.now = now;
        let keys: Vec<RoomKey> = self.rooms.keys().copied().collect();
        for key in keys {
            if let Some(room) = self.rooms.get_mut(&key) {
                let why = proto::RoomEndReason::RoomEndServerShutdown;
                room.close(why, proto::DisconnectReason::ServerShutdown, now);
            }
            self.settle(key);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| Output::Timeout(self.timers.next().unwrap_or(self.now + IDLE)))
    }

    /// Datagrams dropped so far.
    pub fn drop_counts(&self) -> DropCounts {
        let mut drops = self.drops;
        for room in self.rooms.values() {
            drops.media += room.media_drops();
        }
        drops
    }

    fn resume(&mut self, connection: ConnectionId, attempt: &JoinAttempt, now: Instant) {
        let Some(key) = self.names.get(&attempt.grant.room).copied() else {
            return self.turn_away(connection, proto::DisconnectReason::StateMismatch);
        };
        let resumed =
            self.rooms.get_mut(&key).and_then(|room| room.resume(connection, attempt, now));
        match resumed {
            Some(id) => {
                self.connections.insert(connection, id);
            }
            None => self.turn_away(connection, proto::DisconnectReason::StateMismatch),
        }
        self.settle(key);
    }

    /// Tells a connection that is in no room why it cannot be; with a reason to rejoin, how.
    fn turn_away(&mut self, connection: ConnectionId, reason: proto::DisconnectReason) {
        let action = match reason {
            proto::DisconnectReason::StateMismatch => Action::Reconnect,
            _ => Action::Disconnect,
        };
        let message = Box::new(signalling::render(Change::Left { reason, action }, &self.facts));
        self.outputs.push_back(Output::Message { connection, message });
        self.outputs.push_back(Output::Close { connection });
    }

    /// The room of that name, which begins as `wanted` if it does not exist.
    fn room(
        &mut self,
        wanted: &proto::CreateRoomRequest,
        now: Instant,
    ) -> Result<RoomKey, UnknownPreset> {
        let name = RoomName::new(wanted.name.clone());
        if let Some(key) = self.names.get(&name) {
            return Ok(*key);
        }
        let plan = self.config.rooms.plan(wanted)?;
        let key = RoomKey(self.next_id());
        let policy = &self.config.rooms;
        let agents = plan.agents.clone();
        let mut room = Room::new(plan, policy, self.config.clock, now, self.rng.u64(..));
        room.set_origin(self.config.origin);
        room.set_notices(policy.notices);
        room.notice_start(now);
        room.begin_dispatches(&agents, now);
        self.rooms.insert(key, room);
        self.names.insert(name.clone(), key);
        self.outputs.push_back(Output::Event(SfuEvent::RoomStarted(name)));
        Ok(key)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// What a newcomer is told: each by UDP, then each by TCP, and last among them the address it reached the page at:
    /// `str0m` gives each candidate a lower priority than the one before.
    fn addresses_for(&self, attempt: &JoinAttempt, ways: Ways) -> Vec<(Protocol, SocketAddr)> {
        let known = &self.config.media_addresses;
        let told: Vec<SocketAddr> = known
            .iter()
            .filter(|address| attempt.from_loopback || !address.advertised.ip().is_loopback())
            .copied()
            .chain(attempt.reached_at.and_then(|reached| reached::media_address(reached, known)))
            .map(|address| address.advertised)
            .collect();
        let udp = told.iter().map(|address| (Protocol::Udp, *address));
        let Some(TcpOffer { port, only }) = self.config.tcp else { return udp.collect() };
        let tcp = told.iter().map(|address| (Protocol::Tcp, SocketAddr::new(address.ip(), port)));
        udp.filter(|_| !only && ways != Ways::Tcp).chain(tcp).collect()
    }

    /// Refuses to rehearse what this server is not configured for.
    fn require_ways(&self, command: Command) -> Result<Command, Refusal> {
        match command {
            Command::Simulate(Scenario::Ways(Ways::Tcp)) if self.config.tcp.is_none() => {
                Err(signalling::unsupported("media over TCP: rtc.tcp_port is off"))
            }
            Command::Simulate(Scenario::Ways(Ways::Relay)) if !self.facts.has_tls_relay() => {
                Err(signalling::unsupported(
                    "media over TLS: rtc.turn_servers has no server of protocol tls",
                ))
            }
            command => Ok(command),
        }
    }

    /// The address a transport knows for where a datagram arrived; itself if it is none of them. The port is the
    /// same: it tells UDP from TCP.
    fn advertised(&self, local: SocketAddr) -> SocketAddr {
        let known = &self.config.media_addresses;
        known
            .iter()
            .find(|address| address.local.ip() == local.ip())
            .map_or(local, |address| SocketAddr::new(address.advertised.ip(), local.port()))
    }

    fn with_room_of(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        act: impl FnOnce(&mut Room, ParticipantId),
    ) {
        self.now = now;
        let Some(id) = self.connections.get(&connection).copied() else { return };
        let Some(key) = self.homes.get(&id).copied() else { return };
        if let Some(room) = self.rooms.get_mut(&key) {
            act(room, id);
        }
        self.settle(key);
    }

    /// Takes in what a room asks for, and forgets it if it is over.
    fn settle(&mut self, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let mut closed = Vec::new();
        while let Some(output) = room.poll_output() {
            match output {
                RoomOutput::Transmit { from, route, payload } => {
                    self.demux.learn_address(from, route.far_end());
                    if !self.transmits.push(route, payload) {
                        self.drops.unsent += 1;
                    }
                }
                RoomOutput::Tell { connection, change } => {
                    let message = Box::new(signalling::render(change, &self.facts));
                    self.outputs.push_back(Output::Message { connection, message });
                }
                RoomOutput::TellAll { connections, change } => {
                    let message = Box::new(signalling::render(change, &self.facts));
                    self.outputs.push_back(Output::MessageToAll { connections, message });
                }
                RoomOutput::RefreshToken { connection, grant, moved } => {
                    let now = self.config.clock.unix_time(self.now);
                    let token = self.config.keys.refresh(&grant, now, TOKEN_LASTS);
                    for change in token.map(|token| tokens(token, moved)).into_iter().flatten() {
                        let message = Box::new(signalling::render(change, &self.facts));
                        self.outputs.push_back(Output::Message { connection, message });
                    }
                }
                RoomOutput::Ping { connection } => {
                    self.outputs.push_back(Output::Ping { connection });
                }
                RoomOutput::Close { connection } => {
                    self.connections.remove(&connection);
                    self.outputs.push_back(Output::Close { connection });
                }
                RoomOutput::Link { link, told } => {
                    let message = LinkMessage(told);
                    self.outputs.push_back(Output::Link { link, message });
                }
                RoomOutput::CloseLink { link } => closed.push(link),
                RoomOutput::Reply { request, outcome } => {
                    self.outputs.push_back(Output::Reply { request, outcome });
                }
                RoomOutput::Agents(request) => self.outputs.push_back(Output::Agents(request)),
                RoomOutput::Notice(event) => self.outputs.push_back(Output::Notice(event)),
                RoomOutput::Reachable { transport, ufrag } => {
                    let learned = self.demux.learn_ufrag(transport, &ufrag);
                    if let Some(ufrag) = learned.forgotten {
                        self.outputs.push_back(Output::Unreachable { ufrag });
                    }
                    if learned.is_new {
                        self.outputs.push_back(Output::Reachable { ufrag });
                    }
                }
                RoomOutput::Gone { participant } => {
                    self.homes.remove(&participant);
                    for ufrag in self.demux.forget(participant) {
                        self.outputs.push_back(Output::Unreachable { ufrag });
                    }
                }
            }
        }
        if room.has_transmits() {
            self.transmits.wait(key);
        }
        self.timers.set(key, room.poll_timeout());
        let is_over = room.end_reason().is_some();
        for link in closed {
            self.forget_link(link);
        }
        if is_over {
            self.end(key);
        }
    }

    fn end(&mut self, key: RoomKey) {
        self.timers.set(key, None);
        let Some(room) = self.rooms.remove(&key) else { return };
        self.drops.media += room.media_drops();
        self.names.remove(&room.name());
        if !room.is_away() {
            self.outputs.push_back(Output::Event(SfuEvent::RoomEnded(room.name())));
        }
    }
}

/// What a client is told of its new token: of every age, that it is its token; and that it is moved, if it is.
fn tokens(token: String, moved: Option<Box<proto::RoomMovedResponse>>) -> Vec<Change> {
    let moved = moved.map(|moved| {
        Change::Moved(Box::new(proto::RoomMovedResponse { token: token.clone(), ..*moved }))
    });
    std::iter::once(Change::TokenRefreshed(token)).chain(moved).collect()
}
