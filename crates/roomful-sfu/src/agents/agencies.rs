//! Finds agencies for jobs, and keeps account of the jobs they have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::server_message::Message as Said;
use proto::worker_message::Message as Heard;
use proto::{JobState, JobStatus};

use super::agency::{Agency, AgencyEnd};
use super::job::{Job, JobKey, NOBODY, Stage, draw, shortened};
use super::{AgentRequest, JobEnd, Jobs, is_ended};
use crate::clock::WallClock;
use crate::ids::{AgencyId, JobId, UnixTime};
use crate::sfu::Seed;
use crate::signalling::ServerFacts;
use crate::timers::Timers;
use crate::token::ApiKeys;

/// How long an agency may take to register: LiveKit's value. Longer holds connections that nobody uses, shorter cuts off
/// slow starters.
const REGISTERS_WITHIN: Duration = Duration::from_secs(10);

/// How long an agency may take to say whether it takes a job: LiveKit's value. Longer keeps rooms waiting for one that
/// hangs, shorter passes over one that starts a process first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Unless told otherwise, a job is offered only where at least one agency has less load than this: LiveKit's default. Higher gives jobs to agencies
/// that cannot do them well, lower leaves rooms without agents that could have one.
const TARGET_LOAD: f32 = 0.7;

/// How long the token for a job is valid, in seconds: LiveKit's value. It is checked on joining; those who are in get new ones.
const TOKEN_LASTS: u64 = 3600;

/// Jobs offered or running at a time. More take more memory if rooms ask for agents without end, fewer refuse servers full of
/// rooms with one each.
pub(super) const MAX_JOBS: usize = 10_000;

/// Jobs that one agency may pretend to be given at a time.
const MAX_SIMULATED: usize = 100;

/// Every agency that is connected, and every job that is offered or running. Every call must be followed by a full drain of
/// [`Agencies::poll_output`].
#[derive(Debug)]
pub struct Agencies {
    keys: ApiKeys,
    clock: WallClock,
    server: proto::ServerInfo,
    agencies: BTreeMap<AgencyId, Agency>,
    target_load: f32,
    pub(super) jobs: BTreeMap<JobKey, Job>,
    pub(super) ids: BTreeMap<JobId, JobKey>,
    last_job: u64,
    timers: Timers<Timer>,
    outputs: VecDeque<AgencyOutput>,
    rng: fastrand::Rng,
    now: Instant,
}

/// One thing for the shell to do.
#[derive(Debug, PartialEq)]
pub enum AgencyOutput {
    /// Send this message to that agency. Lossless: a shell that cannot must close the connection.
    Tell {
        /// Whom to tell.
        agency: AgencyId,
        /// What.
        message: Box<proto::ServerMessage>,
    },
    /// Close that connection after everything sent on it so far; the agency is forgotten.
    Close {
        /// Whose.
        agency: AgencyId,
        /// What to say about it.
        why: AgencyEnd,
    },
    /// The job's room is to know how it is ([`crate::Sfu::handle_job`]).
    Job(Box<proto::Job>),
    /// Nothing more now; call [`Agencies::handle_timeout`] at this instant, if nothing comes before.
    Timeout(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Registration(AgencyId),
    Offer(JobKey),
}

/// How long to sleep when nothing is due: any arrival wakes the shell anyway.
const IDLE: Duration = Duration::from_secs(3_600);

impl Agencies {
    /// No agencies yet. `keys` sign the tokens of agents.
    pub fn new(keys: ApiKeys, clock: WallClock, seed: Seed, now: Instant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed.0);
        let node = crate::sids::make("ND_", &mut rng);
        let facts = ServerFacts { node, ice_servers: Vec::new() };
        Self {
            keys,
            clock,
            server: facts.info(),
            agencies: BTreeMap::new(),
            target_load: TARGET_LOAD,
            jobs: BTreeMap::new(),
            ids: BTreeMap::new(),
            last_job: 0,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            rng,
            now,
        }
    }

    /// Offers jobs only where at least one agency has less load than this, from 0 to 1.
    pub fn set_target_load(&mut self, load: f32) {
        self.target_load = load;
    }

    /// An agency connected, and is to register now. That it may was checked.
    pub fn handle_connected(&mut self, agency: AgencyId, now: Instant) {
        self.now = now;
        let name = crate::sids::make("AW_", &mut self.rng);
        self.agencies.insert(agency, Agency::new(name));
        self.timers.set(Timer::Registration(agency), Some(now + REGISTERS_WITHIN));
    }

    /// An agency says something.
    pub fn handle_message(&mut self, from: AgencyId, message: proto::WorkerMessage, now: Instant) {
        self.now = now;
        let Some(agency) = self.agencies.get(&from) else { return };
        match message.message {
            // Newer agencies may say more than this server knows.
            None => {}
            Some(Heard::Ping(ping)) => self.pong(from, ping),
            Some(Heard::Register(request)) => self.register(from, request),
            Some(_) if agency.registration.is_none() => self.close(from, AgencyEnd::NotRegistered),
            Some(Heard::Availability(answer)) => self.handle_answer(from, answer),
            Some(Heard::UpdateWorker(update)) => {
                if let Some(agency) = self.agencies.get_mut(&from) {
                    agency.update(&update);
                }
            }
            Some(Heard::UpdateJob(update)) => self.update_job(from, update),
            Some(Heard::SimulateJob(request)) => self.simulate(from, request),
            // As with LiveKit: nothing moves a job that runs.
            Some(Heard::MigrateJob(_)) => {}
        }
    }

    /// The agency's connection is gone. What was offered to it is offered to others; what it did has failed.
    pub fn handle_gone(&mut self, agency: AgencyId, now: Instant) {
        self.now = now;
        if self.agencies.remove(&agency).is_none() {
            return;
        }
        self.timers.set(Timer::Registration(agency), None);
        let concerned: Vec<JobKey> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.agency() == agency)
            .map(|(key, _)| *key)
            .collect();
        for key in concerned {
            match self.jobs.get(&key).map(|job| &job.stage) {
                Some(Stage::Offered { .. }) => self.offer_to_another(key),
                Some(Stage::Simulated { .. }) | None => self.forget(key),
                Some(Stage::Running { .. }) => {
                    self.set_status(key, JobStatus::JsFailed, "the agent worker disconnected");
                }
            }
        }
    }

    /// A room asks something.
    pub fn handle_request(&mut self, request: AgentRequest, now: Instant) {
        self.now = now;
        match request {
            AgentRequest::Launch(job) => self.launch(&job),
            AgentRequest::End { jobs, why } => self.end(&jobs, why),
        }
    }

    /// The instant of the last [`AgencyOutput::Timeout`] has come, or any later one.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Registration(agency) => self.close(agency, AgencyEnd::Silent),
                Timer::Offer(key) => self.offer_to_another(key),
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> AgencyOutput {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| AgencyOutput::Timeout(self.timers.next().unwrap_or(self.now + IDLE)))
    }

    fn pong(&mut self, to: AgencyId, ping: proto::WorkerPing) {
        let timestamp = self.clock.unix_millis(self.now);
        let pong = proto::WorkerPong { last_timestamp: ping.timestamp, timestamp };
        self.tell(to, Said::Pong(pong));
    }

    fn register(&mut self, from: AgencyId, request: proto::RegisterWorkerRequest) {
        let Some(agency) = self.agencies.get_mut(&from) else { return };
        let kind = request.r#type();
        if let Err(why) = agency.register(request) {
            return self.close(from, why);
        }
        self.timers.set(Timer::Registration(from), None);
        tracing::info!(agency = agency.name, kind = kind.as_str_name(), "an agency registered");
        let response = proto::RegisterWorkerResponse {
            worker_id: agency.name.clone(),
            server_info: Some(self.server.clone()),
            ..Default::default()
        };
        self.tell(from, Said::Register(response));
    }

    /// One job for each namespace in which such jobs are taken.
    #[expect(deprecated, reason = "agencies of every age have namespaces")]
    fn launch(&mut self, wanted: &proto::Job) {
        let taken = self.agencies.values().filter_map(|one| one.takes(wanted));
        let namespaces: BTreeSet<String> = taken.map(|one| one.namespace.clone()).collect();
        for namespace in namespaces {
            if self.jobs.len() >= MAX_JOBS {
                return tracing::warn!("too many jobs of agents run: one is not begun");
            }
            let said = proto::Job { namespace, state: None, ..wanted.clone() };
            let has_room =
                |one: &Agency| one.is_available_for(&said) && one.load < self.target_load;
            if self.agencies.values().any(has_room) {
                let nobody = Stage::Offered { to: NOBODY, refused: BTreeSet::new() };
                let key = self.begin(said, nobody);
                self.offer_to_another(key);
            } else {
                tracing::info!("no agency has room for a job");
            }
        }
    }

    fn begin(&mut self, said: proto::Job, stage: Stage) -> JobKey {
        self.last_job += 1;
        let key = JobKey(self.last_job);
        let id = crate::sids::make("AJ_", &mut self.rng);
        self.ids.insert(JobId::new(id.clone()), key);
        self.jobs.insert(key, Job { said: proto::Job { id, ..said }, stage });
        key
    }

    /// Whoever was asked does not take the job: the next is asked, or the job is given up.
    fn offer_to_another(&mut self, key: JobKey) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Stage::Offered { to, refused } = &mut job.stage else { return self.forget(key) };
        refused.insert(*to);
        let candidates = self
            .agencies
            .iter()
            .filter(|(id, one)| !refused.contains(id) && one.is_available_for(&job.said));
        let shares: Vec<(AgencyId, f32)> =
            candidates.map(|(id, one)| (*id, 1.0 - one.load)).collect();
        let Some(chosen) = draw(&shares, &mut self.rng) else {
            tracing::info!("no agency took a job");
            return self.forget(key);
        };
        *to = chosen;
        self.offer(key, chosen);
    }

    fn offer(&mut self, key: JobKey, to: AgencyId) {
        let at = self.nanoseconds();
        let name = self.agencies.get(&to).map(|one| one.name.clone()).unwrap_or_default();
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.said.state = Some(JobState {
            status: JobStatus::JsRunning.into(),
            worker_id: name,
            started_at: at,
            updated_at: at,
            ..Default::default()
        });
        let request = proto::AvailabilityRequest { job: Some(job.said.clone()), resuming: false };
        self.timers.set(Timer::Offer(key), Some(self.now + ANSWERS_WITHIN));
        self.tell(to, Said::Availability(request));
    }

    fn handle_answer(&mut self, from: AgencyId, answer: proto::AvailabilityResponse) {
        let Some(key) = self.ids.get(&JobId::new(answer.job_id.clone())).copied() else { return };
        let Some(job) = self.jobs.get(&key) else { return };
        if job.agency() != from || matches!(job.stage, Stage::Running { .. }) {
            return;
        }
        self.timers.set(Timer::Offer(key), None);
        if answer.terminate {
            self.set_status(key, JobStatus::JsSuccess, "");
        } else if answer.available {
            self.assign(key, from, answer);
        } else {
            self.offer_to_another(key);
        }
    }

    fn assign(&mut self, key: JobKey, to: AgencyId, mut answer: proto::AvailabilityResponse) {
        let now = self.clock.unix_time(self.now);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Some(agency) = self.agencies.get(&to) else { return };
        if answer.participant_identity.is_empty() {
            answer.participant_identity = format!("agent-{}", job.said.id);
        }
        let grant = agency.grant(&job.said, &answer);
        let expires = UnixTime(now.0 + TOKEN_LASTS);
        let Some(token) = grant.and_then(|grant| self.keys.sign(&grant, now, expires)) else {
            return self.forget(key);
        };
        if let Some(state) = &mut job.said.state {
            state.participant_identity = answer.participant_identity;
        }
        job.stage = Stage::Running { at: to };
        let said = job.said.clone();
        // First: whoever joins with the token shall be known.
        self.tell_room(&said);
        let assignment = proto::JobAssignment { job: Some(said), url: None, token };
        self.tell(to, Said::Assignment(assignment));
    }

    fn update_job(&mut self, from: AgencyId, update: proto::UpdateJobStatus) {
        let Some(key) = self.ids.get(&JobId::new(update.job_id)).copied() else { return };
        let is_theirs = |job: &Job| matches!(job.stage, Stage::Running { at } if at == from);
        if self.jobs.get(&key).is_some_and(is_theirs)
            && let Ok(status) = JobStatus::try_from(update.status)
        {
            self.set_status(key, status, &update.error);
        }
    }

    /// Tells the room, and forgets the job if it is over.
    fn set_status(&mut self, key: JobKey, status: JobStatus, error: &str) {
        let at = self.nanoseconds();
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let state = job.said.state.get_or_insert_default();
        state.set_status(status);
        state.error = shortened(error).to_owned();
        state.updated_at = at;
        let is_over = is_ended(state);
        if is_over {
            state.ended_at = at;
        }
        let said = job.said.clone();
        self.tell_room(&said);
        if is_over {
            self.forget(key);
        }
    }

    fn simulate(&mut self, by: AgencyId, request: proto::SimulateJobRequest) {
        let simulated = |job: &&Job| matches!(job.stage, Stage::Simulated { .. });
        let has_room = request.room.as_ref().is_some_and(|room| !room.name.is_empty());
        if !has_room || self.jobs.values().filter(simulated).count() >= MAX_SIMULATED {
            return tracing::debug!("a simulated job is refused");
        }
        let Some(registration) = self.agencies.get(&by).and_then(|one| one.registration.as_ref())
        else {
            return;
        };
        let kind = if request.participant.is_some() {
            proto::JobType::JtPublisher
        } else {
            proto::JobType::JtRoom
        };
        #[expect(deprecated, reason = "agencies of every age have namespaces")]
        let said = proto::Job {
            r#type: kind.into(),
            room: request.room,
            participant: request.participant,
            namespace: registration.namespace.clone(),
            agent_name: registration.agent_name.clone(),
            ..Default::default()
        };
        let key = self.begin(said, Stage::Simulated { by });
        self.offer(key, by);
    }

    fn end(&mut self, which: &Jobs, why: JobEnd) {
        let keys: Vec<JobKey> = match which {
            Jobs::One(id) => self.ids.get(id).copied().into_iter().collect(),
            _ => self
                .jobs
                .iter()
                .filter(|(_, job)| job.is_one_of(which))
                .map(|(key, _)| *key)
                .collect(),
        };
        for key in keys {
            let Some(job) = self.jobs.get(&key) else { continue };
            let Stage::Running { at } = job.stage else {
                self.forget(key);
                continue;
            };
            let termination = proto::JobTermination { job_id: job.said.id.clone() };
            self.tell(at, Said::Termination(termination));
            match why {
                JobEnd::Unwanted => self.set_status(key, JobStatus::JsSuccess, ""),
                JobEnd::AgentLeft => {
                    self.set_status(key, JobStatus::JsFailed, "agent worker left the room");
                }
            }
        }
    }

    fn forget(&mut self, key: JobKey) {
        self.timers.set(Timer::Offer(key), None);
        if let Some(job) = self.jobs.remove(&key) {
            self.ids.remove(&JobId::new(job.said.id));
        }
    }

    fn close(&mut self, agency: AgencyId, why: AgencyEnd) {
        self.outputs.push_back(AgencyOutput::Close { agency, why });
        self.handle_gone(agency, self.now);
    }

    fn tell(&mut self, agency: AgencyId, said: Said) {
        let message = Box::new(proto::ServerMessage { message: Some(said) });
        self.outputs.push_back(AgencyOutput::Tell { agency, message });
    }

    /// A job that an agency made up concerns no room.
    fn tell_room(&mut self, job: &proto::Job) {
        if !job.dispatch_id.is_empty() {
            self.outputs.push_back(AgencyOutput::Job(Box::new(job.clone())));
        }
    }

    /// As job states count time: nanoseconds since 1970.
    fn nanoseconds(&self) -> i64 {
        self.clock.unix_millis(self.now).saturating_mul(1_000_000)
    }
}
