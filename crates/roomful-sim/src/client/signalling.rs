//! What a client hears and says on its WebSocket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use super::{Client, ClientOutput};

/// The others in the room, by identity, as this client was told.
pub type Roster = BTreeMap<String, proto::ParticipantInfo>;

/// What the server said when it sent the client away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Why.
    pub reason: proto::DisconnectReason,
    /// What to do now.
    pub action: proto::leave_request::Action,
}

/// The signalling half of a client.
#[derive(Debug, Default)]
pub(super) struct Signalling {
    connected: bool,
    room: Option<proto::Room>,
    me: Option<proto::ParticipantInfo>,
    roster: Roster,
    farewell: Option<Farewell>,
    refusals: Vec<proto::RequestResponse>,
    qualities: Vec<(Instant, String, proto::ConnectionQuality)>,
    speakers: Vec<(Instant, proto::SpeakerInfo)>,
    departures: Vec<String>,
    unpublished: Vec<String>,
    /// Everything it was told, but for who talks: that alone would fill the memory of a long run.
    heard: Vec<Response>,
    resumed: u32,
    /// Requests made while the WebSocket was away.
    kept: Vec<proto::SignalRequest>,
    ping_at: Option<Instant>,
    ping_interval: Duration,
}

impl Signalling {
    /// It had a WebSocket and has none.
    pub(super) fn is_away(&self) -> bool {
        !self.connected && self.me.is_some()
    }

    pub(super) fn keep(&mut self, request: proto::SignalRequest) {
        self.kept.push(request);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn sid(&self) -> Option<&str> {
        self.me.as_ref().map(|me| me.sid.as_str())
    }
}

impl Client {
    /// A message arrived on the WebSocket.
    pub fn handle_response(&mut self, response: proto::SignalResponse, now: Instant) {
        let Some(message) = response.message else {
            self.violations.push("the server sent an empty message".into());
            return;
        };
        if !matches!(message, Response::SpeakersChanged(_)) {
            self.signalling.heard.push(message.clone());
        }
        match message {
            Response::Join(join) => self.handle_joined(join, now),
            Response::Reconnect(_) => self.handle_resumed(now),
            Response::Answer(answer) => self.handle_answer(&answer, now),
            Response::Offer(offer) => self.handle_offer(&offer, now),
            Response::Update(update) => {
                for info in update.participants {
                    self.handle_participant(info);
                }
            }
            Response::TrackPublished(published) => {
                let sid = published.track.map(|track| track.sid).unwrap_or_default();
                self.handle_track_published(&published.cid, &sid, now);
            }
            Response::TrackUnpublished(gone) => {
                self.end_track(&gone.track_sid, now);
                self.signalling.unpublished.push(gone.track_sid);
            }
            Response::Mute(mute) => self.handle_mute(&mute),
            Response::RoomUpdate(update) => self.signalling.room = update.room,
            Response::SubscribedQualityUpdate(update) => self.handle_demand(&update),
            Response::MediaSectionsRequirement(needed) => {
                self.negotiation
                    .need_sections(needed.num_audios as usize, needed.num_videos as usize);
                self.negotiate(now);
            }
            Response::Leave(leave) => {
                let (reason, action) = (leave.reason(), leave.action());
                self.signalling.farewell = Some(Farewell { reason, action });
            }
            Response::RequestResponse(refusal) => self.signalling.refusals.push(refusal),
            Response::ConnectionQuality(update) => {
                for info in update.updates {
                    let quality = info.quality();
                    self.signalling.qualities.push((now, info.participant_sid, quality));
                }
            }
            Response::SpeakersChanged(changed) => {
                let heard = changed.speakers.into_iter().map(|speaker| (now, speaker));
                self.signalling.speakers.extend(heard);
            }
            _ => {}
        }
    }

    /// The WebSocket is closed.
    pub fn handle_closed(&mut self) {
        self.signalling.connected = false;
        self.signalling.ping_at = None;
    }

    /// Says goodbye and closes.
    pub fn leave(&mut self) {
        let leave = proto::LeaveRequest {
            reason: proto::DisconnectReason::ClientInitiated.into(),
            ..Default::default()
        };
        // Not kept until a resumption has been answered, as other requests are: nobody waits for that to say goodbye.
        let leave = proto::SignalRequest { message: Some(Request::Leave(leave)) };
        self.outputs.push_back(ClientOutput::Request(Box::new(leave)));
        self.outputs.push_back(ClientOutput::Close);
        self.handle_closed();
    }

    /// Wants, or no longer wants, publications of others.
    pub fn subscribe(&mut self, tracks: &[&str], subscribe: bool) {
        let track_sids = tracks.iter().map(|sid| (*sid).to_owned()).collect();
        let update = proto::UpdateSubscription { track_sids, subscribe, ..Default::default() };
        self.request(Request::Subscription(update));
    }

    /// Says how large it shows a publication; `None` is not at all.
    pub fn set_wishes(&mut self, track: &str, size: Option<(u32, u32)>) {
        let (width, height) = size.unwrap_or_default();
        self.request(Request::TrackSetting(proto::UpdateTrackSettings {
            track_sids: vec![track.to_owned()],
            disabled: size.is_none(),
            width,
            height,
            ..Default::default()
        }));
    }

    /// Wants a track in a quality, and so many frames of it a second; 0 for all there are.
    pub fn set_quality(&mut self, track: &str, quality: proto::VideoQuality, fps: u32) {
        self.request(Request::TrackSetting(proto::UpdateTrackSettings {
            track_sids: vec![track.to_owned()],
            quality: quality.into(),
            fps,
            ..Default::default()
        }));
    }

    /// Sends any request.
    pub fn send_request(&mut self, request: Request) {
        self.request(request);
    }

    /// Whether it is in a room, with a WebSocket that works.
    pub fn is_joined(&self) -> bool {
        self.signalling.connected
    }

    /// Its participant sid.
    pub fn sid(&self) -> Option<&str> {
        self.signalling.sid()
    }

    /// Itself, as it was told last.
    pub fn me(&self) -> Option<&proto::ParticipantInfo> {
        self.signalling.me.as_ref()
    }

    /// The room it is in, as it was told last.
    pub fn room(&self) -> Option<&proto::Room> {
        self.signalling.room.as_ref()
    }

    /// Sid of the room it joined.
    pub fn room_sid(&self) -> Option<&str> {
        self.signalling.room.as_ref().map(|room| room.sid.as_str())
    }

    /// The others, as it was told.
    pub fn roster(&self) -> &Roster {
        self.signalling.roster()
    }

    /// Sids of all who left while it was there, in order.
    pub fn departures(&self) -> &[String] {
        &self.signalling.departures
    }

    /// Why they left, in the same order.
    pub fn departure_reasons(&self) -> Vec<proto::DisconnectReason> {
        let updates = self.heard().iter().filter_map(|heard| match heard {
            Response::Update(update) => Some(&update.participants),
            _ => None,
        });
        let gone = updates.flatten().filter(|info| info.state() == State::Disconnected);
        gone.map(proto::ParticipantInfo::disconnect_reason).collect()
    }

    /// What the server said when it sent it away.
    pub fn farewell(&self) -> Option<Farewell> {
        self.signalling.farewell
    }

    /// What it asked for in vain.
    pub fn refusals(&self) -> &[proto::RequestResponse] {
        &self.signalling.refusals
    }

    /// Who is how well connected, in the order it was told, and when.
    pub fn qualities(&self) -> &[(Instant, String, proto::ConnectionQuality)] {
        &self.signalling.qualities
    }

    /// Whether it takes a participant to be out of reach.
    pub fn takes_for_lost(&self, sid: &str) -> bool {
        let mut told = self.signalling.qualities.iter().rev();
        let last = told.find(|(_, of, _)| of == sid).map(|(_, _, quality)| *quality);
        last == Some(proto::ConnectionQuality::Lost)
    }

    /// Who began or stopped talking, and when it heard so.
    pub fn speakers(&self) -> &[(Instant, proto::SpeakerInfo)] {
        &self.signalling.speakers
    }

    /// Its own tracks that the server said are unpublished.
    pub fn unpublished(&self) -> &[String] {
        &self.signalling.unpublished
    }

    /// Everything it was told, in order, but for who talks.
    pub fn heard(&self) -> &[Response] {
        &self.signalling.heard
    }

    /// The tokens it was given, the first first.
    pub fn tokens(&self) -> Vec<&str> {
        let heard = self.heard().iter();
        heard
            .filter_map(|heard| match heard {
                Response::RefreshToken(token) => Some(token.as_str()),
                _ => None,
            })
            .collect()
    }

    /// What it was told when it joined.
    pub fn welcome(&self) -> Option<&proto::JoinResponse> {
        self.heard().iter().find_map(|heard| match heard {
            Response::Join(welcome) => Some(welcome),
            _ => None,
        })
    }

    /// How often it resumed.
    pub fn resumptions(&self) -> u32 {
        self.signalling.resumed
    }

    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.signalling.ping_at
    }

    pub(super) fn ping_if_due(&mut self, now: Instant) {
        if self.signalling.ping_at.is_some_and(|at| at <= now) {
            self.signalling.ping_at = Some(now + self.signalling.ping_interval);
            self.request(Request::PingReq(proto::Ping { timestamp: 1, rtt: 0 }));
        }
    }

    fn handle_joined(&mut self, join: proto::JoinResponse, now: Instant) {
        self.signalling.connected = true;
        self.signalling.room = join.room;
        self.signalling.me = join.participant;
        for info in join.other_participants {
            self.handle_participant(info);
        }
        let interval = u64::try_from(join.ping_interval).unwrap_or_default().max(1);
        self.signalling.ping_interval = Duration::from_secs(interval);
        self.signalling.ping_at = Some(now + self.signalling.ping_interval);
        // One that receives by another peer connection need not offer before it publishes, unless it is told that this
        // goes well with the server.
        let waits = join.subscriber_primary && !join.fast_publish;
        if self.negotiation.is_fresh() && !waits {
            self.offer(now);
        }
    }

    fn handle_resumed(&mut self, now: Instant) {
        self.signalling.connected = true;
        self.signalling.resumed += 1;
        self.signalling.ping_at = Some(now + self.signalling.ping_interval);
        self.give_up_unnamed_tracks();
        for request in std::mem::take(&mut self.signalling.kept) {
            self.outputs.push_back(ClientOutput::Request(Box::new(request)));
        }
        self.offer_again(now);
    }

    fn handle_participant(&mut self, info: proto::ParticipantInfo) {
        let me = self.signalling.me.as_ref();
        if me.is_some_and(|me| me.identity == info.identity) {
            // Of a former presence of the same identity nothing is to be known.
            if me.is_some_and(|me| me.sid == info.sid) {
                self.signalling.me = Some(info);
            }
            return;
        }
        if info.state() == State::Disconnected {
            self.signalling.departures.push(info.sid);
            self.signalling.roster.remove(&info.identity);
            return;
        }
        let known = self.signalling.roster.get(&info.identity);
        if known.is_some_and(|known| known.sid == info.sid && known.version > info.version) {
            let identity = &info.identity;
            self.violations.push(format!("{identity} was told in an older version than before"));
            return;
        }
        self.signalling.roster.insert(info.identity.clone(), info);
    }
}
