//! What leaves a core, in which order: what keeps connections alive, then sound, then the rest, room by room.
//!
//! Media is written in slices of one buffer. Between two slices the shell sends and reads its socket, so sound that
//! arrives during a burst goes with the next slice, whatever else waits.

use std::collections::VecDeque;
use std::time::Instant;

use super::{RoomKey, Sfu};
use crate::route::Route;
use crate::transmit::TransmitBuffer;

/// Datagrams of handshakes and checks that wait for [`Sfu::poll_transmits`]. Lossy. More lets a flood of checks take
/// memory, fewer loses handshakes when many people join at once.
const MAX_TRANSMITS: usize = 16 * 1024;

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Transmits {
    datagrams: VecDeque<Transmit>,
    /// Rooms with media to send.
    rooms: VecDeque<RoomKey>,
}

/// A datagram that waits to be sent.
#[derive(Debug)]
struct Transmit {
    route: Route,
    payload: Vec<u8>,
}

impl Transmits {
    /// Queues a datagram; `false` if too many wait.
    pub(super) fn push(&mut self, route: Route, payload: Vec<u8>) -> bool {
        if self.datagrams.len() >= MAX_TRANSMITS {
            return false;
        }
        self.datagrams.push_back(Transmit { route, payload });
        true
    }

    /// Media of a room waits.
    pub(super) fn wait(&mut self, room: RoomKey) {
        if !self.rooms.contains(&room) {
            self.rooms.push_back(room);
        }
    }
}

impl Sfu {
    /// Moves datagrams that are to be sent into the buffer. `true` if more wait: empty it and call again.
    pub fn poll_transmits(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        self.now = now;
        while let Some(next) = self.transmits.datagrams.front() {
            if !into.has_room(next.payload.len()) && !into.is_empty() {
                return true;
            }
            if !into.push(next.route, &next.payload) {
                self.drops.unsent += 1;
            }
            self.transmits.datagrams.pop_front();
        }
        for key in &self.transmits.rooms {
            let room = self.rooms.get_mut(key);
            if room.is_some_and(|room| !room.poll_audio(now, into)) {
                return true;
            }
        }
        while let Some(key) = self.transmits.rooms.pop_front() {
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let done = room.poll_transmits(now, into);
            self.timers.set(key, room.poll_timeout());
            if !done {
                // Another room's turn is next.
                self.transmits.rooms.push_back(key);
                return true;
            }
        }
        false
    }
}
