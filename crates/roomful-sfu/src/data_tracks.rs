//! Data tracks: frames of bytes from one participant to those who subscribe, over a lossy channel of their own.
//!
//! A packet begins with a header of 12 bytes: flags, then in bytes 2 and 3 the handle its publisher gave the track. Each
//! subscriber gets it under a handle of its own; nothing else of it is this server's business.

use std::collections::{BTreeMap, BTreeSet};

use livekit_protocol as proto;
use proto::data_track_frame_encoding::Value as FrameEncoding;
use proto::data_track_schema_encoding::Value as SchemaEncoding;
use proto::request_response::Reason;

use crate::ids::{ParticipantId, TrackSid};
use crate::limits;
use crate::link::LinkId;
use crate::signalling::Refusal;

/// What one end calls a data track in the packets it sends or gets; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle(u16);

/// One data track, as its publisher offers it.
#[derive(Debug)]
pub(crate) struct DataTrack {
    pub(crate) info: proto::DataTrackInfo,
    /// Who receives it in this part of the room, and how each calls it.
    pub(crate) subscribers: BTreeMap<ParticipantId, Handle>,
    /// Other parts in which somebody receives it.
    pub(crate) wanted_by: BTreeSet<LinkId>,
    /// Its own part was asked for it, if that is not this one.
    pub(crate) is_asked_for: bool,
}

/// The data tracks of one participant.
#[derive(Debug, Default)]
pub(crate) struct DataTracks {
    pub(crate) published: BTreeMap<TrackSid, DataTrack>,
    /// Tracks of others it wants, whether they are there and allowed or not. Bounded by [`limits::NAMED_TRACKS`].
    pub(crate) wanted: BTreeSet<TrackSid>,
    /// Those of them it gets, and from whom.
    pub(crate) received: BTreeMap<Handle, (TrackSid, ParticipantId)>,
    last_handle: u16,
}

/// Bytes of the fixed part of a packet.
const HEADER: usize = 12;

/// The flag in the first byte that says that extensions follow the header.
const HAS_EXTENSIONS: u8 = 0b100;

impl Handle {
    /// `None`: it is no handle.
    fn new(number: u32) -> Option<Self> {
        u16::try_from(number).ok().filter(|number| *number > 0).map(Self)
    }

    /// The handle in a packet; `None` if it is no packet of a data track.
    pub(crate) fn of_packet(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<HEADER>()?;
        if header[0] & HAS_EXTENSIONS != 0 {
            // In words of 4 bytes, less one, its own two bytes included.
            let words = u16::from_be_bytes(*packet.get(HEADER..)?.first_chunk()?);
            packet.get(HEADER..HEADER + 4 * (usize::from(words) + 1))?;
        }
        Self::new(u16::from_be_bytes([header[2], header[3]]).into())
    }

    /// Puts it into a packet in place of another.
    pub(crate) fn write_to(self, packet: &mut [u8]) {
        if let Some(place) = packet.get_mut(2..4) {
            place.copy_from_slice(&self.0.to_be_bytes());
        }
    }
}

impl DataTrack {
    /// A track as asked for.
    pub(crate) fn new(sid: &TrackSid, request: &proto::PublishDataTrackRequest) -> Self {
        Self::from_elsewhere(proto::DataTrackInfo {
            pub_handle: request.pub_handle,
            sid: sid.to_string(),
            name: request.name.clone(),
            encryption: request.encryption,
            frame_encoding: request.frame_encoding.clone(),
            schema: request.schema.clone(),
        })
    }

    /// A track that is published in another part of the room.
    pub(crate) fn from_elsewhere(info: proto::DataTrackInfo) -> Self {
        Self { info, subscribers: BTreeMap::new(), wanted_by: BTreeSet::new(), is_asked_for: false }
    }

    /// Anybody receives it, here or elsewhere.
    pub(crate) fn is_received(&self) -> bool {
        !self.subscribers.is_empty() || !self.wanted_by.is_empty()
    }
}

impl DataTracks {
    /// Whether a track may be published so.
    pub(crate) fn check(&self, request: &proto::PublishDataTrackRequest) -> Result<(), Refusal> {
        if Handle::new(request.pub_handle).is_none() {
            return Err(Refusal::new(
                Reason::InvalidHandle,
                "a handle is a number from 1 to 65535",
            ));
        }
        if request.name.is_empty() || request.name.len() > limits::LABEL {
            let text = format!("a data track has a name of at most {} bytes", limits::LABEL);
            return Err(Refusal::new(Reason::InvalidName, text));
        }
        if !has_valid_encodings(request) {
            let text = format!("a custom encoding has a name of 1 to {ENCODING} bytes");
            return Err(Refusal::new(Reason::InvalidRequest, text));
        }
        for known in self.published.values() {
            if known.info.pub_handle == request.pub_handle {
                let text = "a data track of that handle is published already";
                return Err(Refusal::new(Reason::DuplicateHandle, text));
            }
            if known.info.name == request.name {
                let text = "a data track of that name is published already";
                return Err(Refusal::new(Reason::DuplicateName, text));
            }
        }
        limits::check_data_tracks(self.published.len() + 1)?;
        Ok(())
    }

    /// The track that a packet of this participant's is of.
    pub(crate) fn of_handle(&self, handle: Handle) -> Option<&DataTrack> {
        self.published.values().find(|one| one.info.pub_handle == u32::from(handle.0))
    }

    /// Sid of the track that this participant calls so.
    pub(crate) fn sid_of(&self, handle: u32) -> Option<TrackSid> {
        let found = self.published.iter().find(|(_, one)| one.info.pub_handle == handle);
        found.map(|(sid, _)| sid.clone())
    }

    /// As told to others.
    pub(crate) fn infos(&self) -> Vec<proto::DataTrackInfo> {
        self.published.values().map(|one| one.info.clone()).collect()
    }

    /// A handle for one more track that it gets; `None` if there is no free one.
    pub(crate) fn next_handle(&mut self) -> Option<Handle> {
        // Never the one that was just given back: packets under it may still be on their way.
        for _ in 0..=limits::NAMED_TRACKS {
            self.last_handle = self.last_handle.checked_add(1).unwrap_or(1);
            let handle = Handle(self.last_handle);
            if !self.received.contains_key(&handle) {
                return Some(handle);
            }
        }
        None
    }

    /// It no longer gets that track. `true`: it did.
    pub(crate) fn forget(&mut self, track: &TrackSid) -> bool {
        let before = self.received.len();
        self.received.retain(|_, (received, _)| received != track);
        self.received.len() < before
    }
}

impl From<Handle> for u32 {
    fn from(handle: Handle) -> Self {
        handle.0.into()
    }
}

/// Bytes of the name of an encoding that LiveKit does not know: its own limit.
const ENCODING: usize = 32;

fn has_valid_encodings(request: &proto::PublishDataTrackRequest) -> bool {
    let is_valid = |name: &String| (1..=ENCODING).contains(&name.len());
    let frames = request.frame_encoding.as_ref().and_then(|one| one.value.as_ref());
    let frames = match frames {
        Some(FrameEncoding::Custom(name)) => is_valid(name),
        _ => true,
    };
    let Some(schema) = &request.schema else { return frames };
    let encoding = schema.encoding.as_ref().and_then(|one| one.value.as_ref());
    let encoding = match encoding {
        Some(SchemaEncoding::Custom(name)) => is_valid(name),
        _ => true,
    };
    frames && encoding && schema.name.len() <= limits::LABEL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(handle: u32, name: &str) -> proto::PublishDataTrackRequest {
        proto::PublishDataTrackRequest {
            pub_handle: handle,
            name: name.into(),
            ..Default::default()
        }
    }

    fn refusal(tracks: &DataTracks, handle: u32, name: &str) -> Option<Reason> {
        tracks.check(&request(handle, name)).err().map(|refusal| refusal.reason)
    }

    fn publishing(count: u32) -> DataTracks {
        let mut tracks = DataTracks::default();
        for handle in 1..=count {
            let sid = TrackSid::new(format!("DTR_{handle}"));
            let track = DataTrack::new(&sid, &request(handle, &format!("track {handle}")));
            tracks.published.insert(sid, track);
        }
        tracks
    }

    #[test]
    fn a_track_needs_a_handle_and_a_name_that_no_other_has() {
        let tracks = publishing(1);
        assert_eq!(refusal(&tracks, 2, "other"), None);
        assert_eq!(refusal(&tracks, 0, "other"), Some(Reason::InvalidHandle));
        assert_eq!(refusal(&tracks, 65_536, "other"), Some(Reason::InvalidHandle));
        assert_eq!(refusal(&tracks, 2, ""), Some(Reason::InvalidName));
        assert_eq!(refusal(&tracks, 2, &"n".repeat(257)), Some(Reason::InvalidName));
        assert_eq!(refusal(&tracks, 1, "other"), Some(Reason::DuplicateHandle));
        assert_eq!(refusal(&tracks, 2, "track 1"), Some(Reason::DuplicateName));
        let custom = |name: &str| {
            let value = Some(FrameEncoding::Custom(name.into()));
            let frame_encoding = Some(proto::DataTrackFrameEncoding { value });
            let request = proto::PublishDataTrackRequest { frame_encoding, ..request(2, "other") };
            tracks.check(&request).is_ok()
        };
        assert!(custom("mine") && !custom("") && !custom(&"n".repeat(33)));
    }

    #[test]
    fn tracks_of_one_participant_are_bounded() {
        let tracks = publishing(u32::try_from(limits::DATA_TRACKS).unwrap());
        assert_eq!(refusal(&tracks, 60_000, "one more"), Some(Reason::LimitExceeded));
    }

    #[test]
    fn packets_are_known_by_their_handles_and_nonsense_by_none() {
        let mut packet = vec![0x18, 0, 0x12, 0x34, 0, 1, 0, 1, 0, 0, 0, 0, 7, 7];
        assert_eq!(Handle::of_packet(&packet), Some(Handle(0x1234)));
        Handle(9).write_to(&mut packet);
        assert_eq!(packet[..6], [0x18, 0, 0, 9, 0, 1]);
        assert_eq!(Handle::of_packet(&packet[..11]), None);
        assert_eq!(Handle::of_packet(&[0; 12]), None, "0 is no handle");
        let with_extensions = [0x1c, 0, 0, 9, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 4, 1, 2, 3, 4];
        assert_eq!(Handle::of_packet(&with_extensions), Some(Handle(9)));
        assert_eq!(Handle::of_packet(&with_extensions[..19]), None, "extensions are cut off");
    }

    #[test]
    fn handles_are_not_given_twice_and_wrap_around_0() {
        let mut tracks = DataTracks { last_handle: u16::MAX - 1, ..DataTracks::default() };
        let mut given = Vec::new();
        for number in 0..3 {
            let handle = tracks.next_handle().unwrap();
            let track = (TrackSid::new(format!("DTR_{number}")), ParticipantId(1));
            tracks.received.insert(handle, track);
            given.push(handle);
        }
        assert_eq!(given, [Handle(u16::MAX), Handle(1), Handle(2)]);
        assert!(tracks.forget(&TrackSid::new("DTR_1")));
        assert_eq!(tracks.next_handle(), Some(Handle(3)));
    }
}
