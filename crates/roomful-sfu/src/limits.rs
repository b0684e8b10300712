//! How much of anything one participant may bring. What is over a limit is refused with its name and the limit.

use livekit_protocol as proto;

/// Tracks one participant may publish. Cameras, microphones, shares with sound and a few more: a larger number
/// lets one participant give everyone else as many sections to negotiate.
pub(crate) const PUBLICATIONS: usize = 32;

/// Tracks one message may name: as many as a participant can receive. A larger number lets one message keep the
/// worker busy, a smaller one refuses clients that choose for a whole hall at once.
pub(crate) const NAMED_TRACKS: usize = 1_000;

/// Bytes of metadata: LiveKit's own limit. Every roster message carries them.
const METADATA: usize = 512 * 1024;

/// Bytes of all attributes together, names and values: LiveKit's own limit.
const ATTRIBUTES: usize = 64 * 1024;

/// Bytes of a display name, an id or a label: LiveKit's own limit for names.
pub(crate) const LABEL: usize = 256;

/// Entries of a list that describes one track: codecs, layers, features. Real ones have at most four.
const LIST: usize = 16;

/// Data tracks one participant may publish. Everyone is told of each of them: a larger number makes rosters of robots
/// with a track for each sensor larger still, a smaller one refuses such robots.
pub(crate) const DATA_TRACKS: usize = 128;

/// Dispatches of one room. Each asks for a job at each join: a larger number lets one room keep every agency busy, a
/// smaller one refuses rooms with a crew of agents.
const DISPATCHES: usize = 100;

/// Something is larger than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found}, and at most {allowed} are allowed")]
pub struct OverLimit {
    what: &'static str,
    found: usize,
    allowed: usize,
}

/// Checks a list of tracks named in one message.
pub(crate) fn check_named_tracks(tracks: usize) -> Result<(), OverLimit> {
    check([("tracks in one message", tracks, NAMED_TRACKS)])
}

/// Checks how many entries, and tracks in all of them, a decision about an audience names.
pub(crate) fn check_audience(entries: usize, tracks: usize) -> Result<(), OverLimit> {
    check([
        ("entries of a subscription permission", entries, NAMED_TRACKS),
        ("tracks in a subscription permission", tracks, NAMED_TRACKS),
    ])
}

/// Checks what a participant says about itself, as it is once merged. The texts begin as LiveKit's do.
pub(crate) fn check_description<'a>(
    name: &str,
    metadata: &str,
    attributes: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), OverLimit> {
    let attributes = attributes.into_iter().map(|(key, value)| key.len() + value.len()).sum();
    check([
        ("exceeds name length limit in bytes", name.len(), LABEL),
        ("exceeds metadata size limit in bytes", metadata.len(), METADATA),
        ("exceeds attributes size limit in bytes", attributes, ATTRIBUTES),
    ])
}

/// Checks the description of a room.
pub(crate) fn check_room_metadata(metadata: &str) -> Result<(), OverLimit> {
    check([("bytes of metadata", metadata.len(), METADATA)])
}

/// Checks a room that is to be made.
pub(crate) fn check_room(request: &proto::CreateRoomRequest) -> Result<(), OverLimit> {
    check([("bytes of the room's name", request.name.len(), LABEL)])?;
    check_room_metadata(&request.metadata)?;
    check_dispatches(request.agents.len())?;
    request.agents.iter().try_for_each(|one| check_dispatch(&one.metadata, &one.attributes))
}

/// Checks how many data tracks one participant publishes.
pub(crate) fn check_data_tracks(tracks: usize) -> Result<(), OverLimit> {
    check([("data tracks of one participant", tracks, DATA_TRACKS)])
}

/// Checks how many dispatches a room has.
pub(crate) fn check_dispatches(dispatches: usize) -> Result<(), OverLimit> {
    check([("dispatches of one room", dispatches, DISPATCHES)])
}

/// Checks what agents are told about their task.
pub(crate) fn check_dispatch<'a>(
    metadata: &str,
    attributes: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), OverLimit> {
    check_description("", metadata, attributes)
}

/// Checks what a join request brings besides its offer.
pub(crate) fn check_join(request: &proto::JoinRequest) -> Result<(), OverLimit> {
    check([("tracks in the join request", request.add_track_requests.len(), PUBLICATIONS)])
}

/// Checks the description of a track.
pub(crate) fn check_track(request: &proto::AddTrackRequest) -> Result<(), OverLimit> {
    check([
        ("bytes of the track's cid", request.cid.len(), LABEL),
        ("bytes of the track's name", request.name.len(), LABEL),
        ("bytes of the track's stream", request.stream.len(), LABEL),
        ("bytes of the track's sid", request.sid.len(), LABEL),
        ("layers of the track", request.layers.len(), LIST),
        ("codecs of the track", request.simulcast_codecs.len(), LIST),
        ("audio features of the track", request.audio_features.len(), LIST),
        ("trailer features of the track", request.packet_trailer_features.len(), LIST),
    ])?;
    check(request.layers.iter().map(|layer| ("bytes of a layer's rid", layer.rid.len(), LABEL)))?;
    for codec in &request.simulcast_codecs {
        check([
            ("bytes of a codec's name", codec.codec.len(), LABEL),
            ("bytes of a codec's cid", codec.cid.len(), LABEL),
            ("layers of a codec", codec.layers.len(), LIST),
        ])?;
        check(codec.layers.iter().map(|layer| ("bytes of a layer's rid", layer.rid.len(), LABEL)))?;
    }
    Ok(())
}

/// Checks the features an audio track is updated to.
pub(crate) fn check_audio_features(features: usize) -> Result<(), OverLimit> {
    check([("audio features of the track", features, LIST)])
}

fn check(limits: impl IntoIterator<Item = (&'static str, usize, usize)>) -> Result<(), OverLimit> {
    match limits.into_iter().find(|(_, found, allowed)| found > allowed) {
        Some((what, found, allowed)) => Err(OverLimit { what, found, allowed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_is_named_with_the_limit() {
        let name = "n".repeat(257);
        let refusal = check_description(&name, "", []).unwrap_err().to_string();
        assert_eq!(refusal, "exceeds name length limit in bytes: 257, and at most 256 are allowed");
        assert_eq!(check_description(&name[1..], "", []), Ok(()));
    }

    #[test]
    fn attributes_count_together() {
        let half = (String::new(), "x".repeat(ATTRIBUTES / 2));
        let other = ("k".to_owned(), half.1.clone());
        assert_eq!(check_description("", "", [(&half.0, &half.1)]), Ok(()));
        assert!(check_description("", "", [(&half.0, &half.1), (&other.0, &other.1)]).is_err());
    }

    #[test]
    fn a_track_with_endless_layers_is_refused() {
        let layers = vec![proto::VideoLayer::default(); LIST + 1];
        let codec = proto::SimulcastCodec { layers: layers.clone(), ..Default::default() };
        let direct = proto::AddTrackRequest { layers, ..Default::default() };
        let nested = proto::AddTrackRequest { simulcast_codecs: vec![codec], ..Default::default() };
        assert!(check_track(&direct).is_err());
        assert!(check_track(&nested).is_err());
        assert_eq!(check_track(&proto::AddTrackRequest::default()), Ok(()));
    }
}
