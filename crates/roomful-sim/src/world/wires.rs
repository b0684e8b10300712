//! Where things on the network end: datagrams, frames and closings reach the core or a client, and what the
//! core asks for sets out.

use std::net::SocketAddr;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use roomful_sfu::frame::{self, EncodedFrame, Encoding, Frame, FrameError};
use roomful_sfu::ids::ConnectionId;
use roomful_sfu::join::JoinAttempt;
use roomful_sfu::{Datagram, Output, Route, Sfu};

use super::parts::{self, HOME, Part, PartIndex};
use super::{Arrival, ClientId, MAX_OUTPUTS, World};
use crate::network::Direction;

impl World {
    fn ping(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get(&connection).filter(|socket| socket.open) {
            let ping = Arrival::PingAtClient { connection };
            self.network.send_reliably(socket.client, Direction::Down, ping, self.now);
        }
    }

    pub(super) fn deliver(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::DatagramAtServer { source, mut payload } => {
                // From an address its client no longer has, it is for no particular worker.
                let client = self.routes.get(&source).copied();
                let part = client.map_or(HOME, |client| self.part_of(client));
                let (now, route) = (self.now, Route::udp(parts::address(part), source));
                let datagram = Datagram { route, payload: &mut payload };
                self.sfu(part).handle_datagram(datagram, now);
                self.drain(part);
            }
            Arrival::JoinAtServer { connection, request } => {
                self.deliver_join(connection, *request)
            }
            Arrival::FrameAtServer { connection, bytes } => self.deliver_frame(connection, &bytes),
            Arrival::ClosedAtServer { connection } => self.end_socket(connection),
            Arrival::PongAtServer { connection } => {
                if self.is_open(connection) {
                    self.with_core(connection, |sfu, now| sfu.handle_alive(connection, now));
                }
            }
            Arrival::DatagramAtClient { to, address, payload } => {
                let (seat, server) = (&self.seats[to.0], self.address_of(to));
                if let Some(at) = seat.port_at(address).filter(|_| seat.is_running()) {
                    self.act(to, |client, now| client.handle_datagram(at, server, &payload, now));
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
        let part = self.part_of(socket.client);
        let grant = self.seats[socket.client.0].grant.clone();
        let peer_connections = self.seats[socket.client.0].client.peer_connections();
        match JoinAttempt::new(grant, request, false) {
            Ok(attempt) => {
                let attempt = JoinAttempt { peer_connections, ..attempt };
                self.prepare_part(part, &attempt.grant);
                self.with_core(connection, |sfu, now| sfu.handle_join(connection, attempt, now));
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
        self.with_core(connection, |sfu, now| sfu.handle_alive(connection, now));
        self.with_core(connection, |sfu, now| sfu.handle_message(connection, message, now));
    }

    pub(super) fn end_socket(&mut self, connection: ConnectionId) {
        if self.is_open(connection) {
            self.with_core(connection, |sfu, now| sfu.handle_disconnect(connection, now));
        }
        self.sockets.remove(&connection);
    }

    /// The server closes a connection whose other end talks nonsense.
    fn refuse_socket(&mut self, connection: ConnectionId) {
        self.close_socket(connection);
        if let Some(socket) = self.sockets.get_mut(&connection) {
            socket.open = false;
        }
        self.with_core(connection, |sfu, now| sfu.handle_disconnect(connection, now));
    }

    /// Hands something to the core that the client of a connection is connected to.
    fn with_core(&mut self, connection: ConnectionId, act: impl FnOnce(&mut Sfu, Instant)) {
        let Some(socket) = self.sockets.get(&connection) else { return };
        let (part, now) = (self.part_of(socket.client), self.now);
        act(self.sfu(part), now);
        self.drain(part);
    }

    fn close_socket(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.sockets.get(&connection) {
            let closed = Arrival::ClosedAtClient { connection };
            self.network.send_reliably(socket.client, Direction::Down, closed, self.now);
        }
    }

    /// Does everything that one core asks for.
    pub(super) fn drain(&mut self, part: PartIndex) {
        // First, because sending sets timers, and the last output says when the next is due.
        let mut outputs = self.send_transmits(part);
        self.send_link_media(part);
        loop {
            match self.sfu(part).poll_output() {
                Output::Message { connection, message } => self.send_response(connection, &message),
                Output::MessageToAll { connections, message } => {
                    for connection in connections {
                        self.send_response(connection, &message);
                    }
                }
                Output::Ping { connection } => self.ping(connection),
                Output::Close { connection } => {
                    self.close_socket(connection);
                    if let Some(socket) = self.sockets.get_mut(&connection) {
                        socket.open = false;
                    }
                }
                Output::Reachable { .. } | Output::Unreachable { .. } => {}
                Output::Link { link, message } => self.send_over_link(link, message),
                Output::LinkClosed { link } => self.close_link(link),
                Output::Event(event) => self.events.push(event),
                Output::Notice(event) => self.notices.push(*event),
                Output::Agents(request) => self.replies.agents.push(request),
                Output::Reply { request, outcome } => self.handle_reply(request, outcome),
                Output::Timeout(at) => {
                    self.parts[part.0].timeout = at;
                    break;
                }
            }
            outputs += 1;
        }
        if outputs > MAX_OUTPUTS {
            self.violations.push(format!("{outputs} outputs of one call"));
        }
    }

    /// Everything the core has for sending, as the shell does it; returns how many datagrams that were.
    fn send_transmits(&mut self, part: PartIndex) -> usize {
        let mut sent = 0;
        loop {
            let Part { sfu, transmits, .. } = &mut self.parts[part.0];
            let more = sfu.poll_transmits(self.now, transmits);
            let datagrams = transmits.iter();
            let datagrams: Vec<(SocketAddr, Vec<u8>)> =
                datagrams.map(|(route, payload)| (route.remote, payload.to_vec())).collect();
            transmits.clear();
            sent += datagrams.len();
            for (destination, payload) in datagrams {
                self.route(destination, payload);
            }
            if !more {
                return sent;
            }
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
}
