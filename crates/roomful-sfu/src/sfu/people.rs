//! What may change about participants from outside the call.

use std::time::Instant;

use super::Sfu;
use crate::ids::{Identity, RoomName};
use crate::token::Permissions;

impl Sfu {
    /// Changes what a participant may do, at once: tracks it may no longer publish end, tracks it may no longer
    /// receive stop, it and everyone who sees it hear of it. `false`: it is not there.
    pub fn set_permissions(
        &mut self,
        room: &RoomName,
        identity: &Identity,
        permissions: Permissions,
        now: Instant,
    ) -> bool {
        self.now = now;
        let Some(key) = self.names.get(room).copied() else { return false };
        let found = self.rooms.get_mut(&key).is_some_and(|room| {
            let found = room.id_of(identity);
            if let Some(id) = found {
                room.set_permissions(id, permissions, now);
            }
            found.is_some()
        });
        self.settle(key);
        found
    }
}
