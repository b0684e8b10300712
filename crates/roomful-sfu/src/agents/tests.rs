use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::server_message::Message as Said;
use proto::worker_message::Message as Heard;
use proto::{JobStatus, JobType};

use super::{Agencies, AgencyEnd, AgencyOutput, AgentRequest, JobEnd, Jobs};
use crate::clock::WallClock;
use crate::ids::{AgencyId, DispatchId, JobId, RoomSid, UnixTime};
use crate::sfu::Seed;
use crate::testing::start_of_time;
use crate::token::{ApiKey, ApiKeys, ApiSecret};

const UNIX_MILLIS: u64 = 1_800_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// The agencies of one server, and what they did not say yet.
struct Desk {
    agencies: Agencies,
    now: Instant,
}

/// One output, in short.
#[derive(Debug, Clone, PartialEq)]
enum Did {
    Registered(AgencyId),
    Offered(AgencyId, proto::Job),
    Assigned(AgencyId, String),
    Terminated(AgencyId, String),
    Ponged(AgencyId, i64),
    Closed(AgencyId, AgencyEnd),
    Told(proto::Job),
}

fn keys() -> ApiKeys {
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new("key"), ApiSecret::new("a secret of more than thirty-two bytes"));
    keys
}

impl Desk {
    fn new(seed: u64) -> Self {
        let now = start_of_time();
        let clock = WallClock::new(now, UNIX_MILLIS);
        Self { agencies: Agencies::new(keys(), clock, Seed(seed), now), now }
    }

    /// An agency that has registered so.
    fn agency(&mut self, id: u64, kind: JobType, name: &str, namespace: &str) -> AgencyId {
        let agency = AgencyId(id);
        self.agencies.handle_connected(agency, self.now);
        let done = self.hear(agency, Heard::Register(registration(kind, name, namespace)));
        assert_eq!(done, [Did::Registered(agency)]);
        agency
    }

    fn hear(&mut self, from: AgencyId, message: Heard) -> Vec<Did> {
        let message = proto::WorkerMessage { message: Some(message) };
        self.agencies.handle_message(from, message, self.now);
        self.drain()
    }

    fn answer(&mut self, from: AgencyId, job: &str, available: bool) -> Vec<Did> {
        self.hear(
            from,
            Heard::Availability(proto::AvailabilityResponse {
                job_id: job.into(),
                available,
                participant_identity: "agent".into(),
                participant_name: "Agent".into(),
                ..Default::default()
            }),
        )
    }

    fn launch(&mut self, job: proto::Job) -> Vec<Did> {
        self.agencies.handle_request(AgentRequest::Launch(Box::new(job)), self.now);
        self.drain()
    }

    fn end(&mut self, jobs: Jobs, why: JobEnd) -> Vec<Did> {
        self.agencies.handle_request(AgentRequest::End { jobs, why }, self.now);
        self.drain()
    }

    fn leave(&mut self, agency: AgencyId) -> Vec<Did> {
        self.agencies.handle_gone(agency, self.now);
        self.drain()
    }

    fn wait(&mut self, time: Duration) -> Vec<Did> {
        self.now += time;
        self.agencies.handle_timeout(self.now);
        self.drain()
    }

    /// Launches a job and has it taken; whoever took it, and the job.
    fn run(&mut self, job: proto::Job) -> (AgencyId, String) {
        let done = self.launch(job);
        let [Did::Offered(agency, job)] = &done[..] else { panic!("{done:?}") };
        let (agency, id) = (*agency, job.id.clone());
        let done = self.answer(agency, &id, true);
        assert!(matches!(&done[..], [Did::Told(_), Did::Assigned(to, _)] if *to == agency));
        (agency, id)
    }

    fn drain(&mut self) -> Vec<Did> {
        let mut done = Vec::new();
        loop {
            done.push(match self.agencies.poll_output() {
                AgencyOutput::Tell { agency, message } => match message.message.unwrap() {
                    Said::Register(_) => Did::Registered(agency),
                    Said::Availability(offer) => Did::Offered(agency, offer.job.unwrap()),
                    Said::Assignment(assignment) => Did::Assigned(agency, assignment.token),
                    Said::Termination(termination) => Did::Terminated(agency, termination.job_id),
                    Said::Pong(pong) => Did::Ponged(agency, pong.last_timestamp),
                    Said::GoAway(_) => panic!("nobody is sent away so"),
                },
                AgencyOutput::Close { agency, why } => Did::Closed(agency, why),
                AgencyOutput::Job(job) => Did::Told(*job),
                AgencyOutput::Timeout(_) => return done,
            });
        }
    }
}

fn registration(kind: JobType, name: &str, namespace: &str) -> proto::RegisterWorkerRequest {
    proto::RegisterWorkerRequest {
        r#type: kind.into(),
        agent_name: name.into(),
        namespace: Some(namespace.into()),
        ..Default::default()
    }
}

fn load(load: f32) -> Heard {
    Heard::UpdateWorker(proto::UpdateWorkerStatus { load, ..Default::default() })
}

/// What a room asks for.
fn job(kind: JobType, name: &str) -> proto::Job {
    let room = proto::Room { sid: "RM_1".into(), name: "garden".into(), ..Default::default() };
    proto::Job {
        dispatch_id: "AD_1".into(),
        r#type: kind.into(),
        room: Some(room),
        agent_name: name.into(),
        ..Default::default()
    }
}

fn status(did: &Did) -> (JobStatus, &str) {
    let Did::Told(job) = did else { panic!("{did:?}") };
    let state = job.state.as_ref().unwrap();
    (state.status(), state.error.as_str())
}

fn offered_to(done: &[Did]) -> AgencyId {
    match done {
        [Did::Offered(agency, _)] => *agency,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_goes_to_those_of_its_type_and_name_alone() {
    let mut desk = Desk::new(1);
    let room = desk.agency(1, JobType::JtRoom, "", "");
    let named = desk.agency(2, JobType::JtRoom, "gardener", "");
    let publisher = desk.agency(3, JobType::JtPublisher, "", "");
    assert_eq!(offered_to(&desk.launch(job(JobType::JtRoom, ""))), room);
    assert_eq!(offered_to(&desk.launch(job(JobType::JtRoom, "gardener"))), named);
    assert_eq!(offered_to(&desk.launch(job(JobType::JtPublisher, ""))), publisher);
    assert_eq!(desk.launch(job(JobType::JtParticipant, "")), []);
    let deployed = proto::Job { deployment: "green".into(), ..job(JobType::JtRoom, "") };
    assert_eq!(desk.launch(deployed), []);
}

#[test]
#[expect(deprecated, reason = "agencies of every age have namespaces")]
fn every_namespace_gets_a_job_of_its_own() {
    let mut desk = Desk::new(2);
    desk.agency(1, JobType::JtRoom, "", "a");
    desk.agency(2, JobType::JtRoom, "", "b");
    desk.agency(3, JobType::JtRoom, "", "b");
    let done = desk.launch(job(JobType::JtRoom, ""));
    let [Did::Offered(_, one), Did::Offered(_, other)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((one.namespace.as_str(), other.namespace.as_str()), ("a", "b"));
    assert_ne!(one.id, other.id);
}

#[test]
fn whoever_takes_a_job_gets_a_token_for_its_room() {
    let mut desk = Desk::new(3);
    let agency = AgencyId(1);
    desk.agencies.handle_connected(agency, desk.now);
    let allowed = proto::ParticipantPermission {
        can_subscribe: true,
        hidden: true,
        can_subscribe_metrics: true,
        ..Default::default()
    };
    let registration = proto::RegisterWorkerRequest {
        allowed_permissions: Some(allowed),
        ..registration(JobType::JtRoom, "gardener", "")
    };
    desk.hear(agency, Heard::Register(registration));
    let done = desk.launch(job(JobType::JtRoom, "gardener"));
    let [Did::Offered(_, offer)] = &done[..] else { panic!("{done:?}") };
    assert!(offer.state.as_ref().unwrap().worker_id.starts_with("AW_"));
    let done = desk.answer(agency, &offer.id, true);
    let [told, Did::Assigned(_, token)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(status(told), (JobStatus::JsRunning, ""));
    let now = UnixTime(UNIX_MILLIS / 1_000);
    let grant = keys().verify(token, now).unwrap();
    assert_eq!((grant.identity.as_str(), grant.room.as_str()), ("agent", "garden"));
    assert_eq!(grant.kind, proto::participant_info::Kind::Agent);
    assert_eq!(grant.attributes["lk.agent_name"], "gardener");
    let may = grant.permissions;
    assert!(may.agent && may.hidden && may.can_subscribe && may.can_subscribe_metrics);
    assert!(!may.can_publish && !may.can_publish_data && !may.can_update_own_metadata);
    assert_eq!(grant.expires, Some(UnixTime(now.0 + 3600)));
}

#[test]
fn who_refuses_is_asked_once_and_then_the_others() {
    let mut desk = Desk::new(4);
    for id in 1..=3 {
        desk.agency(id, JobType::JtRoom, "", "");
    }
    let mut done = desk.launch(job(JobType::JtRoom, ""));
    let mut asked = Vec::new();
    while let [Did::Offered(agency, job)] = &done[..] {
        asked.push(*agency);
        let (agency, id) = (*agency, job.id.clone());
        done = desk.answer(agency, &id, false);
    }
    assert_eq!(done, [], "nobody is left");
    asked.sort_unstable();
    assert_eq!(asked, [AgencyId(1), AgencyId(2), AgencyId(3)]);
}

#[test]
fn who_never_answers_is_passed_over_after_ten_seconds_and_comes_too_late() {
    let mut desk = Desk::new(5);
    desk.agency(1, JobType::JtRoom, "", "");
    desk.agency(2, JobType::JtRoom, "", "");
    let done = desk.launch(job(JobType::JtRoom, ""));
    let [Did::Offered(first, offer)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(desk.wait(Duration::from_millis(9_999)), []);
    let second = offered_to(&desk.wait(Duration::from_millis(1)));
    assert_ne!(*first, second);
    assert_eq!(desk.answer(*first, &offer.id, true), [], "too late");
    assert_eq!(desk.answer(second, &offer.id, true).len(), 2);
    assert_eq!(desk.wait(20 * SECOND), [], "it runs");
}

#[test]
fn who_disconnects_leaves_its_offers_to_others_and_its_jobs_failed() {
    let mut desk = Desk::new(6);
    let first = desk.agency(1, JobType::JtRoom, "", "");
    let (_, running) = desk.run(job(JobType::JtRoom, ""));
    let done = desk.launch(job(JobType::JtRoom, ""));
    let [Did::Offered(_, offered)] = &done[..] else { panic!("{done:?}") };
    let second = desk.agency(2, JobType::JtRoom, "", "");
    let done = desk.leave(first);
    let [failed, Did::Offered(to, again)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(status(failed), (JobStatus::JsFailed, "the agent worker disconnected"));
    assert!(matches!(failed, Did::Told(job) if job.id == running));
    assert_eq!((*to, &again.id), (second, &offered.id));
    assert_eq!(desk.leave(second), [], "nobody is left");
    assert_eq!(desk.leave(second), [], "it is gone");
}

#[test]
fn a_full_agency_gets_nothing_and_a_busy_one_less() {
    let mut desk = Desk::new(7);
    let busy = desk.agency(1, JobType::JtRoom, "", "");
    let idle = desk.agency(2, JobType::JtRoom, "", "");
    desk.hear(busy, load(0.6));
    let mut counts = [0, 0];
    for _ in 0..700 {
        let (agency, id) = desk.run(job(JobType::JtRoom, ""));
        counts[usize::from(agency == idle)] += 1;
        desk.end(Jobs::One(JobId::new(id)), JobEnd::Unwanted);
    }
    assert!((150..250).contains(&counts[0]), "0.4 of 1.4: {counts:?}");
    let full = proto::UpdateWorkerStatus {
        status: Some(proto::WorkerStatus::WsFull.into()),
        ..Default::default()
    };
    desk.hear(idle, Heard::UpdateWorker(full));
    assert_eq!(offered_to(&desk.launch(job(JobType::JtRoom, ""))), busy);
    for hostile in [0.7, 1.0, 7.0, f32::NAN, f32::INFINITY] {
        desk.hear(busy, load(hostile));
        assert_eq!(desk.launch(job(JobType::JtRoom, "")), [], "load {hostile}");
    }
    desk.hear(busy, load(f32::NEG_INFINITY));
    assert_eq!(offered_to(&desk.launch(job(JobType::JtRoom, ""))), busy);
    desk.hear(busy, load(0.7));
    desk.agencies.set_target_load(0.8);
    assert_eq!(offered_to(&desk.launch(job(JobType::JtRoom, ""))), busy, "where that is allowed");
}

#[test]
fn jobs_end_as_their_agency_says() {
    let mut desk = Desk::new(8);
    let agency = desk.agency(1, JobType::JtRoom, "", "");
    let other = desk.agency(2, JobType::JtRoom, "other", "");
    let (_, id) = desk.run(job(JobType::JtRoom, ""));
    let update = |status: i32| {
        Heard::UpdateJob(proto::UpdateJobStatus {
            job_id: id.clone(),
            status,
            error: "é".repeat(1024),
        })
    };
    assert_eq!(desk.hear(other, update(2)), [], "not theirs");
    assert_eq!(desk.hear(agency, update(77)), [], "no status");
    let done = desk.hear(agency, update(JobStatus::JsFailed.into()));
    let (failed, error) = status(&done[0]);
    assert_eq!((failed, error.len()), (JobStatus::JsFailed, 1024));
    assert_eq!(desk.hear(agency, update(JobStatus::JsRunning.into())), [], "it is over");
}

#[test]
fn an_offer_may_be_answered_by_ending_the_job() {
    let mut desk = Desk::new(9);
    let agency = desk.agency(1, JobType::JtRoom, "", "");
    let done = desk.launch(job(JobType::JtRoom, ""));
    let [Did::Offered(_, offer)] = &done[..] else { panic!("{done:?}") };
    let answer = proto::AvailabilityResponse {
        job_id: offer.id.clone(),
        terminate: true,
        ..Default::default()
    };
    let done = desk.hear(agency, Heard::Availability(answer));
    assert!(matches!(&done[..], [told] if status(told).0 == JobStatus::JsSuccess), "{done:?}");
}

#[test]
fn a_room_ends_its_jobs() {
    let mut desk = Desk::new(10);
    let agency = desk.agency(1, JobType::JtRoom, "", "");
    let (_, one) = desk.run(job(JobType::JtRoom, ""));
    let (_, two) = desk.run(proto::Job { dispatch_id: "AD_2".into(), ..job(JobType::JtRoom, "") });
    let (_, three) = desk.run(job(JobType::JtRoom, ""));
    let done = desk.end(Jobs::One(JobId::new(one.clone())), JobEnd::AgentLeft);
    assert_eq!(done[0], Did::Terminated(agency, one));
    assert_eq!(status(&done[1]), (JobStatus::JsFailed, "agent worker left the room"));
    let done = desk.end(Jobs::OfDispatch(DispatchId::new("AD_2")), JobEnd::Unwanted);
    assert_eq!((&done[0], done.len()), (&Did::Terminated(agency, two), 2));
    let done = desk.launch(job(JobType::JtRoom, ""));
    let [Did::Offered(_, offer)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(desk.end(Jobs::InRoom(RoomSid::new("RM_2")), JobEnd::Unwanted), []);
    let done = desk.end(Jobs::InRoom(RoomSid::new("RM_1")), JobEnd::Unwanted);
    assert_eq!(done[0], Did::Terminated(agency, three));
    assert_eq!(status(&done[1]), (JobStatus::JsSuccess, ""));
    assert_eq!(desk.answer(agency, &offer.id, true), [], "nobody wants it any more");
}

#[test]
fn whoever_breaks_the_order_is_sent_away() {
    let mut desk = Desk::new(11);
    let (early, late, twice) = (AgencyId(1), AgencyId(2), AgencyId(3));
    for agency in [early, late] {
        desk.agencies.handle_connected(agency, desk.now);
    }
    let ping = Heard::Ping(proto::WorkerPing { timestamp: 7 });
    assert_eq!(desk.hear(early, ping), [Did::Ponged(early, 7)], "pings are always answered");
    assert_eq!(desk.hear(early, load(0.0)), [Did::Closed(early, AgencyEnd::NotRegistered)]);
    assert_eq!(desk.hear(early, load(0.0)), [], "it is forgotten");
    assert_eq!(desk.wait(9 * SECOND), []);
    assert_eq!(desk.wait(SECOND), [Did::Closed(late, AgencyEnd::Silent)]);
    desk.agency(3, JobType::JtRoom, "", "");
    let again = Heard::Register(registration(JobType::JtRoom, "", ""));
    assert_eq!(desk.hear(twice, again), [Did::Closed(twice, AgencyEnd::Registered)]);
    assert_eq!(desk.launch(job(JobType::JtRoom, "")), [], "nobody is left");
}

#[test]
fn a_registration_that_cannot_be_is_refused() {
    let mut desk = Desk::new(12);
    let plain = || registration(JobType::JtRoom, "", "");
    let deployed = |name: &str| proto::RegisterWorkerRequest { deployment: name.into(), ..plain() };
    let cases = [
        proto::RegisterWorkerRequest { r#type: 9, ..plain() },
        deployed("a_b"),
        deployed("a b"),
        deployed(&"x".repeat(65)),
    ];
    for (id, request) in (1..).zip(cases) {
        desk.agencies.handle_connected(AgencyId(id), desk.now);
        let done = desk.hear(AgencyId(id), Heard::Register(request));
        assert!(matches!(&done[..], [Did::Closed(..)]), "{done:?}");
    }
    desk.agencies.handle_connected(AgencyId(9), desk.now);
    let done = desk.hear(AgencyId(9), Heard::Register(deployed(&"x".repeat(64))));
    assert_eq!(done, [Did::Registered(AgencyId(9))]);
}

#[test]
fn an_agency_may_try_itself_and_no_room_hears_of_it() {
    let mut desk = Desk::new(13);
    let agency = desk.agency(1, JobType::JtRoom, "gardener", "");
    let room = proto::Room { sid: "RM_1".into(), name: "garden".into(), ..Default::default() };
    let simulate = |room: Option<proto::Room>| {
        Heard::SimulateJob(proto::SimulateJobRequest { room, ..Default::default() })
    };
    assert_eq!(desk.hear(agency, simulate(None)), [], "which room?");
    let done = desk.hear(agency, simulate(Some(room.clone())));
    let [Did::Offered(_, offer)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(offer.agent_name, "gardener");
    let done = desk.answer(agency, &offer.id, true);
    assert!(matches!(&done[..], [Did::Assigned(..)]), "{done:?}");
    for _ in 0..200 {
        desk.hear(agency, simulate(Some(room.clone())));
    }
    assert_eq!(desk.agencies.jobs.len(), 101, "no more of them at a time");
    desk.wait(10 * SECOND);
    assert_eq!(desk.agencies.jobs.len(), 1, "unanswered ones are forgotten");
}

#[test]
fn an_agency_s_jobs_have_an_end() {
    let mut desk = Desk::new(14);
    let agency = desk.agency(1, JobType::JtRoom, "", "");
    for _ in 0..super::agencies::MAX_JOBS + 5 {
        desk.launch(job(JobType::JtRoom, ""));
    }
    assert_eq!(desk.agencies.jobs.len(), super::agencies::MAX_JOBS);
    desk.leave(agency);
    assert_eq!((desk.agencies.jobs.len(), desk.agencies.ids.len()), (0, 0));
}
