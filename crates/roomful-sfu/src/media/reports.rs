//! RTCP that this server sends: reports, repair and keyframe requests, transport-wide feedback.

use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{ReportBlock, RtcpWriter, SenderInfo};

use super::quality::Way;
use super::{MediaPlane, SessionKey, Timer};
use crate::egress::Layer;
use crate::ids::ParticipantId;
use crate::transport::Section;

/// Time between two reports to one participant, as browsers do for video; the quality of its path is judged by them. Longer delays lip-sync after a join and the
/// view of losses, shorter costs a datagram more for each participant.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of RTCP in one datagram, without what SRTCP adds: fits the 1,200 bytes that every path carries.
const MAX_COMPOUND: usize = 1_100;

/// Room behind a compound for index and tag (RFC 3711 §3.4, RFC 7714 §9): 4 + 16.
const TRAILER: usize = 20;

/// Sender reports in one datagram: each takes 28 bytes, and its name 28.
const REPORTS: usize = 18;

/// Streams reported on to their sender in one packet: RTCP counts to 31 (RFC 3550 §6.4.2).
const BLOCKS: usize = 31;

/// What is due for one session, and under which name.
#[derive(Debug)]
pub(super) struct ReportTimes {
    /// SSRC this server reports under: it publishes nothing under it.
    ssrc: Ssrc,
    /// The zero of send times told to this participant.
    pub(super) epoch: Instant,
    /// Spreads reports of sessions that began together.
    offset: Duration,
    /// When the arrival of packets is told next, as last set.
    feedback: Option<Instant>,
    /// When lost packets are asked for next, as last set.
    nack: Option<Instant>,
}

impl ReportTimes {
    pub(super) fn new(owner: ParticipantId, now: Instant) -> Self {
        // The golden ratio spreads consecutive numbers evenly (Knuth, TAOCP 6.4).
        let spread = owner.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let ssrc = Ssrc((spread >> 32) as u32 | 1);
        let offset = REPORT_INTERVAL * ((spread >> 48) as u32 & 0xff) / 256;
        Self { ssrc, epoch: now, offset, feedback: None, nack: None }
    }

    pub(super) fn first_report(&self, now: Instant) -> Instant {
        now + self.offset
    }
}

impl MediaPlane {
    /// Tells a session what was sent to it and what of its own arrived.
    pub(super) fn report(&mut self, key: SessionKey, now: Instant) {
        self.timers.set(Timer::Reports(key), Some(now + REPORT_INTERVAL));
        let about_feeds = self.sender_reports(key, now);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut about_streams: Vec<ReportBlock> = Vec::new();
        for (_, stream) in session.incoming.iter_mut() {
            session.quality.handle(Way::Up, stream.kind(), stream.passed());
            about_streams.extend(stream.report_block(now));
        }
        if let Some(quality) = session.quality.handle_second(session.round_trip.rtt()) {
            self.judged.push_back((session.owner, quality));
        }
        let own = session.times.ssrc;
        for part in about_streams.chunks(BLOCKS) {
            self.send_rtcp(key, |writer| {
                writer.receiver_report(own, part.iter().copied());
            });
        }
        for part in about_feeds.chunks(REPORTS) {
            self.send_rtcp(key, |writer| {
                for (ssrc, info, name) in part {
                    let _ = writer.sender_report(*ssrc, *info, [])
                        && writer.sdes(*ssrc, name.as_bytes());
                }
            });
        }
    }

    /// Asks a session for what is missing of its streams.
    pub(super) fn request_repeats(&mut self, key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let round_trip = session.round_trip.rtt();
        let own = session.times.ssrc;
        let mut missing: Vec<(u32, Vec<u16>)> = Vec::new();
        let mut beyond_repair = Vec::new();
        for (ssrc, stream) in session.incoming.iter_mut() {
            let Some(nack) = &mut stream.nack else { continue };
            if let Some(round_trip) = round_trip {
                nack.set_rtt(round_trip);
            }
            let due: Vec<u16> = nack.poll(now).collect();
            if !due.is_empty() {
                missing.push((ssrc, due));
            }
            if nack.poll_keyframe_request() {
                beyond_repair.push((stream.section, stream.layer));
            }
        }
        session.times.nack = None;
        for (ssrc, due) in missing {
            self.send_rtcp(key, |writer| {
                writer.nack(own, Ssrc(ssrc), due.iter().copied());
            });
        }
        for (section, layer) in beyond_repair {
            self.want_keyframe(key, section, layer, now);
        }
        self.schedule_nack(key);
    }

    /// Sees to it that losses are asked for when they are due.
    pub(super) fn schedule_nack(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let next = session.incoming.nack_timeout();
        if next != session.times.nack {
            session.times.nack = next;
            self.timers.set(Timer::Nack(key), next);
        }
    }

    /// Sees to it that the arrival of what was just received is told.
    pub(super) fn schedule_feedback(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let next = session.arrivals.poll_timeout();
        if next != session.times.feedback {
            session.times.feedback = next;
            self.timers.set(Timer::Feedback(key), next);
        }
    }

    /// Tells a session when its packets arrived.
    pub(super) fn report_arrivals(&mut self, key: SessionKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.times.feedback = None;
        let (own, media) = (session.times.ssrc, session.incoming.any_ssrc().unwrap_or(0));
        let mut arrivals = std::mem::take(&mut session.arrivals);
        let mut more = true;
        while more && arrivals.poll_timeout().is_some_and(|due| due <= now) {
            more = false;
            self.send_rtcp(key, |writer| {
                more = arrivals.write_feedback(own, Ssrc(media), writer, now) > 0;
            });
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.arrivals = arrivals;
        }
        self.schedule_feedback(key);
    }

    /// Asks a publisher for a decodable start of one of its encodings (PLI, RFC 4585 §6.3.1).
    pub(super) fn send_keyframe_request(
        &mut self,
        key: SessionKey,
        section: Section,
        layer: Layer,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let own = session.times.ssrc;
        let Some(ssrc) = session.incoming.ssrc_of(section, layer) else { return };
        self.send_rtcp(key, |writer| {
            writer.pli(own, Ssrc(ssrc));
        });
    }

    /// Seals what `fill` writes and queues it; nothing if it writes nothing or nothing can be sent.
    fn send_rtcp(&mut self, key: SessionKey, fill: impl FnOnce(&mut RtcpWriter<'_>)) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut buffer = [0; MAX_COMPOUND + TRAILER];
        let mut writer = RtcpWriter::new(&mut buffer[..MAX_COMPOUND]);
        fill(&mut writer);
        let length = writer.len();
        if length == 0 {
            return;
        }
        if let Some((path, sealed)) = session.seal_rtcp(&mut buffer, length) {
            self.reports.push_back((path, buffer[..sealed].to_vec()));
        }
    }

    /// What to tell a session of each stream it receives, with the name of who sends it.
    fn sender_reports(
        &mut self,
        key: SessionKey,
        now: Instant,
    ) -> Vec<(Ssrc, SenderInfo, Box<str>)> {
        let Self { sessions, tracks, .. } = self;
        let Some(session) = sessions.get(key) else { return Vec::new() };
        let mut reports = Vec::new();
        for (ssrc, (track, slot)) in &session.feeds {
            let Some(track) = tracks.get_mut(*track) else { continue };
            let (publisher, section) = (track.publisher, track.section);
            let told = track.links.is_from_elsewhere();
            let clocks = Layer::ALL.map(|layer| track.links.clock(layer).filter(|_| told));
            let Some(feed) = track.feed_mut(*slot).filter(|one| one.ssrcs.media == *ssrc) else {
                continue;
            };
            let Some(publisher) = sessions.get(publisher) else { continue };
            let Some(newest) = feed.newest else { continue };
            let own = publisher.incoming.clock(section, newest.layer);
            let Some(clock) = clocks[newest.layer.index()].or(own) else { continue };
            let Some(info) = feed.stream.report(&clock, newest.offset, now) else { continue };
            reports.push((Ssrc(*ssrc), info, publisher.cname.clone()));
        }
        reports
    }
}
