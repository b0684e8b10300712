//! `roomful room`.

use anyhow::Context as _;
use clap::Subcommand;
use livekit_protocol as proto;
use roomful_sfu::ids::RoomName;
use roomful_sfu::token::ApiGrant;

use super::access::Access;
use super::api::Api;
use super::{InRoom, participant, plain, table};
use crate::config::Flags;

/// Look at the rooms of a running server, and end them.
#[derive(Debug, Subcommand)]
pub enum RoomCommand {
    /// Every room there is.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    List(Access),
    /// One room and who is in it.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    Inspect(InRoom),
    /// End a room and send everyone away.
    #[expect(private_interfaces, reason = "made by the parser alone")]
    Close(InRoom),
}

impl RoomCommand {
    pub(super) async fn run(self, flags: Flags) -> anyhow::Result<Vec<String>> {
        match self {
            Self::List(access) => {
                let rooms = rooms(&Api::new(&access, flags)?, &[]).await?;
                Ok(table(["ROOM", "PARTICIPANTS", "PUBLISHERS", "SID"], &rows(&rooms)))
            }
            Self::Inspect(room) => {
                let api = Api::new(&room.access, flags)?;
                let name = room.name();
                let found = rooms(&api, std::slice::from_ref(&name)).await?;
                let info = found.first().with_context(|| format!("there is no room {name}"))?;
                let mut lines = describe(info);
                lines.push(String::new());
                lines.extend(participant::list(&api, &name).await?);
                Ok(lines)
            }
            Self::Close(room) => {
                let api = Api::new(&room.access, flags)?;
                let request = proto::DeleteRoomRequest { room: room.room.clone() };
                let grant = ApiGrant { create_rooms: true, ..ApiGrant::default() };
                let _: proto::DeleteRoomResponse = api.call("DeleteRoom", &grant, &request).await?;
                Ok(vec![format!("{} is closed", room.room)])
            }
        }
    }
}

async fn rooms(api: &Api, names: &[RoomName]) -> anyhow::Result<Vec<proto::Room>> {
    let names = names.iter().map(ToString::to_string).collect();
    let grant = ApiGrant { list_rooms: true, ..ApiGrant::default() };
    let list: proto::ListRoomsResponse =
        api.call("ListRooms", &grant, &proto::ListRoomsRequest { names }).await?;
    Ok(list.rooms)
}

fn rows(rooms: &[proto::Room]) -> Vec<[String; 4]> {
    let row = |room: &proto::Room| {
        let participants = room.num_participants.to_string();
        [plain(&room.name), participants, room.num_publishers.to_string(), room.sid.clone()]
    };
    rooms.iter().map(row).collect()
}

fn describe(room: &proto::Room) -> Vec<String> {
    let limit = match room.max_participants {
        0 => "no limit".to_owned(),
        limit => format!("at most {limit} participants"),
    };
    let mut lines = vec![
        format!("{} ({})", plain(&room.name), room.sid),
        format!("{} participants, {} publish; {limit}", room.num_participants, room.num_publishers),
        format!(
            "ends after {} s if nobody comes, {} s after the last one left",
            room.empty_timeout, room.departure_timeout
        ),
    ];
    if !room.metadata.is_empty() {
        lines.push(format!("metadata: {}", plain(&room.metadata)));
    }
    lines
}
