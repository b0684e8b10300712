//! Participants who can receive only so much: what of it each picture gets, and what they are told of it.
//!
//! A capacity is set by rehearsing one ([`Scenario::Bandwidth`](crate::signalling::Scenario::Bandwidth)); estimates of paths
//! are to set it, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::StreamState;
use roomful_rtp::units::Bitrate;

use super::{Room, Timer};
use crate::allocation::{Claim, Share, allocate};
use crate::egress::{Layer, MediaKind};
use crate::ids::{ParticipantId, TrackSid};
use crate::media::TrackKey;
use crate::signalling::Change;
use crate::subscription::Subscription;

/// How much a participant can receive, and what its tracks had carried when that was looked at last.
#[derive(Debug)]
pub(super) struct Capacity {
    bitrate: Bitrate,
    looked: Instant,
    carried: BTreeMap<TrackSid, [u64; Layer::COUNT]>,
}

/// How often shares are decided anew. Longer leaves a link too full for longer when somebody moves or shares a screen,
/// shorter takes one keyframe for a rate.
const DECIDE_EVERY: Duration = Duration::from_millis(500);

impl Room {
    /// From now on `id` receives no more than `bitrate`; `None`: as much as it wishes.
    pub(super) fn set_capacity(
        &mut self,
        id: ParticipantId,
        bitrate: Option<Bitrate>,
        now: Instant,
    ) {
        let Some(bitrate) = bitrate else { return self.lift_capacity(id, now) };
        let carried = self.carried(id);
        self.rehearsals.capacities.insert(id, Capacity { bitrate, looked: now, carried });
        self.timers.set(Timer::Capacity(id), Some(now + DECIDE_EVERY));
    }

    /// Shares out what `id` can receive, by what its tracks carried since the last time.
    pub(super) fn share_out(&mut self, id: ParticipantId, now: Instant) {
        let carried = self.carried(id);
        let Some(capacity) = self.rehearsals.capacities.get(&id) else { return };
        let Some(participant) = self.participants.get(&id) else { return };
        let may_pause = participant.client.may_pause(self.terms.may_pause);
        let span = now.saturating_duration_since(capacity.looked);
        let rates = |track: &TrackSid| {
            let before = capacity.carried.get(track).copied().unwrap_or_default();
            let after = carried.get(track).copied().unwrap_or(before);
            let bytes = |layer: Layer| after[layer.index()].saturating_sub(before[layer.index()]);
            Layer::ALL.map(|layer| Bitrate::of(bytes(layer), span).unwrap_or_default())
        };
        let of_sound =
            participant.subscriptions.iter().filter(|(_, one)| one.kind == MediaKind::Audio);
        let sound: u64 = of_sound.map(|(track, _)| rates(track)[0].0).sum();
        let left = Bitrate(capacity.bitrate.0.saturating_sub(sound));
        let claim = |(track, subscription): (&TrackSid, &Subscription)| {
            let publisher = self.participants.get(&subscription.publisher)?;
            let publication = publisher.publications.get(track)?;
            let wished = publication.layer_in(subscription.codec, subscription.wishes)?;
            let costs = publication.costs_in(subscription.codec, rates(track));
            let is_video = subscription.kind == MediaKind::Video;
            is_video.then(|| (track.clone(), Claim { wished, costs }))
        };
        let claims = participant.subscriptions.iter().filter_map(claim);
        let (tracks, claims): (Vec<TrackSid>, Vec<Claim>) = claims.unzip();
        let shares = tracks.into_iter().zip(allocate(left, &claims, may_pause)).collect();
        let bitrate = capacity.bitrate;
        let capacity = Capacity { bitrate, looked: now, carried };
        self.rehearsals.capacities.insert(id, capacity);
        self.set_shares(id, shares, now);
        self.timers.set(Timer::Capacity(id), Some(now + DECIDE_EVERY));
    }

    /// What a client that was away has to know again: which of its pictures are paused.
    pub(super) fn repeat_paused(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let is_paused = |track: &&TrackSid| {
            participant.subscriptions.get(*track).is_some_and(|one| one.share == Share::Paused)
        };
        let paused = participant.subscriptions.keys().filter(is_paused);
        let paused = paused.map(|track| (track.clone(), StreamState::Paused)).collect();
        self.tell_stream_states(id, paused);
    }

    fn lift_capacity(&mut self, id: ParticipantId, now: Instant) {
        if self.rehearsals.capacities.remove(&id).is_none() {
            return;
        }
        self.timers.set(Timer::Capacity(id), None);
        let Some(participant) = self.participants.get(&id) else { return };
        let all = participant.subscriptions.keys().map(|track| (track.clone(), Share::ALL));
        let all = all.collect();
        self.set_shares(id, all, now);
    }

    fn set_shares(&mut self, id: ParticipantId, shares: Vec<(TrackSid, Share)>, now: Instant) {
        let mut states = Vec::new();
        for (track, share) in shares {
            let participant = self.participants.get_mut(&id);
            let subscription = participant.and_then(|one| one.subscriptions.get_mut(&track));
            let Some(subscription) = subscription else { continue };
            let had = std::mem::replace(&mut subscription.share, share);
            if had == share {
                continue;
            }
            self.apply_wishes(id, &track, now);
            match (had, share) {
                (_, Share::Paused) => states.push((track, StreamState::Paused)),
                (Share::Paused, _) => states.push((track, StreamState::Active)),
                _ => {}
            }
        }
        self.tell_stream_states(id, states);
    }

    fn tell_stream_states(&mut self, id: ParticipantId, states: Vec<(TrackSid, StreamState)>) {
        let Some(participant) = self.participants.get(&id) else { return };
        let info = |(track, state): (TrackSid, StreamState)| {
            let publisher = participant.subscriptions.get(&track)?.publisher;
            let mut info = proto::StreamStateInfo {
                participant_sid: self.participants.get(&publisher)?.profile.sid.clone(),
                track_sid: track.to_string(),
                ..Default::default()
            };
            info.set_state(state);
            Some(info)
        };
        let states: Vec<_> = states.into_iter().filter_map(info).collect();
        if !states.is_empty() {
            self.tell(id, Change::StreamStates(states));
        }
    }

    /// The bytes of each layer that arrived so far of what `id` subscribes to, in the codec it gets.
    fn carried(&self, id: ParticipantId) -> BTreeMap<TrackSid, [u64; Layer::COUNT]> {
        let Some(participant) = self.participants.get(&id) else { return BTreeMap::new() };
        let carried = |key: TrackKey| self.media.carried(key);
        let subscriptions = participant.subscriptions.iter();
        subscriptions
            .filter_map(|(track, subscription)| {
                let publisher = self.participants.get(&subscription.publisher)?;
                let publication = publisher.publications.get(track)?;
                Some((track.clone(), carried(publication.track_in(subscription.codec)?)))
            })
            .collect()
    }
}
