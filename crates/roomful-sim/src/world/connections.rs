//! How many peer connections the clients of a world make: the same claims can be asked of clients with one and with two.

use std::cell::Cell;

use roomful_sfu::join::PeerConnections;

use super::ClientId;
use crate::client::JoinOptions;

thread_local! {
    static WHO: Cell<Who> = const { Cell::new(Who::NobodyElse) };
}

#[derive(Debug, Clone, Copy)]
enum Who {
    NobodyElse,
    EverySecond,
    Everyone,
}

/// While it lives, clients that are added on this thread make two peer connections, whatever they were added with.
#[derive(Debug)]
#[must_use]
pub struct Two(Who);

impl Two {
    /// All of them do.
    pub fn for_everyone() -> Self {
        Self(WHO.replace(Who::Everyone))
    }

    /// Every second one does, the first among them.
    pub fn for_every_second() -> Self {
        Self(WHO.replace(Who::EverySecond))
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        WHO.set(self.0);
    }
}

/// The options of a client that is added now.
pub(super) fn now(options: JoinOptions, id: ClientId) -> JoinOptions {
    let makes_two = match WHO.get() {
        Who::NobodyElse => return options,
        Who::EverySecond => id.0.is_multiple_of(2),
        Who::Everyone => true,
    };
    match makes_two {
        true => JoinOptions { peer_connections: PeerConnections::Two, ..options },
        false => options,
    }
}
