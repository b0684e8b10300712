//! Tracks a client publishes, and the media it sends for them.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::{TrackSource, TrackType, VideoQuality};
use str0m::Input;
use str0m::format::Codec;
use str0m::media::{KeyframeRequest, MediaKind, Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite};

use super::Client;
use crate::media::{AudioEncoder, EncodedPacket, LayeredEncoder, Picture, Sound, VideoEncoder};

/// A track of one client, counted from 0 in the order of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackKey(pub usize);

/// What to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackPlan {
    /// A camera of 1280×720.
    Camera {
        /// Three encodings (180p, 360p, 720p) instead of one.
        simulcast: bool,
        /// Frames a second.
        fps: u32,
    },
    /// A camera in H.264, which a virtual client announces and of which it sends nothing. VP8 is its further codec.
    H264Camera,
    /// A camera of 1280×720 in VP9 with three sizes and frame rates inside its only encoding.
    LayeredCamera {
        /// Frames a second.
        fps: u32,
    },
    /// A camera in H.265, in three encodings.
    H265Camera,
    /// A microphone in G.711, A-law. Opus is its further codec.
    PcmaVoice,
    /// A microphone.
    Microphone {
        /// How loud it is, in -dBov: 0 is loudest, 127 silence (RFC 6464).
        level: u8,
    },
}

/// One track of a client.
#[derive(Debug)]
pub struct LocalTrack {
    pub(super) cid: String,
    pub(super) plan: TrackPlan,
    /// The server's name for it.
    pub(super) sid: Option<String>,
    pub(super) mid: Option<Mid>,
    pub(super) negotiated: bool,
    pub(super) muted: bool,
    pub(super) ended: bool,
    announced_away: bool,
    /// Layers the server said nobody wants.
    unwanted: [bool; RIDS.len()],
    encoders: Encoders,
    next_at: Option<Instant>,
}

#[derive(Debug)]
enum Encoders {
    Audio(AudioEncoder, u8),
    Video(Vec<VideoEncoder>),
    Layered(LayeredEncoder),
}

struct Written {
    rid: Option<Rid>,
    packet: EncodedPacket,
}

/// Sound of an Opus packet as browsers make them (RFC 7587 §4.2).
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);

/// In -dBov.
const VOICE_LEVEL: u8 = 20;

const RIDS: [&str; 3] = ["q", "h", "f"];

impl TrackPlan {
    /// A camera as `livekit-client` publishes it, at a frame rate that keeps simulations quick.
    pub const CAMERA: Self = Self::Camera { simulcast: true, fps: 15 };

    /// A microphone in front of somebody talking.
    pub const VOICE: Self = Self::Microphone { level: VOICE_LEVEL };

    /// A microphone in a quiet room.
    pub const QUIET: Self = Self::Microphone { level: 80 };

    pub(super) fn kind(self) -> MediaKind {
        match self {
            Self::Microphone { .. } | Self::PcmaVoice => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    pub(super) fn is_simulcast(self) -> bool {
        matches!(self, Self::Camera { simulcast: true, .. } | Self::H265Camera)
    }

    fn layers(self) -> u8 {
        if self.is_simulcast() { 3 } else { 1 }
    }

    /// What pictures of it are sent in.
    fn codec(self) -> Codec {
        match self {
            Self::LayeredCamera { .. } => Codec::Vp9,
            Self::H265Camera => Codec::H265,
            _ => Codec::Vp8,
        }
    }

    fn interval(self) -> Duration {
        match self {
            Self::Camera { fps, .. } | Self::LayeredCamera { fps } => Duration::from_secs(1) / fps,
            Self::H265Camera => Duration::from_secs(1) / 15,
            Self::H264Camera => Duration::from_secs(1),
            Self::Microphone { .. } | Self::PcmaVoice => AUDIO_INTERVAL,
        }
    }

    fn request(self, cid: &str) -> proto::AddTrackRequest {
        let layer = |(quality, rid, side): (VideoQuality, &str, u32)| proto::VideoLayer {
            quality: quality.into(),
            rid: rid.into(),
            width: 1280 / side,
            height: 720 / side,
            ..Default::default()
        };
        let sizes = [
            (VideoQuality::Low, "q", 4),
            (VideoQuality::Medium, "h", 2),
            (VideoQuality::High, "f", 1),
        ];
        let codec = |(codec, cid): (&str, &str)| proto::SimulcastCodec {
            codec: codec.into(),
            cid: cid.into(),
            ..Default::default()
        };
        let common = proto::AddTrackRequest { cid: cid.into(), ..Default::default() };
        match self {
            Self::Camera { .. } | Self::H265Camera | Self::LayeredCamera { .. } => {
                let is_layered = matches!(self, Self::LayeredCamera { .. });
                let skip = if is_layered || self.is_simulcast() { 0 } else { 2 };
                let layers: Vec<_> = sizes.into_iter().skip(skip).map(layer).collect();
                proto::AddTrackRequest {
                    r#type: TrackType::Video.into(),
                    source: TrackSource::Camera.into(),
                    width: 1280,
                    height: 720,
                    layers: layers.clone(),
                    simulcast_codecs: vec![proto::SimulcastCodec {
                        codec: self.codec().to_string().to_lowercase(),
                        cid: cid.into(),
                        layers,
                        ..Default::default()
                    }],
                    ..common
                }
            }
            Self::H264Camera => proto::AddTrackRequest {
                r#type: TrackType::Video.into(),
                source: TrackSource::Camera.into(),
                width: 1280,
                height: 720,
                simulcast_codecs: [("h264", cid), ("vp8", "")].map(codec).to_vec(),
                ..common
            },
            Self::Microphone { .. } | Self::PcmaVoice => proto::AddTrackRequest {
                r#type: TrackType::Audio.into(),
                source: TrackSource::Microphone.into(),
                simulcast_codecs: match self {
                    Self::PcmaVoice => [("pcma", cid), ("opus", "")].map(codec).to_vec(),
                    _ => Vec::new(),
                },
                ..common
            },
        }
    }
}

impl LocalTrack {
    fn new(plan: TrackPlan, cid: String, rng: &mut fastrand::Rng) -> Self {
        let encoders = match plan {
            TrackPlan::Microphone { level } => {
                Encoders::Audio(AudioEncoder::new(rng.u64(..)), level)
            }
            TrackPlan::PcmaVoice => Encoders::Audio(AudioEncoder::new(rng.u64(..)), VOICE_LEVEL),
            TrackPlan::H264Camera => Encoders::Video(Vec::new()),
            TrackPlan::LayeredCamera { .. } => Encoders::Layered(LayeredEncoder::new(rng.u64(..))),
            TrackPlan::Camera { .. } | TrackPlan::H265Camera => {
                let picture =
                    if plan == TrackPlan::H265Camera { Picture::H265 } else { Picture::Vp8 };
                let encoder = |layer| VideoEncoder::new(picture, layer, rng.u64(..));
                Encoders::Video((0..plan.layers()).map(encoder).collect())
            }
        };
        Self {
            cid,
            plan,
            sid: None,
            mid: None,
            negotiated: false,
            muted: false,
            ended: false,
            announced_away: false,
            unwanted: Default::default(),
            encoders,
            next_at: None,
        }
    }

    /// The server's name for it, once it gave one.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Its own name for it.
    pub fn cid(&self) -> &str {
        &self.cid
    }

    /// Whether it is muted.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Whether others should know it.
    pub fn is_live(&self) -> bool {
        !self.ended && self.negotiated && self.sid.is_some()
    }

    /// Whether it was unpublished.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The layers it sends, the lowest first.
    pub fn wanted_layers(&self) -> Vec<bool> {
        self.unwanted.iter().map(|unwanted| !unwanted).collect()
    }

    /// The frames of a layer sent so far.
    pub fn frames(&self, layer: usize) -> u64 {
        match &self.encoders {
            Encoders::Audio(..) => 0,
            Encoders::Layered(encoder) => encoder.frames(),
            Encoders::Video(encoders) => encoders.get(layer).map_or(0, VideoEncoder::frames),
        }
    }

    fn encode(&mut self, sound: Sound, publisher: &str) -> Vec<Written> {
        let track = self.sid.as_deref().unwrap_or_default();
        let interval = self.plan.interval();
        let simulcast = self.plan.is_simulcast();
        match &mut self.encoders {
            Encoders::Audio(encoder, _) => {
                vec![Written { rid: None, packet: encoder.encode(sound, publisher, track) }]
            }
            Encoders::Layered(_) if self.unwanted == [true; RIDS.len()] => Vec::new(),
            Encoders::Layered(encoder) => {
                let packets = encoder.encode(publisher, track, interval);
                packets.into_iter().map(|packet| Written { rid: None, packet }).collect()
            }
            Encoders::Video(encoders) => encoders
                .iter_mut()
                .zip(RIDS)
                .zip(self.unwanted)
                .filter(|(_, unwanted)| !unwanted)
                .flat_map(|((encoder, rid), _)| {
                    let rid = simulcast.then(|| Rid::from(rid));
                    let packets = encoder.encode(publisher, track, interval);
                    packets.into_iter().map(move |packet| Written { rid, packet })
                })
                .collect(),
        }
    }

    fn extensions(&self) -> ExtensionValues {
        match self.encoders {
            Encoders::Audio(_, level) => {
                let audio_level = Some(-i8::try_from(level).unwrap_or(i8::MAX));
                ExtensionValues {
                    audio_level,
                    voice_activity: Some(level < 50),
                    ..Default::default()
                }
            }
            Encoders::Video(_) | Encoders::Layered(_) => ExtensionValues::default(),
        }
    }
}

impl Client {
    /// Publishes a track: announces it, offers at once (as `livekit-client` does with servers that allow it)
    /// and sends as soon as all is agreed.
    pub fn publish(&mut self, plan: TrackPlan, now: Instant) -> TrackKey {
        let key = TrackKey(self.tracks.len());
        let cid = format!("cid-{}-{:08x}", key.0, self.rng.u32(..));
        self.request(Request::AddTrack(plan.request(&cid)));
        let mut track = LocalTrack::new(plan, cid, &mut self.rng);
        track.announced_away = self.signalling.is_away();
        self.tracks.insert(key, track);
        self.negotiate(now);
        key
    }

    /// Sends one of its tracks in its further codec, too, as `livekit-client` does when the server wants a backup codec.
    /// `None`: the track has no name yet.
    pub fn publish_backup(&mut self, of: TrackKey, now: Instant) -> Option<TrackKey> {
        let sid = self.tracks.get(&of)?.sid.clone()?;
        let key = TrackKey(self.tracks.len());
        let cid = format!("cid-{}-{:08x}", key.0, self.rng.u32(..));
        let (plan, codec) = match self.tracks.get(&of)?.plan {
            TrackPlan::PcmaVoice => (TrackPlan::VOICE, "opus"),
            _ => (TrackPlan::Camera { simulcast: false, fps: 15 }, "vp8"),
        };
        let named =
            proto::SimulcastCodec { codec: codec.into(), cid: cid.clone(), ..Default::default() };
        let mut request = proto::AddTrackRequest { sid, ..plan.request(&cid) };
        request.simulcast_codecs = vec![named];
        self.request(Request::AddTrack(request));
        self.tracks.insert(key, LocalTrack::new(plan, cid, &mut self.rng));
        self.negotiate(now);
        Some(key)
    }

    /// Mutes or unmutes. A muted track goes on sending, as Opus without DTX does: what must not reach others
    /// is the server's to hold back.
    pub fn set_muted(&mut self, key: TrackKey, muted: bool) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        track.muted = muted;
        if let Some(sid) = track.sid.clone() {
            self.request(Request::Mute(proto::MuteTrackRequest { sid, muted }));
        }
    }

    /// The server muted a track: its client does the same, and says so.
    pub(super) fn handle_mute(&mut self, mute: &proto::MuteTrackRequest) {
        if let Some(key) = self.key_of(&mute.sid) {
            self.set_muted(key, mute.muted);
        }
    }

    /// The server ended a track, or confirms that this client did.
    pub(super) fn end_track(&mut self, sid: &str, now: Instant) {
        if let Some(key) = self.key_of(sid)
            && self.track(key).is_some_and(|track| !track.is_ended())
        {
            self.unpublish(key, now);
        }
    }

    fn key_of(&self, sid: &str) -> Option<TrackKey> {
        self.tracks().find(|(_, track)| track.sid() == Some(sid)).map(|(key, _)| key)
    }

    /// Changes how loud a microphone is.
    pub fn set_level(&mut self, key: TrackKey, to: u8) {
        if let Some(LocalTrack { encoders: Encoders::Audio(_, level), .. }) =
            self.tracks.get_mut(&key)
        {
            *level = to;
        }
    }

    /// Stops sending a track and offers without it.
    pub fn unpublish(&mut self, key: TrackKey, now: Instant) {
        if let Some(track) = self.tracks.get_mut(&key) {
            track.ended = true;
            self.negotiate(now);
        }
    }

    /// One of its tracks.
    pub fn track(&self, key: TrackKey) -> Option<&LocalTrack> {
        self.tracks.get(&key)
    }

    /// All its tracks.
    pub fn tracks(&self) -> impl Iterator<Item = (TrackKey, &LocalTrack)> {
        self.tracks.iter().map(|(key, track)| (*key, track))
    }

    /// The answer to an announcement that was lost with its WebSocket does not come: `livekit-client` takes
    /// such a track back. One announced while away is announced only now.
    pub(super) fn give_up_unnamed_tracks(&mut self) {
        let kept = |track: &LocalTrack| track.announced_away;
        for track in self.tracks.values_mut().filter(|track| track.sid.is_none()) {
            track.ended = !kept(track);
        }
        self.tracks.values_mut().for_each(|track| track.announced_away = false);
    }

    pub(super) fn handle_track_published(&mut self, cid: &str, sid: &str, now: Instant) {
        let Some(track) = self.tracks.values_mut().find(|track| track.cid == cid) else {
            self.violations.push(format!("a track nobody announced was published: {cid}"));
            return;
        };
        track.sid = Some(sid.to_owned());
        track.next_at = Some(now);
    }

    /// Stops and starts encoders by what the server says is wanted, as `livekit-client` does with dynacast. One that
    /// starts again starts with a keyframe.
    pub(super) fn handle_demand(&mut self, update: &proto::SubscribedQualityUpdate) {
        let named = |track: &&mut LocalTrack| track.sid.as_ref() == Some(&update.track_sid);
        let Some(track) = self.tracks.values_mut().find(named) else { return };
        let qualities = update.subscribed_codecs.iter().flat_map(|codec| &codec.qualities);
        let wanted = qualities.map(|quality| quality.enabled);
        let encoders = match &mut track.encoders {
            Encoders::Video(encoders) => encoders,
            // Of layers inside one encoding livekit-client sends all or none.
            Encoders::Layered(encoder) => {
                if wanted.clone().any(|wanted| wanted) && track.unwanted[0] {
                    encoder.want_keyframe();
                }
                for (unwanted, wanted) in track.unwanted.iter_mut().zip(wanted) {
                    *unwanted = !wanted;
                }
                return;
            }
            Encoders::Audio(..) => return,
        };
        for ((encoder, unwanted), wanted) in
            encoders.iter_mut().zip(&mut track.unwanted).zip(wanted)
        {
            if std::mem::replace(unwanted, !wanted) && wanted {
                encoder.want_keyframe();
            }
        }
    }

    pub(super) fn handle_keyframe_request(&mut self, request: KeyframeRequest) {
        let wanted = |track: &&mut LocalTrack| track.mid == Some(request.mid) && !track.ended;
        let Some(track) = self.tracks.values_mut().find(wanted) else { return };
        match &mut track.encoders {
            Encoders::Video(encoders) => {
                let rid = request.rid;
                for (encoder, name) in encoders.iter_mut().zip(RIDS) {
                    if rid.is_none_or(|rid| rid == Rid::from(name)) {
                        encoder.want_keyframe();
                    }
                }
            }
            Encoders::Layered(encoder) => encoder.want_keyframe(),
            Encoders::Audio(..) => {}
        }
    }

    pub(super) fn next_media_at(&self) -> Option<Instant> {
        let sending = |track: &&LocalTrack| track.is_live();
        self.tracks.values().filter(sending).filter_map(|track| track.next_at).min()
    }

    pub(super) fn send_due_media(&mut self, now: Instant) {
        let keys: Vec<TrackKey> = self.tracks.keys().copied().collect();
        for key in keys {
            self.send_track(key, now);
        }
    }

    fn send_track(&mut self, key: TrackKey, now: Instant) {
        let connected = self.rtc.is_connected();
        let Some(publisher) = self.signalling.sid().map(str::to_owned) else { return };
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let due = track.is_live() && track.next_at.is_some_and(|at| at <= now);
        let Some(mid) = track.mid.filter(|_| due) else { return };
        track.next_at = Some(now + track.plan.interval());
        if !connected {
            return;
        }
        let plan = track.plan;
        let video = plan.kind() == MediaKind::Video;
        let Some((pt, sound)) = self.payload_type(mid, plan) else { return };
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let (extensions, packets) = (track.extensions(), track.encode(sound, &publisher));
        for Written { rid, packet } in packets {
            let write = RtpWrite::new(pt, packet.seq.into(), packet.timestamp, now, packet.payload)
                .marker(packet.marker)
                .ext_vals(extensions.clone())
                .nackable(video);
            let mut direct = self.rtc.direct_api();
            let Some(stream) = direct.stream_tx_by_mid(mid, rid) else {
                self.violations.push(format!("the answer took no stream {rid:?} of {mid}"));
                return;
            };
            stream.write_rtp(write);
            let _refused = self.rtc.handle_input(Input::Timeout(now));
            self.drain(now);
        }
    }

    /// What to send a track under: pictures in the codec of the plan, sound in the first the answer prefers, as browsers
    /// do.
    fn payload_type(&self, mid: Mid, plan: TrackPlan) -> Option<(Pt, Sound)> {
        let agreed = self.rtc.media(mid)?.remote_pts();
        let codecs = self.rtc.codec_config().params();
        let codecs = || codecs.iter().filter(|one| agreed.contains(&one.pt()));
        if plan.kind() == MediaKind::Video {
            let params = codecs().find(|one| one.spec().codec == plan.codec())?;
            return Some((params.pt(), Sound::Opus));
        }
        let preferred = Pt::from(*self.negotiation.preferred.get(&mid)?);
        codecs().find_map(|one| match one.spec().codec {
            Codec::Opus if one.red() == Some(preferred) => {
                Some((preferred, Sound::Redundant(*one.pt())))
            }
            Codec::Opus if one.pt() == preferred => Some((preferred, Sound::Opus)),
            _ if one.pt() == preferred => Some((preferred, Sound::G711)),
            _ => None,
        })
    }
}
