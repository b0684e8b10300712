//! The agents that are wanted in a room: its dispatches, and what became of the jobs asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::{DisconnectReason, JobType};

use super::{Room, RoomOutput, Timer};
use crate::administration::{AdministrationError, Reply};
use crate::agents::{AgentRequest, JobEnd, Jobs, check_deployment, is_ended};
use crate::ids::{DispatchId, Identity, JobId, ParticipantId, RoomSid};
use crate::limits;
use crate::participant::Participant;

/// How long an agent may take to leave after its job was ended: LiveKit's value. Longer lets it speak on, shorter cuts
/// its last words.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);

/// Jobs remembered of one dispatch. More take more memory in a room whose door never rests, fewer forget the first
/// participants' in a large one.
const MAX_JOBS: usize = 1_000;

/// What a room remembers of agents.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// In their order: the first was wanted first.
    dispatches: Vec<proto::AgentDispatch>,
    /// Who works on what, by identity.
    working: BTreeMap<Identity, JobId>,
    /// For whose tracks jobs were asked already.
    published: BTreeSet<ParticipantId>,
}

impl Room {
    /// Wants the agents its maker asked for, or those without a name if it asked for none. To be called once.
    pub(crate) fn begin_dispatches(&mut self, wanted: &[proto::RoomAgentDispatch], now: Instant) {
        let unnamed = [proto::RoomAgentDispatch::default()];
        let wanted = if wanted.is_empty() { &unnamed } else { wanted };
        for one in wanted {
            let dispatch = proto::CreateAgentDispatchRequest {
                agent_name: one.agent_name.clone(),
                room: self.info.name.clone(),
                metadata: one.metadata.clone(),
                restart_policy: one.restart_policy,
                deployment: one.deployment.clone(),
                attributes: one.attributes.clone(),
            };
            // They may come from a token, which nobody is there to be told about.
            if let Err(error) = self.create_dispatch(dispatch, now) {
                tracing::debug!(%error, "a dispatch of the room's maker is refused");
            }
        }
    }

    /// Wants agents, and asks for their jobs.
    pub(super) fn create_dispatch(
        &mut self,
        wanted: proto::CreateAgentDispatchRequest,
        now: Instant,
    ) -> Result<Reply, AdministrationError> {
        check_deployment(&wanted.deployment)?;
        limits::check_dispatch(&wanted.metadata, &wanted.attributes)?;
        limits::check_dispatches(self.outside.agents.dispatches.len() + 1)?;
        let created_at = self.clock.unix_millis(now).saturating_mul(1_000_000);
        let dispatch = proto::AgentDispatch {
            id: crate::sids::make("AD_", &mut self.rng),
            agent_name: wanted.agent_name,
            room: wanted.room,
            metadata: wanted.metadata,
            state: Some(proto::AgentDispatchState { created_at, ..Default::default() }),
            restart_policy: wanted.restart_policy,
            deployment: wanted.deployment,
            attributes: wanted.attributes,
        };
        let mut jobs = vec![self.job(&dispatch, JobType::JtRoom, None)];
        for participant in self.participants.values().filter(|one| !one.is_dependent()) {
            let info = participant.info();
            if self.outside.agents.published.contains(&participant.id) {
                jobs.push(self.job(&dispatch, JobType::JtPublisher, Some(info.clone())));
            }
            jobs.push(self.job(&dispatch, JobType::JtParticipant, Some(info)));
        }
        self.outputs.extend(jobs);
        self.outside.agents.dispatches.push(dispatch.clone());
        Ok(Reply::Dispatch(Box::new(dispatch)))
    }

    /// Its jobs end, and agents that do not leave then are sent away.
    pub(super) fn delete_dispatch(
        &mut self,
        id: &DispatchId,
        now: Instant,
    ) -> Result<Reply, AdministrationError> {
        let agents = &mut self.outside.agents;
        let found = agents.dispatches.iter().position(|one| one.id == id.as_str());
        let dispatch = agents.dispatches.remove(found.ok_or(AdministrationError::NoDispatch)?);
        let jobs = dispatch.state.iter().flat_map(|state| &state.jobs);
        let running: BTreeSet<&str> = jobs.map(|job| job.id.as_str()).collect();
        let dismissed: Vec<Identity> = agents
            .working
            .iter()
            .filter(|(_, job)| running.contains(job.as_str()))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in dismissed {
            self.outside.agents.working.remove(&identity);
            if let Some(agent) = self.id_of(&identity) {
                self.timers.set(Timer::Dismissal(agent), Some(now + LEAVES_WITHIN));
            }
        }
        self.end(Jobs::OfDispatch(id.clone()), JobEnd::Unwanted);
        Ok(Reply::Dispatch(Box::new(dispatch)))
    }

    pub(super) fn list_dispatches(&self, only: Option<&DispatchId>) -> Reply {
        let is_asked = |one: &&proto::AgentDispatch| only.is_none_or(|id| id.as_str() == one.id);
        Reply::Dispatches(self.outside.agents.dispatches.iter().filter(is_asked).cloned().collect())
    }

    /// Asks for what is to be done for one participant. Agents and recorders need no agents.
    pub(super) fn launch_for(&mut self, id: ParticipantId, kind: JobType) {
        let Some(participant) = self.participants.get(&id).filter(|one| !one.is_dependent()) else {
            return;
        };
        let info = participant.info();
        let dispatches = self.outside.agents.dispatches.iter();
        let jobs: Vec<RoomOutput> =
            dispatches.map(|dispatch| self.job(dispatch, kind, Some(info.clone()))).collect();
        self.outputs.extend(jobs);
    }

    /// The same for a participant whose first track an offer just carried.
    pub(super) fn launch_for_publisher(&mut self, id: ParticipantId) {
        let publishes = self
            .participants
            .get(&id)
            .is_some_and(|one| one.publications.values().any(|track| track.section.is_some()));
        if publishes && self.outside.agents.published.insert(id) {
            self.launch_for(id, JobType::JtPublisher);
        }
    }

    /// Takes note of how a job is that was asked for here.
    pub(crate) fn handle_job(&mut self, job: proto::Job, now: Instant) {
        if job.room.as_ref().is_none_or(|room| room.sid != self.info.sid) {
            return;
        }
        let dispatches = &mut self.outside.agents.dispatches;
        let Some(dispatch) = dispatches.iter_mut().find(|one| one.id == job.dispatch_id) else {
            return;
        };
        let identity = job.state.as_ref().map(|state| state.participant_identity.as_str());
        let identity = identity.filter(|one| !one.is_empty()).map(Identity::new);
        if let Some(identity) = identity {
            let id = JobId::new(job.id.clone());
            if !job.state.as_ref().is_some_and(is_ended) {
                self.outside.agents.working.insert(identity, id);
            } else if self.outside.agents.working.get(&identity) == Some(&id) {
                self.outside.agents.working.remove(&identity);
            }
        }
        remember(dispatch.state.get_or_insert_default(), job);
        self.settle(now);
    }

    /// Somebody left. If it worked here, its job is over, unless it is coming back already.
    pub(super) fn handle_left(&mut self, participant: &Participant, reason: DisconnectReason) {
        self.outside.agents.published.remove(&participant.id);
        if reason != DisconnectReason::DuplicateIdentity
            && let Some(job) = self.outside.agents.working.remove(&participant.grant.identity)
        {
            self.end(Jobs::One(job), JobEnd::AgentLeft);
        }
    }

    /// The room is over, and so is all work in it.
    pub(super) fn end_jobs(&mut self) {
        // Of a room in parts the home alone has dispatches.
        if self.is_away() {
            return;
        }
        self.outside.agents = Agents::default();
        self.end(Jobs::InRoom(RoomSid::new(self.info.sid.clone())), JobEnd::Unwanted);
    }

    /// An agent that is not wanted any more did not leave in time.
    pub(super) fn dismiss(&mut self, id: ParticipantId, now: Instant) {
        let reason = DisconnectReason::ParticipantRemoved;
        self.remove(id, reason, Some(Action::Disconnect), now);
    }

    fn job(
        &self,
        dispatch: &proto::AgentDispatch,
        kind: JobType,
        participant: Option<proto::ParticipantInfo>,
    ) -> RoomOutput {
        RoomOutput::Agents(AgentRequest::Launch(Box::new(proto::Job {
            dispatch_id: dispatch.id.clone(),
            r#type: kind.into(),
            room: Some(self.info()),
            participant,
            metadata: dispatch.metadata.clone(),
            agent_name: dispatch.agent_name.clone(),
            deployment: dispatch.deployment.clone(),
            attributes: dispatch.attributes.clone(),
            ..Default::default()
        })))
    }

    fn end(&mut self, jobs: Jobs, why: JobEnd) {
        self.outputs.push_back(RoomOutput::Agents(AgentRequest::End { jobs, why }));
    }
}

/// Lossy: of more jobs than fit, the oldest is forgotten.
fn remember(state: &mut proto::AgentDispatchState, job: proto::Job) {
    match state.jobs.iter_mut().find(|one| one.id == job.id) {
        Some(known) => *known = job,
        None => {
            if state.jobs.len() >= MAX_JOBS {
                state.jobs.remove(0);
            }
            state.jobs.push(job);
        }
    }
}
