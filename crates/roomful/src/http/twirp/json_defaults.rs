//! JSON as Twirp servers write it: names as in the `.proto` files, and every field, also what is empty. The library
//! that serializes messages writes the other spelling and leaves out what is empty, which protobuf's mapping allows
//! and scripts that look for `num_participants` do not.

use serde_json::{Map, Value, json};

mod agents;

pub(super) use agents::{DISPATCH, DISPATCHES};

/// The fields of one message, and what each is when it is empty.
pub(super) struct Shape(&'static [(&'static str, Empty)]);

/// What a field is when nothing is in it, and what shape it has otherwise.
enum Empty {
    Text,
    Number,
    /// 64-bit numbers are strings in protobuf's JSON.
    Long,
    False,
    /// An enumeration's first value.
    Name(&'static str),
    /// A list of names or numbers.
    List,
    /// Keys are the application's own.
    Map,
    Message(&'static Shape),
    Messages(&'static Shape),
}

pub(super) const EMPTY: Shape = Shape(&[]);

pub(super) const ROOMS: Shape = Shape(&[("rooms", Empty::Messages(&ROOM))]);

pub(super) const PARTICIPANTS: Shape = Shape(&[("participants", Empty::Messages(&PARTICIPANT))]);

pub(super) const TRACK_RESPONSE: Shape = Shape(&[("track", Empty::Message(&TRACK))]);

pub(super) const PAYLOAD: Shape = Shape(&[("payload", Empty::Text)]);

pub(super) const ROOM: Shape = Shape(&[
    ("sid", Empty::Text),
    ("name", Empty::Text),
    ("empty_timeout", Empty::Number),
    ("departure_timeout", Empty::Number),
    ("max_participants", Empty::Number),
    ("creation_time", Empty::Long),
    ("creation_time_ms", Empty::Long),
    ("turn_password", Empty::Text),
    ("enabled_codecs", Empty::Messages(&CODEC)),
    ("metadata", Empty::Text),
    ("num_participants", Empty::Number),
    ("num_publishers", Empty::Number),
    ("active_recording", Empty::False),
    ("version", Empty::Message(&TIMED_VERSION)),
]);

const CODEC: Shape = Shape(&[("mime", Empty::Text), ("fmtp_line", Empty::Text)]);

const TIMED_VERSION: Shape = Shape(&[("unix_micro", Empty::Long), ("ticks", Empty::Number)]);

pub(super) const PARTICIPANT: Shape = Shape(&[
    ("sid", Empty::Text),
    ("identity", Empty::Text),
    ("state", Empty::Name("JOINING")),
    ("tracks", Empty::Messages(&TRACK)),
    ("metadata", Empty::Text),
    ("joined_at", Empty::Long),
    ("joined_at_ms", Empty::Long),
    ("name", Empty::Text),
    ("version", Empty::Number),
    ("permission", Empty::Message(&PERMISSION)),
    ("region", Empty::Text),
    ("is_publisher", Empty::False),
    ("kind", Empty::Name("STANDARD")),
    ("attributes", Empty::Map),
    ("disconnect_reason", Empty::Name("UNKNOWN_REASON")),
    ("kind_details", Empty::List),
    ("data_tracks", Empty::Messages(&DATA_TRACK)),
    ("client_protocol", Empty::Number),
    ("capabilities", Empty::List),
]);

const PERMISSION: Shape = Shape(&[
    ("can_subscribe", Empty::False),
    ("can_publish", Empty::False),
    ("can_publish_data", Empty::False),
    ("can_publish_sources", Empty::List),
    ("hidden", Empty::False),
    ("recorder", Empty::False),
    ("can_update_metadata", Empty::False),
    ("agent", Empty::False),
    ("can_subscribe_metrics", Empty::False),
    ("can_manage_agent_session", Empty::False),
]);

const TRACK: Shape = Shape(&[
    ("sid", Empty::Text),
    ("type", Empty::Name("AUDIO")),
    ("name", Empty::Text),
    ("muted", Empty::False),
    ("width", Empty::Number),
    ("height", Empty::Number),
    ("simulcast", Empty::False),
    ("disable_dtx", Empty::False),
    ("source", Empty::Name("UNKNOWN")),
    ("layers", Empty::Messages(&LAYER)),
    ("mime_type", Empty::Text),
    ("mid", Empty::Text),
    ("codecs", Empty::Messages(&TRACK_CODEC)),
    ("stereo", Empty::False),
    ("disable_red", Empty::False),
    ("encryption", Empty::Name("NONE")),
    ("stream", Empty::Text),
    ("version", Empty::Message(&TIMED_VERSION)),
    ("audio_features", Empty::List),
    ("backup_codec_policy", Empty::Name("PREFER_REGRESSION")),
    ("packet_trailer_features", Empty::List),
]);

const TRACK_CODEC: Shape = Shape(&[
    ("mime_type", Empty::Text),
    ("mid", Empty::Text),
    ("cid", Empty::Text),
    ("layers", Empty::Messages(&LAYER)),
    ("video_layer_mode", Empty::Name("MODE_UNUSED")),
    ("sdp_cid", Empty::Text),
]);

const LAYER: Shape = Shape(&[
    ("quality", Empty::Name("LOW")),
    ("width", Empty::Number),
    ("height", Empty::Number),
    ("bitrate", Empty::Number),
    ("ssrc", Empty::Number),
    ("spatial_layer", Empty::Number),
    ("rid", Empty::Text),
    ("repair_ssrc", Empty::Number),
]);

const DATA_TRACK: Shape = Shape(&[
    ("pub_handle", Empty::Number),
    ("sid", Empty::Text),
    ("name", Empty::Text),
    ("encryption", Empty::Name("NONE")),
]);

impl Shape {
    /// `message` as serialized, with each field of this shape under its `.proto` name. What the shape does not know
    /// stays as it is.
    pub(super) fn complete(&self, message: Value) -> Value {
        let Value::Object(mut fields) = message else { return message };
        let mut complete = Map::new();
        for (name, empty) in self.0 {
            let value = match fields.remove(&lower_camel(name)) {
                Some(value) => empty.complete(value),
                None => empty.value(),
            };
            complete.insert((*name).to_owned(), value);
        }
        complete.append(&mut fields);
        Value::Object(complete)
    }
}

impl Empty {
    fn value(&self) -> Value {
        match self {
            Empty::Text => json!(""),
            Empty::Number => json!(0),
            Empty::Long => json!("0"),
            Empty::False => json!(false),
            Empty::Name(name) => json!(name),
            Empty::List | Empty::Messages(_) => json!([]),
            Empty::Map => json!({}),
            Empty::Message(_) => Value::Null,
        }
    }

    fn complete(&self, value: Value) -> Value {
        match (self, value) {
            (Empty::Message(shape), value) => shape.complete(value),
            (Empty::Messages(shape), Value::Array(values)) => {
                values.into_iter().map(|value| shape.complete(value)).collect()
            }
            (_, value) => value,
        }
    }
}

/// The other spelling: `num_participants` as `numParticipants`.
fn lower_camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    use livekit_protocol as proto;

    fn of<M: serde::Serialize>(shape: &Shape, message: &M) -> Value {
        shape.complete(serde_json::to_value(message).unwrap())
    }

    #[test]
    fn what_is_empty_is_written_and_names_are_those_of_the_proto_files() {
        let room = proto::Room {
            name: "garden".into(),
            creation_time: 7,
            num_participants: 2,
            enabled_codecs: vec![proto::Codec { mime: "audio/opus".into(), ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(
            of(&ROOMS, &proto::ListRoomsResponse { rooms: vec![room] }),
            json!({"rooms": [{
                "sid": "", "name": "garden", "empty_timeout": 0, "departure_timeout": 0,
                "max_participants": 0, "creation_time": "7", "creation_time_ms": "0",
                "turn_password": "", "enabled_codecs": [{"mime": "audio/opus", "fmtp_line": ""}],
                "metadata": "", "num_participants": 2, "num_publishers": 0,
                "active_recording": false, "version": null,
            }]})
        );
        assert_eq!(of(&ROOMS, &proto::ListRoomsResponse::default()), json!({"rooms": []}));
    }

    #[test]
    fn the_keys_of_applications_stay_as_they_are() {
        let participant = proto::ParticipantInfo {
            attributes: [("camelCase".to_owned(), "snake_case".to_owned())].into(),
            ..Default::default()
        };
        let written = of(&PARTICIPANT, &participant);
        assert_eq!(written["attributes"], json!({"camelCase": "snake_case"}));
        assert_eq!(written["permission"], Value::Null);
    }

    #[test]
    fn what_is_there_keeps_its_value_down_to_the_layers() {
        let layer = proto::VideoLayer { spatial_layer: 2, rid: "h".into(), ..Default::default() };
        let codec = proto::SimulcastCodecInfo {
            mime_type: "video/vp8".into(),
            layers: vec![layer],
            ..Default::default()
        };
        let track = proto::TrackInfo {
            r#type: proto::TrackType::Video.into(),
            codecs: vec![codec],
            ..Default::default()
        };
        let answer = proto::MuteRoomTrackResponse { track: Some(track) };
        let written = &of(&TRACK_RESPONSE, &answer)["track"];
        assert_eq!((&written["type"], &written["muted"]), (&json!("VIDEO"), &json!(false)));
        let layer = &written["codecs"][0]["layers"][0];
        assert_eq!((&layer["spatial_layer"], &layer["rid"]), (&json!(2), &json!("h")));
        assert_eq!(written.as_object().unwrap().len(), TRACK.0.len(), "nothing is left over");
    }

    #[test]
    fn the_first_values_of_enumerations_are_named_as_in_the_proto_files() {
        use proto::participant_info::{Kind, State};
        let name = |shape: &Shape, field: &str| of(shape, &json!({}))[field].clone();
        assert_eq!(name(&PARTICIPANT, "state"), State::default().as_str_name());
        assert_eq!(name(&PARTICIPANT, "kind"), Kind::default().as_str_name());
        let reason = proto::DisconnectReason::default().as_str_name();
        assert_eq!(name(&PARTICIPANT, "disconnect_reason"), reason);
        assert_eq!(name(&TRACK, "type"), proto::TrackType::default().as_str_name());
        assert_eq!(name(&TRACK, "source"), proto::TrackSource::default().as_str_name());
        assert_eq!(name(&TRACK, "encryption"), proto::encryption::Type::default().as_str_name());
        let policy = proto::BackupCodecPolicy::default().as_str_name();
        assert_eq!(name(&TRACK, "backup_codec_policy"), policy);
        assert_eq!(name(&LAYER, "quality"), proto::VideoQuality::default().as_str_name());
        let mode = proto::video_layer::Mode::default().as_str_name();
        assert_eq!(name(&TRACK_CODEC, "video_layer_mode"), mode);
    }
}
