//! `roomful participant`.

use anyhow::ensure;
use clap::{Args, Subcommand};
use livekit_protocol as proto;
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;

use super::api::Api;
use super::{InRoom, plain, table};
use crate::config::Flags;

/// Look at the people in a room, mute and remove them.
#[derive(Debug, Subcommand)]
pub enum ParticipantCommand {
    /// Who is in a room, and what they publish.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    List(InRoom),
    /// Mute one track of a participant, or everything it says.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    Mute(MuteArgs),
    /// Send a participant away.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    Remove(OneArgs),
}

#[derive(Debug, Args)]
struct OneArgs {
    #[command(flatten)]
    room: InRoom,
    /// Its identity.
    identity: String,
}

#[derive(Debug, Args)]
struct MuteArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Sid of the track [default: every track with sound].
    track: Option<String>,
    /// Unmute instead, where the server allows it (room.enable_remote_unmute).
    #[arg(long)]
    unmute: bool,
}

impl ParticipantCommand {
    pub(super) async fn run(self, flags: Flags) -> anyhow::Result<Vec<String>> {
        match self {
            Self::List(room) => list(&Api::new(&room.access, flags)?, &room.name()).await,
            Self::Mute(args) => mute(&args, flags).await,
            Self::Remove(args) => {
                let api = Api::new(&args.room.access, flags)?;
                let _: proto::RemoveParticipantResponse =
                    api.call("RemoveParticipant", &admin(&args.room.name()), &named(&args)).await?;
                Ok(vec![format!("{} is removed from {}", args.identity, args.room.room)])
            }
        }
    }
}

pub(super) async fn list(api: &Api, room: &RoomName) -> anyhow::Result<Vec<String>> {
    let request = proto::ListParticipantsRequest { room: room.to_string() };
    let list: proto::ListParticipantsResponse =
        api.call("ListParticipants", &admin(room), &request).await?;
    let rows: Vec<_> = list.participants.iter().flat_map(rows).collect();
    Ok(table(["IDENTITY", "NAME", "STATE", "TRACK", "KIND", "MUTED"], &rows))
}

/// One row for each track, and one for somebody without any.
fn rows(one: &proto::ParticipantInfo) -> Vec<[String; 6]> {
    let state = one.state().as_str_name().to_lowercase();
    let row = |sid: &str, kind: String, muted: &str| {
        let (identity, name) = (plain(&one.identity), plain(&one.name));
        [identity, name, state.clone(), sid.to_owned(), kind, muted.to_owned()]
    };
    if one.tracks.is_empty() {
        return vec![row("", String::new(), "")];
    }
    let of_track = |track: &proto::TrackInfo| {
        let kind = track.source().as_str_name().to_lowercase();
        row(&track.sid, kind, if track.muted { "yes" } else { "no" })
    };
    one.tracks.iter().map(of_track).collect()
}

async fn mute(args: &MuteArgs, flags: Flags) -> anyhow::Result<Vec<String>> {
    let api = Api::new(&args.one.room.access, flags)?;
    let grant = admin(&args.one.room.name());
    let tracks = match &args.track {
        Some(track) => vec![track.clone()],
        None => {
            let one: proto::ParticipantInfo =
                api.call("GetParticipant", &grant, &named(&args.one)).await?;
            let sound = one.tracks.iter().filter(|one| one.r#type() == proto::TrackType::Audio);
            sound.map(|track| track.sid.clone()).collect()
        }
    };
    ensure!(!tracks.is_empty(), "{} publishes no sound", args.one.identity);
    let mut lines = Vec::new();
    for track_sid in tracks {
        let request = proto::MuteRoomTrackRequest {
            room: args.one.room.room.clone(),
            identity: args.one.identity.clone(),
            track_sid: track_sid.clone(),
            muted: !args.unmute,
        };
        let _: proto::MuteRoomTrackResponse =
            api.call("MutePublishedTrack", &grant, &request).await?;
        lines.push(format!("{track_sid} is {}", if args.unmute { "unmuted" } else { "muted" }));
    }
    Ok(lines)
}

fn named(args: &OneArgs) -> proto::RoomParticipantIdentity {
    proto::RoomParticipantIdentity {
        room: args.room.room.clone(),
        identity: args.identity.clone(),
        ..Default::default()
    }
}

fn admin(room: &RoomName) -> ApiGrant {
    ApiGrant { administers: Some(room.clone()), ..ApiGrant::default() }
}
