//! Links of the rooms of one worker: parts that begin here, and parts elsewhere of rooms that began here.

use std::collections::BTreeMap;
use std::time::Instant;

use livekit_protocol as proto;

use super::{RoomKey, Sfu};
use crate::ids::{ConnectionId, RoomName};
use crate::join::JoinAttempt;
use crate::link::{Introduction, LinkId, LinkMedia, LinkMessage, Told};
use crate::output::Output;
use crate::room::Room;
use crate::room_policy;
use crate::token::Grant;

/// The links of one worker.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) rooms: BTreeMap<LinkId, RoomKey>,
    /// Parts that begin as soon as the home has answered.
    opening: BTreeMap<LinkId, Opening>,
}

/// A part about to begin, and who waits for it.
#[derive(Debug)]
struct Opening {
    room: RoomName,
    waiting: Vec<Waiting>,
}

/// Somebody who waits. As many as there are connections.
#[derive(Debug)]
struct Waiting {
    connection: ConnectionId,
    attempt: JoinAttempt,
    /// What it said meanwhile. Lossless: who says more than [`MAX_SAID`] is turned away.
    said: Vec<proto::SignalRequest>,
}

/// Messages of one connection that may wait for its room. A client announces its tracks and makes one offer; fewer turn
/// away one with many tracks, more let connections take memory before anybody let them in.
const MAX_SAID: usize = 64;

impl Sfu {
    /// The link to the home of a part that is here or about to be. Where there is none and the room lives elsewhere,
    /// [`Sfu::begin_part`] comes before [`Sfu::handle_join`]; where it leads to another home than the room has now, that
    /// part is of a former life of the room, and [`Sfu::handle_link_closed`] comes first.
    pub fn link_home(&self, room: &RoomName) -> Option<LinkId> {
        let opening = self.links.opening.iter().find(|(_, one)| one.room == *room);
        let here = || self.rooms.get(self.names.get(room)?)?.link_home();
        opening.map(|(link, _)| *link).or_else(here)
    }

    /// The home of the room that the bearer of `grant` wants to enter is at the other end of `link`: a part of it
    /// begins here once that end has answered, and those who join meanwhile wait.
    pub fn begin_part(&mut self, link: LinkId, grant: &Grant, now: Instant) {
        self.now = now;
        let room = grant.room.clone();
        let wanted = Box::new(room_policy::begun_by(grant));
        let may_begin = grant.can_create_room;
        self.links.opening.insert(link, Opening { room, waiting: Vec::new() });
        self.tell_link(link, Told::Hello { wanted, may_begin });
    }

    /// The other end of a link says something.
    pub fn handle_link(&mut self, link: LinkId, message: LinkMessage, now: Instant) {
        self.now = now;
        match message.0 {
            Told::Hello { wanted, may_begin } => self.meet(link, &wanted, may_begin, now),
            Told::Welcome(introduction) => self.enter(link, *introduction, now),
            Told::Guest(guest) => self.take_guest(link, *guest, now),
            Told::Ended { .. } if self.links.opening.contains_key(&link) => {
                self.handle_link_closed(link, now);
                self.outputs.push_back(Output::LinkClosed { link });
            }
            told => self.with_room_at(link, |room| room.handle_link(link, told, now)),
        }
    }

    /// Media came over a link.
    pub fn handle_link_media(&mut self, link: LinkId, media: &LinkMedia, now: Instant) {
        self.now = now;
        self.with_room_at(link, |room| room.handle_link_media(link, media, now));
    }

    /// A link broke, or could not be opened.
    pub fn handle_link_closed(&mut self, link: LinkId, now: Instant) {
        self.now = now;
        if let Some(opening) = self.links.opening.remove(&link) {
            for Waiting { connection, .. } in opening.waiting {
                self.turn_away(connection, proto::DisconnectReason::JoinFailure);
            }
        }
        self.with_room_at(link, |room| room.handle_link_closed(link, now));
        self.links.rooms.remove(&link);
    }

    /// Media for a link, to be asked for once a turn until there is none. Lossy.
    pub fn poll_link_media(&mut self) -> Option<(LinkId, LinkMedia)> {
        self.links.rooms.values().find_map(|key| self.rooms.get_mut(key)?.poll_link_media())
    }

    /// Lets a join wait for the part of its room that is about to begin; gives it back if none is.
    pub(super) fn wait_for_part(
        &mut self,
        connection: ConnectionId,
        attempt: JoinAttempt,
    ) -> Option<JoinAttempt> {
        let mut opening = self.links.opening.values_mut();
        match opening.find(|one| one.room == attempt.grant.room) {
            Some(opening) => {
                opening.waiting.push(Waiting { connection, attempt, said: Vec::new() });
                None
            }
            None => Some(attempt),
        }
    }

    /// Keeps what a connection says until it is let in; gives it back if it waits for nothing.
    pub(super) fn keep_for_part(
        &mut self,
        from: ConnectionId,
        message: proto::SignalRequest,
    ) -> Option<proto::SignalRequest> {
        let mut waiting = self.links.opening.values_mut().flat_map(|one| &mut one.waiting);
        let Some(waiting) = waiting.find(|one| one.connection == from) else {
            return Some(message);
        };
        if waiting.said.len() < MAX_SAID {
            waiting.said.push(message);
        } else {
            self.stop_waiting(from);
            self.turn_away(from, proto::DisconnectReason::JoinFailure);
        }
        None
    }

    /// A connection closed: it waits no longer.
    pub(super) fn stop_waiting(&mut self, connection: ConnectionId) {
        for opening in self.links.opening.values_mut() {
            opening.waiting.retain(|one| one.connection != connection);
        }
    }

    pub(super) fn tell_link(&mut self, link: LinkId, told: Told) {
        self.outputs.push_back(Output::Link { link, message: LinkMessage(told) });
    }

    /// A room let go of a link.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.links.rooms.remove(&link);
        self.outputs.push_back(Output::LinkClosed { link });
    }

    /// Somewhere else a part begins of a room that lives here, or did a moment ago.
    fn meet(
        &mut self,
        link: LinkId,
        wanted: &proto::CreateRoomRequest,
        may_begin: bool,
        now: Instant,
    ) {
        let name = RoomName::new(wanted.name.as_str());
        self.forget_former_part(&name, now);
        let is_there = self.names.contains_key(&name);
        let is_welcome = is_there || may_begin || self.config.rooms.auto_create;
        let key = is_welcome.then(|| self.room(wanted, now).ok()).flatten();
        let Some(key) = key else {
            let why = proto::RoomEndReason::RoomEndIdleTimeout;
            let tell = proto::DisconnectReason::JoinFailure;
            self.tell_link(link, Told::Ended { why, tell });
            return self.outputs.push_back(Output::LinkClosed { link });
        };
        self.links.rooms.insert(link, key);
        if let Some(room) = self.rooms.get_mut(&key) {
            room.open_link(link, now);
        }
        self.settle(key);
    }

    /// A room of that name lives here: a part of it that is here is of a former life, which began elsewhere. That it
    /// ended was not heard yet.
    pub(super) fn forget_former_part(&mut self, name: &RoomName, now: Instant) {
        if let Some(former) = self.link_home(name) {
            self.handle_link_closed(former, now);
            self.outputs.push_back(Output::LinkClosed { link: former });
        }
    }

    /// The home has answered: the part begins, and those who waited join it.
    fn enter(&mut self, link: LinkId, introduction: Introduction, now: Instant) {
        let Some(opening) = self.links.opening.remove(&link) else { return };
        let key = RoomKey(self.next_id());
        let (policy, clock) = (&self.config.rooms, self.config.clock);
        let mut room = Room::part(introduction, link, policy, clock, now, self.rng.u64(..));
        room.set_origin(self.config.origin);
        self.names.insert(opening.room, key);
        self.rooms.insert(key, room);
        self.links.rooms.insert(link, key);
        self.settle(key);
        for Waiting { connection, attempt, said } in opening.waiting {
            self.handle_join(connection, attempt, now);
            for message in said {
                self.handle_message(connection, message, now);
            }
        }
    }

    fn with_room_at(&mut self, link: LinkId, act: impl FnOnce(&mut Room)) {
        let Some(key) = self.links.rooms.get(&link).copied() else { return };
        if let Some(room) = self.rooms.get_mut(&key) {
            act(room);
        }
        self.settle(key);
    }
}
