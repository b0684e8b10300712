//! Agents: programs that take part in rooms when they are asked to.
//!
//! An *agency* (LiveKit: agent worker) says over a WebSocket of its own what jobs it takes. A room has *dispatches*,
//! which say what agents are wanted there; as it begins, for each newcomer and for each newcomer's first track it asks
//! for a *job* of each dispatch ([`AgentRequest`]). [`Agencies`] *offers* the job to one agency after another until one
//! takes it, gives that one a token to join with, and tells the room how the job is.

use livekit_protocol as proto;

use crate::ids::{DispatchId, JobId, RoomSid};

mod agencies;
mod agency;
mod job;
#[cfg(test)]
mod tests;

pub use agencies::{Agencies, AgencyOutput};
pub use agency::AgencyEnd;

/// What rooms ask of agencies.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentRequest {
    /// Find an agency for this job, which has neither an id nor a state yet. One of every namespace in which such
    /// jobs are taken gets one.
    Launch(Box<proto::Job>),
    /// End jobs, those that nobody has taken yet included.
    End {
        /// Which.
        jobs: Jobs,
        /// And why.
        why: JobEnd,
    },
}

/// Some jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jobs {
    /// This one.
    One(JobId),
    /// All of a dispatch.
    OfDispatch(DispatchId),
    /// All in a room.
    InRoom(RoomSid),
}

/// Why a job ends that its agency has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It is not wanted any more: it has succeeded.
    Unwanted,
    /// The agent left the room: it has failed.
    AgentLeft,
}

/// Longest name of a deployment, in bytes: LiveKit's limit.
const MAX_DEPLOYMENT: usize = 64;

/// A deployment's name cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "deployment must have at most {MAX_DEPLOYMENT} bytes, and neither an underscore nor white space"
)]
pub struct BadDeployment;

/// Checks the name of a deployment by LiveKit's rules; none at all is one.
///
/// # Errors
/// It breaks them.
pub fn check_deployment(deployment: &str) -> Result<(), BadDeployment> {
    let is_allowed = |byte: u8| byte > b' ' && byte != b'_' && byte != 0x7F;
    if deployment.len() <= MAX_DEPLOYMENT && deployment.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(BadDeployment)
}

/// Whether a job of this state is over.
pub(crate) fn is_ended(state: &proto::JobState) -> bool {
    matches!(state.status(), proto::JobStatus::JsSuccess | proto::JobStatus::JsFailed)
}
