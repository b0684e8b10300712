//! Offers and answers, from the offering side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};

use super::{Channel, Client, TrackKey};
use crate::reception::{Label, Stream};

/// Where the client stands with its offers: one at a time, and what is needed meanwhile goes into the next.
#[derive(Default)]
pub(super) struct Negotiation {
    pending: Option<(SdpPendingOffer, proto::SessionDescription)>,
    last_offer: u32,
    renegotiate: bool,
    /// An offer will be made then.
    due: Option<Instant>,
    audio_sections: usize,
    video_sections: usize,
    restart_ice: bool,
    /// The payload type that the last answer has first, by section.
    pub(super) preferred: BTreeMap<Mid, u8>,
}

/// Wishes within this time become one offer: `livekit-client`'s own value.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// What a browser keeps for retransmission (libwebrtc's packet history is of this order). Less loses repairs
/// that a browser would make.
const RTX_PACKETS: usize = 600;
const RTX_AGE: Duration = Duration::from_secs(3);

/// Encodings of a camera, lowest first, as `livekit-client` names them.
const RIDS: [&str; 3] = ["q", "h", "f"];

impl Negotiation {
    pub(super) fn need_sections(&mut self, audio: usize, video: usize) {
        self.audio_sections += audio;
        self.video_sections += video;
    }

    /// No offer was made yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.last_offer == 0
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

impl Client {
    /// Offers soon.
    pub fn negotiate(&mut self, now: Instant) {
        self.negotiation.due.get_or_insert(now + DEBOUNCE);
    }

    /// Offers soon, with new ICE credentials.
    pub fn restart_ice(&mut self, now: Instant) {
        self.negotiation.restart_ice = true;
        self.negotiate(now);
    }

    /// Whether an offer is out or due.
    pub fn is_negotiating(&self) -> bool {
        self.negotiation.pending.is_some() || self.negotiation.due.is_some()
    }

    pub(super) fn negotiate_if_due(&mut self, now: Instant) {
        if self.negotiation.due.is_some_and(|due| due <= now) {
            self.offer(now);
        }
    }

    /// Offers now, or as soon as the last offer is answered, or the first one can be made.
    pub(super) fn offer(&mut self, now: Instant) {
        self.negotiation.due = None;
        if self.negotiation.pending.is_some() || !self.signalling.is_connected() {
            self.negotiation.renegotiate = true;
        } else if let Some(offer) = self.make_offer(now) {
            self.request(Request::Offer(offer));
        }
    }

    /// Offers after a resume. What an unanswered offer added stays in a browser's next one; this stack would
    /// forget it, so such an offer is repeated word for word, and ICE restarts in the one after it.
    pub(super) fn offer_again(&mut self, now: Instant) {
        let Some((_, offer)) = &mut self.negotiation.pending else {
            return self.restart_ice(now);
        };
        self.negotiation.last_offer += 1;
        offer.id = self.negotiation.last_offer;
        let offer = offer.clone();
        self.negotiation.restart_ice = true;
        self.negotiation.renegotiate = true;
        self.request(Request::Offer(offer));
    }

    pub(super) fn make_offer(&mut self, now: Instant) -> Option<proto::SessionDescription> {
        let receives_here = self.receiving.is_none();
        let receiving = self.streams.keys().copied().filter(|_| receives_here);
        let receiving: Vec<Mid> = receiving.collect();
        let mut changes = self.rtc.sdp_api();
        for (index, mid) in receiving.into_iter().enumerate() {
            if index == 0 {
                // The stack makes no offer that changes nothing; a browser does.
                changes.set_direction(mid, Direction::Inactive);
            }
            changes.set_direction(mid, Direction::RecvOnly);
        }
        let mut new = Vec::new();
        for (kind, count) in [
            (MediaKind::Audio, std::mem::take(&mut self.negotiation.audio_sections)),
            (MediaKind::Video, std::mem::take(&mut self.negotiation.video_sections)),
        ] {
            for _ in 0..count {
                let mid = changes.add_media(kind, Direction::RecvOnly, None, None, None);
                new.push((mid, kind == MediaKind::Video));
            }
        }
        for track in self.tracks.values_mut() {
            match track.mid {
                Some(mid) if track.ended => changes.set_direction(mid, Direction::Inactive),
                Some(_) => {}
                None if track.ended => {}
                None => {
                    let cid = Some(track.cid.clone());
                    let simulcast = track.plan.is_simulcast().then(simulcast);
                    let kind = track.plan.kind();
                    let stream = Some("camera".to_owned());
                    let mid = changes.add_media(kind, Direction::SendOnly, stream, cid, simulcast);
                    track.mid = Some(mid);
                }
            }
        }
        if std::mem::take(&mut self.negotiation.restart_ice) {
            changes.ice_restart(true);
        }
        if self.channels.is_empty() {
            for channel in [Channel::Lossy, Channel::Reliable, Channel::DataTrack] {
                self.channels.push((channel, changes.add_channel_with_config(channel.config())));
            }
        }
        let (offer, pending) = changes.apply()?;
        self.drain(now);
        self.streams.extend(new.into_iter().map(|(mid, video)| (mid, (video, Stream::default()))));
        self.negotiation.last_offer += 1;
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: without_candidates(&offer.to_sdp_string()),
            id: self.negotiation.last_offer,
            ..Default::default()
        };
        self.negotiation.pending = Some((pending, offer.clone()));
        Some(offer)
    }

    pub(super) fn handle_answer(&mut self, answer: &proto::SessionDescription, now: Instant) {
        if answer.id != 0 && answer.id != self.negotiation.last_offer {
            return;
        }
        let Some((pending, _)) = self.negotiation.pending.take() else {
            self.violations.push("an answer to no offer".into());
            return;
        };
        let accepted = SdpAnswer::from_sdp_string(&answer.sdp)
            .map_err(|error| error.to_string())
            .and_then(|answer| {
                let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
                accepted.map_err(|error| error.to_string())
            });
        if let Err(error) = accepted {
            self.violations.push(format!("an answer is not acceptable: {error}"));
        }
        self.drain(now);
        self.negotiation.preferred = preferred(&answer.sdp);
        if self.receiving.is_none() {
            self.take_labels(answer);
        }
        for track in self.tracks.values_mut() {
            track.negotiated |= track.mid.is_some();
        }
        self.repair_like_a_browser();
        if std::mem::take(&mut self.negotiation.renegotiate) {
            self.offer(now);
        }
    }

    /// The section a track is sent in.
    pub fn sending_section(&self, key: TrackKey) -> Option<String> {
        self.tracks.get(&key)?.mid.map(|mid| mid.to_string())
    }

    /// A browser answers every NACK it can; this stack would stop at a share of what it sends, which virtual
    /// cameras with their small packets reach by chance.
    fn repair_like_a_browser(&mut self) {
        let sending = self.tracks.values().filter(|track| track.plan.kind() == MediaKind::Video);
        let mids: Vec<Mid> = sending.filter_map(|track| track.mid).collect();
        let rids = RIDS.into_iter().map(|rid| Some(rid.into())).chain([None]);
        let streams = rids.flat_map(|rid: Option<Rid>| mids.iter().map(move |mid| (*mid, rid)));
        for (mid, rid) in streams {
            if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, rid) {
                stream.set_rtx_cache(RTX_PACKETS, RTX_AGE, None);
            }
        }
    }

    /// Learns what each section carries from what the server describes.
    pub(super) fn take_labels(&mut self, described: &proto::SessionDescription) {
        let labels = labels(&described.sdp);
        let mut by_map = described.mid_to_track_id.clone();
        for (mid, (_, stream)) in &mut self.streams {
            let label = labels.iter().find(|(name, _)| **name == **mid).map(|(_, is)| is.clone());
            let mapped = by_map.remove(&mid.to_string());
            if mapped != label.as_ref().map(|label| label.track.clone()) {
                self.violations.push(format!("section {mid} is {label:?} and {mapped:?}"));
            }
            let publisher = label.as_ref().map(|label| label.publisher.as_str());
            let mut known = self.signalling.roster().values().map(|info| info.sid.as_str());
            if publisher.is_some_and(|publisher| !known.any(|sid| sid == publisher)) {
                self.violations.push(format!("section {mid}: a track of somebody unknown"));
            }
            if let Err(error) = stream.set_label(label) {
                self.violations.push(format!("section {mid}: {error}"));
            }
        }
        if !by_map.is_empty() {
            self.violations.push("sections are mapped that receive nothing".into());
        }
    }
}

fn simulcast() -> Simulcast {
    Simulcast { send: RIDS.into_iter().map(SimulcastLayer::new).collect(), recv: Vec::new() }
}

/// A browser's first offer leaves before it knows its candidates, and this server needs none.
pub(super) fn without_candidates(sdp: &str) -> String {
    let kept = |line: &&str| !line.starts_with("a=candidate") && !line.starts_with("a=end-of-c");
    sdp.split_inclusive('\n').filter(kept).collect()
}

/// Mid and kind of each section.
pub(super) fn sections(sdp: &str) -> impl Iterator<Item = (String, String)> {
    sdp.split("\nm=").skip(1).filter_map(|section| {
        let mid = section.lines().find_map(|line| line.trim().strip_prefix("a=mid:"))?;
        Some((mid.to_owned(), section.split(' ').next()?.to_owned()))
    })
}

/// The first payload type of each section.
fn preferred(sdp: &str) -> BTreeMap<Mid, u8> {
    let first = |section: &str| {
        let mid = section.lines().find_map(|line| line.trim().strip_prefix("a=mid:"))?;
        Some((mid.into(), section.lines().next()?.split(' ').nth(3)?.parse().ok()?))
    };
    sdp.split("\nm=").skip(1).filter_map(first).collect()
}

/// Mid and label of each section that the server sends in.
fn labels(sdp: &str) -> Vec<(String, Label)> {
    sdp.split("\nm=").skip(1).filter_map(section_label).collect()
}

fn section_label(section: &str) -> Option<(String, Label)> {
    let attribute = |name: &str| section.lines().find_map(|line| line.trim().strip_prefix(name));
    let sends = section.lines().any(|line| line.trim() == "a=sendonly");
    let (stream, track) = attribute("a=msid:").filter(|_| sends)?.split_once(' ')?;
    let (publisher, _) = stream.split_once('|')?;
    let label = Label { publisher: publisher.into(), track: track.into(), stream: stream.into() };
    Some((attribute("a=mid:")?.to_owned(), label))
}
