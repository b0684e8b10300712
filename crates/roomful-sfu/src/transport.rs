//! One participant's association with this server: SDP, ICE, DTLS, SRTP and data channels.
//!
//! The only module that names `str0m`. Everything it lets out is our own: sections, packets, events. Its
//! one contract is `str0m`'s: every mutation is followed by a drain, so each public verb here ends in
//! [`Transport::drain`] and its results wait in [`Transport::poll_output`].

pub(crate) mod answer;
pub(crate) mod offer;
pub(crate) mod packet;
mod path;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::channel::ChannelId;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::CodecSpec;
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, SeqNo, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::egress::{Codec, Layer, OutgoingHeader};
use crate::sfu::MediaAddress;
use answer::{StreamLabel, label_sections};
use offer::{OfferedSection, read_sections};
pub(crate) use packet::Packet;
use packet::{Extensions, Format, codec_of};
use path::Path;

/// Makes the transports of one worker: they share a certificate, whose generation costs more than a join.
pub(crate) struct TransportFactory {
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
}

/// One m-line, by its place in the SDP: the place never changes while the transport lives (RFC 8829 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Section(u16);

/// See the module text.
pub(crate) struct Transport {
    rtc: Rtc,
    sections: Vec<SectionState>,
    encodings: BTreeMap<u32, (Section, Layer)>,
    channels: BTreeMap<Channel, ChannelId>,
    unlabelled_answer: String,
    path: Path,
    outputs: VecDeque<TransportOutput>,
    timeout: Instant,
}

struct SectionState {
    offered: OfferedSection,
    mid: Mid,
    /// Payload type of the format forwarded last: consecutive packets nearly always share it.
    forwarded: Option<(CodecSpec, Pt)>,
}

/// The data channels LiveKit clients open, by label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// `_reliable`: ordered, retransmitted.
    Reliable,
    /// `_lossy`: unordered, never retransmitted.
    Lossy,
}

/// What became of a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// On its way.
    Sent,
    /// The channel is not open yet, or holds back [`DATA_BUFFER`] already.
    Later,
    /// Larger than the other end takes.
    Impossible,
}

/// What a transport asks for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are packets, and a box each is an allocation each"
)]
pub(crate) enum TransportOutput {
    Transmit { source: SocketAddr, destination: SocketAddr, payload: Vec<u8> },
    Event(TransportEvent),
}

/// What happened on a transport.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are packets, and a box each is an allocation each"
)]
pub(crate) enum TransportEvent {
    /// ICE and DTLS are done: media may flow.
    Connected,
    /// The other end closed DTLS, or it failed for good.
    Closed,
    /// A packet of one of the participant's encodings.
    Packet(Packet),
    /// The participant needs a decodable start of what is forwarded to it in this section.
    KeyframeRequested(Section),
    /// A data message arrived.
    Data(Channel, Vec<u8>),
}

/// Why an offer was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("the offer is not valid SDP: {0}")]
    Malformed(String),
    #[error("the offer cannot be answered: {0}")]
    Unacceptable(String),
    #[error(
        "the offer has {found} media sections and {MAX_SECTIONS} are allowed: unpublish or unsubscribe first"
    )]
    TooManySections { found: usize },
}

/// Bounds what one participant can make the server keep. Every remote track takes a section at a
/// subscriber: smaller limits room size (two tracks a participant: 500 participants), larger lets one
/// offer cost megabytes.
const MAX_SECTIONS: usize = 1_000;

/// Bytes of one data message, announced in the answer (`a=max-message-size`, RFC 8841 §6): what every browser
/// takes. A larger one would hold up smaller ones of others, a smaller one breaks clients that send whole files.
const MAX_DATA: u32 = 64 * 1024;

/// The same on the way out: forwarding writes the sender's name into a message.
const MAX_FORWARDED_DATA: usize = MAX_DATA as usize + 1024;

const _: () = assert!(MAX_FORWARDED_DATA < DATA_BUFFER);

/// Bytes a data channel may hold back, over which [`Transport::send_data`] defers. LiveKit's clients split
/// messages at 15 kB: smaller stalls a burst of messages on a long path, larger holds more memory per slow
/// participant.
const DATA_BUFFER: usize = 256 * 1024;

/// Packets kept for retransmission per forwarded stream: a second of 2.5 Mb/s video. Smaller loses repairs on
/// long paths, larger costs memory for every subscription.
const VIDEO_RTX_PACKETS: usize = 256;

/// Older packets come too late for any jitter buffer; younger ones are still worth repairing on a path of
/// half a second.
const RTX_AGE: std::time::Duration = std::time::Duration::from_secs(3);

impl TransportFactory {
    /// `None` if the crypto library cannot make a certificate.
    pub(crate) fn new() -> Option<Self> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = provider.dtls_provider.generate_certificate()?;
        Some(Self { provider, certificate })
    }

    /// A transport that can be reached at `addresses`.
    pub(crate) fn transport(&self, addresses: &[MediaAddress], now: Instant) -> Transport {
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(self.provider.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_sctp_max_message_size(MAX_DATA)
            .set_sctp_max_buffered_amount(DATA_BUFFER)
            .set_send_buffer_video(VIDEO_RTX_PACKETS)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .enable_vp9(true)
            .enable_av1(true)
            .build(now);
        for address in addresses {
            match Candidate::host(address.advertised, "udp") {
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
            encodings: BTreeMap::new(),
            channels: BTreeMap::new(),
            unlabelled_answer: String::new(),
            path: Path::default(),
            outputs: VecDeque::new(),
            timeout: now,
        };
        transport.drain();
        transport
    }
}

impl Transport {
    /// Takes an SDP offer; [`Transport::answer`] then finishes the answer. Returns its sections.
    ///
    /// # Errors
    /// What is wrong with the offer; the transport goes on with what was negotiated before.
    pub(crate) fn handle_offer(&mut self, sdp: &str) -> Result<Vec<OfferedSection>, OfferError> {
        let offered = read_sections(sdp);
        if offered.len() > MAX_SECTIONS {
            return Err(OfferError::TooManySections { found: offered.len() });
        }
        let offer = str0m::change::SdpOffer::from_sdp_string(sdp)
            .map_err(|error| OfferError::Malformed(error.to_string()))?;
        let accepted = self.rtc.sdp_api().accept_offer(offer);
        self.drain();
        let answer = accepted.map_err(|error| OfferError::Unacceptable(error.to_string()))?;
        self.unlabelled_answer = answer.to_sdp_string();
        let known = self.sections.len();
        self.sections = offered
            .iter()
            .map(|section| SectionState {
                offered: section.clone(),
                mid: section.mid.as_str().into(),
                forwarded: None,
            })
            .collect();
        self.encodings.clear();
        self.keep_packets_for_repair(known);
        Ok(offered)
    }

    /// Sets what is kept for retransmission in sections from `first` on. Without a cap on the share of
    /// retransmissions: a subscriber that loses much asks for much, and without it sees nothing.
    fn keep_packets_for_repair(&mut self, first: usize) {
        let mut direct = self.rtc.direct_api();
        for state in self.sections.iter().skip(first).filter(|state| state.offered.receives) {
            if let Some(stream) = direct.stream_tx_by_mid(state.mid, None) {
                stream.set_rtx_cache(VIDEO_RTX_PACKETS, RTX_AGE, None);
            }
        }
        self.drain();
    }

    /// The answer to the last offer, with each receiving section labelled, or inactive without a label.
    pub(crate) fn answer(&self, label: impl Fn(Section) -> Option<StreamLabel>) -> String {
        let receiving = self
            .sections
            .iter()
            .filter(|state| state.offered.receives)
            .map(|state| (state.offered.mid.clone(), label(state.offered.section)))
            .collect();
        label_sections(&self.unlabelled_answer, &receiving)
    }

    /// The ICE user name under which datagrams for this transport arrive (RFC 8445 §7.3). Changes when an
    /// offer restarts ICE.
    pub(crate) fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// A datagram for this transport arrived at `destination`.
    pub(crate) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let Ok(contents) = payload.try_into() else {
            tracing::trace!("a datagram of no known protocol is dropped");
            return;
        };
        self.path.handle_datagram(source, payload);
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
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

    /// Forwards a packet in `section`. A format the participant cannot decode is dropped.
    pub(crate) fn forward(
        &mut self,
        section: Section,
        packet: &Packet,
        header: &OutgoingHeader,
        now: Instant,
    ) {
        let Some(pt) = self.payload_type(section, packet.format) else { return };
        let Some(mid) = self.sections.get(section.index()).map(|state| state.mid) else { return };
        let mut payload = Arc::clone(&packet.payload);
        if let Some(rewrite) = &header.vp8 {
            rewrite.apply(Arc::make_mut(&mut payload));
        }
        let video = packet.format.codec != Codec::Opus;
        let write =
            RtpWrite::new(pt, SeqNo::from(header.seq), header.timestamp, packet.arrival, payload)
                .marker(header.marker)
                .ext_vals(packet.extensions.0.clone())
                .nackable(video);
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        stream.write_rtp(write);
        self.handle_timeout(now);
    }

    /// What is forwarded in `section` from now on is another stream, with SSRCs of its own.
    pub(crate) fn renew_stream(&mut self, section: Section) {
        let Some(mid) = self.sections.get(section.index()).map(|state| state.mid) else { return };
        let mut direct = self.rtc.direct_api();
        let former = direct.stream_tx_by_mid(mid, None).map(|one| (one.ssrc(), one.rtx()));
        let Some((former, former_rtx)) = former else { return };
        // Removed and declared anew: a stream whose SSRC is merely reset hears no feedback for the new one.
        let (ssrc, rtx) = (direct.new_ssrc(), direct.new_ssrc());
        direct.remove_stream_tx(former);
        direct.declare_stream_tx(ssrc, former_rtx.map(|_| rtx), mid, None).set_rtx_cache(
            VIDEO_RTX_PACKETS,
            RTX_AGE,
            None,
        );
        self.drain();
    }

    /// Asks the participant for a decodable start of one of its encodings (PLI, RFC 4585 §6.3.1).
    pub(crate) fn request_keyframe(&mut self, section: Section, layer: Layer, now: Instant) {
        let Some(state) = self.sections.get(section.index()) else { return };
        let rid = state.offered.rids.get(layer.index()).map(|rid| Rid::from(rid.as_str()));
        let mid = state.mid;
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, rid) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.handle_timeout(now);
    }

    /// Sends a data message, if it can be sent now or ever.
    pub(crate) fn send_data(&mut self, channel: Channel, payload: &[u8]) -> Delivery {
        if payload.len() > MAX_FORWARDED_DATA {
            return Delivery::Impossible;
        }
        let Some(id) = self.channels.get(&channel) else { return Delivery::Later };
        let Some(mut open) = self.rtc.channel(*id) else { return Delivery::Later };
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
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    let payload: Vec<u8> = transmit.contents.into();
                    let (source, destination) =
                        self.path.direct(transmit.source, transmit.destination, &payload);
                    let transmit = TransportOutput::Transmit { source, destination, payload };
                    self.outputs.push_back(transmit);
                }
                Ok(Output::Event(event)) => {
                    if let Some(event) = self.translate(event) {
                        self.outputs.push_back(TransportOutput::Event(event));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a transport failed");
                    self.rtc.disconnect();
                    self.outputs.push_back(TransportOutput::Event(TransportEvent::Closed));
                    return;
                }
            }
        }
    }

    fn translate(&mut self, event: Event) -> Option<TransportEvent> {
        match event {
            Event::Connected => Some(TransportEvent::Connected),
            Event::Closed => Some(TransportEvent::Closed),
            Event::RtpPacket(packet) => self.translate_packet(packet).map(TransportEvent::Packet),
            Event::KeyframeRequest(request) => {
                self.section_of(request.mid).map(TransportEvent::KeyframeRequested)
            }
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

    fn translate_packet(&mut self, packet: RtpPacket) -> Option<Packet> {
        let (section, layer) = self.encoding_of(packet.header.ssrc)?;
        let format = self.format_of(packet.header.payload_type)?;
        Some(Packet {
            section,
            layer,
            seq: *packet.seq_no,
            timestamp: packet.time.numer(),
            marker: packet.header.marker,
            payload: packet.payload,
            format,
            extensions: Extensions::forwarded(&packet.header.ext_vals),
            arrival: packet.timestamp,
        })
    }

    fn encoding_of(&mut self, ssrc: Ssrc) -> Option<(Section, Layer)> {
        if let Some(known) = self.encodings.get(&*ssrc) {
            return Some(*known);
        }
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_rx(&ssrc)?;
        let (mid, rid) = (stream.mid(), stream.rid());
        let section = self.section_of(mid)?;
        let rids = &self.sections.get(section.index())?.offered.rids;
        let layer = match rid {
            Some(rid) => rids.iter().position(|known| Rid::from(known.as_str()) == rid)?,
            None => 0,
        };
        if layer >= Layer::COUNT {
            return None;
        }
        let encoding = (section, Layer::ALL[layer]);
        self.encodings.insert(*ssrc, encoding);
        Some(encoding)
    }

    fn format_of(&self, pt: Pt) -> Option<Format> {
        let spec = self.rtc.codec_config().find(|params| params.pt() == pt)?.spec();
        Some(Format { spec, codec: codec_of(spec.codec)? })
    }

    fn section_of(&self, mid: Mid) -> Option<Section> {
        self.sections.iter().find(|state| state.mid == mid).map(|state| state.offered.section)
    }

    /// The payload type under which the participant knows `format`. H.264 has many: the same profile and
    /// packetization mode first, any H.264 with the same packetization mode otherwise.
    fn payload_type(&mut self, section: Section, format: Format) -> Option<Pt> {
        let state = self.sections.get_mut(section.index())?;
        if let Some((spec, pt)) = state.forwarded
            && spec == format.spec
        {
            return Some(pt);
        }
        let accepted = self.rtc.media(state.mid)?.remote_pts();
        let candidates: Vec<_> = self
            .rtc
            .codec_config()
            .params()
            .iter()
            .filter(|params| accepted.contains(&params.pt()))
            .filter(|params| params.spec().codec == format.spec.codec)
            .collect();
        let same_mode = |spec: CodecSpec| {
            spec.format.packetization_mode == format.spec.format.packetization_mode
        };
        let best = candidates
            .iter()
            .find(|params| params.spec() == format.spec)
            .or_else(|| candidates.iter().find(|params| same_mode(params.spec())))
            .or_else(|| candidates.first().filter(|_| format.codec != Codec::H264))?;
        state.forwarded = Some((format.spec, best.pt()));
        Some(best.pt())
    }
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

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Channel {
    fn from_label(label: &str) -> Option<Self> {
        match label {
            "_reliable" => Some(Self::Reliable),
            "_lossy" => Some(Self::Lossy),
            _ => None,
        }
    }
}
