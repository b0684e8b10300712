use livekit_protocol as proto;
use proto::JobType;
use roomful_sfu::RoomPolicy;
use roomful_sfu::administration::{Administration, AdministrationError, Reply, RoomRequest};
use roomful_sfu::agents::{AgentRequest, JobEnd, Jobs};
use roomful_sfu::ids::{DispatchId, Identity, JobId, RoomName, RoomSid};
use roomful_sfu::token::{Grant, Permissions};
use roomful_sim::world::DEFAULT_LATENCY;
use roomful_sim::{Conditions, JoinOptions, TrackPlan, World};

use crate::calls::*;

/// What rooms asked for since `from`: the agent's name, the type of the job and whom it is about.
fn launched(world: &World, from: usize) -> Vec<(&str, JobType, &str)> {
    let requests = world.agent_requests()[from..].iter();
    requests
        .filter_map(|request| match request {
            AgentRequest::Launch(job) => {
                let who = job.participant.as_ref().map_or("", |one| one.identity.as_str());
                Some((job.agent_name.as_str(), job.r#type(), who))
            }
            AgentRequest::End { .. } => None,
        })
        .collect()
}

/// Which jobs rooms wanted ended since `from`.
fn ended(world: &World, from: usize) -> Vec<(Jobs, JobEnd)> {
    let requests = world.agent_requests()[from..].iter();
    requests
        .filter_map(|request| match request {
            AgentRequest::End { jobs, why } => Some((jobs.clone(), *why)),
            AgentRequest::Launch(_) => None,
        })
        .collect()
}

fn ask(world: &mut World, request: RoomRequest) -> Result<Reply, AdministrationError> {
    world.administer(Administration::InRoom(RoomName::new("garden"), request)).unwrap()
}

fn dispatch(name: &str) -> RoomRequest {
    RoomRequest::CreateDispatch(Box::new(proto::CreateAgentDispatchRequest {
        agent_name: name.into(),
        room: "garden".into(),
        metadata: "water the plants".into(),
        ..Default::default()
    }))
}

fn created(reply: Result<Reply, AdministrationError>) -> proto::AgentDispatch {
    match reply.unwrap() {
        Reply::Dispatch(dispatch) => *dispatch,
        other => panic!("{other:?}"),
    }
}

fn listed(world: &mut World) -> Vec<proto::AgentDispatch> {
    match ask(world, RoomRequest::ListDispatches(None)).unwrap() {
        Reply::Dispatches(dispatches) => dispatches,
        other => panic!("{other:?}"),
    }
}

/// The last job that was asked for, as an agency does it under this identity.
fn running(world: &World, identity: &str) -> proto::Job {
    let requests = world.agent_requests().iter().rev();
    let mut jobs = requests.filter_map(|request| match request {
        AgentRequest::Launch(job) => Some(job.as_ref().clone()),
        AgentRequest::End { .. } => None,
    });
    let state = proto::JobState {
        status: proto::JobStatus::JsRunning.into(),
        participant_identity: identity.into(),
        ..Default::default()
    };
    proto::Job { id: "AJ_1".into(), state: Some(state), ..jobs.next().unwrap() }
}

fn agent(world: &mut World, identity: &str) -> roomful_sim::ClientId {
    let grant = Grant {
        permissions: Permissions { agent: true, ..Permissions::default() },
        kind: proto::participant_info::Kind::Agent,
        ..Grant::new(Identity::new(identity), identity, RoomName::new("garden"))
    };
    let links = Conditions::latency(DEFAULT_LATENCY);
    let id = world.add_client_with(grant, JoinOptions::default(), links);
    connected(world, id);
    id
}

#[test]
fn a_room_asks_at_its_start_for_each_newcomer_and_for_each_first_track() {
    let mut world = World::new(400).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::VOICE);
    publish(&mut world, ann, TrackPlan::CAMERA);
    join(&mut world, "bob", "garden");
    agent(&mut world, "gardener");
    let expected = [
        ("", JobType::JtRoom, ""),
        ("", JobType::JtParticipant, "ann"),
        ("", JobType::JtPublisher, "ann"),
        ("", JobType::JtParticipant, "bob"),
    ];
    assert_eq!(launched(&world, 0), expected, "agents need no agents");
    let before = world.agent_requests().len();
    let sid = world.client(ann).room_sid().unwrap().to_owned();
    let delete = Administration::DeleteRoom(RoomName::new("garden"));
    world.administer(delete).unwrap().unwrap();
    let over = (Jobs::InRoom(RoomSid::new(sid)), JobEnd::Unwanted);
    assert_eq!(ended(&world, before), [over]);
}

#[test]
fn agents_wanted_later_hear_of_those_who_are_there() {
    let mut world = World::new(401).unwrap();
    let ann = join(&mut world, "ann", "garden");
    publish(&mut world, ann, TrackPlan::VOICE);
    join(&mut world, "bob", "garden");
    let before = world.agent_requests().len();
    let wanted = created(ask(&mut world, dispatch("gardener")));
    assert!(wanted.id.starts_with("AD_") && wanted.state.as_ref().unwrap().created_at > 0);
    let expected = [
        ("gardener", JobType::JtRoom, ""),
        ("gardener", JobType::JtPublisher, "ann"),
        ("gardener", JobType::JtParticipant, "ann"),
        ("gardener", JobType::JtParticipant, "bob"),
    ];
    assert_eq!(launched(&world, before), expected);
    assert!(matches!(
        &world.agent_requests()[before],
        AgentRequest::Launch(job) if job.dispatch_id == wanted.id && job.metadata == wanted.metadata
    ));
    let before = world.agent_requests().len();
    join(&mut world, "cid", "garden");
    let both = [("", JobType::JtParticipant, "cid"), ("gardener", JobType::JtParticipant, "cid")];
    assert_eq!(launched(&world, before), both);
}

#[test]
fn a_room_s_maker_says_which_agents_it_has() {
    let mut world = World::new(402).unwrap();
    let agent = |name: &str, deployment: &str| proto::RoomAgentDispatch {
        agent_name: name.into(),
        deployment: deployment.into(),
        ..Default::default()
    };
    let request = proto::CreateRoomRequest {
        name: "garden".into(),
        agents: vec![agent("gardener", ""), agent("cook", "no_such"), agent("cat", "blue")],
        ..Default::default()
    };
    world.administer(Administration::CreateRoom(Box::new(request))).unwrap().unwrap();
    let names: Vec<_> = listed(&mut world).into_iter().map(|one| one.agent_name).collect();
    assert_eq!(names, ["gardener", "cat"], "a deployment's name has no underscore");
    let mut crowd = proto::CreateRoomRequest { name: "attic".into(), ..Default::default() };
    crowd.agents = vec![agent("x", ""); 101];
    let outcome = world.administer(Administration::CreateRoom(Box::new(crowd))).unwrap();
    assert!(matches!(outcome, Err(AdministrationError::OverLimit(_))), "{outcome:?}");
}

#[test]
fn a_dispatch_tells_how_its_jobs_are() {
    let mut world = World::new(403).unwrap();
    join(&mut world, "ann", "garden");
    let wanted = created(ask(&mut world, dispatch("gardener")));
    let mut job = running(&world, "agent-1");
    world.tell_job(job.clone());
    let only = RoomRequest::ListDispatches(Some(DispatchId::new(wanted.id.clone())));
    let Ok(Reply::Dispatches(found)) = ask(&mut world, only) else { panic!("a list") };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state.as_ref().unwrap().jobs, [job.clone()]);
    job.state.as_mut().unwrap().set_status(proto::JobStatus::JsSuccess);
    world.tell_job(job.clone());
    let mut stray = job.clone();
    stray.id = "AJ_2".into();
    stray.room.as_mut().unwrap().sid = "RM_other".into();
    world.tell_job(stray);
    let all = listed(&mut world);
    assert_eq!(all.len(), 2, "the unnamed one, too");
    assert_eq!(all[1].state.as_ref().unwrap().jobs, [job], "as it is now, and no other room's");
}

#[test]
fn a_job_fails_when_its_agent_leaves_but_not_when_it_comes_again() {
    let mut world = World::new(404).unwrap();
    join(&mut world, "ann", "garden");
    let first = agent(&mut world, "agent-1");
    world.tell_job(running(&world, "agent-1"));
    let before = world.agent_requests().len();
    let second = agent(&mut world, "agent-1");
    assert_eq!(ended(&world, before), [], "it came again");
    world.kill(first);
    world.act(second, |client, _| client.leave());
    world.run(SECOND);
    let left = (Jobs::One(JobId::new("AJ_1")), JobEnd::AgentLeft);
    assert_eq!(ended(&world, before), [left]);
}

#[test]
fn an_agent_nobody_wants_any_more_leaves_within_three_seconds() {
    let mut world = World::new(405).unwrap();
    join(&mut world, "ann", "garden");
    let wanted = created(ask(&mut world, dispatch("gardener")));
    agent(&mut world, "agent-1");
    world.tell_job(running(&world, "agent-1"));
    let before = world.agent_requests().len();
    let id = DispatchId::new(wanted.id);
    let delete = || RoomRequest::DeleteDispatch(id.clone());
    created(ask(&mut world, delete()));
    assert_eq!(ended(&world, before), [(Jobs::OfDispatch(id.clone()), JobEnd::Unwanted)]);
    assert_eq!(ask(&mut world, delete()), Err(AdministrationError::NoDispatch));
    let still = |world: &mut World| {
        let who = RoomRequest::GetParticipant(Identity::new("agent-1"));
        ask(world, who).is_ok()
    };
    world.run(3 * SECOND - RTT);
    assert!(still(&mut world), "it may say goodbye");
    world.run(2 * RTT);
    assert!(!still(&mut world));
    join(&mut world, "bob", "garden");
    assert_eq!(launched(&world, before), [("", JobType::JtParticipant, "bob")]);
}

#[test]
fn wanting_agents_begins_a_room_where_rooms_begin_by_themselves() {
    let mut world = World::new(406).unwrap();
    created(ask(&mut world, dispatch("gardener")));
    let names: Vec<_> = listed(&mut world).into_iter().map(|one| one.agent_name).collect();
    assert_eq!(names, ["", "gardener"]);
    let rooms = RoomPolicy { auto_create: false, ..RoomPolicy::default() };
    let mut world = World::with_rooms(407, rooms).unwrap();
    assert_eq!(ask(&mut world, dispatch("gardener")), Err(AdministrationError::NoRoom));
}

#[test]
fn a_room_has_no_more_than_a_hundred_dispatches() {
    let mut world = World::new(408).unwrap();
    for _ in 0..99 {
        created(ask(&mut world, dispatch("gardener")));
    }
    let outcome = ask(&mut world, dispatch("gardener"));
    assert!(matches!(outcome, Err(AdministrationError::OverLimit(_))), "{outcome:?}");
    let mut long =
        proto::CreateAgentDispatchRequest { room: "garden".into(), ..Default::default() };
    long.deployment = "a b".into();
    let outcome = ask(&mut world, RoomRequest::CreateDispatch(Box::new(long.clone())));
    assert!(matches!(outcome, Err(AdministrationError::Deployment(_))), "{outcome:?}");
}
