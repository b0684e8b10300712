//! One participant's association with this server: SDP, ICE, DTLS and data channels.
//!
//! The only module that names `str0m`, which never sees RTP: what was negotiated ([`Negotiated`]) and the keys
//! ([`MasterKeys`]) go to the media plane. Its one contract is `str0m`'s: every mutation is followed by a drain,
//! so each public verb here ends in [`Transport::drain`] and its results wait in [`Transport::poll_output`].

pub(crate) mod answer;
mod answering;
mod formats;
mod keys;
mod negotiated;
pub(crate) mod offer;
pub(crate) mod offering;
mod path;
mod preference;
mod unwanted;

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomful_rtp::rtp::dependency;
use roomful_rtp::srtp::MasterKeys;
use str0m::channel::ChannelId;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::error::IceError;
use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig, net};

use crate::route::{Protocol, Route};
pub(crate) use negotiated::{Format, Negotiated, OutgoingSsrcs, Payload, SendFormat};
use offer::OfferedSection;
use offering::{Offering, Templates};
use path::Path;
pub(crate) use preference::SentAs;

/// Makes the transports of one worker: they share a certificate, whose generation costs more than a join.
pub(crate) struct TransportFactory {
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
    /// Made with the first transport that offers, and tells no playout delay, or does.
    templates: [OnceCell<Templates>; 2],
}

/// How a transport begins.
#[derive(Debug)]
pub(crate) struct Beginning<'a> {
    /// Where it can be reached, the most wanted first.
    pub(crate) addresses: &'a [(Protocol, SocketAddr)],
    /// Receivers are told how long to hold pictures back.
    pub(crate) tells_playout_delay: bool,
    /// Draws SSRCs.
    pub(crate) rng: fastrand::Rng,
}

/// One m-line, by its place in the SDP: the place never changes while the transport lives (RFC 8829 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Section(u16);

/// See the module text.
pub(crate) struct Transport {
    rtc: Rtc,
    sections: Vec<OfferedSection>,
    channels: BTreeMap<Channel, ChannelId>,
    unlabelled_answer: String,
    /// What it offers, on a transport that does.
    offering: Option<Box<Offering>>,
    negotiated: Arc<Negotiated>,
    path: Path,
    /// Draws SSRCs.
    rng: fastrand::Rng,
    outputs: VecDeque<TransportOutput>,
    timeout: Instant,
}

/// The data channels between LiveKit's clients and servers, by label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// `_reliable`: ordered, retransmitted.
    Reliable,
    /// `_lossy`: unordered, never retransmitted.
    Lossy,
    /// `_data_track`: the same, for packets of data tracks.
    DataTrack,
}

/// What became of a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// On its way.
    Sent,
    /// The channel is not open yet, or holds back as much as it may.
    Later,
    /// Larger than the other end takes.
    Impossible,
}

/// What a transport asks for.
#[derive(Debug)]
pub(crate) enum TransportOutput {
    Transmit { route: Route, payload: Vec<u8> },
    Event(TransportEvent),
}

/// What happened on a transport.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// The handshake agreed on keys for media.
    Keys(MasterKeys),
    /// Media goes this way from now on.
    Path(Route),
    /// ICE and DTLS are done: media may flow.
    Connected,
    /// The other end closed DTLS, or it failed for good.
    Closed,
    /// A data message arrived.
    Data(Channel, Vec<u8>),
}

/// Bounds what one participant can make the server keep. Every remote track takes a section at a
/// subscriber: smaller limits room size (two tracks a participant: 500 participants), larger lets one
/// offer cost megabytes.
pub(crate) const MAX_SECTIONS: usize = 1_000;

/// Bytes of one data message, announced in the answer (`a=max-message-size`, RFC 8841 §6): what every browser
/// takes. A larger one would hold up smaller ones of others, a smaller one breaks clients that send whole files.
const MAX_DATA: u32 = 64 * 1024;

/// The same on the way out: forwarding writes the sender's name into a message.
const MAX_FORWARDED_DATA: usize = MAX_DATA as usize + 1024;

/// Bytes each data channel may hold back, over which [`Transport::send_data`] defers: a slow receiver of reliable
/// messages still gets lossy ones. LiveKit's clients split messages at 15 kB: smaller stalls a burst of messages on a
/// long path, larger holds more memory per slow participant and plays lossy messages later.
const RELIABLE_BUFFER: usize = 192 * 1024;
const LOSSY_BUFFER: usize = 96 * 1024;

const _: () = assert!(MAX_FORWARDED_DATA < LOSSY_BUFFER && LOSSY_BUFFER < RELIABLE_BUFFER);

/// All of them together.
const DATA_BUFFER: usize = RELIABLE_BUFFER + 2 * LOSSY_BUFFER;

/// `str0m` has no media to report on; its reports would only be timers.
const NO_REPORTS: Duration = Duration::from_secs(24 * 3_600);

/// ... and its buffers for packets would only be memory, 26 kB for each participant; 0 is not allowed.
const NO_PACKETS: usize = 1;

/// Id of the header extension in offers of this server's: one that `str0m` gives no other.
const PLAYOUT_DELAY_ID: u8 = 6;

/// The same of dependency descriptors.
const DESCRIPTOR_ID: u8 = 12;

/// A header extension that `str0m` negotiates and, since it sees no RTP, neither reads nor writes.
#[derive(Debug)]
struct PassedOver;

impl ExtensionSerializer for PassedOver {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _: &[u8], _: &mut ExtensionValues) -> bool {
        false
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

impl TransportFactory {
    /// `None` if the crypto library cannot make a certificate.
    pub(crate) fn new() -> Option<Self> {
        let provider = Arc::new(keys::tapped(str0m::crypto::from_feature_flags()));
        let certificate = provider.dtls_provider.generate_certificate()?;
        Some(Self { provider, certificate, templates: Default::default() })
    }

    /// A transport on which a client offers.
    pub(crate) fn transport(&self, beginning: Beginning<'_>, now: Instant) -> Transport {
        let Beginning { addresses, tells_playout_delay, rng } = beginning;
        let mut rtc = self.rtc(tells_playout_delay, now);
        for (protocol, address) in addresses {
            match candidate(*protocol, *address) {
                Ok(candidate) => {
                    rtc.add_local_candidate(candidate);
                }
                Err(error) => {
                    tracing::warn!(%error, "an address is no ICE candidate and is left out")
                }
            }
        }
        let mut transport = Transport {
            rtc,
            sections: Vec::new(),
            channels: BTreeMap::new(),
            unlabelled_answer: String::new(),
            offering: None,
            negotiated: Arc::default(),
            path: Path::default(),
            rng,
            outputs: VecDeque::new(),
            timeout: now,
        };
        transport.drain();
        transport
    }

    /// The same, for a client that receives by a transport of its own: this server offers on it
    /// ([`Transport::make_offer`]), and the client nothing.
    pub(crate) fn offering_transport(&self, beginning: Beginning<'_>, now: Instant) -> Transport {
        let tells_delay = beginning.tells_playout_delay;
        let templates = &self.templates[usize::from(tells_delay)];
        let templates = templates.get_or_init(|| Templates::of(self.rtc(tells_delay, now)));
        let offering = Some(Box::new(Offering::new(templates.clone())));
        Transport { offering, ..self.transport(beginning, now) }
    }

    fn rtc(&self, tells_playout_delay: bool, now: Instant) -> Rtc {
        let config = RtcConfig::new();
        let config = match tells_playout_delay {
            true => config.set_extension(PLAYOUT_DELAY_ID, Extension::PlayoutDelay),
            false => config,
        };
        let descriptor = Extension::with_serializer(dependency::URI, PassedOver);
        let config = config.set_extension(DESCRIPTOR_ID, descriptor);
        config
            .set_crypto_provider(self.provider.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_sctp_max_message_size(MAX_DATA)
            .set_sctp_max_buffered_amount(DATA_BUFFER)
            .set_send_buffer_audio(NO_PACKETS)
            .set_send_buffer_video(NO_PACKETS)
            .set_rtcp_report_interval_audio(NO_REPORTS)
            .set_rtcp_report_interval_video(NO_REPORTS)
            .clear_codecs()
            .enable_opus(true, true)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .enable_vp9(true)
            .enable_av1(true)
            .enable_h265(true)
            .build(now)
    }
}

impl Transport {
    /// The ICE user name under which datagrams for this transport arrive (RFC 8445 §7.3). Changes when an
    /// offer restarts ICE.
    pub(crate) fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// A datagram for this transport arrived at `destination`.
    pub(crate) fn handle_datagram(&mut self, route: Route, payload: &[u8], now: Instant) {
        let Ok(contents) = payload.try_into() else {
            tracing::trace!("a datagram of no known protocol is dropped");
            return;
        };
        self.path.handle_datagram(payload);
        let proto = match route.protocol {
            Protocol::Udp => net::Protocol::Udp,
            Protocol::Tcp => net::Protocol::Tcp,
        };
        let receive =
            net::Receive { proto, source: route.remote, destination: route.local, contents };
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            tracing::debug!(%error, "a datagram is refused");
        }
        self.drain();
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            tracing::debug!(%error, "a transport refuses to go on");
        }
        self.drain();
    }

    /// Sends a data message, if it can be sent now or ever.
    pub(crate) fn send_data(&mut self, channel: Channel, payload: &[u8]) -> Delivery {
        if payload.len() > MAX_FORWARDED_DATA {
            return Delivery::Impossible;
        }
        let Some(id) = self.channels.get(&channel) else { return Delivery::Later };
        let Some(mut open) = self.rtc.channel(*id) else { return Delivery::Later };
        if open.buffered_amount() + payload.len() > channel.buffer() {
            return Delivery::Later;
        }
        let delivery = match open.write(true, payload) {
            Ok(true) => Delivery::Sent,
            Ok(false) => Delivery::Later,
            Err(error) => {
                tracing::debug!(%error, bytes = payload.len(), "a data message cannot be sent");
                Delivery::Impossible
            }
        };
        self.drain();
        delivery
    }

    /// Bytes that a channel holds back: not sent yet, or not acknowledged.
    pub(crate) fn buffered(&mut self, channel: Channel) -> usize {
        let id = self.channels.get(&channel).copied();
        id.and_then(|id| self.rtc.channel(id)).map_or(0, |mut open| open.buffered_amount())
    }

    /// Says goodbye to the other end (DTLS close_notify).
    pub(crate) fn close(&mut self) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(%error, "a transport does not close in order");
        }
        self.drain();
    }

    /// The next thing that came of what was handled.
    pub(crate) fn poll_output(&mut self) -> Option<TransportOutput> {
        self.outputs.pop_front()
    }

    /// When [`Transport::handle_timeout`] is next due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.rtc.is_alive().then_some(self.timeout)
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    if let Some(keys) = keys::take_exported() {
                        self.outputs.push_front(TransportOutput::Event(TransportEvent::Keys(keys)));
                    }
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    let payload: Vec<u8> = transmit.contents.into();
                    let protocol = match transmit.proto {
                        net::Protocol::Udp => Protocol::Udp,
                        _ => Protocol::Tcp,
                    };
                    let (local, remote) = (transmit.source, transmit.destination);
                    self.transmit(Route { protocol, local, remote }, payload);
                }
                Ok(Output::Event(event)) => {
                    if let Some(event) = self.translate(event) {
                        self.outputs.push_back(TransportOutput::Event(event));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a transport failed");
                    // Whatever it exported is nobody else's.
                    keys::take_exported();
                    self.rtc.disconnect();
                    self.outputs.push_back(TransportOutput::Event(TransportEvent::Closed));
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, route: Route, payload: Vec<u8>) {
        // RFC 7983 §7: it has nothing to say in RTP or RTCP, and no sequence numbers to say it with.
        if payload.first().is_some_and(|first| (128..=191).contains(first)) {
            return;
        }
        let before = self.path.nominated();
        let route = self.path.direct(route, &payload);
        if let Some(path) = self.path.nominated().filter(|now| before != Some(*now)) {
            self.outputs.push_back(TransportOutput::Event(TransportEvent::Path(path)));
        }
        self.outputs.push_back(TransportOutput::Transmit { route, payload });
    }

    fn translate(&mut self, event: Event) -> Option<TransportEvent> {
        match event {
            Event::Connected => Some(TransportEvent::Connected),
            Event::Closed => Some(TransportEvent::Closed),
            Event::ChannelOpen(id, label) => {
                if let Some(channel) = Channel::from_label(&label) {
                    self.channels.insert(channel, id);
                }
                None
            }
            Event::ChannelClose(id) => {
                self.channels.retain(|_, open| *open != id);
                None
            }
            Event::ChannelData(data) => {
                let channel = self.channels.iter().find(|(_, id)| **id == data.id)?.0;
                Some(TransportEvent::Data(*channel, data.data))
            }
            _ => None,
        }
    }
}

/// What a parser says, less the line with the place in this process' memory: that is nobody's to know.
fn without_addresses(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("0x") && !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(", ")
}

/// What a participant is told of an address. Connections are for the participant to make (RFC 6544 §4.1).
fn candidate(protocol: Protocol, address: SocketAddr) -> Result<Candidate, IceError> {
    match protocol {
        Protocol::Udp => Candidate::host(address, "udp"),
        Protocol::Tcp => {
            Candidate::builder().tcp().host(address).tcptype(net::TcpType::Passive).build()
        }
    }
}

/// What a STUN message ends in that is sealed with a password (RFC 8489 §14.5).
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn stun_integrity(password: &str, message: &[u8]) -> [u8; 20] {
    let provider = str0m::crypto::from_feature_flags();
    provider.sha1_hmac_provider.sha1_hmac(password.as_bytes(), &[message])
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("sections", &self.sections.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TransportFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFactory").finish_non_exhaustive()
    }
}

impl Section {
    pub(crate) fn from_index(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Channel {
    fn from_label(label: &str) -> Option<Self> {
        match label {
            "_reliable" => Some(Self::Reliable),
            "_lossy" => Some(Self::Lossy),
            "_data_track" => Some(Self::DataTrack),
            _ => None,
        }
    }

    /// Bytes it may hold back.
    fn buffer(self) -> usize {
        match self {
            Self::Reliable => RELIABLE_BUFFER,
            Self::Lossy | Self::DataTrack => LOSSY_BUFFER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_offer_is_told_without_addresses_in_memory() {
        let said = "SDP parse: Parse error at PointerOffset(0x7f855800b810)\nUnexpected `n`\nExpected `v`\n";
        assert_eq!(without_addresses(said), "Unexpected `n`, Expected `v`");
    }
}
