//! RTCP that participants send: what they miss, what they cannot decode, how media reaches them.

use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{Nack, ReportBlock, Rtcp, packets};

use super::quality::Way;
use super::{FeedKey, MAX_REPEATS, MediaPlane, SessionKey};

/// Timestamps a second of every video codec (RFC 7741 §4.1 and others).
const VIDEO_CLOCK: f64 = 90_000.0;

impl MediaPlane {
    /// Takes in a compound RTCP packet of a session, decrypted in place.
    pub(super) fn handle_rtcp(&mut self, key: SessionKey, packet: &mut [u8], now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(length) = session.open_rtcp(packet, &mut self.drops) else { return };
        for part in packets(&packet[..length]) {
            match part {
                Ok(part) => self.handle_rtcp_part(key, &part, now),
                Err(error) => {
                    self.drops.malformed += 1;
                    tracing::trace!(%error, "the rest of an RTCP packet is dropped");
                }
            }
        }
    }

    fn handle_rtcp_part(&mut self, key: SessionKey, part: &Rtcp<'_>, now: Instant) {
        match part {
            Rtcp::Nack(nack) => self.handle_nack(key, nack),
            Rtcp::Pli(pli) => self.handle_keyframe_request(key, pli.media, now),
            Rtcp::Fir(fir) => {
                for entry in fir.entries() {
                    self.handle_keyframe_request(key, entry.media, now);
                }
            }
            Rtcp::SenderReport(report) => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                if let Some(stream) = session.incoming.get_mut(report.ssrc.0) {
                    stream.handle_sender_report(&report.info, now);
                    let place = (stream.section, stream.layer);
                    self.pass_clock(key, place, report.info);
                }
                self.handle_blocks(key, report.blocks, now);
            }
            Rtcp::ReceiverReport(report) => self.handle_blocks(key, report.blocks, now),
            Rtcp::TransportFeedback(feedback) => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                session.handle_feedback(feedback);
            }
            // Farewells are told by signalling; estimates of receivers are not used yet.
            Rtcp::Bye(_)
            | Rtcp::Remb(_)
            | Rtcp::Sdes(_)
            | Rtcp::ExtendedReport(_)
            | Rtcp::Unknown { .. } => {}
        }
    }

    fn handle_nack(&mut self, key: SessionKey, nack: &Nack<'_>) {
        let Some(feed) = self.feed_called(key, nack.media) else { return };
        for sequence in nack.seqs {
            if self.repeats.len() >= MAX_REPEATS {
                self.drops.repeats += 1;
                return;
            }
            self.repeats.push_back((feed, sequence));
        }
    }

    fn handle_keyframe_request(&mut self, key: SessionKey, media: Ssrc, now: Instant) {
        let Some(called) = self.feed_called(key, media) else { return };
        let track = self.tracks.get_mut(called.track);
        if let Some(feed) = track.and_then(|track| track.feed_mut(called.slot)) {
            feed.handle_keyframe_request();
            self.pass_keyframe_wishes(called, now);
        }
    }

    fn handle_blocks(
        &mut self,
        key: SessionKey,
        blocks: impl Iterator<Item = ReportBlock>,
        now: Instant,
    ) {
        for block in blocks {
            let Some(called) = self.feed_called(key, block.ssrc) else { continue };
            let Some(track) = self.tracks.get_mut(called.track) else { continue };
            let kind = track.kind;
            let Some(feed) = track.feed_mut(called.slot) else { continue };
            feed.is_known = true;
            let echoed = feed.stream.rtt(&block, now);
            let passed = feed.sending.handle_report(&block);
            if let Some(teller) = &mut feed.delay {
                let jitter = Duration::from_secs_f64(f64::from(block.jitter) / VIDEO_CLOCK);
                teller.handle_report(block.highest_seq as u16, jitter, now);
            }
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if let Some(echoed) = echoed {
                session.round_trip.update(echoed);
            }
            if let Some(passed) = passed {
                session.quality.handle(Way::Down, kind, passed);
            }
        }
    }

    /// The feed a participant means by an SSRC it receives.
    fn feed_called(&self, key: SessionKey, ssrc: Ssrc) -> Option<FeedKey> {
        let (track, slot) = *self.sessions.get(key)?.feeds.get(&ssrc.0)?;
        Some(FeedKey { track, slot })
    }
}
