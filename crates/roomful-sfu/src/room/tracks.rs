//! Publishing and muting: what participants do with tracks of their own.

use std::time::Instant;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::{TrackSource, TrackType};

use super::Room;
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::participant::Participant;
use crate::publication::Publication;
use crate::signalling::{Change, Refusal};
use crate::track_info;

impl Room {
    /// Announces a track to come; its media is matched to it by the offer that follows.
    pub(super) fn add_track(
        &mut self,
        from: ParticipantId,
        request: &proto::AddTrackRequest,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let named = |refusal: Refusal| refusal.of(Request::AddTrack(request.clone()));
        participant.may_publish(request).map_err(named)?;
        if !request.sid.is_empty() {
            return self.add_codecs(from, request).map_err(named);
        }
        if participant.publications.values().any(|one| one.cid == request.cid) {
            participant.negotiation.queued.push(request.clone());
            let text = "a track of that id is published already: this one follows when it ends";
            return Err(named(Refusal::new(Reason::Queued, text)));
        }
        let sid = TrackSid::new(crate::sids::make(track_prefix(request), &mut self.rng));
        let order = participant.publications.values().map(|one| one.order + 1).max().unwrap_or(0);
        let codecs = self.terms.codecs.for_publishing(&participant.client.disabled_codecs());
        let publication = Publication::new(sid.clone(), order, request, &codecs);
        let track = Box::new(publication.info.clone());
        let change = Change::TrackPublished { cid: request.cid.clone(), track };
        participant.publications.insert(sid, publication);
        self.tell(from, change);
        Ok(())
    }

    /// Takes the names of the tracks that will carry further codecs of a publication `from` has.
    fn add_codecs(
        &mut self,
        from: ParticipantId,
        request: &proto::AddTrackRequest,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let publication = own_track(participant, &request.sid)?;
        track_info::name_codecs(&mut publication.info, &request.simulcast_codecs);
        let track = Box::new(publication.info.clone());
        self.tell(from, Change::TrackPublished { cid: request.cid.clone(), track });
        Ok(())
    }

    /// Announces the next track that waited for the id of one that ended.
    fn add_queued_track(&mut self, from: ParticipantId, cid: &str) {
        let Some(participant) = self.participants.get_mut(&from) else { return };
        let queued = &mut participant.negotiation.queued;
        let Some(next) = queued.iter().position(|one| one.cid == cid) else { return };
        let request = queued.remove(next);
        if let Err(refusal) = self.add_track(from, &request) {
            self.tell(from, Change::Refused(Box::new(refusal)));
        }
    }

    /// A publication of `from` that an offer just carried: everyone hears of it and may receive it.
    pub(super) fn announce_tracks(&mut self, from: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&from) else { return };
        participant.touch();
        let tracks: Vec<TrackSid> = participant.publications.keys().cloned().collect();
        self.notice_published(from, now);
        self.launch_for_publisher(from);
        self.tell_others_about(from, now);
        for track in &tracks {
            self.reconsider_demand(from, track, now);
        }
        self.offer_tracks(from, now);
    }

    /// Ends a publication of `from`, for itself and everyone who receives it.
    pub(super) fn unpublish(&mut self, from: ParticipantId, track: &TrackSid, now: Instant) {
        let Some(participant) = self.participants.get_mut(&from) else { return };
        let Some(publication) = participant.publications.remove(track) else { return };
        let publisher = participant.profile.clone();
        self.notice_unpublished(&publisher, &publication, now);
        if publication.kind() == MediaKind::Audio {
            self.speakers.handle_mute_or_gone(from);
            self.report_speakers(now);
        }
        self.end_subscriptions(&publication, now);
        self.tell(from, Change::TrackUnpublished(track.clone()));
        self.add_queued_track(from, &publication.cid);
    }

    /// Whoever received `publication` no longer does.
    pub(super) fn end_subscriptions(&mut self, publication: &Publication, now: Instant) {
        self.forget_access(&publication.sid);
        for track in publication.tracks() {
            self.media.remove_track(track);
        }
        for subscriber in &publication.subscribers {
            let Some(participant) = self.participants.get_mut(subscriber) else { continue };
            let ended = participant.subscriptions.remove(&publication.sid);
            if let Some(section) = ended.and_then(|subscription| subscription.section) {
                participant.release(section);
            }
            self.touched.push(*subscriber);
            self.refresh_sections(*subscriber, now);
        }
    }

    pub(super) fn set_muted(
        &mut self,
        from: ParticipantId,
        track: &TrackSid,
        muted: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let publication = own_track(participant, track.as_str()).map_err(|refusal| {
            let request = proto::MuteTrackRequest { sid: track.to_string(), muted };
            refusal.of(Request::Mute(request))
        })?;
        if publication.info.muted == muted {
            return Ok(());
        }
        publication.info.muted = muted;
        for track in publication.tracks() {
            self.media.set_muted(track, muted);
        }
        let (kind, subscribers) = (publication.kind(), publication.subscribers.clone());
        participant.touch();
        if muted && kind == MediaKind::Audio {
            self.speakers.handle_mute_or_gone(from);
            self.report_speakers(now);
        }
        for subscriber in subscribers {
            self.apply_wishes(subscriber, track, now);
        }
        self.tell_others_about(from, now);
        Ok(())
    }

    pub(super) fn set_audio_features(
        &mut self,
        from: ParticipantId,
        update: &proto::UpdateLocalAudioTrack,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        limits::check_audio_features(update.features.len())?;
        let publication = own_track(participant, &update.track_sid)
            .map_err(|refusal| refusal.of(Request::UpdateAudioTrack(update.clone())))?;
        track_info::set_audio_features(&mut publication.info, &update.features);
        participant.touch();
        self.tell_others_about(from, now);
        Ok(())
    }

    pub(super) fn set_dimensions(
        &mut self,
        from: ParticipantId,
        update: &proto::UpdateLocalVideoTrack,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let publication = own_track(participant, &update.track_sid)
            .map_err(|refusal| refusal.of(Request::UpdateVideoTrack(update.clone())))?;
        publication.info.width = update.width;
        publication.info.height = update.height;
        participant.touch();
        self.tell_others_about(from, now);
        Ok(())
    }
}

impl Participant {
    fn may_publish(&self, request: &proto::AddTrackRequest) -> Result<(), Refusal> {
        let source = request.source();
        if !self.grant.permissions.allow_source(source) {
            return Err(Refusal::new(
                Reason::NotAllowed,
                format!("the token does not allow publishing {}", source.as_str_name()),
            ));
        }
        if self.publications.len() + self.negotiation.queued.len() >= limits::PUBLICATIONS {
            return Err(Refusal::new(
                Reason::LimitExceeded,
                format!(
                    "{} tracks are published already: unpublish one first",
                    limits::PUBLICATIONS
                ),
            ));
        }
        limits::check_track(request)?;
        let kind = TrackType::try_from(request.r#type);
        if !matches!(kind, Ok(TrackType::Audio | TrackType::Video)) {
            return Err(Refusal::new(Reason::UnsupportedType, "tracks are audio or video"));
        }
        if request.cid.is_empty() && request.sid.is_empty() {
            return Err(Refusal::new(
                Reason::InvalidRequest,
                "a track needs an id (cid) of its own",
            ));
        }
        Ok(())
    }
}

fn own_track<'a>(
    participant: &'a mut Participant,
    track: &str,
) -> Result<&'a mut Publication, Refusal> {
    participant.publications.get_mut(&TrackSid::new(track)).ok_or_else(|| {
        Refusal::new(Reason::NotFound, format!("no track {track} is published by this participant"))
    })
}

/// LiveKit's prefixes tell the source at a glance.
fn track_prefix(request: &proto::AddTrackRequest) -> &'static str {
    match (request.source(), request.r#type()) {
        (TrackSource::Camera, _) => "TR_VC",
        (TrackSource::Microphone, _) => "TR_AM",
        (TrackSource::ScreenShare, _) => "TR_VS",
        (TrackSource::ScreenShareAudio, _) => "TR_AS",
        (_, TrackType::Audio) => "TR_A",
        _ => "TR_V",
    }
}
