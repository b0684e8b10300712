//! What the server API does in a room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::data_packet::Value;
use proto::leave_request::Action;

use super::Room;
use super::agents::Agents;
use super::data::Parcel;
use super::moves::Expected;
use super::notices::Notices;
use super::rpc::Calls;
use crate::administration::{AdministrationError, Reply, RequestId, RoomRequest};
use crate::ids::{Identity, ParticipantId, TrackSid};
use crate::limits;
use crate::link::Told;
use crate::participant::Participant;
use crate::signalling::Change;
use crate::token::Permissions;
use crate::transport::Channel;

/// What a room remembers of what the server API asked and of what applications were told.
#[derive(Debug, Default)]
pub(super) struct FromOutside {
    nonces: Nonces,
    pub(super) calls: Calls,
    pub(super) notices: Notices,
    pub(super) agents: Agents,
    pub(super) expected: Expected,
}

pub(super) type Outcome = Result<Reply, AdministrationError>;

impl Room {
    /// Does what is asked and replies, now or when a participant has answered.
    pub(crate) fn administer(
        &mut self,
        id: RequestId,
        request: RoomRequest,
        may_unmute: bool,
        now: Instant,
    ) {
        if self.ask_part_of(id, &request, may_unmute) {
            return;
        }
        let outcome = match request {
            request if self.asks_guest(&request) => Err(AdministrationError::Guest),
            RoomRequest::ListParticipants => {
                Ok(Reply::Participants(self.participants.values().map(Participant::info).collect()))
            }
            RoomRequest::GetParticipant(identity) => self.participant_called(&identity),
            RoomRequest::RemoveParticipant(identity) => self.send_away(&identity, now),
            RoomRequest::MuteTrack { muted: false, .. } if !may_unmute => {
                Err(AdministrationError::UnmuteDisabled)
            }
            RoomRequest::MuteTrack { identity, track, muted } => {
                self.mute_for(&identity, &track, muted, now)
            }
            RoomRequest::UpdateParticipant(request) => self.update_participant(*request, now),
            RoomRequest::UpdateSubscriptions { identity, tracks, wanted } => {
                self.subscribe_for(&identity, &tracks, wanted, now)
            }
            RoomRequest::SendData(request) => {
                self.send_data_from_server(*request, now);
                Ok(Reply::Done)
            }
            RoomRequest::UpdateMetadata(metadata) => self.describe_anew(metadata),
            RoomRequest::PerformRpc(request) => match self.perform_rpc(id, &request, now) {
                Ok(()) => return self.settle(now),
                Err(error) => Err(error),
            },
            RoomRequest::Expect(identity) => self.expect(&identity, now),
            RoomRequest::MoveParticipant { identity, destination } => {
                self.move_on(&identity, *destination, now)
            }
            RoomRequest::CreateDispatch(request) => self.create_dispatch(*request, now),
            RoomRequest::DeleteDispatch(dispatch) => self.delete_dispatch(&dispatch, now),
            RoomRequest::ListDispatches(dispatch) => Ok(self.list_dispatches(dispatch.as_ref())),
        };
        self.reply(id, outcome);
        self.settle(now);
    }

    pub(super) fn called(&self, identity: &Identity) -> Result<ParticipantId, AdministrationError> {
        self.id_of(identity).ok_or(AdministrationError::NoParticipant)
    }

    fn participant_called(&self, identity: &Identity) -> Outcome {
        let id = self.called(identity)?;
        self.participant(id)
    }

    fn participant(&self, id: ParticipantId) -> Outcome {
        let participant = self.participants.get(&id).ok_or(AdministrationError::NoParticipant)?;
        Ok(Reply::Participant(Box::new(participant.info())))
    }

    fn send_away(&mut self, identity: &Identity, now: Instant) -> Outcome {
        let id = self.called(identity)?;
        let reason = proto::DisconnectReason::ParticipantRemoved;
        self.remove(id, reason, Some(Action::Disconnect), now);
        Ok(Reply::Done)
    }

    /// The publisher is told, too: its client mutes the track by itself only.
    fn mute_for(
        &mut self,
        identity: &Identity,
        track: &TrackSid,
        muted: bool,
        now: Instant,
    ) -> Outcome {
        let id = self.called(identity)?;
        self.tell_if_published(id, track, muted)?;
        self.set_muted(id, track, muted, now).map_err(|_| AdministrationError::NoTrack)?;
        let participant = self.participants.get(&id).ok_or(AdministrationError::NoParticipant)?;
        let publication = participant.publications.get(track);
        let info = publication.ok_or(AdministrationError::NoTrack)?.info.clone();
        Ok(Reply::Track(Box::new(info)))
    }

    fn tell_if_published(
        &mut self,
        id: ParticipantId,
        track: &TrackSid,
        muted: bool,
    ) -> Result<(), AdministrationError> {
        let publishes = self.participants.get(&id).map(|one| one.publications.contains_key(track));
        if publishes != Some(true) {
            return Err(AdministrationError::NoTrack);
        }
        self.tell(id, Change::Muted { track: track.clone(), muted });
        Ok(())
    }

    fn update_participant(
        &mut self,
        request: proto::UpdateParticipantRequest,
        now: Instant,
    ) -> Outcome {
        let id = self.called(&Identity::new(request.identity))?;
        let update = proto::UpdateParticipantMetadata {
            name: request.name,
            metadata: request.metadata,
            attributes: request.attributes,
            ..Default::default()
        };
        self.update_description(id, &update, now)?;
        if let Some(permission) = &request.permission {
            self.set_permissions(id, Permissions::from(permission), now);
        }
        self.participant(id)
    }

    fn subscribe_for(
        &mut self,
        identity: &Identity,
        tracks: &[TrackSid],
        wanted: bool,
        now: Instant,
    ) -> Outcome {
        let id = self.called(identity)?;
        limits::check_named_tracks(tracks.len())?;
        // Refused above already where it would be.
        let _ = self.set_subscribed(id, tracks, wanted, now);
        Ok(Reply::Done)
    }

    fn describe_anew(&mut self, metadata: String) -> Outcome {
        limits::check_room_metadata(&metadata)?;
        self.info.metadata = metadata;
        let metadata = self.info.metadata.clone();
        self.tell_links(None, &Told::Described { metadata });
        self.tell_room();
        Ok(Reply::Room(Box::new(self.info())))
    }

    /// Sends data in nobody's name to those the request names by sid or identity, or to everyone.
    fn send_data_from_server(&mut self, request: proto::SendDataRequest, now: Instant) {
        if !request.nonce.is_empty() && !self.outside.nonces.is_new(&request.nonce, now) {
            tracing::debug!("a data message from the API repeats one: dropped");
            return;
        }
        let channel = match request.kind() {
            proto::data_packet::Kind::Reliable => Channel::Reliable,
            proto::data_packet::Kind::Lossy => Channel::Lossy,
        };
        #[expect(deprecated, reason = "older applications name recipients by sid")]
        let sids = request.destination_sids.clone();
        let identities = request.destination_identities.clone();
        let packet = data_packet(request);
        let is_for = |one: &Participant| {
            (sids.is_empty() && identities.is_empty())
                || sids.contains(&one.profile.sid)
                || identities.contains(&one.profile.identity)
        };
        let recipients: Vec<_> =
            self.participants.values().filter(|one| is_for(one)).map(|one| one.id).collect();
        let message = prost::Message::encode_to_vec(&packet).into();
        let parcel =
            Parcel { channel, message: &message, for_observers: false, for_everyone: false };
        self.deliver(&recipients, parcel, None, now);
    }
}

#[expect(deprecated, reason = "older clients read kind and recipients inside")]
fn data_packet(request: proto::SendDataRequest) -> proto::DataPacket {
    let user = proto::UserPacket {
        payload: request.data,
        destination_sids: request.destination_sids,
        destination_identities: request.destination_identities.clone(),
        topic: request.topic,
        nonce: request.nonce,
        ..Default::default()
    };
    proto::DataPacket {
        kind: request.kind,
        destination_identities: request.destination_identities,
        value: Some(Value::User(user)),
        ..Default::default()
    }
}

/// The numbers of data messages sent by the API lately. Applications repeat a request whose answer they missed, and
/// participants shall not read the message twice. Lossy: of more than fit, the oldest is forgotten.
#[derive(Debug, Default)]
struct Nonces {
    recent: VecDeque<(Instant, Vec<u8>)>,
}

/// How long a message may be repeated. Longer costs memory; shorter lets a repetition through that took several
/// timeouts.
const REPEATED_WITHIN: Duration = Duration::from_secs(60);

/// Numbers kept. More cost memory in a room that is sent much, fewer let repetitions through there.
const MAX_NONCES: usize = 256;

impl Nonces {
    /// Whether a message of that number did not come before.
    fn is_new(&mut self, nonce: &[u8], now: Instant) -> bool {
        let is_old =
            |(at, _): &(Instant, Vec<u8>)| now.saturating_duration_since(*at) > REPEATED_WITHIN;
        while self.recent.len() >= MAX_NONCES || self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(_, known)| known == nonce) {
            return false;
        }
        self.recent.push_back((now, nonce.to_vec()));
        true
    }
}
