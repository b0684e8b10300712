//! `Change → SignalResponse`.

use livekit_protocol as proto;
use proto::signal_response::Message as Outgoing;

use super::{Change, Refusal, Welcome};
use crate::codecs::Codec;
use crate::ids::TrackSid;

/// Seconds between a client's pings. Longer notices a dead connection later, shorter costs a message from
/// each participant each time. LiveKit's own value.
const PING_INTERVAL: i32 = 5;

/// Seconds without an answer after which a client gives a connection up: three missed pings. Shorter gives
/// up working connections on bad networks, longer keeps people waiting. LiveKit's own value.
const PING_TIMEOUT: i32 = 15;

/// The protocol version clients may expect, LiveKit's own. From 13 on leave requests carry an action; 15 and 16 are about
/// messages this server does not send unasked, 17 about trailers behind pictures.
const PROTOCOL: i32 = 17;

/// The LiveKit release whose signalling this server speaks. Clients switch features off for versions below
/// those they know (RPC below 1.8.0), so the project's own version would cost them features.
const SPOKEN_VERSION: &str = "1.13.5";

/// What every participant is told of this server.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    pub(crate) node: String,
    /// Where clients find further ways for their media.
    pub(crate) ice_servers: Vec<proto::IceServer>,
}

/// The message that tells a participant of `change`.
pub(crate) fn render(change: Change, server: &ServerFacts) -> proto::SignalResponse {
    let message = match change {
        Change::Joined(welcome) => Outgoing::Join(join_response(*welcome, server)),
        Change::Resumed { configuration, last_message } => {
            Outgoing::Reconnect(proto::ReconnectResponse {
                ice_servers: server.ice_servers_for(configuration.as_ref()),
                client_configuration: configuration,
                server_info: Some(server.info()),
                last_message_seq: last_message,
            })
        }
        Change::TokenRefreshed(token) => Outgoing::RefreshToken(token),
        Change::Moved(moved) => Outgoing::RoomMoved(*moved),
        Change::Participants(participants) => {
            Outgoing::Update(proto::ParticipantUpdate { participants })
        }
        Change::TrackPublished { cid, track } => {
            Outgoing::TrackPublished(proto::TrackPublishedResponse { cid, track: Some(*track) })
        }
        Change::TrackUnpublished(track) => {
            Outgoing::TrackUnpublished(proto::TrackUnpublishedResponse {
                track_sid: track.to_string(),
            })
        }
        Change::Answered { sdp, id, tracks } => {
            Outgoing::Answer(described(ANSWER, sdp, id, tracks))
        }
        Change::Offered { sdp, id, tracks } => Outgoing::Offer(described(OFFER, sdp, id, tracks)),
        Change::SectionsNeeded { audio, video } => sections_needed(audio, video),
        Change::Demand { track, codecs } => {
            Outgoing::SubscribedQualityUpdate(demand(&track, codecs))
        }
        Change::AudioDemand { track, codecs } => {
            Outgoing::SubscribedAudioCodecUpdate(audio_demand(&track, codecs))
        }
        Change::TrackSubscribed(track) => {
            Outgoing::TrackSubscribed(proto::TrackSubscribed { track_sid: track.to_string() })
        }
        Change::StreamStates(stream_states) => {
            Outgoing::StreamStateUpdate(proto::StreamStateUpdate { stream_states })
        }
        Change::SubscriptionAllowed { publisher, track, allowed } => {
            permission(publisher, &track, allowed)
        }
        Change::SubscriptionRefused { track, error } => {
            Outgoing::SubscriptionResponse(proto::SubscriptionResponse {
                track_sid: track.to_string(),
                err: error.into(),
            })
        }
        Change::Muted { track, muted } => {
            Outgoing::Mute(proto::MuteTrackRequest { sid: track.to_string(), muted })
        }
        Change::RoomUpdated(room) => Outgoing::RoomUpdate(proto::RoomUpdate { room: Some(*room) }),
        Change::Speakers(speakers) => {
            Outgoing::SpeakersChanged(proto::SpeakersChanged { speakers })
        }
        Change::Quality(updates) => {
            Outgoing::ConnectionQuality(proto::ConnectionQualityUpdate { updates })
        }
        Change::Pong { sent, now } => {
            Outgoing::PongResp(proto::Pong { last_ping_timestamp: sent, timestamp: now })
        }
        Change::LegacyPong { now } => Outgoing::Pong(now),
        Change::BlobStored { request_id, key } => {
            Outgoing::StoreDataBlobResponse(proto::StoreDataBlobResponse { request_id, key })
        }
        Change::BlobFetched { request_id, blob } => {
            Outgoing::GetDataBlobResponse(proto::GetDataBlobResponse {
                request_id,
                blob: Some(*blob),
            })
        }
        Change::DataTrackPublished(info) => {
            let info = Some(*info);
            Outgoing::PublishDataTrackResponse(proto::PublishDataTrackResponse { info })
        }
        Change::DataTrackUnpublished(info) => {
            let info = Some(*info);
            Outgoing::UnpublishDataTrackResponse(proto::UnpublishDataTrackResponse { info })
        }
        Change::DataTrackHandles(sub_handles) => {
            let handles = proto::DataTrackSubscriberHandles { sub_handles };
            Outgoing::DataTrackSubscriberHandles(handles)
        }
        Change::Done { request_id, request } => Outgoing::RequestResponse(proto::RequestResponse {
            request_id,
            reason: proto::request_response::Reason::Ok.into(),
            request: Some(*request),
            ..Default::default()
        }),
        Change::Refused(refusal) => Outgoing::RequestResponse(request_response(*refusal)),
        Change::Left { reason, action } => Outgoing::Leave(proto::LeaveRequest {
            can_reconnect: action != proto::leave_request::Action::Disconnect,
            reason: reason.into(),
            action: action.into(),
            regions: None,
        }),
    };
    proto::SignalResponse { message: Some(message) }
}

impl ServerFacts {
    /// Clients are told of a TURN server that is reached by TLS.
    pub(crate) fn has_tls_relay(&self) -> bool {
        self.ice_servers.iter().any(is_by_tls)
    }

    /// Further ways for the media of a client; of one that is to use relays alone, by TLS.
    fn ice_servers_for(
        &self,
        configuration: Option<&proto::ClientConfiguration>,
    ) -> Vec<proto::IceServer> {
        let relay = proto::ClientConfigSetting::Enabled;
        let by_tls = configuration.is_some_and(|one| one.force_relay() == relay);
        self.ice_servers.iter().filter(|server| !by_tls || is_by_tls(server)).cloned().collect()
    }

    pub(crate) fn info(&self) -> proto::ServerInfo {
        proto::ServerInfo {
            edition: proto::server_info::Edition::Standard.into(),
            version: SPOKEN_VERSION.to_owned(),
            protocol: PROTOCOL,
            // The version of what agents are told at `/agent`; there is one.
            agent_protocol: 1,
            node_id: self.node.clone(),
            ..Default::default()
        }
    }
}

fn is_by_tls(server: &proto::IceServer) -> bool {
    server.urls.iter().any(|url| url.starts_with("turns:"))
}

fn join_response(welcome: Welcome, server: &ServerFacts) -> proto::JoinResponse {
    proto::JoinResponse {
        room: Some(welcome.room),
        participant: Some(welcome.participant),
        other_participants: welcome.others,
        server_version: SPOKEN_VERSION.to_owned(),
        server_info: Some(server.info()),
        ice_servers: server.ice_servers_for(welcome.configuration.as_ref()),
        client_configuration: welcome.configuration,
        enabled_publish_codecs: welcome.publish_codecs,
        sif_trailer: welcome.sif_trailer,
        ping_timeout: PING_TIMEOUT,
        ping_interval: PING_INTERVAL,
        subscriber_primary: welcome.receives_first,
        fast_publish: welcome.may_publish,
        ..Default::default()
    }
}

/// Codecs go by the second half of their media types here, in small letters.
fn demand(
    track: &TrackSid,
    codecs: Vec<(Codec, Vec<proto::SubscribedQuality>)>,
) -> proto::SubscribedQualityUpdate {
    let first = codecs.first().map(|(_, qualities)| qualities.clone());
    let codecs = codecs
        .into_iter()
        .map(|(codec, qualities)| proto::SubscribedCodec { codec: short_name(codec), qualities });
    #[expect(deprecated, reason = "clients of every age read one or the other field")]
    proto::SubscribedQualityUpdate {
        track_sid: track.to_string(),
        subscribed_qualities: first.unwrap_or_default(),
        subscribed_codecs: codecs.collect(),
    }
}

fn permission(publisher: String, track: &TrackSid, allowed: bool) -> Outgoing {
    Outgoing::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
        participant_sid: publisher,
        track_sid: track.to_string(),
        allowed,
    })
}

fn audio_demand(track: &TrackSid, codecs: Vec<(Codec, bool)>) -> proto::SubscribedAudioCodecUpdate {
    let codecs = codecs
        .into_iter()
        .map(|(codec, enabled)| proto::SubscribedAudioCodec { codec: short_name(codec), enabled });
    proto::SubscribedAudioCodecUpdate {
        track_sid: track.to_string(),
        subscribed_audio_codecs: codecs.collect(),
    }
}

fn short_name(codec: Codec) -> String {
    codec.mime().rsplit('/').next().unwrap_or_default().to_lowercase()
}

fn sections_needed(audio: u32, video: u32) -> Outgoing {
    Outgoing::MediaSectionsRequirement(proto::MediaSectionsRequirement {
        num_audios: audio,
        num_videos: video,
    })
}

/// Kinds of descriptions (RFC 9429 §3.1).
const OFFER: &str = "offer";
const ANSWER: &str = "answer";

fn described(
    kind: &str,
    sdp: String,
    id: u32,
    tracks: Vec<(String, TrackSid)>,
) -> proto::SessionDescription {
    proto::SessionDescription {
        r#type: kind.to_owned(),
        sdp,
        id,
        mid_to_track_id: tracks.into_iter().map(|(mid, track)| (mid, track.to_string())).collect(),
    }
}

fn request_response(refusal: Refusal) -> proto::RequestResponse {
    proto::RequestResponse {
        request_id: refusal.request_id,
        reason: refusal.reason.into(),
        message: refusal.message,
        request: refusal.request.map(|request| *request),
    }
}
