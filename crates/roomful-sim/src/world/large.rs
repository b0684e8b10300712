//! Rooms that are large from their first participant on.

use std::cell::Cell;

use roomful_sfu::RoomPolicy;

thread_local! {
    static ARE_LARGE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, every room of every [`super::World`] that begins on this thread counts as a large one, whoever is in
/// it: the same claims can be asked of both kinds.
#[derive(Debug)]
#[must_use]
pub struct LargeRooms(bool);

impl LargeRooms {
    /// From now on.
    pub fn only() -> Self {
        Self(ARE_LARGE.replace(true))
    }
}

impl Drop for LargeRooms {
    fn drop(&mut self) {
        ARE_LARGE.set(self.0);
    }
}

/// The rules of a world that begins now.
pub(super) fn policy_now(rooms: RoomPolicy) -> RoomPolicy {
    if ARE_LARGE.get() { RoomPolicy { large_above: 0, ..rooms } } else { rooms }
}
