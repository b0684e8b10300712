//! `Liveness`: whether a participant is still there, judged by what is heard from it on either path.
//!
//! A killed browser closes its WebSocket and a stopped one does not, a firewall may cut one path and leave
//! the other, so neither path alone decides.

use std::time::{Duration, Instant};

use crate::media::PathQuality;

/// Silence on both paths after which the WebSocket is pinged, and between two pings of a silent one. Longer
/// notices those who are lost later, shorter costs phones battery.
const PING_AFTER: Duration = Duration::from_secs(1);

/// Time between two pings of the WebSocket of one whose media speaks for it: proxies close connections on which
/// nothing happens, the common ones after 60 s. Shorter is work for nothing.
const KEPT_OPEN: Duration = Duration::from_secs(15);

/// Silence on both paths after which others see a participant as reconnecting. A silent WebSocket is pinged every
/// second, so two missed answers: shorter marks people on a bad network for a single lost packet, longer
/// leaves a frozen picture looking alive (3 s at most are wanted).
const LOST_AFTER: Duration = Duration::from_millis(2_000);

/// The same once the WebSocket has closed: only media can still speak for it, which it does many times a
/// second while anything flows. Shorter marks people whose WebSocket is just being replaced.
const LOST_AFTER_CLOSE: Duration = Duration::from_millis(1_200);

/// Silence of the media path alone, while the WebSocket answers. An idle browser checks consent at the latest
/// every 6 s (RFC 7675 §5.1): shorter would mark idle participants.
const MEDIA_LOST_AFTER: Duration = Duration::from_secs(8);

/// Silence on both paths after which a participant is removed. Shorter ends calls in every tunnel, longer
/// keeps dead tiles on screen (20 s at most are wanted).
const GONE_AFTER: Duration = Duration::from_secs(15);

/// How long media alone keeps a participant whose WebSocket closed and was not replaced. Clients retry for
/// about 35 s: shorter drops people whom a reconnect would have kept.
const GONE_AFTER_CLOSE: Duration = Duration::from_secs(40);

const _: () = assert!(LOST_AFTER.as_millis() < GONE_AFTER.as_millis());

/// What was last heard of one participant.
#[derive(Debug, Clone)]
pub(crate) struct Liveness {
    connection: Instant,
    media: Option<Instant>,
    closed: Option<Instant>,
    pinged: Instant,
    /// What others take the participant for: what they were last told.
    pub(crate) told: Presence,
    /// How well media gets to and from it while it is here, as its subscribers were last told; `None` before the first
    /// judgement.
    pub(crate) quality: Option<PathQuality>,
}

/// What others should take a participant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Here.
    Present,
    /// Out of reach for the moment.
    Lost,
    /// Not coming back.
    Gone,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            connection: now,
            media: None,
            closed: None,
            pinged: now,
            told: Presence::Present,
            quality: None,
        }
    }

    /// Something arrived on the WebSocket, or it is a new one.
    pub(crate) fn handle_connection(&mut self, now: Instant) {
        self.connection = now;
        self.closed = None;
    }

    /// A datagram arrived.
    pub(crate) fn handle_media(&mut self, now: Instant) {
        self.media = Some(now);
    }

    /// The WebSocket closed.
    pub(crate) fn handle_close(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
    }

    /// How the participant is doing.
    pub(crate) fn presence(&self, now: Instant) -> Presence {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(Some(self.gone_at())) {
            Presence::Gone
        } else if due(Some(self.lost_at())) {
            Presence::Lost
        } else {
            Presence::Present
        }
    }

    /// Whether the WebSocket is to be pinged now; if so, it counts as pinged.
    pub(crate) fn poll_ping(&mut self, now: Instant) -> bool {
        let is_due = self.ping_at().is_some_and(|at| at <= now);
        if is_due {
            self.pinged = now;
        }
        is_due
    }

    /// When to look at it again if nothing more is heard: [`Liveness::presence`] changes, or a ping is due.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Instant {
        let lost = self.lost_at();
        let change = if lost > now { lost } else { self.gone_at() };
        self.ping_at().map_or(change, |ping| ping.min(change))
    }

    fn ping_at(&self) -> Option<Instant> {
        let silent = (self.heard() + PING_AFTER).max(self.pinged + PING_AFTER);
        self.closed.is_none().then(|| silent.min(self.pinged + KEPT_OPEN))
    }

    fn heard(&self) -> Instant {
        self.media.map_or(self.connection, |media| media.max(self.connection))
    }

    fn lost_at(&self) -> Instant {
        match (self.closed, self.media) {
            (Some(closed), Some(media)) => closed.max(media + LOST_AFTER_CLOSE),
            (Some(closed), None) => closed,
            (None, Some(media)) => (self.heard() + LOST_AFTER).min(media + MEDIA_LOST_AFTER),
            (None, None) => self.heard() + LOST_AFTER,
        }
    }

    fn gone_at(&self) -> Instant {
        let silent = self.heard() + GONE_AFTER;
        self.closed.map_or(silent, |closed| silent.min(closed + GONE_AFTER_CLOSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    fn after(seconds: f32) -> Instant {
        start() + Duration::from_secs_f32(seconds)
    }

    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(start_of_time)
    }

    #[test]
    fn a_stopped_browser_is_lost_within_three_seconds_and_gone_within_twenty() {
        let mut liveness = Liveness::new(start());
        liveness.handle_media(after(10.0));
        liveness.handle_connection(after(10.0));
        assert_eq!(liveness.presence(after(11.9)), Presence::Present);
        assert_eq!(liveness.presence(after(12.9)), Presence::Lost);
        assert_eq!(liveness.presence(after(24.9)), Presence::Lost);
        assert_eq!(liveness.presence(after(30.0)), Presence::Gone);
    }

    #[test]
    fn a_killed_browser_is_lost_within_three_seconds_and_gone_within_twenty() {
        let mut liveness = Liveness::new(start());
        liveness.handle_media(after(10.0));
        liveness.handle_close(after(10.0));
        assert_eq!(liveness.presence(after(11.5)), Presence::Lost);
        assert_eq!(liveness.presence(after(30.0)), Presence::Gone);
    }

    #[test]
    fn media_alone_keeps_a_participant_whose_websocket_is_being_replaced() {
        let mut liveness = Liveness::new(start());
        liveness.handle_close(after(1.0));
        for tenth in 10..=310 {
            let now = after(tenth as f32 / 10.0);
            liveness.handle_media(now);
            assert_eq!(liveness.presence(now), Presence::Present);
        }
        liveness.handle_media(after(41.0));
        assert_eq!(liveness.presence(after(41.1)), Presence::Gone);
    }

    #[test]
    fn a_websocket_alone_does_not_make_a_frozen_picture_look_alive() {
        let mut liveness = Liveness::new(start());
        liveness.handle_media(start());
        liveness.handle_connection(after(8.5));
        assert_eq!(liveness.presence(after(8.5)), Presence::Lost);
    }

    #[test]
    fn presence_changes_only_at_its_timeouts() {
        let mut liveness = Liveness::new(start());
        liveness.handle_media(after(1.0));
        let mut now = after(1.0);
        let mut seen = vec![liveness.presence(now)];
        while seen.last() != Some(&Presence::Gone) {
            now = liveness.poll_timeout(now);
            liveness.poll_ping(now);
            seen.push(liveness.presence(now));
        }
        seen.dedup();
        assert_eq!(seen, [Presence::Present, Presence::Lost, Presence::Gone]);
    }

    /// The seconds at which a WebSocket is pinged until `end`, with something heard of it on the media path at
    /// `heard`.
    fn pings(end: u8, heard: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut liveness = Liveness::new(start());
        let mut pinged = Vec::new();
        for second in 0..end {
            let now = after(f32::from(second));
            if heard(second) {
                liveness.handle_media(now);
            }
            if liveness.poll_ping(now) {
                pinged.push(second);
            }
        }
        pinged
    }

    #[test]
    fn a_silent_websocket_is_pinged_every_second_and_a_busy_one_to_keep_it_open() {
        assert_eq!(pings(6, |_| false), [1, 2, 3, 4, 5]);
        assert_eq!(pings(40, |_| true), [15, 30]);
        assert_eq!(pings(10, |second| second < 5), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_closed_websocket_is_not_pinged() {
        let mut liveness = Liveness::new(start());
        liveness.handle_close(after(0.5));
        assert!(!liveness.poll_ping(after(5.0)));
    }
}
