//! Data tracks: who publishes which, who gets them, and their packets on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::data_track_subscriber_handles::PublishedDataTrack;
use proto::request_response::{Reason, Request};

use super::Room;
use crate::data_tracks::{DataTrack, Handle};
use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::link::{LinkId, Told};
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};

impl Room {
    /// Publishes a data track; everyone hears of it.
    pub(super) fn publish_data_track(
        &mut self,
        from: ParticipantId,
        request: &proto::PublishDataTrackRequest,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let named = |refusal: Refusal| refusal.of(Request::PublishDataTrack(request.clone()));
        if !self.terms.data_tracks || !participant.grant.permissions.can_publish_data {
            let text = "does not have permission to publish data";
            return Err(named(Refusal::new(Reason::NotAllowed, text)));
        }
        participant.data.tracks.check(request).map_err(named)?;
        let sid = TrackSid::new(crate::sids::make("DTR_", &mut self.rng));
        let track = DataTrack::new(&sid, request);
        let published = Change::DataTrackPublished(Box::new(track.info.clone()));
        participant.data.tracks.published.insert(sid.clone(), track);
        participant.touch();
        self.tell(from, published);
        self.tell_others_about(from, now);
        self.tell_gathered_of(from, now);
        self.offer_data_track(from, &sid);
        Ok(())
    }

    /// Ends a data track by the handle its publisher gave it.
    pub(super) fn unpublish_data_track(
        &mut self,
        from: ParticipantId,
        request: proto::UnpublishDataTrackRequest,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get(&from) else { return Ok(()) };
        let Some(sid) = participant.data.tracks.sid_of(request.pub_handle) else {
            let text = format!("no data track {} is published", request.pub_handle);
            let refusal = Refusal::new(Reason::NotFound, text);
            return Err(refusal.of(Request::UnpublishDataTrack(request)));
        };
        self.end_data_track(from, &sid);
        if let Some(participant) = self.participants.get_mut(&from) {
            participant.touch();
        }
        self.tell_others_about(from, now);
        Ok(())
    }

    /// Ends every data track of one who may publish none any more.
    pub(super) fn end_data_tracks(&mut self, from: ParticipantId) {
        let Some(participant) = self.participants.get(&from) else { return };
        let tracks: Vec<TrackSid> = participant.data.tracks.published.keys().cloned().collect();
        for track in tracks {
            self.end_data_track(from, &track);
        }
    }

    fn end_data_track(&mut self, from: ParticipantId, sid: &TrackSid) {
        let Some(participant) = self.participants.get_mut(&from) else { return };
        let Some(track) = participant.data.tracks.published.remove(sid) else { return };
        self.tell(from, Change::DataTrackUnpublished(Box::new(track.info.clone())));
        self.forget_data_track(sid, &track);
    }

    /// Nobody gets `track` any more: it is over.
    pub(super) fn forget_data_track(&mut self, sid: &TrackSid, track: &DataTrack) {
        for subscriber in track.subscribers.keys() {
            let Some(participant) = self.participants.get_mut(subscriber) else { continue };
            participant.data.tracks.forget(sid);
            self.tell_handles(*subscriber);
        }
        for participant in self.participants.values_mut() {
            participant.data.tracks.wanted.remove(sid);
        }
    }

    /// Takes in which data tracks of others `from` wants, and which no longer.
    pub(super) fn subscribe_data_tracks(
        &mut self,
        from: ParticipantId,
        update: &proto::UpdateDataSubscription,
    ) -> Result<(), Refusal> {
        limits::check_named_tracks(update.updates.len())?;
        let mut changed = false;
        for wish in &update.updates {
            let track = TrackSid::new(wish.track_sid.as_str());
            changed |= if wish.subscribe {
                self.want_data_track(from, &track)?
            } else {
                self.decline_data_track(from, &track)
            };
        }
        if changed {
            self.tell_handles(from);
        }
        Ok(())
    }

    /// Gives a newcomer the data tracks there are, if it wants all.
    pub(super) fn subscribe_to_all_data(&mut self, id: ParticipantId) {
        let tracks: Vec<TrackSid> = self
            .participants
            .values()
            .filter(|one| one.id != id)
            .flat_map(|one| one.data.tracks.published.keys().cloned())
            .collect();
        for track in tracks {
            self.give_unasked(id, &track);
        }
    }

    /// A data track of `from` is new: whoever wants all, or waited for it, gets it.
    pub(super) fn offer_data_track(&mut self, from: ParticipantId, track: &TrackSid) {
        for other in self.others(from) {
            self.give_unasked(other, track);
        }
    }

    /// Somebody's rights, or an audience, changed: whoever may no longer have a data track loses it, and gets it again
    /// when it may.
    pub(super) fn review_data(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let wanted: Vec<TrackSid> = participant.data.tracks.wanted.iter().cloned().collect();
        let mut changed = false;
        for track in wanted {
            let Some((publisher, allowed)) = self.publisher_of_data(id, &track) else { continue };
            let differs = if allowed {
                self.give_data_track(id, &track)
            } else {
                self.take_data_track(id, &track)
            };
            if differs && let Some(publisher) = self.participants.get(&publisher) {
                let publisher = publisher.profile.sid.clone();
                self.tell(id, Change::SubscriptionAllowed { publisher, track, allowed });
            }
            changed |= differs;
        }
        if changed {
            self.tell_handles(id);
        }
    }

    /// Tells `id` under which handles it gets which data tracks.
    pub(super) fn tell_handles(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let received = participant.data.tracks.received.iter();
        let handles = received.filter_map(|(handle, (track, publisher))| {
            let publisher = self.participants.get(publisher)?;
            let track = PublishedDataTrack {
                publisher_identity: publisher.profile.identity.clone(),
                publisher_sid: publisher.profile.sid.clone(),
                track_sid: track.to_string(),
            };
            Some((u32::from(*handle), track))
        });
        let handles = handles.collect();
        self.tell(id, Change::DataTrackHandles(handles));
    }

    /// A packet of a data track of `from`: lossy, to whoever gets the track.
    pub(super) fn forward_data_track(
        &mut self,
        from: ParticipantId,
        packet: Vec<u8>,
        now: Instant,
    ) {
        let Some(sender) = self.participants.get(&from) else { return };
        let track = Handle::of_packet(&packet).and_then(|it| sender.data.tracks.of_handle(it));
        let Some(track) = track else {
            tracing::trace!(participant = from.0, "a packet of no data track");
            return;
        };
        let sid = TrackSid::new(track.info.sid.as_str());
        self.spread_data_packet(from, &sid, packet, None, now);
    }

    /// A packet of a data track of somebody behind `link`.
    pub(super) fn forward_data_from_link(
        &mut self,
        link: LinkId,
        sid: &TrackSid,
        packet: &[u8],
        now: Instant,
    ) {
        let mut behind = self.participants.values().filter(|one| one.link() == Some(link));
        let Some(publisher) = behind.find(|one| one.data.tracks.published.contains_key(sid)) else {
            return;
        };
        self.spread_data_packet(publisher.id, sid, packet.to_vec(), Some(link), now);
    }

    fn spread_data_packet(
        &mut self,
        publisher: ParticipantId,
        sid: &TrackSid,
        mut packet: Vec<u8>,
        from: Option<LinkId>,
        now: Instant,
    ) {
        let Some(publisher) = self.participants.get(&publisher) else { return };
        let Some(track) = publisher.data.tracks.published.get(sid) else { return };
        let links: Vec<LinkId> =
            track.wanted_by.iter().copied().filter(|link| Some(*link) != from).collect();
        let subscribers: Vec<(ParticipantId, Handle)> =
            track.subscribers.iter().map(|(id, handle)| (*id, *handle)).collect();
        if !links.is_empty() {
            let shared: Arc<[u8]> = packet.as_slice().into();
            for link in links {
                let packet = Arc::clone(&shared);
                self.tell_link(link, Told::DataPacket { track: sid.clone(), packet });
            }
        }
        for (subscriber, handle) in subscribers {
            let Some(recipient) = self.participants.get_mut(&subscriber) else { continue };
            handle.write_to(&mut packet);
            recipient.send_data_packet(&packet, &self.terms.data, now);
            self.touched.push(subscriber);
        }
    }

    /// The data tracks of somebody in another part are these now.
    pub(super) fn update_data_tracks_of_member(
        &mut self,
        id: ParticipantId,
        tracks: Vec<proto::DataTrackInfo>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_there = |sid: &TrackSid| tracks.iter().any(|one| one.sid == sid.as_str());
        let published = &mut participant.data.tracks.published;
        let ended: Vec<TrackSid> = published.keys().filter(|sid| !is_there(sid)).cloned().collect();
        let ended: Vec<_> =
            ended.into_iter().filter_map(|sid| Some((published.remove(&sid)?, sid))).collect();
        let mut new = Vec::new();
        for info in tracks {
            let sid = TrackSid::new(info.sid.as_str());
            if !published.contains_key(&sid) {
                published.insert(sid.clone(), DataTrack::from_elsewhere(info));
                new.push(sid);
            }
        }
        for (track, sid) in ended {
            self.forget_data_track(&sid, &track);
        }
        for sid in new {
            self.offer_data_track(id, &sid);
        }
    }

    /// Another part wants a data track, or no longer.
    pub(super) fn handle_data_demand(&mut self, link: LinkId, track: &TrackSid, wanted: bool) {
        let mut owners = self.participants.values_mut().filter(|one| one.link() != Some(link));
        let owner = owners.find(|one| one.data.tracks.published.contains_key(track));
        let Some(owner) = owner else { return };
        let publisher = owner.id;
        if let Some(track) = owner.data.tracks.published.get_mut(track) {
            if wanted {
                track.wanted_by.insert(link);
            } else {
                track.wanted_by.remove(&link);
            }
        }
        self.ask_for_data(publisher, track);
    }

    /// Nothing goes over `link` any more.
    pub(super) fn forget_data_link(&mut self, link: LinkId) {
        let mut changed = Vec::new();
        for participant in self.participants.values_mut() {
            for (sid, track) in &mut participant.data.tracks.published {
                if track.wanted_by.remove(&link) {
                    changed.push((participant.id, sid.clone()));
                }
            }
        }
        for (publisher, track) in changed {
            self.ask_for_data(publisher, &track);
        }
    }

    /// `id` leaves: it gets no data track any more, and nobody gets one of its own.
    pub(super) fn forget_data_of(&mut self, participant: &mut Participant) {
        let tracks = std::mem::take(&mut participant.data.tracks);
        for (sid, publisher) in tracks.received.into_values() {
            self.unsubscribe_data(participant.id, publisher, &sid);
        }
        for (sid, track) in tracks.published {
            self.forget_data_track(&sid, &track);
        }
    }

    fn give_unasked(&mut self, id: ParticipantId, track: &TrackSid) {
        let Some(participant) = self.participants.get(&id) else { return };
        let wanted = &participant.data.tracks.wanted;
        let changed = if wanted.contains(track) {
            self.give_data_track(id, track)
        } else if participant.client.auto_subscribes_to_data() {
            self.want_data_track(id, track).unwrap_or(false)
        } else {
            return;
        };
        if changed {
            self.tell_handles(id);
        }
    }

    /// `true`: `id` gets a track that it did not get before.
    fn want_data_track(&mut self, id: ParticipantId, track: &TrackSid) -> Result<bool, Refusal> {
        let Some(participant) = self.participants.get_mut(&id) else { return Ok(false) };
        let wanted = &mut participant.data.tracks.wanted;
        if wanted.contains(track) {
            return Ok(false);
        }
        limits::check_named_tracks(wanted.len() + 1)?;
        wanted.insert(track.clone());
        if let Some((publisher, allowed)) = self.publisher_of_data(id, track)
            && let Some(publisher) = self.participants.get(&publisher)
        {
            let publisher = publisher.profile.sid.clone();
            self.tell(id, Change::SubscriptionAllowed { publisher, track: track.clone(), allowed });
        }
        Ok(self.give_data_track(id, track))
    }

    fn decline_data_track(&mut self, id: ParticipantId, track: &TrackSid) -> bool {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.data.tracks.wanted.remove(track);
        }
        self.take_data_track(id, track)
    }

    /// Who publishes `track`, and whether that one and the server allow it to `id`.
    fn publisher_of_data(
        &self,
        id: ParticipantId,
        track: &TrackSid,
    ) -> Option<(ParticipantId, bool)> {
        let subscriber = self.participants.get(&id)?;
        let mut others = self.participants.values().filter(|one| one.id != id);
        let publisher = others.find(|one| one.data.tracks.published.contains_key(track))?;
        let allowed = subscriber.grant.permissions.can_subscribe
            && publisher.admits(&subscriber.grant.identity, track);
        Some((publisher.id, allowed))
    }

    /// Lets `id` get `track`, if that is there and allowed. `true`: it did not get it before.
    fn give_data_track(&mut self, id: ParticipantId, track: &TrackSid) -> bool {
        let Some((publisher, true)) = self.publisher_of_data(id, track) else { return false };
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        // Whoever is elsewhere is served by its own part.
        if participant.link().is_some() {
            return false;
        }
        let tracks = &mut participant.data.tracks;
        if tracks.received.values().any(|(received, _)| received == track) {
            return false;
        }
        let Some(handle) = tracks.next_handle() else { return false };
        tracks.received.insert(handle, (track.clone(), publisher));
        let owner = self.participants.get_mut(&publisher);
        if let Some(published) = owner.and_then(|one| one.data.tracks.published.get_mut(track)) {
            published.subscribers.insert(id, handle);
        }
        self.ask_for_data(publisher, track);
        true
    }

    /// `true`: `id` got `track` until now.
    fn take_data_track(&mut self, id: ParticipantId, track: &TrackSid) -> bool {
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        let received = participant.data.tracks.received.values();
        let publishers: BTreeSet<ParticipantId> =
            received.filter(|(sid, _)| sid == track).map(|(_, publisher)| *publisher).collect();
        participant.data.tracks.forget(track);
        for publisher in &publishers {
            self.unsubscribe_data(id, *publisher, track);
        }
        !publishers.is_empty()
    }

    fn unsubscribe_data(&mut self, id: ParticipantId, publisher: ParticipantId, track: &TrackSid) {
        let owner = self.participants.get_mut(&publisher);
        if let Some(published) = owner.and_then(|one| one.data.tracks.published.get_mut(track)) {
            published.subscribers.remove(&id);
        }
        self.ask_for_data(publisher, track);
    }

    /// Asks the part of its publisher for a data track that somebody gets here, or no longer.
    fn ask_for_data(&mut self, publisher: ParticipantId, sid: &TrackSid) {
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let Some(link) = owner.link() else { return };
        let Some(track) = owner.data.tracks.published.get_mut(sid) else { return };
        let wanted = track.is_received();
        if std::mem::replace(&mut track.is_asked_for, wanted) != wanted {
            self.tell_link(link, Told::DataDemand { track: sid.clone(), wanted });
        }
    }
}
