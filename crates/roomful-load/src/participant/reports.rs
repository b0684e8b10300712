//! The RTCP of a participant, in both directions.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{Rtcp, RtcpWriter, SenderInfo, packets};
use roomful_rtp::units::NtpTime;

use super::Participant;
use crate::ledger::Ledger;

/// Pause between reports, as browsers make it for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Room for the RTCP a participant writes at once, and for the SRTCP trailer.
const BUFFER_BYTES: usize = 1400;
const TRAILER_BYTES: usize = 32;

/// Blocks in one receiver report (RFC 3550 §6.4.1: five bits).
const MAX_BLOCKS: usize = 31;

/// When a participant last reported.
pub(super) struct Reports {
    due: Instant,
}

impl Reports {
    pub(super) fn new(now: Instant) -> Self {
        // Participants that join together do not report together.
        Self { due: now + REPORT_INTERVAL.mul_f64(fastrand::f64()) }
    }
}

impl Participant {
    pub(super) fn handle_rtcp(&mut self, packet: &mut [u8], now: Instant, ledger: &mut Ledger) {
        let Some(srtp) = &mut self.srtp else { return };
        let Ok(length) = srtp.opener.open_rtcp(packet) else {
            ledger.totals.faults.unauthentic += 1;
            return;
        };
        let compound = packet.get(..length).unwrap_or_default();
        for item in packets(compound) {
            let Ok(item) = item else {
                ledger.totals.faults.malformed_rtcp += 1;
                return;
            };
            self.handle_rtcp_item(&item, now, ledger);
        }
    }

    fn handle_rtcp_item(&mut self, item: &Rtcp<'_>, now: Instant, ledger: &mut Ledger) {
        match item {
            Rtcp::SenderReport(report) => {
                if let Some(stream) = self.streams.get_mut(&report.ssrc) {
                    stream.reception.handle_sender_report(&report.info, now);
                }
                self.handle_known(report.blocks.map(|block| block.ssrc));
            }
            Rtcp::ReceiverReport(report) => {
                self.handle_known(report.blocks.map(|block| block.ssrc));
            }
            Rtcp::Nack(nack) => self.send_repairs(nack.media, nack.seqs, ledger),
            Rtcp::Pli(pli) => self.want_keyframe(pli.media, ledger),
            Rtcp::Fir(fir) => {
                fir.entries().for_each(|entry| self.want_keyframe(entry.media, ledger));
            }
            Rtcp::Sdes(_)
            | Rtcp::Bye(_)
            | Rtcp::TransportFeedback(_)
            | Rtcp::Remb(_)
            | Rtcp::ExtendedReport(_)
            | Rtcp::Unknown { .. } => {}
        }
    }

    fn handle_known(&mut self, ssrcs: impl Iterator<Item = Ssrc>) {
        for ssrc in ssrcs {
            if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == ssrc) {
                source.handle_known();
            }
        }
    }

    fn want_keyframe(&mut self, media: Ssrc, ledger: &mut Ledger) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == media) {
            source.want_keyframe();
            ledger.totals.asides.keyframes_asked += 1;
        }
    }

    /// Asks for what is missing.
    pub(crate) fn send_requests(&mut self, now: Instant, ledger: &mut Ledger) {
        let own = self.own_ssrc();
        let mut buffer = [0; BUFFER_BYTES];
        let Some((out, _)) = buffer.split_at_mut_checked(BUFFER_BYTES - TRAILER_BYTES) else {
            return;
        };
        let mut writer = RtcpWriter::new(out);
        self.misses_packets = false;
        for stream in self.streams.values_mut() {
            if stream.nack.poll_timeout().is_some_and(|at| at <= now)
                && writer.nack(own, stream.ssrc, stream.nack.poll(now))
            {
                ledger.totals.asides.nacks_sent += 1;
            }
            self.misses_packets |= stream.nack.missing() > 0;
            if stream.poll_keyframe_request(now) && writer.pli(own, stream.ssrc) {
                ledger.totals.asides.keyframe_requests_sent += 1;
            }
        }
        let length = writer.len();
        self.send_rtcp(&mut buffer, length);
    }

    /// Reports if it is time to.
    pub(crate) fn send_reports(&mut self, now: Instant) {
        self.send_transport_feedback(now);
        if self.srtp.is_none() || self.reports.due > now {
            return;
        }
        self.reports.due = now + REPORT_INTERVAL;
        if self.streams.is_empty() && self.sources.iter().all(|source| source.packets() == 0) {
            // Nothing to report on: browsers are silent then.
            return;
        }
        let own = self.own_ssrc();
        let mut blocks: Vec<_> = self
            .streams
            .values_mut()
            .filter_map(|stream| stream.reception.report_block(now))
            .collect();
        let mut buffer = [0; BUFFER_BYTES];
        let mut first = true;
        while first || !blocks.is_empty() {
            let part = blocks.split_off(blocks.len().saturating_sub(MAX_BLOCKS));
            let length = self.write_report(&mut buffer, own, part.into_iter(), first);
            self.send_rtcp(&mut buffer, length);
            first = false;
        }
    }

    /// Says what arrived when, where the server numbers its packets across streams.
    fn send_transport_feedback(&mut self, now: Instant) {
        if self.across.arrivals.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let (own, media) = (self.own_ssrc(), self.streams.keys().next().copied());
        let mut buffer = [0; BUFFER_BYTES];
        let Some((out, _)) = buffer.split_at_mut_checked(BUFFER_BYTES - TRAILER_BYTES) else {
            return;
        };
        let mut writer = RtcpWriter::new(out);
        self.across.arrivals.write_feedback(own, media.unwrap_or(own), &mut writer, now);
        let length = writer.len();
        self.send_rtcp(&mut buffer, length);
    }

    /// Writes a compound: the sources' reports in the first, the received streams' blocks, the name.
    fn write_report(
        &self,
        buffer: &mut [u8; BUFFER_BYTES],
        own: Ssrc,
        mut blocks: impl Iterator<Item = roomful_rtp::rtcp::ReportBlock>,
        with_sources: bool,
    ) -> usize {
        let Some((out, _)) = buffer.split_at_mut_checked(BUFFER_BYTES - TRAILER_BYTES) else {
            return 0;
        };
        let mut writer = RtcpWriter::new(out);
        let ntp =
            NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let reporting = self.sources.iter().filter(|source| with_sources && source.packets() > 0);
        for source in reporting {
            let info = SenderInfo {
                ntp,
                rtp_timestamp: source.timestamp(),
                // Wraps, as the field does.
                packets: source.packets() as u32,
                octets: source.octets(),
            };
            writer.sender_report(source.ssrc, info, std::iter::empty());
        }
        let mut first = true;
        let mut part = blocks.by_ref().peekable();
        if part.peek().is_some() || writer.is_empty() {
            first = writer.receiver_report(own, part);
        }
        // A report without a name is no compound (RFC 3550 §6.1).
        let _fits = first && writer.sdes(own, b"load");
        writer.len()
    }

    fn send_rtcp(&mut self, buffer: &mut [u8; BUFFER_BYTES], length: usize) {
        let Some(srtp) = self.srtp.as_mut().filter(|_| length > 0) else { return };
        if let Ok(sealed) = srtp.sealer.seal_rtcp(buffer, length) {
            self.send(buffer.get(..sealed).unwrap_or_default());
        }
    }

    /// What a participant that sends nothing reports under is any number (browsers take 1).
    fn own_ssrc(&self) -> Ssrc {
        self.sources.first().map_or(Ssrc(1), |source| source.ssrc)
    }
}
