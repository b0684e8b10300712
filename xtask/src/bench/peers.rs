//! Getting the servers that Roomful is compared with. Neither is installed on the system: both lie in `target`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::install;

/// The version of LiveKit that is compared with: later ones need forks that Go's module proxy does not have.
const LIVEKIT: &str = "github.com/livekit/livekit-server/cmd/server@v1.13.5";

/// Where the peers lie.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    /// LiveKit's server, if it could be built.
    pub(crate) livekit: Option<PathBuf>,
    /// The folder into which Janus' Debian package was unpacked, if it could be.
    pub(crate) janus: Option<PathBuf>,
}

impl Peers {
    /// Finds the peers in `target/bench/peers` without fetching anything.
    pub(crate) fn find(directory: &Path) -> Self {
        let livekit = directory.join("server");
        let janus = directory.join("janus");
        Self {
            livekit: livekit.is_file().then_some(livekit),
            janus: janus.join("usr/bin/janus").is_file().then_some(janus),
        }
    }

    /// LiveKit's server, built if it is not there.
    ///
    /// # Errors
    /// If it cannot be built: Go or the network is missing.
    pub(crate) fn fetch_livekit(directory: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        if Self::find(directory).livekit.is_none() {
            livekit(directory)?;
        }
        Self::find(directory).livekit.context("the build left no program")
    }

    /// Fetches what is missing; a peer that cannot be had is left out with a word why.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn fetch(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let found = Self::find(directory);
        if let Err(error) = Self::fetch_livekit(directory) {
            println!("LiveKit is left out: {error:#}");
        }
        if found.janus.is_none() {
            say("Janus", janus(directory));
        }
        Ok(Self::find(directory))
    }
}

fn say(peer: &str, fetched: Result<()>) {
    if let Err(error) = fetched {
        println!("{peer} is left out: {error:#}");
    }
}

/// Compiles LiveKit from Go's module proxy, about a minute.
fn livekit(directory: &Path) -> Result<()> {
    if install::find("go").is_none() {
        bail!("it is built with Go, and Go is not here: https://go.dev/doc/install");
    }
    println!("building LiveKit (about a minute)");
    run(Command::new("go").args(["install", LIVEKIT]).env("GOBIN", directory).env("GOFLAGS", ""))
}

/// Unpacks Debian's package and installs only the libraries it needs: installing the package itself would start a
/// service.
fn janus(directory: &Path) -> Result<()> {
    if install::find("apt-get").is_none() {
        bail!("it is taken from Debian, and apt-get is not here");
    }
    println!("fetching Janus");
    install::run_as_root(&["apt-get", "update", "--quiet"])?;
    run(Command::new("apt-get").args(["download", "--quiet", "janus"]).current_dir(directory))?;
    let package = package(directory)?;
    let depends = Command::new("dpkg-deb").arg("--field").arg(&package).arg("Depends").output()?;
    ensure!(depends.status.success(), "dpkg-deb cannot read {}", package.display());
    let depends = String::from_utf8_lossy(&depends.stdout).trim().to_owned();
    install::run_as_root(&[
        "apt-get",
        "satisfy",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        &depends,
    ])?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(directory.join("janus")))
}

fn package(directory: &Path) -> Result<PathBuf> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("janus_") && name.ends_with(".deb") {
            return Ok(path);
        }
    }
    bail!("apt-get download left no package")
}

fn run(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
