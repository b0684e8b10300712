//! What a client receives: the media, and, over two peer connections, the server's offers of the one it comes by.

use std::net::SocketAddr;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use str0m::change::SdpOffer;
use str0m::channel::ChannelId;
use str0m::rtp::RtpPacket;
use str0m::{Input, Rtc};

use super::negotiation::{sections, without_candidates};
use super::{Channel, Client, JoinOptions, PeerConnection, add_candidate, peer_connection};
use crate::media::{Mark, without_redundancy};
use crate::reception::{ReceivedPacket, Stream, TrackLog};

/// The peer connection that the server offers.
pub(super) struct Receiving {
    pub(super) rtc: Rtc,
    pub(super) timeout: Instant,
    /// Of its own port.
    address: SocketAddr,
    /// Channels that the server opened.
    channels: Vec<(Channel, ChannelId)>,
    /// Offers that were answered.
    answered: u32,
    /// It answers no more.
    is_silent: bool,
}

impl Receiving {
    /// On the port after the one of `publishing`.
    pub(super) fn new(options: &JoinOptions, publishing: SocketAddr, now: Instant) -> Self {
        let address = SocketAddr::new(publishing.ip(), publishing.port() + 1);
        let mut rtc = peer_connection(options, now);
        add_candidate(&mut rtc, address);
        let channels = Vec::new();
        Self { rtc, timeout: now, address, channels, answered: 0, is_silent: false }
    }
}

impl Client {
    /// Offers of the server that it answered.
    pub fn offers_answered(&self) -> u32 {
        self.receiving.as_ref().map_or(0, |receiving| receiving.answered)
    }

    /// Answers no offer from now on.
    pub fn stop_answering(&mut self) {
        if let Some(receiving) = &mut self.receiving {
            receiving.is_silent = true;
        }
    }

    /// Whether media can come.
    pub fn can_receive(&self) -> bool {
        self.receiving.as_ref().map_or(&self.rtc, |receiving| &receiving.rtc).is_connected()
    }

    /// A peer connection, and the address of its port.
    pub(super) fn rtc_at(&mut self, at: PeerConnection) -> Option<(&mut Rtc, SocketAddr)> {
        match at {
            PeerConnection::Publishing => Some((&mut self.rtc, self.address)),
            PeerConnection::Receiving => {
                self.receiving.as_mut().map(|receiving| (&mut receiving.rtc, receiving.address))
            }
        }
    }

    /// The one media comes by.
    pub(super) fn receiving_rtc(&mut self) -> &mut Rtc {
        match &mut self.receiving {
            Some(receiving) => &mut receiving.rtc,
            None => &mut self.rtc,
        }
    }

    pub(super) fn set_timeout(&mut self, of: PeerConnection, at: Instant) {
        match (of, &mut self.receiving) {
            (PeerConnection::Publishing, _) => self.rtc_timeout = at,
            (PeerConnection::Receiving, Some(receiving)) => receiving.timeout = at,
            (PeerConnection::Receiving, None) => {}
        }
    }

    /// Data channels of a peer connection: those of the one it offers it made itself.
    pub(super) fn channels_of(&self, of: PeerConnection) -> &[(Channel, ChannelId)] {
        match (of, &self.receiving) {
            (PeerConnection::Receiving, Some(receiving)) => &receiving.channels,
            _ => &self.channels,
        }
    }

    pub(super) fn handle_channel(&mut self, of: PeerConnection, id: ChannelId, label: &str) {
        match (of, &mut self.receiving) {
            (PeerConnection::Receiving, Some(receiving)) => {
                match Channel::ALL.into_iter().find(|channel| channel.label() == label) {
                    Some(channel) => receiving.channels.push((channel, id)),
                    None => self.violations.push(format!("the server opened a channel {label}")),
                }
            }
            _ => {
                let opened = self.channels.iter().filter(|(_, known)| *known == id);
                self.open_channels.extend(opened.map(|(channel, _)| *channel));
            }
        }
    }

    /// The server offers.
    pub(super) fn handle_offer(&mut self, offer: &proto::SessionDescription, now: Instant) {
        let Some(receiving) = &mut self.receiving else {
            return self.violations.push("an offer to a client that alone offers".into());
        };
        if receiving.is_silent {
            return;
        }
        let answer = SdpOffer::from_sdp_string(&offer.sdp)
            .map_err(|error| error.to_string())
            .and_then(|offer| {
                let accepted = receiving.rtc.sdp_api().accept_offer(offer);
                accepted.map_err(|error| error.to_string())
            });
        let answer = match answer {
            Ok(answer) => answer.to_sdp_string(),
            Err(error) => {
                return self.violations.push(format!("an offer is not acceptable: {error}"));
            }
        };
        receiving.answered += 1;
        // Else it waits for a time that never comes before it begins to check.
        let _refused = receiving.rtc.handle_input(Input::Timeout(now));
        self.drain(now);
        for (mid, kind) in sections(&offer.sdp) {
            if kind != "application" {
                let video = kind == "video";
                self.streams.entry(mid[..].into()).or_insert_with(|| (video, Stream::default()));
            }
        }
        self.take_labels(offer);
        self.request(Request::Answer(proto::SessionDescription {
            r#type: "answer".into(),
            sdp: without_candidates(&answer),
            id: offer.id,
            ..Default::default()
        }));
    }

    pub(super) fn handle_packet(&mut self, packet: &RtpPacket, now: Instant) {
        let rtc = self.receiving_rtc();
        let payload_type = Some(packet.header.payload_type);
        let wraps = rtc.codec_config().params().iter().find(|one| one.red() == payload_type);
        let mut payload = &packet.payload[..];
        if let Some(inside) = wraps.map(|one| *one.pt()) {
            match without_redundancy(payload) {
                Some((named, frame)) if named == inside => payload = frame,
                _ => return self.violations.push(format!("no redundant audio: {payload:02x?}")),
            }
        }
        let is_redundant = payload.len() < packet.payload.len();
        let mid = rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
        let Some((mid, (video, stream))) =
            mid.and_then(|mid| Some((mid, self.streams.get_mut(&mid)?)))
        else {
            self.violations.push("media outside every receiving section".into());
            return;
        };
        let values = &packet.header.ext_vals;
        let milliseconds = |time: str0m::media::MediaTime| (time.as_seconds() * 1_000.0) as u32;
        let delay = values.play_delay_min.zip(values.play_delay_max);
        let delay = delay.map(|(min, max)| (milliseconds(min), milliseconds(max)));
        let received = ReceivedPacket {
            ssrc: *packet.header.ssrc,
            seq: *packet.seq_no,
            timestamp: packet.time.numer(),
            marker: packet.header.marker,
            payload,
            video: *video,
            at: now,
        };
        match stream.handle_packet(&received) {
            Ok(Some(mark)) => {
                let log = self.log(&mark, delay, now);
                log.redundant += u64::from(is_redundant);
            }
            Ok(None) => {}
            Err(error) => self.violations.push(format!("section {mid}: {error}")),
        }
    }

    fn log(&mut self, mark: &Mark, delay: Option<(u32, u32)>, now: Instant) -> &mut TrackLog {
        let log = self.received.entry(mark.track.clone()).or_default();
        log.handle_mark(mark, now);
        if let Some(delay) = delay {
            log.delays.push((now, delay));
        }
        log
    }
}
