//! What a client says when it opens a connection, decoded from the URL of `/rtc/v1`.

use livekit_protocol::JoinRequest;

use crate::token::Grant;

/// A verified wish to join.
#[derive(Debug, Clone)]
pub struct JoinAttempt {
    /// What the token allows.
    pub grant: Grant,
    /// The request itself: client info, settings, first tracks and first offer.
    pub request: JoinRequest,
    /// The client runs on this machine: a loopback candidate reaches it.
    pub from_loopback: bool,
}
