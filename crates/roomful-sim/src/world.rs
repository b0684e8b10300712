//! `World`: one core, one network, many clients, and the one clock they share.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::frame::{self, EncodedFrame, Encoding, Frame, FrameError};
use roomful_sfu::ids::{ConnectionId, Identity, RoomName};
use roomful_sfu::join::JoinAttempt;
use roomful_sfu::token::Grant;
use roomful_sfu::{Datagram, MediaAddress, Output, Seed, Sfu, SfuConfig, SfuEvent, WallClock};

use crate::client::{Client, ClientOutput, JoinOptions};
use crate::network::{Conditions, Direction, Network};

/// One client of one world, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// See the module text.
#[derive(Debug)]
pub struct World {
    start: Instant,
    now: Instant,
    sfu: Sfu,
    sfu_timeout: Instant,
    network: Network<Arrival>,
    pub(crate) seats: Vec<Seat>,
    sockets: BTreeMap<ConnectionId, Socket>,
    routes: BTreeMap<SocketAddr, ClientId>,
    heartbeat: Instant,
    events: Vec<SfuEvent>,
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
    public: SocketAddr,
    connection: Option<ConnectionId>,
    wake: Instant,
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

/// How often the shell pings each WebSocket.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a participant that fell silent may still be sent anything.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Turns of the core's timer at one instant after which it is spinning.
const MAX_IDLE_TURNS: u32 = 100;

/// Outputs of one call into the core after which its queues are not bounded. A keyframe of several packets
/// in a room of fifty stays well below.
const MAX_OUTPUTS: usize = 10_000;

/// What a client's links are like if nothing else is said.
pub const DEFAULT_LATENCY: Duration = Duration::from_millis(20);

impl World {
    /// An empty world; `seed` decides its every chance.
    ///
    /// # Errors
    /// The crypto library can make no certificate.
    pub fn new(seed: u64) -> Result<Self, roomful_sfu::NoCertificate> {
        let start = start_of_time();
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = SfuConfig {
            media_addresses: vec![MediaAddress { advertised: SERVER, local: SERVER }],
            max_participants: 0,
            clock: WallClock::new(start, 1_700_000_000_000),
        };
        Ok(Self {
            start,
            now: start,
            sfu: Sfu::new(config, Seed(rng.u64(..)), start)?,
            sfu_timeout: start,
            network: Network::new(rng.fork()),
            seats: Vec::new(),
            sockets: BTreeMap::new(),
            routes: BTreeMap::new(),
            heartbeat: start + HEARTBEAT,
            events: Vec::new(),
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
        let public = self.new_public_address(id);
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
        let former = self.seats[id.0].public;
        self.routes.remove(&former);
        self.seats[id.0].public = self.new_public_address(id);
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
        self.transmit(id, payload);
    }

    /// A datagram reaches the server from an address nobody uses.
    pub fn send_stray_datagram(&mut self, payload: &[u8]) {
        let source = SocketAddr::from(([192, 0, 2, 9], 999));
        self.sfu.handle_datagram(Datagram { source, destination: SERVER, payload }, self.now);
        self.drain_sfu();
    }

    /// The server stops.
    pub fn shut_down(&mut self) {
        self.sfu.handle_shutdown(self.now);
        self.drain_sfu();
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
        let others = [Some(self.sfu_timeout), Some(self.heartbeat), self.network.poll_timeout()];
        clients.chain(others.into_iter().flatten()).min()
    }

    /// Everything that is due now, once.
    fn turn(&mut self) {
        while let Some(arrival) = self.network.poll(self.now) {
            self.deliver(arrival);
        }
        if self.sfu_timeout <= self.now {
            self.sfu.handle_timeout(self.now);
            self.drain_sfu();
            self.notice_spinning();
        }
        if self.heartbeat <= self.now {
            self.heartbeat += HEARTBEAT;
            self.ping_everyone();
        }
        let due = |seat: &Seat| seat.is_running() && seat.wake <= self.now;
        let due: Vec<usize> =
            (0..self.seats.len()).filter(|index| due(&self.seats[*index])).collect();
        for index in due {
            self.act(ClientId(index), Client::handle_timeout);
        }
    }

    fn notice_spinning(&mut self) {
        self.idle_turns = if self.sfu_timeout <= self.now { self.idle_turns + 1 } else { 0 };
        if self.idle_turns > MAX_IDLE_TURNS {
            self.violations.push("the core's timer spins".into());
            self.idle_turns = 0;
            self.sfu_timeout = self.now + Duration::from_millis(100);
        }
    }

    fn ping_everyone(&mut self) {
        let open: Vec<(ConnectionId, ClientId)> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.open)
            .map(|(connection, socket)| (*connection, socket.client))
            .collect();
        for (connection, client) in open {
            let ping = Arrival::PingAtClient { connection };
            self.network.send_reliably(client, Direction::Down, ping, self.now);
        }
    }

    fn deliver(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::DatagramAtServer { source, payload } => {
                let payload = &payload;
                let datagram = Datagram { source, destination: SERVER, payload };
                self.sfu.handle_datagram(datagram, self.now);
                self.drain_sfu();
            }
            Arrival::JoinAtServer { connection, request } => {
                self.deliver_join(connection, *request)
            }
            Arrival::FrameAtServer { connection, bytes } => self.deliver_frame(connection, &bytes),
            Arrival::ClosedAtServer { connection } => self.end_socket(connection),
            Arrival::PongAtServer { connection } => {
                if self.is_open(connection) {
                    self.sfu.handle_alive(connection, self.now);
                    self.drain_sfu();
                }
            }
            Arrival::DatagramAtClient { to, address, payload } => {
                let seat = &self.seats[to.0];
                if seat.is_running() && seat.public == address {
                    self.act(to, |client, now| client.handle_datagram(SERVER, &payload, now));
                }
            }
            Arrival::PingAtClient { connection } => {
                if let Some(client) = self.holder_of(connection) {
                    let pong = Arrival::PongAtServer { connection };
                    self.network.send_reliably(client, Direction::Up, pong, self.now);
                }
            }
            Arrival::FrameAtClient { connection, bytes } => {
                let Some(client) = self.holder_of(connection) else { return };
                match proto::SignalResponse::decode(&bytes[..]) {
                    Ok(response) => {
                        self.act(client, |client, now| client.handle_response(response, now));
                    }
                    Err(error) => self.violations.push(format!("no response: {error}")),
                }
            }
            Arrival::ClosedAtClient { connection } => {
                if let Some(client) = self.holder_of(connection) {
                    self.seats[client.0].connection = None;
                    self.act(client, |client, _| client.handle_closed());
                }
            }
        }
    }

    fn deliver_join(&mut self, connection: ConnectionId, request: proto::JoinRequest) {
        let Some(socket) = self.sockets.get(&connection) else { return };
        let grant = self.seats[socket.client.0].grant.clone();
        match JoinAttempt::new(grant, request, false) {
            Ok(attempt) => {
                self.sfu.handle_join(connection, attempt, self.now);
                self.drain_sfu();
            }
            Err(error) => self.violations.push(format!("a join request is refused: {error}")),
        }
    }

    /// As the shell does it: every frame shows its sender alive, and one that is no message ends the
    /// connection.
    fn deliver_frame(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if !self.is_open(connection) {
            return;
        }
        let message = match frame::decode(Frame::Binary(bytes)) {
            Ok(message) => message,
            Err(FrameError::UnknownKind) => proto::SignalRequest { message: None },
            Err(_) => return self.refuse_socket(connection),
        };
        if matches!(message.message, Some(Request::Leave(_))) {
            self.mark_gone(connection);
        }
        self.sfu.handle_alive(connection, self.now);
        self.drain_sfu();
        self.sfu.handle_message(connection, message, self.now);
        self.drain_sfu();
    }

    fn end_socket(&mut self, connection: ConnectionId) {
        if self.sockets.remove(&connection).is_some_and(|socket| socket.open) {
            self.sfu.handle_disconnect(connection, self.now);
            self.drain_sfu();
        }
    }

    /// The server closes a connection whose other end talks nonsense.
    fn refuse_socket(&mut self, connection: ConnectionId) {
        self.close_socket(connection);
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.open = false;
        }
        self.sfu.handle_disconnect(connection, self.now);
        self.drain_sfu();
    }

    fn close_socket(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get(&connection) {
            let closed = Arrival::ClosedAtClient { connection };
            self.network.send_reliably(socket.client, Direction::Down, closed, self.now);
        }
    }

    fn drain_sfu(&mut self) {
        let mut outputs = 0;
        loop {
            match self.sfu.poll_output() {
                Output::Transmit(transmit) => self.route(transmit.destination, transmit.payload),
                Output::Message { connection, message } => self.send_response(connection, &message),
                Output::Close { connection } => {
                    self.close_socket(connection);
                    if let Some(socket) = self.sockets.get_mut(&connection) {
                        socket.open = false;
                    }
                }
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => {
                    self.sfu_timeout = at;
                    break;
                }
            }
            outputs += 1;
        }
        if outputs > MAX_OUTPUTS {
            self.violations.push(format!("{outputs} outputs of one call"));
        }
    }

    fn send_response(&mut self, connection: ConnectionId, message: &proto::SignalResponse) {
        let Some(socket) = self.sockets.get(&connection) else { return };
        let (client, open) = (socket.client, socket.open);
        if !open {
            self.violations.push("a message for a connection that was closed".into());
            return;
        }
        if matches!(message.message, Some(Response::Leave(_))) {
            self.mark_gone(connection);
        }
        match frame::encode(message, Encoding::Protobuf) {
            Ok(EncodedFrame::Binary(bytes)) => {
                let frame = Arrival::FrameAtClient { connection, bytes };
                self.network.send_reliably(client, Direction::Down, frame, self.now);
            }
            Ok(EncodedFrame::Text(_)) | Err(_) => {
                self.violations.push("a response that is no protobuf".into());
            }
        }
    }

    fn route(&mut self, destination: SocketAddr, payload: Vec<u8>) {
        let Some(id) = self.routes.get(&destination).copied() else { return };
        if self.seats[id.0].gone.is_some_and(|gone| gone < self.now) {
            let since = self.now - self.seats[id.0].gone.unwrap_or(self.now);
            self.violations.push(format!("a datagram for {id:?}, gone for {since:?}"));
            return;
        }
        let bytes = payload.len();
        let arrival = Arrival::DatagramAtClient { to: id, address: destination, payload };
        self.network.send(id, Direction::Down, bytes, arrival, self.now);
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
                ClientOutput::Transmit { payload, .. } => self.transmit(id, payload),
            }
        }
        let now = self.now;
        let seat = &mut self.seats[id.0];
        seat.wake = seat.client.poll_timeout(now);
    }

    fn transmit(&mut self, id: ClientId, payload: Vec<u8>) {
        let bytes = payload.len();
        let source = self.seats[id.0].public;
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

    fn mark_gone(&mut self, connection: ConnectionId) {
        let Some(socket) = self.sockets.get(&connection) else { return };
        let seat = &mut self.seats[socket.client.0];
        let current = seat.connection.is_none() || seat.connection == Some(connection);
        if current {
            seat.gone = Some(self.now);
        }
    }

    fn is_open(&self, connection: ConnectionId) -> bool {
        self.sockets.get(&connection).is_some_and(|socket| socket.open)
    }

    /// The running client that holds the other end of a connection.
    fn holder_of(&self, connection: ConnectionId) -> Option<ClientId> {
        let client = self.sockets.get(&connection)?.client;
        let seat = &self.seats[client.0];
        (seat.is_running() && seat.connection == Some(connection)).then_some(client)
    }

    fn new_public_address(&mut self, id: ClientId) -> SocketAddr {
        self.last_port += 1;
        let public = SocketAddr::from(([198, 51, 100, 1], self.last_port));
        self.routes.insert(public, id);
        public
    }
}

impl Seat {
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
