//! The shapes of what agents are about.

use super::{Empty, PARTICIPANT, ROOM, Shape};

pub(in crate::http::twirp) const DISPATCHES: Shape =
    Shape(&[("agent_dispatches", Empty::Messages(&DISPATCH))]);

pub(in crate::http::twirp) const DISPATCH: Shape = Shape(&[
    ("id", Empty::Text),
    ("agent_name", Empty::Text),
    ("room", Empty::Text),
    ("metadata", Empty::Text),
    ("state", Empty::Message(&DISPATCH_STATE)),
    ("restart_policy", Empty::Name("JRP_ON_FAILURE")),
    ("deployment", Empty::Text),
    ("attributes", Empty::Map),
]);

const DISPATCH_STATE: Shape = Shape(&[
    ("jobs", Empty::Messages(&JOB)),
    ("created_at", Empty::Long),
    ("deleted_at", Empty::Long),
]);

const JOB: Shape = Shape(&[
    ("id", Empty::Text),
    ("dispatch_id", Empty::Text),
    ("type", Empty::Name("JT_ROOM")),
    ("room", Empty::Message(&ROOM)),
    ("participant", Empty::Message(&PARTICIPANT)),
    ("namespace", Empty::Text),
    ("metadata", Empty::Text),
    ("agent_name", Empty::Text),
    ("state", Empty::Message(&JOB_STATE)),
    ("enable_recording", Empty::False),
    ("deployment", Empty::Text),
    ("attributes", Empty::Map),
    ("enable_redaction", Empty::False),
]);

const JOB_STATE: Shape = Shape(&[
    ("status", Empty::Name("JS_PENDING")),
    ("error", Empty::Text),
    ("started_at", Empty::Long),
    ("ended_at", Empty::Long),
    ("updated_at", Empty::Long),
    ("participant_identity", Empty::Text),
    ("worker_id", Empty::Text),
    ("agent_id", Empty::Text),
]);

#[cfg(test)]
mod tests {
    use livekit_protocol as proto;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_values_of_enumerations_are_named_as_in_the_proto_files() {
        let name = |shape: &Shape, field: &str| shape.complete(json!({}))[field].clone();
        let policy = proto::JobRestartPolicy::default().as_str_name();
        assert_eq!(name(&DISPATCH, "restart_policy"), policy);
        assert_eq!(name(&JOB, "type"), proto::JobType::default().as_str_name());
        assert_eq!(name(&JOB_STATE, "status"), proto::JobStatus::default().as_str_name());
    }
}
