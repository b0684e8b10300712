//! Builds the web client into the output directory, compresses it, and tells the compiler where it
//! is, so that `cargo run` is the whole build.
//!
//! Nothing is written into the source tree but `web/node_modules`, and nothing runs again unless an
//! input of the client has changed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with a client built elsewhere, for packagers and machines without Node.js.
const PREBUILT: &str = "ROOMFUL_WEB_DIST";

/// What the tools of the client need (Vite's own requirement).
const OLDEST_NODE: (u32, u32) = (20, 19);

/// What the client is made of, relative to `web/`. Only what exists is watched: a path that does
/// not would make cargo run this script every time.
const INPUTS: &[&str] = &[
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
];

/// Files smaller than this are sent as they are: the saving is below one network packet.
const SMALLEST_COMPRESSED_BYTES: usize = 512;

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let out = PathBuf::from(env("OUT_DIR")?).join("web");
    let web = PathBuf::from(env("CARGO_MANIFEST_DIR")?).join("../../web");
    match std::env::var_os(PREBUILT) {
        Some(prebuilt) => copy_prebuilt(Path::new(&prebuilt), &out)?,
        None => build(&web, &out)?,
    }
    if !out.join("index.html").is_file() {
        return Err(format!("the web client has no index.html in {}", out.display()));
    }
    compress_below(&out)?;
    println!("cargo::rustc-env=ROOMFUL_WEB_OUT={}", out.display());
    Ok(())
}

fn build(web: &Path, out: &Path) -> Result<(), String> {
    for input in INPUTS.iter().map(|input| web.join(input)).filter(|input| input.exists()) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    check_node()?;
    install_packages(web)?;
    let mut vite = Command::new("node");
    vite.arg("node_modules/vite/bin/vite.js").args(["build", "--emptyOutDir", "--outDir"]).arg(out);
    run_in(web, vite, "the web client does not build")
}

/// `npm ci` takes half a minute, so it runs only when the lock file is not the one that
/// `node_modules` was made from.
fn install_packages(web: &Path) -> Result<(), String> {
    let lock = web.join("package-lock.json");
    let stamp = web.join("node_modules/.roomful-lock");
    let wanted = fs::read(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run_in(web, npm, "the packages of the web client cannot be installed")?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn check_node() -> Result<(), String> {
    let (major, minor) = OLDEST_NODE;
    let advice = format!(
        "the web client needs Node.js {major}.{minor} or later with npm: install it, or set \
         {PREBUILT} to a directory with a client built elsewhere"
    );
    let output = Command::new("node").arg("--version").output();
    let output = output.map_err(|error| format!("{advice}\ncannot run node: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(found_major)), Some(Ok(found_minor)))
            if (found_major, found_minor) >= OLDEST_NODE =>
        {
            Ok(())
        }
        _ => Err(format!("{advice}\nfound version {version:?}")),
    }
}

/// Runs a command in `directory`; its output appears only if it fails.
fn run_in(directory: &Path, mut command: Command, failure: &str) -> Result<(), String> {
    let output = command
        .current_dir(directory)
        .output()
        .map_err(|error| format!("{failure}: cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{failure}:\n{}\n{}", stdout.trim(), stderr.trim()))
}

fn copy_prebuilt(from: &Path, to: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed={}", from.display());
    if !from.join("index.html").is_file() {
        return Err(format!("{PREBUILT}={} holds no index.html", from.display()));
    }
    let _ = fs::remove_dir_all(to);
    let failed =
        |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for path in files_below(from)? {
        let relative = path.strip_prefix(from).map_err(|error| failed(&path, &error))?;
        let target = to.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        }
        fs::copy(&path, &target).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// Puts `name.br` beside every text file that gets smaller by it.
fn compress_below(directory: &Path) -> Result<(), String> {
    for path in files_below(directory)? {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !["html", "js", "css", "svg", "json", "wasm", "webmanifest", "txt"].contains(&extension)
        {
            continue;
        }
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let plain = fs::read(&path).map_err(failed)?;
        let compressed = brotli(&plain).map_err(failed)?;
        if plain.len() >= SMALLEST_COMPRESSED_BYTES && compressed.len() < plain.len() {
            let mut name = path.clone().into_os_string();
            name.push(".br");
            fs::write(name, compressed).map_err(failed)?;
        }
    }
    Ok(())
}

/// The highest quality with the largest window that every browser must accept (RFC 7932 §9.1).
fn brotli(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, 11, 22);
    encoder.write_all(plain)?;
    Ok(encoder.into_inner())
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
