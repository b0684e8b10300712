//! The server API, spoken to the core as the shell speaks it.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_protocol as proto;
use roomful_sfu::administration::{Administration, AdministrationError, Reply, RequestId};
use roomful_sfu::agents::AgentRequest;
use roomful_sfu::ids::RoomName;

use super::World;
use super::parts::HOME;

/// A message to another worker and back.
const WORKERS_ANSWER_WITHIN: Duration = Duration::from_millis(5);

/// What was asked of rooms and came back, and what rooms asked.
#[derive(Debug, Default)]
pub(super) struct Replies {
    asked: u64,
    outcomes: BTreeMap<RequestId, Result<Reply, AdministrationError>>,
    pub(super) agents: Vec<AgentRequest>,
}

impl World {
    /// Asks what may take time to answer.
    pub fn ask(&mut self, what: Administration) -> RequestId {
        let home = match &what {
            Administration::InRoom(room, _) | Administration::DeleteRoom(room) => {
                self.home_of(room)
            }
            Administration::CreateRoom(wanted) => {
                self.home_of(&RoomName::new(wanted.name.as_str()))
            }
            Administration::ListRooms(_) => HOME,
        };
        let (request, now) = (self.next_request(), self.now);
        self.sfu(home).administer(request, what, now);
        self.drain(home);
        request
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.replies.asked += 1;
        RequestId(self.replies.asked)
    }

    /// What was answered by now.
    pub fn reply(&self, request: RequestId) -> Option<&Result<Reply, AdministrationError>> {
        self.replies.outcomes.get(&request)
    }

    /// Asks what is answered at once. `None`: it was not.
    pub fn administer(
        &mut self,
        what: Administration,
    ) -> Option<Result<Reply, AdministrationError>> {
        let request = self.ask(what);
        if self.parts.len() > 1 {
            // Another worker may have to be asked.
            let answered = |world: &World| world.reply(request).is_some();
            self.run_until(WORKERS_ANSWER_WITHIN, answered);
        }
        self.reply(request).cloned()
    }

    /// What applications were told so far.
    pub fn notices(&self) -> &[proto::WebhookEvent] {
        &self.notices
    }

    /// What rooms asked of agencies so far.
    pub fn agent_requests(&self) -> &[AgentRequest] {
        &self.replies.agents
    }

    /// An agency's job began, changed or ended.
    pub fn tell_job(&mut self, job: proto::Job) {
        let now = self.now;
        self.sfu(HOME).handle_job(job, now);
        self.drain(HOME);
    }

    pub(super) fn handle_reply(
        &mut self,
        request: RequestId,
        outcome: Result<Reply, AdministrationError>,
    ) {
        if self.replies.outcomes.insert(request, outcome).is_some() {
            self.violations.push(format!("{request:?} was answered twice"));
        }
    }
}
