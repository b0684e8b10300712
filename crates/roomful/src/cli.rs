//! The command line beyond starting the server: tokens, and a look at (and a hand in) the rooms of a running server,
//! over the same API that applications use.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use roomful_sfu::ids::RoomName;

use crate::config::Flags;
use access::Access;

mod access;
mod api;
mod participant;
mod room;
mod token;

/// A video room anyone can run: this one program serves the page and carries the call.
///
/// Started without any setting it is open to whoever can reach it: open http://localhost:7880,
/// type a room name and your name, and send the link to others.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub flags: Flags,
}

/// Something else than serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make access tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look at the rooms of a running server, and end them.
    #[command(subcommand)]
    Room(room::RoomCommand),
    /// Look at the people in a room, mute and remove them.
    #[command(subcommand)]
    Participant(participant::ParticipantCommand),
}

/// A room by its name.
#[derive(Debug, Args)]
struct InRoom {
    /// Name of the room.
    room: String,
    #[command(flatten)]
    access: Access,
}

impl InRoom {
    fn name(&self) -> RoomName {
        RoomName::new(self.room.clone())
    }
}

/// Does what was asked, prints what came of it, and returns how the program ends.
pub fn run(command: Command, flags: Flags) -> ExitCode {
    match perform(command, flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command, flags: Flags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lines = runtime.block_on(async {
        match command {
            Command::Token(command) => command.run(flags),
            Command::Room(command) => command.run(flags).await,
            Command::Participant(command) => command.run(flags).await,
        }
    })?;
    say(&lines);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for is this program's output")]
fn say(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

#[expect(clippy::print_stderr, reason = "nothing is logged where nothing is served")]
fn say_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Rows under each other, each column as wide as its widest cell.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head.get(column).map_or(0, |cell| cell.len())]).max().unwrap_or_default()
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines
}

/// Text of others, without what would change the terminal it is shown on.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{FFFD}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["garden".to_owned(), "2".to_owned()], ["a".to_owned(), "10".to_owned()]];
        assert_eq!(table(["ROOM", "N"], &rows), ["ROOM    N", "garden  2", "a       10"]);
        assert_eq!(table(["ROOM", "N"], &[]), ["ROOM  N"]);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb"), "a\u{FFFD}[2Jb");
    }
}
