//! Roomful's development commands.
//!
//! `cargo xtask test` is the only test command there is: it installs what is missing, then formats, lints, builds, and
//! tests everything, browsers included. The build server calls exactly that.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its product")]

mod bench;
mod dev;
mod fuzz;
mod install;
mod libraries;
mod report;
mod step;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test                            everything: format, lint, licences, unit tests, page, browsers
  test --only rust [pattern]      one part, for development: Rust tests (whose name holds the pattern),
  test --only web  [pattern]        the page's checks and unit tests (whose file holds it),
  test --only sdk  [pattern]        LiveKit's client and server libraries (tests whose name holds it),
  test --only e2e  [pattern]        or the browser stories (whose title holds it)
  bench [options]                 measure the media plane beside others; bench --help says more
  bench browsers [pattern]        measure through real browsers and print the figures
  differential [script …]         the same clients against LiveKit (built with Go) and against Roomful, compared
  fuzz [target …] [--seconds N]   feed the parsers what nobody thought of, each for N seconds (60)
  shots                           take the README's pictures from a real call
  dev                             the server, and the page with hot reloading in front of it
  install                         only install what the tests need
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; false says that it ran and found something wrong.
fn run(arguments: &[&str]) -> Result<bool> {
    let root = root()?;
    match arguments {
        ["test"] => test::everything(&root),
        ["test", "--only", part] => test::part(&root, part, None),
        ["test", "--only", part, pattern] => test::part(&root, part, Some(pattern)),
        ["bench", "browsers"] => test::bench(&root, None),
        ["bench", "browsers", pattern] => test::bench(&root, Some(pattern)),
        ["bench", options @ ..] => bench::run(&root, options),
        ["differential", scripts @ ..] => test::differential(&root, scripts),
        ["fuzz", options @ ..] => fuzz::run(&root, options),
        ["shots"] => test::shots(&root),
        ["dev"] => dev::run(&root),
        ["install"] => install::everything(&root).map(|()| true),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(true)
        }
        other => bail!("there is no such command: {}\n\n{USAGE}", other.join(" ")),
    }
}

/// The repository, wherever the command is called from.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).context("xtask lies in no repository")
}
