//! `Client`: a virtual participant that behaves as `livekit-client` does. Over one peer connection it alone
//! offers, prepares receiving sections in its first offer, adds some when asked, restarts ICE after a resume.
//! Over two it offers the one it publishes by, and answers the server's offers of the one it receives by.
//!
//! Sans-IO as the core is: `handle_*` in, [`Client::poll_output`] out. The peer connections underneath are
//! `str0m`, here as the controlling side.

mod negotiation;
mod publishing;
mod receiving;
mod signalling;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use roomful_sfu::join::PeerConnections;
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig, RtcError};

use crate::reception::{Label, Stream, TrackLog};
use negotiation::Negotiation;
pub use publishing::{LocalTrack, TrackKey, TrackPlan};
use receiving::Receiving;
pub use signalling::{Farewell, Roster};

/// Which browser's habits a client has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Browser {
    /// The first offer travels inside the join request.
    #[default]
    Chromium,
    /// It follows the answer to the join request.
    Firefox,
}

/// Which video codecs a client has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VideoCodecs {
    /// VP8, what virtual cameras send.
    #[default]
    Vp8,
    /// H.264: it can watch no virtual camera.
    H264,
    /// Both.
    Both,
    /// VP8 and VP9.
    Vp9,
    /// H.265.
    H265,
}

/// Which audio codecs a client has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AudioCodecs {
    /// Opus.
    #[default]
    Opus,
    /// Opus with redundancy, too, as Chromium has it.
    Redundant,
    /// Opus and G.711.
    All,
    /// G.711, A-law.
    Pcma,
}

/// How a client joins.
#[derive(Debug, Clone, Default)]
pub struct JoinOptions {
    /// Its habits.
    pub browser: Browser,
    /// Receives nothing it did not ask for.
    pub manual_subscription: bool,
    /// What it encodes and decodes.
    pub video: VideoCodecs,
    /// The same of sound.
    pub audio: AudioCodecs,
    /// How many peer connections it makes.
    pub peer_connections: PeerConnections,
}

/// Which of a client's peer connections; each has a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerConnection {
    /// On which it offers; the only one, if there is only one.
    Publishing,
    /// On which the server offers.
    Receiving,
}

/// See the module text.
pub struct Client {
    options: JoinOptions,
    address: SocketAddr,
    /// The peer connection on which it offers.
    rtc: Rtc,
    rtc_timeout: Instant,
    /// The one on which the server offers.
    receiving: Option<Box<Receiving>>,
    channels: Vec<(Channel, ChannelId)>,
    open_channels: Vec<Channel>,
    negotiation: Negotiation,
    signalling: signalling::Signalling,
    tracks: BTreeMap<TrackKey, LocalTrack>,
    streams: BTreeMap<Mid, (bool, Stream)>,
    /// What came, by publication.
    received: BTreeMap<String, TrackLog>,
    messages: Vec<(Channel, proto::DataPacket)>,
    data_packets: Vec<Vec<u8>>,
    violations: Vec<String>,
    outputs: VecDeque<ClientOutput>,
    rng: fastrand::Rng,
}

/// A data channel, by the label LiveKit's clients give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// `_lossy`.
    Lossy,
    /// `_reliable`.
    Reliable,
    /// `_data_track`.
    DataTrack,
}

/// What a client asks of its surroundings.
#[derive(Debug)]
pub enum ClientOutput {
    /// Open a WebSocket with this join request.
    Connect(Box<proto::JoinRequest>),
    /// Send this on it.
    Request(Box<proto::SignalRequest>),
    /// Close it.
    Close,
    /// Send this datagram to the server.
    Transmit {
        /// From the port of this peer connection.
        from: PeerConnection,
        /// The server's address.
        destination: SocketAddr,
        /// UDP payload.
        payload: Vec<u8>,
    },
}

/// Receiving sections of each kind in the first offer, as `livekit-client` makes them. More would be answered
/// inactive, fewer would take another offer in every small room.
const INITIAL_SECTIONS: usize = 3;

/// Soonest the client wakes again when its stack says "now": keeps a stack that is never done from holding
/// virtual time still.
const SOONEST: Duration = Duration::from_micros(500);

impl PeerConnection {
    const ALL: [Self; 2] = [Self::Publishing, Self::Receiving];
}

impl Client {
    /// A client at `address` that has not joined yet.
    pub fn new(options: JoinOptions, address: SocketAddr, seed: u64, now: Instant) -> Self {
        let two = options.peer_connections == PeerConnections::Two;
        let mut client = Self {
            receiving: two.then(|| Box::new(Receiving::new(&options, address, now))),
            address,
            rtc: peer_connection(&options, now),
            options,
            rtc_timeout: now,
            channels: Vec::new(),
            open_channels: Vec::new(),
            negotiation: Negotiation::default(),
            signalling: signalling::Signalling::default(),
            tracks: BTreeMap::new(),
            streams: BTreeMap::new(),
            received: BTreeMap::new(),
            messages: Vec::new(),
            data_packets: Vec::new(),
            violations: Vec::new(),
            outputs: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
        };
        add_candidate(&mut client.rtc, address);
        client.drain(now);
        client
    }

    /// Connects to the server, with the first offer if it is that kind of browser.
    pub fn join(&mut self, now: Instant) {
        let publisher_offer = match (self.options.peer_connections, self.options.browser) {
            (PeerConnections::Two, _) => None,
            (PeerConnections::One, browser) => {
                self.negotiation.need_sections(INITIAL_SECTIONS, INITIAL_SECTIONS);
                (browser == Browser::Chromium).then(|| self.make_offer(now)).flatten()
            }
        };
        let request = proto::JoinRequest {
            client_info: Some(proto::ClientInfo {
                sdk: proto::client_info::Sdk::Js.into(),
                version: "2.23.0".into(),
                protocol: 16,
                ..Default::default()
            }),
            connection_settings: Some(proto::ConnectionSettings {
                auto_subscribe: !self.options.manual_subscription,
                adaptive_stream: true,
                ..Default::default()
            }),
            publisher_offer,
            ..Default::default()
        };
        self.outputs.push_back(ClientOutput::Connect(Box::new(request)));
    }

    /// Connects anew after the WebSocket was lost, as the participant it was.
    pub fn resume(&mut self) {
        let request = proto::JoinRequest {
            reconnect: true,
            participant_sid: self.sid().unwrap_or_default().to_owned(),
            ..Default::default()
        };
        self.outputs.push_back(ClientOutput::Connect(Box::new(request)));
    }

    /// A datagram arrived from the server at the port of `at`.
    pub fn handle_datagram(
        &mut self,
        at: PeerConnection,
        source: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let Some((rtc, destination)) = self.rtc_at(at) else { return };
        let Ok(contents) = payload.try_into() else {
            self.violations.push("the server sent a datagram of no known protocol".into());
            return;
        };
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        // What is refused here came late (of an ended section, an old ICE generation) or is garbage.
        let _refused = rtc.handle_input(Input::Receive(now, receive));
        self.drain(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.rtc_timeout <= now {
            let _refused = self.rtc.handle_input(Input::Timeout(now));
            self.drain(now);
        }
        if let Some(receiving) = self.receiving.as_mut().filter(|one| one.timeout <= now) {
            let _refused = receiving.rtc.handle_input(Input::Timeout(now));
            self.drain(now);
        }
        self.negotiate_if_due(now);
        self.ping_if_due(now);
        self.send_due_media(now);
    }

    /// When [`Client::handle_timeout`] is next due.
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        let stack = self.rtc_timeout.max(now + SOONEST);
        let receiving = self.receiving.as_ref().map(|one| one.timeout.max(now + SOONEST));
        let others =
            [receiving, self.negotiation.poll_timeout(), self.ping_at(), self.next_media_at()];
        others.into_iter().flatten().fold(stack, Instant::min)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Asks for a decodable start of a publication it receives (PLI).
    pub fn request_keyframe(&mut self, track: &str, now: Instant) {
        let Some(mid) = self.section_of(track) else { return };
        let rtc = self.receiving_rtc();
        if let Some(stream) = rtc.direct_api().stream_rx_by_mid(mid, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        let _refused = rtc.handle_input(Input::Timeout(now));
        self.drain(now);
    }

    /// Sends a data message as it stands. `false`: no room in the channel.
    pub fn send_data(
        &mut self,
        channel: Channel,
        packet: &proto::DataPacket,
        now: Instant,
    ) -> bool {
        self.send_raw_data(channel, &packet.encode_to_vec(), now)
    }

    /// Sends bytes on a data channel. `false`: it is not open, or full.
    pub fn send_raw_data(&mut self, channel: Channel, bytes: &[u8], now: Instant) -> bool {
        let id = self.channels.iter().find(|(known, _)| *known == channel).map(|(_, id)| *id);
        let Some(mut open) = id.and_then(|id| self.rtc.channel(id)) else { return false };
        let accepted = open.write(true, bytes).unwrap_or(false);
        self.drain(now);
        accepted
    }

    /// Whether media may flow.
    pub fn is_connected(&self) -> bool {
        self.rtc.is_connected()
            && self.receiving.as_ref().is_none_or(|receiving| receiving.rtc.is_connected())
    }

    /// How many peer connections it makes.
    pub fn peer_connections(&self) -> PeerConnections {
        self.options.peer_connections
    }

    /// Whether a data channel is open.
    pub fn is_open(&self, channel: Channel) -> bool {
        self.open_channels.contains(&channel)
    }

    /// What came of a publication.
    pub fn received(&self, track: &str) -> TrackLog {
        self.received.get(track).cloned().unwrap_or_default()
    }

    /// The publications of which anything came.
    pub fn received_tracks(&self) -> Vec<String> {
        self.received.keys().cloned().collect()
    }

    /// The publications its sections carry now.
    pub fn labels(&self) -> Vec<&Label> {
        self.streams.values().filter_map(|(_, stream)| stream.label()).collect()
    }

    /// Its receiving sections.
    pub fn receiving_sections(&self) -> usize {
        self.streams.len()
    }

    /// Sequence numbers that never came, in all sections.
    pub fn missing_packets(&self) -> u64 {
        self.streams.values().map(|(_, stream)| stream.missing()).sum()
    }

    /// Data messages that arrived.
    pub fn messages(&self) -> &[(Channel, proto::DataPacket)] {
        &self.messages
    }

    /// Packets of data tracks that arrived, as they came.
    pub fn data_packets(&self) -> &[Vec<u8>] {
        &self.data_packets
    }

    /// Takes what it saw that must not be.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    fn section_of(&self, track: &str) -> Option<Mid> {
        let carries = |stream: &Stream| stream.label().is_some_and(|label| label.track == track);
        self.streams.iter().find(|(_, (_, stream))| carries(stream)).map(|(mid, _)| *mid)
    }

    /// Sends a request, or keeps it until the WebSocket is back.
    fn request(&mut self, request: Request) {
        let request = proto::SignalRequest { message: Some(request) };
        if self.signalling.is_away() {
            self.signalling.keep(request);
        } else {
            self.outputs.push_back(ClientOutput::Request(Box::new(request)));
        }
    }

    fn drain(&mut self, now: Instant) {
        for from in PeerConnection::ALL {
            while let Some(output) = self.next_output(from) {
                match output {
                    Ok(Output::Timeout(at)) => {
                        self.set_timeout(from, at);
                        break;
                    }
                    Ok(Output::Transmit(transmit)) => {
                        self.outputs.push_back(ClientOutput::Transmit {
                            from,
                            destination: transmit.destination,
                            payload: transmit.contents.into(),
                        });
                    }
                    Ok(Output::Event(event)) => self.handle_event(from, event, now),
                    Err(error) => {
                        self.handle_failure(from, &error);
                        break;
                    }
                }
            }
        }
    }

    fn next_output(&mut self, of: PeerConnection) -> Option<Result<Output, RtcError>> {
        Some(self.rtc_at(of)?.0.poll_output())
    }

    fn handle_failure(&mut self, of: PeerConnection, error: &RtcError) {
        // The server's farewell may come before the data channels are up: no harm to who leaves.
        if self.signalling.is_connected() {
            self.violations.push(format!("the peer connection failed: {error}"));
        }
        if let Some((rtc, _)) = self.rtc_at(of) {
            rtc.disconnect();
        }
    }

    fn handle_event(&mut self, of: PeerConnection, event: Event, now: Instant) {
        match event {
            Event::RtpPacket(packet) => self.handle_packet(&packet, now),
            Event::KeyframeRequest(request) => self.handle_keyframe_request(request),
            Event::ChannelOpen(id, label) => self.handle_channel(of, id, &label),
            Event::ChannelData(data) => {
                let channel = self.channels_of(of).iter().find(|(_, id)| *id == data.id);
                if channel.is_some_and(|(channel, _)| *channel == Channel::DataTrack) {
                    return self.data_packets.push(data.data);
                }
                let packet = proto::DataPacket::decode(&data.data[..]);
                match (channel, packet) {
                    (Some((channel, _)), Ok(packet)) => self.messages.push((*channel, packet)),
                    _ => self.violations.push("a data message that is none".into()),
                }
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Channel {
    const ALL: [Self; 3] = [Self::Lossy, Self::Reliable, Self::DataTrack];

    fn label(self) -> &'static str {
        match self {
            Self::Lossy => "_lossy",
            Self::Reliable => "_reliable",
            Self::DataTrack => "_data_track",
        }
    }

    fn config(self) -> ChannelConfig {
        let unreliable = Reliability::MaxRetransmits { retransmits: 0 };
        let (ordered, reliability) = match self {
            Self::Lossy | Self::DataTrack => (false, unreliable),
            Self::Reliable => (true, Reliability::Reliable),
        };
        ChannelConfig { label: self.label().into(), ordered, reliability, ..Default::default() }
    }
}

fn add_candidate(rtc: &mut Rtc, address: SocketAddr) {
    if let Ok(candidate) = Candidate::host(address, "udp") {
        rtc.add_local_candidate(candidate);
    }
}

fn peer_connection(options: &JoinOptions, now: Instant) -> Rtc {
    let JoinOptions { video, audio, .. } = options;
    RtcConfig::new()
        .set_rtp_mode(true)
        // As browsers do; by an id that the server would not choose.
        .set_extension(9, Extension::PlayoutDelay)
        .clear_codecs()
        .enable_opus(*audio != AudioCodecs::Pcma, *audio == AudioCodecs::Redundant)
        .enable_pcmu(*audio == AudioCodecs::All, false)
        .enable_pcma(matches!(audio, AudioCodecs::All | AudioCodecs::Pcma), false)
        .enable_vp8(matches!(video, VideoCodecs::Vp8 | VideoCodecs::Both | VideoCodecs::Vp9))
        .enable_h264(matches!(video, VideoCodecs::H264 | VideoCodecs::Both))
        .enable_vp9(*video == VideoCodecs::Vp9)
        .enable_h265(*video == VideoCodecs::H265)
        .build(now)
}
