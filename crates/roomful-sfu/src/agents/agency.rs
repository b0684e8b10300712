//! One agency: what it said about itself, and what it may be asked.

use livekit_protocol as proto;
use proto::participant_info::Kind;

use super::{BadDeployment, check_deployment};
use crate::ids::{Identity, RoomName};
use crate::token::{Grant, Permissions};

/// A participant's attribute that says which agent it is. LiveKit's clients look for it.
const NAME_ATTRIBUTE: &str = "lk.agent_name";

/// An agency that is connected.
#[derive(Debug)]
pub(super) struct Agency {
    /// `AW_…`
    pub(super) name: String,
    /// What it takes; `None` until it has said so.
    pub(super) registration: Option<Registration>,
    is_full: bool,
    /// Between 0 and 1, as it says itself.
    pub(super) load: f32,
}

/// What an agency takes.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) kind: proto::JobType,
    pub(super) agent_name: String,
    pub(super) namespace: String,
    pub(super) deployment: String,
    permissions: Permissions,
}

/// Why an agency is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgencyEnd {
    /// It did not register in time.
    #[error("no register message came in time")]
    Silent,
    /// It sent something else first.
    #[error("the first message must be register")]
    NotRegistered,
    /// It registered before.
    #[error("registered already: open another connection for other jobs")]
    Registered,
    /// It takes jobs of a kind that this server does not know.
    #[error("jobs of this type are not known here")]
    JobType,
    /// Its deployment's name cannot be.
    #[error(transparent)]
    Deployment(#[from] BadDeployment),
}

impl Agency {
    pub(super) fn new(name: String) -> Self {
        Self { name, registration: None, is_full: false, load: 0.0 }
    }

    /// Takes in what it registers for.
    pub(super) fn register(
        &mut self,
        request: proto::RegisterWorkerRequest,
    ) -> Result<(), AgencyEnd> {
        if self.registration.is_some() {
            return Err(AgencyEnd::Registered);
        }
        let kind = proto::JobType::try_from(request.r#type).map_err(|_| AgencyEnd::JobType)?;
        check_deployment(&request.deployment)?;
        self.registration = Some(Registration {
            kind,
            agent_name: request.agent_name,
            namespace: request.namespace.unwrap_or_default(),
            deployment: request.deployment,
            permissions: permissions(request.allowed_permissions.as_ref()),
        });
        Ok(())
    }

    /// Takes in how busy it says it is. A load that is no number counts as full.
    pub(super) fn update(&mut self, update: &proto::UpdateWorkerStatus) {
        if let Some(status) = update.status {
            self.is_full = status != i32::from(proto::WorkerStatus::WsAvailable);
        }
        self.load = if update.load.is_nan() { 1.0 } else { update.load.clamp(0.0, 1.0) };
    }

    /// Whether it takes jobs like this one, in whatever namespace.
    pub(super) fn takes(&self, job: &proto::Job) -> Option<&Registration> {
        let taken = self.registration.as_ref()?;
        let is_taken = i32::from(taken.kind) == job.r#type
            && taken.agent_name == job.agent_name
            && taken.deployment == job.deployment;
        is_taken.then_some(taken)
    }

    /// Whether this job may be offered to it now.
    #[expect(deprecated, reason = "agencies of every age have namespaces")]
    pub(super) fn is_available_for(&self, job: &proto::Job) -> bool {
        !self.is_full && self.takes(job).is_some_and(|taken| taken.namespace == job.namespace)
    }

    /// What the agent of `job` may do, called and described as its agency answered.
    pub(super) fn grant(
        &self,
        job: &proto::Job,
        answer: &proto::AvailabilityResponse,
    ) -> Option<Grant> {
        let registration = self.registration.as_ref()?;
        let room = RoomName::new(job.room.as_ref()?.name.clone());
        let identity = Identity::new(&answer.participant_identity);
        let mut attributes: std::collections::BTreeMap<_, _> =
            answer.participant_attributes.clone().into_iter().collect();
        attributes.insert(NAME_ATTRIBUTE.to_owned(), registration.agent_name.clone());
        Some(Grant {
            metadata: answer.participant_metadata.clone(),
            attributes,
            kind: Kind::Agent,
            permissions: registration.permissions.clone(),
            ..Grant::new(identity, &answer.participant_name, room)
        })
    }
}

/// What agents may do. Of what an agency asks for, what LiveKit gives; without a word, all but being hidden.
fn permissions(asked: Option<&proto::ParticipantPermission>) -> Permissions {
    let permissions = match asked.map(Permissions::from) {
        Some(asked) => Permissions {
            can_publish_sources: Vec::new(),
            recorder: false,
            can_manage_agent_session: false,
            ..asked
        },
        None => Permissions { can_update_own_metadata: true, ..Permissions::default() },
    };
    Permissions { agent: true, ..permissions }
}
