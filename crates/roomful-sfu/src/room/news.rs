//! What participants are told of the room itself: metadata at once, numbers now and then.

use std::time::{Duration, Instant};

use super::{Room, Timer};
use crate::signalling::Change;

/// How often participants are told how many they are. Shorter costs a message to everyone for everyone who comes or
/// goes, longer leaves numbers on screen that are no longer so. LiveKit's own value.
const PERIOD: Duration = Duration::from_secs(5);

impl Room {
    /// Tells everyone how the room is now.
    pub(super) fn tell_room(&mut self) {
        self.timers.set(Timer::News, None);
        let info = Box::new(self.info());
        self.tell_all(Change::RoomUpdated(info), None);
    }

    /// The numbers in the room's description changed: everyone is told within [`PERIOD`].
    pub(super) fn tell_room_soon(&mut self, now: Instant) {
        if !self.timers.is_set(Timer::News) {
            self.timers.set(Timer::News, Some(now + PERIOD));
        }
    }
}
