//! LiveKit's signalling messages, to and from the words of a room: `SignalRequest → Command` on the way
//! in, `Change → SignalResponse` on the way out. Rules about who may do what are the room's; this only
//! translates.

mod render;

use std::collections::HashMap;
use std::time::Duration;

use livekit_protocol as proto;
use proto::CandidateProtocol;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as Incoming;
use proto::simulate_scenario::Scenario as Asked;

use roomful_rtp::units::Bitrate;

use crate::codecs::Codec;
use crate::egress::FrameRate;
use crate::ids::TrackSid;
use crate::limits::OverLimit;
pub(crate) use render::{ServerFacts, render};

/// What a participant asks of its room.
#[derive(Debug)]
pub(crate) enum Command {
    /// An SDP offer of its one peer connection, or of the one it publishes by.
    Offer { sdp: String, id: u32 },
    /// The SDP answer to an offer it was made.
    Answer { sdp: String, id: u32 },
    /// A track it is about to publish.
    AddTrack(Box<proto::AddTrackRequest>),
    /// Its own track falls silent or speaks again.
    Mute { track: TrackSid, muted: bool },
    /// It wants, or no longer wants, tracks of others.
    Subscribe { tracks: Vec<TrackSid>, wanted: bool },
    /// How large, how often new and whether at all it wants tracks it receives.
    SetWishes { tracks: Vec<TrackSid>, wishes: Wishes, rate: Option<FrameRate> },
    /// Who may receive its tracks.
    SetAudience(proto::SubscriptionPermission),
    /// Its own name, metadata, attributes.
    UpdateMetadata(proto::UpdateParticipantMetadata),
    /// What its audio track was made with.
    SetAudioFeatures(proto::UpdateLocalAudioTrack),
    /// The size its video track has now.
    SetDimensions(proto::UpdateLocalVideoTrack),
    /// It asks for a sign of life.
    Ping { sent: i64 },
    /// The same in the form older clients know.
    LegacyPing,
    /// It goes.
    Leave { reason: proto::DisconnectReason },
    /// What it knows after its WebSocket was replaced.
    SyncState(Box<proto::SyncState>),
    /// It leaves something for others.
    StoreBlob(proto::StoreDataBlobRequest),
    /// It fetches what somebody left.
    FetchBlob(proto::GetDataBlobRequest),
    /// A data track it is about to send.
    PublishDataTrack(proto::PublishDataTrackRequest),
    /// One it sends no more.
    UnpublishDataTrack(proto::UnpublishDataTrackRequest),
    /// It wants, or no longer wants, data tracks of others.
    SubscribeDataTracks(proto::UpdateDataSubscription),
    /// Something is to go wrong, for a test.
    Simulate(Scenario),
    /// Nothing to do here: a server that answers at its own addresses needs no candidates.
    Nothing,
}

/// What can go wrong on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// The participant seems to talk for so long.
    Speech(Duration),
    /// The server forgets the participant without a word.
    NodeFailure,
    /// The same, as if another server took over.
    Migration,
    /// The server sends the participant away.
    ServerLeave,
    /// The server tells the participant to join anew.
    FullReconnect,
    /// The participant receives no more than so much; `None`: as much as it wishes.
    Bandwidth(Option<Bitrate>),
    /// The next resume is cut as soon as it is done.
    CutResume,
    /// The next resume is cut before it is answered.
    CutResumeUnanswered,
    /// When the participant joins anew, its media has these ways only.
    Ways(Ways),
}

/// The ways media may take to a participant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ways {
    /// Every one there is.
    #[default]
    All,
    /// TCP, where media is received by it.
    Tcp,
    /// A TURN server reached by TLS, where clients are told of one.
    Relay,
}

/// How a subscription should be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wishes {
    /// Nothing for now: the video is not on screen.
    Disabled,
    /// The smallest layer that fills this many pixels.
    Size { width: u32, height: u32 },
    /// A named quality.
    Quality(proto::VideoQuality),
}

/// Something a participant is told.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// You are in.
    Joined(Box<Welcome>),
    /// You are still in; the last of your numbered messages that arrived.
    Resumed { configuration: Option<proto::ClientConfiguration>, last_message: u32 },
    /// Use this token from now on.
    TokenRefreshed(String),
    /// You are in another room from now on.
    Moved(Box<proto::RoomMovedResponse>),
    /// These participants are as follows now.
    Participants(Vec<proto::ParticipantInfo>),
    /// Your track has a sid.
    TrackPublished { cid: String, track: Box<proto::TrackInfo> },
    /// Your track is no longer published.
    TrackUnpublished(TrackSid),
    /// The answer to your offer, and whose track each section carries.
    Answered { sdp: String, id: u32, tracks: Vec<(String, TrackSid)> },
    /// An offer of the peer connection you receive by, and whose track each section carries.
    Offered { sdp: String, id: u32, tracks: Vec<(String, TrackSid)> },
    /// Make this many more sections for receiving, and offer.
    SectionsNeeded { audio: u32, video: u32 },
    /// This much of your track is wanted, in each of its codecs.
    Demand { track: TrackSid, codecs: Vec<(Codec, Vec<proto::SubscribedQuality>)> },
    /// Which codecs of a track of sound anybody gets.
    AudioDemand { track: TrackSid, codecs: Vec<(Codec, bool)> },
    /// Somebody receives your track now.
    TrackSubscribed(TrackSid),
    /// These pictures are paused, or come again: what you can receive has no room for more.
    StreamStates(Vec<proto::StreamStateInfo>),
    /// You may, or may not, have that track, by the will of its publisher.
    SubscriptionAllowed { publisher: String, track: TrackSid, allowed: bool },
    /// You cannot have that track.
    SubscriptionRefused { track: TrackSid, error: proto::SubscriptionError },
    /// Your track was muted or unmuted for you: do the same at your end.
    Muted { track: TrackSid, muted: bool },
    /// The room is as follows now.
    RoomUpdated(Box<proto::Room>),
    /// Who began, changed or stopped talking.
    Speakers(Vec<proto::SpeakerInfo>),
    /// How well connected participants are.
    Quality(Vec<proto::ConnectionQualityInfo>),
    /// The sign of life; times in milliseconds.
    Pong { sent: i64, now: i64 },
    /// The same in the form older clients know.
    LegacyPong { now: i64 },
    /// What you left is kept.
    BlobStored { request_id: u32, key: Option<proto::DataBlobKey> },
    /// What somebody left.
    BlobFetched { request_id: u32, blob: Box<proto::DataBlob> },
    /// Your data track has a sid.
    DataTrackPublished(Box<proto::DataTrackInfo>),
    /// Your data track is no longer published.
    DataTrackUnpublished(Box<proto::DataTrackInfo>),
    /// What you get of data tracks of others comes under these numbers.
    DataTrackHandles(HashMap<u32, proto::data_track_subscriber_handles::PublishedDataTrack>),
    /// What you asked is done.
    Done { request_id: u32, request: Box<Request> },
    /// What you asked is not done.
    Refused(Box<Refusal>),
    /// Go.
    Left { reason: proto::DisconnectReason, action: proto::leave_request::Action },
}

/// What a newcomer needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Welcome {
    pub(crate) room: proto::Room,
    pub(crate) participant: proto::ParticipantInfo,
    pub(crate) others: Vec<proto::ParticipantInfo>,
    /// What is special about the program it uses.
    pub(crate) configuration: Option<proto::ClientConfiguration>,
    /// What it may publish tracks with.
    pub(crate) publish_codecs: Vec<proto::Codec>,
    /// Marks frames that the server made, where frames are encrypted end to end.
    pub(crate) sif_trailer: Vec<u8>,
    /// It may begin to publish at once.
    pub(crate) may_publish: bool,
    /// It is in once the peer connection it receives by is connected; the one it publishes by may come later, or not at
    /// all.
    pub(crate) receives_first: bool,
}

/// Why a command is not carried out, in words its sender can act on.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) request_id: u32,
    pub(crate) request: Option<Box<Request>>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), request_id: 0, request: None }
    }

    /// Names the request that is refused, so that the client can tell whom it concerns.
    pub(crate) fn of(mut self, request: Request) -> Self {
        self.request = Some(Box::new(request));
        self
    }
}

impl From<OverLimit> for Refusal {
    fn from(over: OverLimit) -> Self {
        Self::new(Reason::LimitExceeded, over.to_string())
    }
}

/// The command a message carries.
///
/// # Errors
/// The message is of a kind this server does not support, or says nothing.
pub(crate) fn command(message: proto::SignalRequest) -> Result<Command, Refusal> {
    let Some(message) = message.message else {
        return Err(unsupported("a message of a kind this server does not know"));
    };
    Ok(match message {
        Incoming::Offer(offer) => Command::Offer { sdp: offer.sdp, id: offer.id },
        Incoming::Answer(answer) => Command::Answer { sdp: answer.sdp, id: answer.id },
        Incoming::AddTrack(request) => Command::AddTrack(Box::new(request)),
        Incoming::Mute(mute) => Command::Mute { track: TrackSid::new(mute.sid), muted: mute.muted },
        Incoming::Subscription(update) => Command::Subscribe {
            wanted: update.subscribe,
            tracks: track_sids(
                update.participant_tracks.into_iter().flat_map(|of_one| of_one.track_sids),
                update.track_sids,
            ),
        },
        Incoming::TrackSetting(settings) => Command::SetWishes {
            wishes: wishes(&settings),
            rate: (settings.fps > 0).then_some(FrameRate(settings.fps)),
            tracks: track_sids([], settings.track_sids),
        },
        Incoming::UpdateMetadata(update) => Command::UpdateMetadata(update),
        Incoming::UpdateAudioTrack(update) => Command::SetAudioFeatures(update),
        Incoming::UpdateVideoTrack(update) => Command::SetDimensions(update),
        Incoming::PingReq(ping) => Command::Ping { sent: ping.timestamp },
        Incoming::Ping(_) => Command::LegacyPing,
        Incoming::Leave(leave) => Command::Leave { reason: leave_reason(&leave) },
        #[expect(deprecated, reason = "older clients still send it")]
        Incoming::UpdateLayers(_) => Command::Nothing,
        Incoming::Trickle(_) => Command::Nothing,
        Incoming::SyncState(state) => Command::SyncState(Box::new(state)),
        Incoming::SubscriptionPermission(said) => Command::SetAudience(said),
        Incoming::Simulate(simulate) => Command::Simulate(scenario(simulate.scenario)?),
        Incoming::StoreDataBlobRequest(request) => Command::StoreBlob(request),
        Incoming::GetDataBlobRequest(request) => Command::FetchBlob(request),
        Incoming::PublishDataTrackRequest(request) => Command::PublishDataTrack(request),
        Incoming::UnpublishDataTrackRequest(request) => Command::UnpublishDataTrack(request),
        Incoming::UpdateDataSubscription(update) => Command::SubscribeDataTracks(update),
    })
}

/// What others are told of a participant that goes by itself: one of the reasons a client may have.
fn leave_reason(leave: &proto::LeaveRequest) -> proto::DisconnectReason {
    use proto::DisconnectReason as Reason;
    match leave.reason() {
        reason @ (Reason::UserUnavailable | Reason::UserRejected | Reason::AgentError) => reason,
        _ => Reason::ClientInitiated,
    }
}

fn scenario(asked: Option<Asked>) -> Result<Scenario, Refusal> {
    Ok(match asked {
        Some(Asked::SpeakerUpdate(seconds)) => {
            Scenario::Speech(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
        }
        Some(Asked::NodeFailure(_)) => Scenario::NodeFailure,
        Some(Asked::Migration(_)) => Scenario::Migration,
        Some(Asked::ServerLeave(_)) => Scenario::ServerLeave,
        Some(Asked::LeaveRequestFullReconnect(_)) => Scenario::FullReconnect,
        Some(Asked::DisconnectSignalOnResume(_)) => Scenario::CutResume,
        Some(Asked::DisconnectSignalOnResumeNoMessages(_)) => Scenario::CutResumeUnanswered,
        Some(Asked::SwitchCandidateProtocol(protocol)) => {
            Scenario::Ways(match CandidateProtocol::try_from(protocol) {
                Ok(CandidateProtocol::Udp) => Ways::All,
                Ok(CandidateProtocol::Tcp) => Ways::Tcp,
                Ok(CandidateProtocol::Tls) => Ways::Relay,
                Err(_) => return Err(unsupported("a protocol this server does not know")),
            })
        }
        Some(Asked::SubscriberBandwidth(bits)) => {
            let bits = u64::try_from(bits).ok().filter(|bits| *bits > 0);
            Scenario::Bandwidth(bits.map(Bitrate))
        }
        None => return Err(unsupported("a scenario of a kind this server does not know")),
    })
}

/// Why something is not done that this server does not do, or not as it is configured.
pub(crate) fn unsupported(what: &str) -> Refusal {
    Refusal::new(Reason::UnsupportedType, format!("not supported by this server: {what}"))
}

fn track_sids(
    first: impl IntoIterator<Item = String>,
    then: impl IntoIterator<Item = String>,
) -> Vec<TrackSid> {
    first.into_iter().chain(then).map(TrackSid::new).collect()
}

fn wishes(settings: &proto::UpdateTrackSettings) -> Wishes {
    if settings.disabled {
        Wishes::Disabled
    } else if settings.width > 0 && settings.height > 0 {
        Wishes::Size { width: settings.width, height: settings.height }
    } else {
        Wishes::Quality(settings.quality())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_says_nothing_is_refused_with_a_reason() {
        let refusal = command(proto::SignalRequest { message: None }).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnsupportedType);
        assert!(refusal.message.contains("does not know"));
    }

    #[test]
    fn track_settings_become_wishes() {
        let settings = |disabled, width, height| {
            wishes(&proto::UpdateTrackSettings { disabled, width, height, ..Default::default() })
        };
        assert_eq!(settings(true, 640, 360), Wishes::Disabled);
        assert_eq!(settings(false, 640, 360), Wishes::Size { width: 640, height: 360 });
        assert_eq!(settings(false, 0, 0), Wishes::Quality(proto::VideoQuality::Low));
    }

    #[test]
    fn subscriptions_may_name_tracks_alone_or_by_participant() {
        let update = proto::UpdateSubscription {
            track_sids: vec!["TR_b".into()],
            subscribe: true,
            participant_tracks: vec![proto::ParticipantTracks {
                participant_sid: "PA_a".into(),
                track_sids: vec!["TR_a".into()],
            }],
        };
        let message = Some(Incoming::Subscription(update));
        match command(proto::SignalRequest { message }).unwrap() {
            Command::Subscribe { tracks, wanted: true } => {
                assert_eq!(tracks, [TrackSid::new("TR_a"), TrackSid::new("TR_b")]);
            }
            other => panic!("not a subscription: {other:?}"),
        }
    }
}
