//! `TrackInfo`: what the room is told of a track, made from what its publisher announced.

use livekit_protocol as proto;
use proto::video_layer::Mode;
use proto::{AudioTrackFeature, BackupCodecPolicy, TrackSource, TrackType};

use crate::codecs::EnabledCodecs;
use crate::egress::codec::Codec;
use crate::ids::TrackSid;

/// The track that `request` announces, with codecs that may be used. What older clients leave out is filled in as
/// LiveKit fills it in: one codec, a stream named after the source, features said in two places.
pub(crate) fn announced(
    sid: &TrackSid,
    request: &proto::AddTrackRequest,
    enabled: &EnabledCodecs,
) -> proto::TrackInfo {
    let kind = request.r#type();
    let codecs = codecs(request, enabled);
    let first = codecs.first();
    let simulcast = first.is_some_and(|codec| {
        codec.video_layer_mode() != Mode::MultipleSpatialLayersPerStream && codec.layers.len() > 1
    });
    #[expect(deprecated, reason = "clients of every age read one or the other field")]
    proto::TrackInfo {
        sid: sid.to_string(),
        r#type: request.r#type,
        name: request.name.clone(),
        muted: request.muted,
        width: request.width,
        height: request.height,
        simulcast,
        disable_dtx: request.disable_dtx,
        source: request.source,
        layers: sorted(&request.layers),
        mime_type: first.map(|codec| codec.mime_type.clone()).unwrap_or_default(),
        codecs,
        stereo: request.stereo,
        disable_red: request.disable_red,
        encryption: request.encryption,
        stream: stream(request),
        audio_features: audio_features(request),
        backup_codec_policy: backup_policy(kind, request.backup_codec_policy()).into(),
        packet_trailer_features: deduped(&request.packet_trailer_features),
        ..Default::default()
    }
}

/// The publisher names the tracks that carry further codecs of a publication it has already.
pub(crate) fn name_codecs(info: &mut proto::TrackInfo, named: &[proto::SimulcastCodec]) {
    for codec in named {
        let wanted = Codec::of_name(&codec.codec);
        let same = |known: &&mut proto::SimulcastCodecInfo| {
            wanted.is_some() && Codec::of_name(&known.mime_type) == wanted
        };
        if let Some(known) = info.codecs.iter_mut().find(same) {
            known.cid.clone_from(&codec.cid);
            if !codec.layers.is_empty() {
                known.layers = sorted(&codec.layers);
            }
        }
    }
}

/// A track whose publisher named no codec turns out to be coded with `codec`.
pub(crate) fn set_codec(info: &mut proto::TrackInfo, codec: Codec) {
    let (mime_type, kind) = (codec.mime().to_owned(), info.r#type());
    let mode = layer_mode(&mime_type, kind, Mode::Unused);
    if let Some(only) = info.codecs.first_mut() {
        only.video_layer_mode = mode.into();
        only.mime_type.clone_from(&mime_type);
    }
    let mut is_named = false;
    let mut is_first = |one: &proto::SimulcastCodecInfo| {
        !std::mem::replace(&mut is_named, true) || one.mime_type != mime_type
    };
    info.codecs.retain(|one| is_first(one));
    info.mime_type = mime_type;
    #[expect(deprecated, reason = "clients of every age read one or the other field")]
    {
        info.simulcast &= mode != Mode::MultipleSpatialLayersPerStream;
    }
}

/// What the publisher of an audio track says of it now.
pub(crate) fn set_audio_features(info: &mut proto::TrackInfo, features: &[i32]) {
    info.audio_features = deduped(features);
    #[expect(deprecated, reason = "clients of every age read one or the other field")]
    {
        info.stereo = info.audio_features.contains(&AudioTrackFeature::TfStereo.into());
        info.disable_dtx = info.audio_features.contains(&AudioTrackFeature::TfNoDtx.into());
    }
}

/// Whether sound that names no codec is to be sent with redundancy: unless its publisher declines, or encrypts it, so that
/// nobody here could tell the blocks apart.
pub(crate) fn takes_redundancy(request: &proto::AddTrackRequest) -> bool {
    let is_plain = request.encryption() == proto::encryption::Type::None;
    request.r#type() == TrackType::Audio && !request.disable_red && is_plain
}

/// Whether it is sound of two channels.
pub(crate) fn is_stereo(info: &proto::TrackInfo) -> bool {
    info.audio_features.contains(&AudioTrackFeature::TfStereo.into())
}

/// Whether little may be sent of a sound while there is none.
pub(crate) fn is_silent_in_between(info: &proto::TrackInfo) -> bool {
    !info.audio_features.contains(&AudioTrackFeature::TfNoDtx.into())
}

fn codecs(
    request: &proto::AddTrackRequest,
    enabled: &EnabledCodecs,
) -> Vec<proto::SimulcastCodecInfo> {
    let kind = request.r#type();
    let mut codecs: Vec<proto::SimulcastCodecInfo> = Vec::new();
    for codec in &request.simulcast_codecs {
        let mime_type = enabled.mime_for(&codec.codec, kind);
        if mime_type.is_empty() || codecs.iter().any(|known| known.mime_type == mime_type) {
            continue;
        }
        let layers = if codec.layers.is_empty() { &request.layers } else { &codec.layers };
        codecs.push(proto::SimulcastCodecInfo {
            video_layer_mode: layer_mode(&mime_type, kind, codec.video_layer_mode()).into(),
            mime_type,
            cid: codec.cid.clone(),
            layers: sorted(layers),
            ..Default::default()
        });
    }
    if request.simulcast_codecs.is_empty() {
        let name = if takes_redundancy(request) { Codec::Red.mime() } else { "" };
        let mime_type = enabled.mime_for(name, kind);
        codecs.push(proto::SimulcastCodecInfo {
            video_layer_mode: layer_mode(&mime_type, kind, Mode::Unused).into(),
            mime_type,
            cid: request.cid.clone(),
            layers: sorted(&request.layers),
            ..Default::default()
        });
    }
    codecs
}

/// How layers travel, where the client does not say: VP9 and AV1 have them in one stream.
fn layer_mode(mime: &str, kind: TrackType, said: Mode) -> Mode {
    match (said, Codec::of_name(mime)) {
        (Mode::Unused, _) if kind == TrackType::Audio => Mode::Unused,
        (Mode::Unused, Some(Codec::Vp9 | Codec::Av1)) => Mode::MultipleSpatialLayersPerStream,
        (Mode::Unused, _) => Mode::OneSpatialLayerPerStream,
        (said, _) => said,
    }
}

fn sorted(layers: &[proto::VideoLayer]) -> Vec<proto::VideoLayer> {
    let mut layers = layers.to_vec();
    layers.sort_by_key(|layer| layer.quality);
    layers
}

/// Tracks of one stream are played in step, so camera and microphone share one, and so do the two halves of a
/// shared screen.
fn stream(request: &proto::AddTrackRequest) -> String {
    if !request.stream.is_empty() {
        return request.stream.clone();
    }
    match request.source() {
        TrackSource::Camera | TrackSource::Microphone => "camera".to_owned(),
        TrackSource::ScreenShare | TrackSource::ScreenShareAudio => "screen".to_owned(),
        TrackSource::Unknown => "unknown".to_owned(),
    }
}

#[expect(deprecated, reason = "older clients say stereo and DTX outside the features")]
fn audio_features(request: &proto::AddTrackRequest) -> Vec<i32> {
    let said_outside = [
        (request.stereo, AudioTrackFeature::TfStereo),
        (request.disable_dtx, AudioTrackFeature::TfNoDtx),
    ];
    let mut features = request.audio_features.clone();
    features.extend(said_outside.iter().filter(|(said, _)| *said).map(|(_, one)| i32::from(*one)));
    deduped(&features)
}

/// Audio may come in several codecs at once unless the client says otherwise.
fn backup_policy(kind: TrackType, said: BackupCodecPolicy) -> BackupCodecPolicy {
    match (kind, said) {
        (TrackType::Audio, BackupCodecPolicy::PreferRegression) => BackupCodecPolicy::Simulcast,
        (_, said) => said,
    }
}

fn deduped(numbers: &[i32]) -> Vec<i32> {
    let mut once = Vec::new();
    for number in numbers {
        if !once.contains(number) {
            once.push(*number);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::VideoQuality;

    fn layer(quality: VideoQuality) -> proto::VideoLayer {
        proto::VideoLayer { quality: quality.into(), ..Default::default() }
    }

    fn camera(codecs: &[&str]) -> proto::AddTrackRequest {
        proto::AddTrackRequest {
            cid: "cam".into(),
            r#type: TrackType::Video.into(),
            source: TrackSource::Camera.into(),
            layers: vec![layer(VideoQuality::High), layer(VideoQuality::Low)],
            simulcast_codecs: codecs
                .iter()
                .map(|codec| proto::SimulcastCodec {
                    codec: (*codec).into(),
                    cid: format!("cam-{codec}"),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    fn info(request: &proto::AddTrackRequest) -> proto::TrackInfo {
        announced(&TrackSid::new("TR_a"), request, &EnabledCodecs::default())
    }

    #[test]
    fn a_client_that_names_no_codec_gets_one() {
        let info = info(&camera(&[]));
        assert_eq!(info.codecs.len(), 1);
        assert_eq!((info.codecs[0].cid.as_str(), info.stream.as_str()), ("cam", "camera"));
        assert_eq!(info.mime_type, "video/VP8");
        #[expect(deprecated, reason = "clients of every age read one or the other field")]
        let qualities: Vec<i32> = info.layers.iter().map(|layer| layer.quality).collect();
        assert_eq!(qualities, [0, 2], "lowest first");
    }

    #[test]
    fn sound_is_redundant_unless_its_publisher_declines_encrypts_or_names_something_else() {
        let voice =
            proto::AddTrackRequest { r#type: TrackType::Audio.into(), ..Default::default() };
        let mime = |request: &proto::AddTrackRequest| info(request).mime_type;
        assert_eq!(mime(&voice), "audio/red");
        assert_eq!(
            mime(&proto::AddTrackRequest { disable_red: true, ..voice.clone() }),
            "audio/opus"
        );
        let encryption = proto::encryption::Type::Gcm.into();
        assert_eq!(mime(&proto::AddTrackRequest { encryption, ..voice.clone() }), "audio/opus");
        let named = proto::SimulcastCodec { codec: "pcmu".into(), ..Default::default() };
        let named = proto::AddTrackRequest { simulcast_codecs: vec![named], ..voice };
        assert_eq!(mime(&named), "audio/PCMU");
    }

    #[test]
    fn a_codec_that_was_not_named_is_known_when_it_is_offered() {
        let mut info = info(&camera(&[]));
        set_codec(&mut info, Codec::Av1);
        assert_eq!((info.mime_type.as_str(), info.codecs.len()), ("video/AV1", 1));
        assert_eq!(info.codecs[0].mime_type, "video/AV1");
        assert_eq!(info.codecs[0].video_layer_mode(), Mode::MultipleSpatialLayersPerStream);
    }

    #[test]
    fn layers_in_one_stream_are_no_simulcast() {
        #[expect(deprecated, reason = "clients of every age read one or the other field")]
        let simulcast = |request| info(&request).simulcast;
        assert!(simulcast(camera(&["vp8"])));
        assert!(!simulcast(camera(&["vp9"])));
        let mode = info(&camera(&["av1"])).codecs[0].video_layer_mode();
        assert_eq!(mode, Mode::MultipleSpatialLayersPerStream);
    }

    #[test]
    fn a_codec_that_may_not_be_used_is_replaced_and_named_once() {
        let enabled = EnabledCodecs::new([Codec::Vp8, Codec::Opus]);
        let info = announced(&TrackSid::new("TR_a"), &camera(&["h266", "av1"]), &enabled);
        let mimes: Vec<&str> = info.codecs.iter().map(|codec| codec.mime_type.as_str()).collect();
        assert_eq!(mimes, ["video/VP8"]);
    }

    #[test]
    fn a_backup_codec_gets_its_track_by_name() {
        let mut info = info(&camera(&["vp9", "vp8"]));
        let named = proto::SimulcastCodec {
            codec: "vp8".into(),
            cid: "later".into(),
            ..Default::default()
        };
        name_codecs(&mut info, &[named]);
        assert_eq!(info.codecs[0].cid, "cam-vp9");
        assert_eq!(info.codecs[1].cid, "later");
        assert_eq!(info.codecs[1].layers.len(), 2, "layers stay where none are said");
    }

    #[test]
    #[expect(deprecated, reason = "older clients say stereo and DTX outside the features")]
    fn features_are_said_in_both_places() {
        let voice = proto::AddTrackRequest {
            r#type: TrackType::Audio.into(),
            stereo: true,
            audio_features: vec![AudioTrackFeature::TfStereo.into(); 2],
            ..Default::default()
        };
        let mut info = info(&voice);
        assert_eq!(info.audio_features, [i32::from(AudioTrackFeature::TfStereo)]);
        assert_eq!(info.backup_codec_policy(), BackupCodecPolicy::Simulcast);
        set_audio_features(&mut info, &[AudioTrackFeature::TfNoDtx.into()]);
        assert!(!info.stereo && info.disable_dtx);
    }
}
