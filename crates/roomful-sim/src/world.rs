//! `World`: one core, one network, many clients, and the one clock they share.

mod api;
mod connections;
mod large;
mod parts;
mod wires;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use roomful_sfu::ids::{ConnectionId, Identity, Origin, RoomName, UnixTime};
use roomful_sfu::token::{ApiKey, ApiKeys, ApiSecret, Grant, Permissions};
use roomful_sfu::transmit::TransmitBuffer;
use roomful_sfu::{
    Datagram, MediaAddress, RoomPolicy, Route, Seed, Sfu, SfuConfig, SfuEvent, WallClock,
};

use crate::client::{Client, ClientOutput, JoinOptions, PeerConnection};
use crate::network::{Conditions, Direction, Network};
pub use connections::Two;
pub use large::LargeRooms;
pub use parts::Spread;
use parts::{HOME, LinkWires, Part, PartIndex};

/// One client of one world, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// See the module text.
#[derive(Debug)]
pub struct World {
    start: Instant,
    now: Instant,
    parts: Vec<Part>,
    links: LinkWires,
    network: Network<Arrival>,
    pub(crate) seats: Vec<Seat>,
    sockets: BTreeMap<ConnectionId, Socket>,
    routes: BTreeMap<SocketAddr, ClientId>,
    events: Vec<SfuEvent>,
    replies: api::Replies,
    notices: Vec<proto::WebhookEvent>,
    pub(crate) violations: Vec<String>,
    rng: fastrand::Rng,
    idle_turns: u32,
    last_port: u16,
}

/// A client and where it sits.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) client: Client,
    pub(crate) grant: Grant,
    pub(crate) state: SeatState,
    /// After this the server must send it nothing more.
    pub(crate) gone: Option<Instant>,
    pub(crate) manual_subscription: bool,
    public: PublicAddresses,
    connection: Option<ConnectionId>,
    wake: Instant,
}

/// Where a client's router has put its ports.
#[derive(Debug, Clone, Copy)]
struct PublicAddresses {
    publishing: SocketAddr,
    receiving: SocketAddr,
}

/// Whether the program behind a client runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatState {
    Running,
    /// Suspended: its sockets stay and nothing answers.
    Stopped,
    /// Its sockets are closed.
    Dead,
}

#[derive(Debug)]
struct Socket {
    client: ClientId,
    /// The server has not closed it.
    open: bool,
}

#[derive(Debug)]
enum Arrival {
    DatagramAtServer { source: SocketAddr, payload: Vec<u8> },
    DatagramAtClient { to: ClientId, address: SocketAddr, payload: Vec<u8> },
    JoinAtServer { connection: ConnectionId, request: Box<proto::JoinRequest> },
    FrameAtServer { connection: ConnectionId, bytes: Vec<u8> },
    ClosedAtServer { connection: ConnectionId },
    PingAtClient { connection: ConnectionId },
    PongAtServer { connection: ConnectionId },
    FrameAtClient { connection: ConnectionId, bytes: Vec<u8> },
    ClosedAtClient { connection: ConnectionId },
}

/// Where the server receives media.
const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 7882);

/// The time of day when a world begins, in milliseconds.
const UNIX_MILLIS_AT_START: u64 = 1_700_000_000_000;

/// How long a participant that fell silent may still be sent anything.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Turns of the core's timer at one instant after which it is spinning.
const MAX_IDLE_TURNS: u32 = 100;

/// Outputs of one call into the core after which its queues are not bounded. A keyframe of several packets
/// in a room of fifty stays well below.
const MAX_OUTPUTS: usize = 10_000;

/// What a client's links are like if nothing else is said.
pub const DEFAULT_LATENCY: Duration = Duration::from_millis(20);

/// The one key of a world's server.
pub fn keys() -> ApiKeys {
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new("sim"), ApiSecret::new("the secret of a simulated server"));
    keys
}

impl World {
    /// An empty world; `seed` decides its every chance.
    ///
    /// # Errors
    /// The crypto library can make no certificate.
    pub fn new(seed: u64) -> Result<Self, roomful_sfu::NoCertificate> {
        Self::with_rooms(seed, RoomPolicy::default())
    }

    /// The same with other rules about rooms.
    ///
    /// # Errors
    /// The crypto library can make no certificate.
    pub fn with_rooms(seed: u64, rooms: RoomPolicy) -> Result<Self, roomful_sfu::NoCertificate> {
        let start = start_of_time();
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = SfuConfig {
            tcp: None,
            media_addresses: Vec::new(),
            rooms: large::policy_now(rooms),
            clock: WallClock::new(start, UNIX_MILLIS_AT_START),
            keys: keys(),
            ice_servers: Vec::new(),
            origin: Origin::default(),
        };
        let mut parts = Vec::new();
        for index in 0..parts::parts_now() {
            let address = parts::address(PartIndex(index));
            let address = MediaAddress { advertised: address, local: address };
            let origin = Origin::of(u8::try_from(index).unwrap_or_default());
            let config = SfuConfig { media_addresses: vec![address], origin, ..config.clone() };
            let sfu = Sfu::new(config, Seed(rng.u64(..)), start)?;
            parts.push(Part { sfu, timeout: start, transmits: TransmitBuffer::new() });
        }
        Ok(Self {
            start,
            now: start,
            parts,
            links: LinkWires::new(),
            network: Network::new(rng.fork()),
            seats: Vec::new(),
            sockets: BTreeMap::new(),
            routes: BTreeMap::new(),
            events: Vec::new(),
            replies: api::Replies::default(),
            notices: Vec::new(),
            violations: Vec::new(),
            rng,
            idle_turns: 0,
            last_port: 10_000,
        })
    }

    /// Adds a client that opens `room` as `identity`, over links with [`DEFAULT_LATENCY`] each way.
    pub fn add_client(&mut self, identity: &str, room: &str, options: JoinOptions) -> ClientId {
        let grant = Grant::new(Identity::new(identity), identity, RoomName::new(room));
        self.add_client_with(grant, options, Conditions::latency(DEFAULT_LATENCY))
    }

    /// Adds a client with a grant and links of its own.
    pub fn add_client_with(
        &mut self,
        grant: Grant,
        options: JoinOptions,
        conditions: Conditions,
    ) -> ClientId {
        let id = ClientId(self.seats.len());
        self.network.set_conditions(id, Direction::Up, conditions, self.now);
        self.network.set_conditions(id, Direction::Down, conditions, self.now);
        let [high, low] = u16::try_from(id.0 + 1).unwrap_or(u16::MAX).to_be_bytes();
        let private = SocketAddr::from(([10, 0, high, low], 5_000));
        let public = self.new_public_addresses(id);
        let options = connections::now(options, id);
        let manual_subscription = options.manual_subscription;
        let client = Client::new(options, private, self.rng.u64(..), self.now);
        self.seats.push(Seat {
            client,
            grant,
            state: SeatState::Running,
            gone: None,
            manual_subscription,
            public,
            connection: None,
            wake: self.now,
        });
        self.act(id, |client, now| client.join(now));
        id
    }

    /// Does something with a client, and then what that asks for.
    pub fn act<R>(&mut self, id: ClientId, act: impl FnOnce(&mut Client, Instant) -> R) -> R {
        let now = self.now;
        let result = act(&mut self.seats[id.0].client, now);
        self.drain_client(id);
        result
    }

    /// A client.
    pub fn client(&self, id: ClientId) -> &Client {
        &self.seats[id.0].client
    }

    /// Every client there ever was.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.seats.iter().enumerate().map(|(index, seat)| (ClientId(index), &seat.client))
    }

    /// Changes what somebody may do, as the server's API does. `false`: nobody is called that.
    pub fn set_permissions(&mut self, room: &str, who: &str, permissions: Permissions) -> bool {
        let (room, who) = (RoomName::new(room), Identity::new(who));
        let now = self.now;
        let found = self.sfu(HOME).set_permissions(&room, &who, permissions, now);
        self.drain(HOME);
        found
    }

    /// The time of day, in whole seconds.
    pub fn unix_now(&self) -> UnixTime {
        UnixTime(UNIX_MILLIS_AT_START / 1_000 + (self.now - self.start).as_secs())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Rooms that began and ended so far.
    pub fn events(&self) -> &[SfuEvent] {
        &self.events
    }

    /// The network's side of things.
    pub fn link_counts(&self, id: ClientId, direction: Direction) -> crate::network::LinkCounts {
        self.network.counts(id, direction)
    }

    /// Sets what both links of a client are like from now on.
    pub fn set_conditions(&mut self, id: ClientId, up: Conditions, down: Conditions) {
        self.network.set_conditions(id, Direction::Up, up, self.now);
        self.network.set_conditions(id, Direction::Down, down, self.now);
    }

    /// The client's router forgets it: what it sends next comes from another address, and what was on its
    /// way to the old one is lost.
    pub fn rebind(&mut self, id: ClientId) {
        for former in self.seats[id.0].public.all() {
            self.routes.remove(&former);
        }
        self.seats[id.0].public = self.new_public_addresses(id);
    }

    /// The client's program dies: its sockets close.
    pub fn kill(&mut self, id: ClientId) {
        let connection = self.seats[id.0].connection.take();
        self.suspend(id, SeatState::Dead);
        if let Some(connection) = connection {
            let closed = Arrival::ClosedAtServer { connection };
            self.network.send_reliably(id, Direction::Up, closed, self.now);
        }
    }

    /// The client's program is suspended: nothing closes and nothing answers.
    pub fn stop(&mut self, id: ClientId) {
        self.suspend(id, SeatState::Stopped);
    }

    /// Cuts the client's WebSocket, which both sides notice.
    pub fn cut_websocket(&mut self, id: ClientId) {
        let Some(connection) = self.seats[id.0].connection.take() else { return };
        self.seats[id.0].client.handle_closed();
        let closed = Arrival::ClosedAtServer { connection };
        self.network.send_reliably(id, Direction::Up, closed, self.now);
    }

    /// Sends bytes on a client's WebSocket that its program would not send.
    pub fn send_frame(&mut self, id: ClientId, bytes: Vec<u8>) {
        let Some(connection) = self.seats[id.0].connection else { return };
        let frame = Arrival::FrameAtServer { connection, bytes };
        self.network.send_reliably(id, Direction::Up, frame, self.now);
    }

    /// Sends a datagram from a client's address that its program would not send.
    pub fn send_datagram(&mut self, id: ClientId, payload: Vec<u8>) {
        self.transmit(id, PeerConnection::Publishing, payload);
    }

    /// A datagram reaches the server from an address nobody uses.
    pub fn send_stray_datagram(&mut self, payload: &[u8]) {
        let source = SocketAddr::from(([192, 0, 2, 9], 999));
        let payload = &mut payload.to_vec();
        let (now, route) = (self.now, Route::udp(parts::address(HOME), source));
        self.sfu(HOME).handle_datagram(Datagram { route, payload }, now);
        self.drain(HOME);
    }

    /// The server stops.
    pub fn shut_down(&mut self) {
        let now = self.now;
        for index in 0..self.parts.len() {
            self.sfu(PartIndex(index)).handle_shutdown(now);
            self.drain(PartIndex(index));
        }
    }

    /// A number below `bound`, decided by the world's seed.
    pub fn draw(&mut self, bound: usize) -> usize {
        self.rng.usize(..bound.max(1))
    }

    /// Lets this much time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(next) = self.next_due().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.turn();
        }
        self.now = until;
    }

    /// Runs until `done`, looking every 5 ms. `None`: not within `limit`; else how long it took.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if self.now - start >= limit {
                return None;
            }
            self.run(Duration::from_millis(5));
        }
        Some(self.now - start)
    }

    fn next_due(&self) -> Option<Instant> {
        let clients = self.seats.iter().filter(|seat| seat.is_running()).map(|seat| seat.wake);
        let parts = self.parts.iter().map(|part| part.timeout);
        let network = self.network.poll_timeout().into_iter().chain(self.links.poll_timeout());
        clients.chain(parts).chain(network).min()
    }

    /// Everything that is due now, once.
    fn turn(&mut self) {
        while let Some(arrival) = self.network.poll(self.now) {
            self.deliver(arrival);
        }
        self.deliver_links();
        for index in 0..self.parts.len() {
            if self.parts[index].timeout <= self.now {
                self.parts[index].sfu.handle_timeout(self.now);
                self.drain(PartIndex(index));
                self.notice_spinning(PartIndex(index));
            }
        }
        let due = |seat: &Seat| seat.is_running() && seat.wake <= self.now;
        let due: Vec<usize> =
            (0..self.seats.len()).filter(|index| due(&self.seats[*index])).collect();
        for index in due {
            self.act(ClientId(index), Client::handle_timeout);
        }
    }

    fn notice_spinning(&mut self, part: PartIndex) {
        let part = &mut self.parts[part.0];
        self.idle_turns = if part.timeout <= self.now { self.idle_turns + 1 } else { 0 };
        if self.idle_turns > MAX_IDLE_TURNS {
            self.violations.push("the core's timer spins".into());
            self.idle_turns = 0;
            part.timeout = self.now + Duration::from_millis(100);
        }
    }

    fn drain_client(&mut self, id: ClientId) {
        while let Some(output) = self.seats[id.0].client.poll_output() {
            match output {
                ClientOutput::Connect(request) => self.connect(id, request),
                ClientOutput::Request(request) => self.send_frame(id, request.encode_to_vec()),
                ClientOutput::Close => {
                    if let Some(connection) = self.seats[id.0].connection.take() {
                        let closed = Arrival::ClosedAtServer { connection };
                        self.network.send_reliably(id, Direction::Up, closed, self.now);
                    }
                }
                ClientOutput::Transmit { from, payload, .. } => self.transmit(id, from, payload),
            }
        }
        let now = self.now;
        let seat = &mut self.seats[id.0];
        seat.wake = seat.client.poll_timeout(now);
    }

    fn transmit(&mut self, id: ClientId, from: PeerConnection, payload: Vec<u8>) {
        let bytes = payload.len();
        let source = self.seats[id.0].public.of(from);
        let arrival = Arrival::DatagramAtServer { source, payload };
        self.network.send(id, Direction::Up, bytes, arrival, self.now);
    }

    fn connect(&mut self, id: ClientId, request: Box<proto::JoinRequest>) {
        let connection = ConnectionId(self.rng.u64(..));
        self.seats[id.0].connection = Some(connection);
        self.seats[id.0].gone = None;
        self.sockets.insert(connection, Socket { client: id, open: true });
        let join = Arrival::JoinAtServer { connection, request };
        self.network.send_reliably(id, Direction::Up, join, self.now);
    }

    fn suspend(&mut self, id: ClientId, state: SeatState) {
        let seat = &mut self.seats[id.0];
        seat.state = state;
        seat.gone.get_or_insert(self.now + GONE_WITHIN);
    }

    fn new_public_addresses(&mut self, id: ClientId) -> PublicAddresses {
        let mut new = || {
            self.last_port += 1;
            let public = SocketAddr::from(([198, 51, 100, 1], self.last_port));
            self.routes.insert(public, id);
            public
        };
        PublicAddresses { publishing: new(), receiving: new() }
    }
}

impl PublicAddresses {
    fn all(self) -> [SocketAddr; 2] {
        [self.publishing, self.receiving]
    }

    fn of(self, peer: PeerConnection) -> SocketAddr {
        match peer {
            PeerConnection::Publishing => self.publishing,
            PeerConnection::Receiving => self.receiving,
        }
    }
}

impl Seat {
    /// Which of its ports its router has put behind that address.
    fn port_at(&self, public: SocketAddr) -> Option<PeerConnection> {
        let PublicAddresses { publishing, receiving } = self.public;
        let ports =
            [(publishing, PeerConnection::Publishing), (receiving, PeerConnection::Receiving)];
        ports.into_iter().find(|(address, _)| *address == public).map(|(_, port)| port)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == SeatState::Running
    }

    /// In the room as far as its own program knows.
    pub(crate) fn is_present(&self) -> bool {
        self.is_running() && self.gone.is_none() && self.client.sid().is_some()
    }
}

/// The one reading of the clock: every other instant is counted from it.
pub(crate) fn start_of_time() -> Instant {
    Instant::now()
}
