//! `roomful token`.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use roomful_sfu::ids::{Identity, RoomName, UnixTime};
use roomful_sfu::token::{ApiGrant, Grant};

use super::access::Access;
use crate::config::Flags;
use crate::http::unix_now;

/// Make access tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it: for a participant (--room and --identity), or for a program (--create, --list,
    /// --admin).
    #[expect(private_interfaces, reason = "made by the parser alone")]
    Create(CreateArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The room to join, or to administer.
    #[arg(long)]
    room: Option<String>,

    /// Who joins. Two of the same identity are not in a room together.
    #[arg(long, requires = "room")]
    identity: Option<String>,

    /// What others see [default: the identity].
    #[arg(long, requires = "identity")]
    name: Option<String>,

    /// Free text shown to others.
    #[arg(long, requires = "identity", default_value = "")]
    metadata: String,

    /// May publish nothing.
    #[arg(long, requires = "identity")]
    no_publish: bool,

    /// May receive nothing.
    #[arg(long, requires = "identity")]
    no_subscribe: bool,

    /// Is in no roster.
    #[arg(long, requires = "identity")]
    hidden: bool,

    /// The program may begin and end rooms; with --identity, the participant may begin its own.
    #[arg(long)]
    create: bool,

    /// The program may ask which rooms there are.
    #[arg(long, conflicts_with = "identity")]
    list: bool,

    /// The program may ask and change everything in --room.
    #[arg(long, requires = "room", conflicts_with = "identity")]
    admin: bool,

    /// How long the token is valid: a number and s, m, h or d.
    #[arg(long, default_value = "6h", value_parser = duration)]
    valid_for: Duration,

    #[command(flatten)]
    access: Access,
}

impl TokenCommand {
    pub(super) fn run(self, flags: Flags) -> anyhow::Result<Vec<String>> {
        let Self::Create(args) = self;
        let keys = args.access.keys(flags)?;
        let now = unix_now();
        let expires = UnixTime(now.0.saturating_add(args.valid_for.as_secs()));
        let token = match args.participant() {
            Some(grant) => keys.sign(&grant, now, expires),
            None => keys.sign_api(&args.program()?, now, expires),
        };
        Ok(vec![token.context("the key cannot sign")?])
    }
}

impl CreateArgs {
    fn participant(&self) -> Option<Grant> {
        let (identity, room) = self.identity.as_ref().zip(self.room.as_ref())?;
        let name = self.name.as_ref().unwrap_or(identity);
        let mut grant = Grant::new(Identity::new(identity), name, RoomName::new(room));
        grant.metadata.clone_from(&self.metadata);
        grant.can_create_room = self.create;
        grant.permissions.can_publish = !self.no_publish;
        grant.permissions.can_publish_data = !self.no_publish;
        grant.permissions.can_subscribe = !self.no_subscribe;
        grant.permissions.hidden = self.hidden;
        Some(grant)
    }

    fn program(&self) -> anyhow::Result<ApiGrant> {
        anyhow::ensure!(
            self.create || self.list || self.admin,
            "the token would allow nothing: give --room and --identity for somebody who joins, or \
             --create, --list or --admin for a program"
        );
        let administers = self.room.as_ref().filter(|_| self.admin).map(RoomName::new);
        Ok(ApiGrant {
            create_rooms: self.create,
            list_rooms: self.list,
            administers,
            ..ApiGrant::default()
        })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    total
        .filter(|total| *total > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number and s, m, h or d, for example 6h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "6", "h", "0s", "-1h", "1.5h", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
