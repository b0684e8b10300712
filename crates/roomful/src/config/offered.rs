//! Settings of which clients are told: TURN servers elsewhere, codecs.

use livekit_protocol::IceServer;
use roomful_sfu::codecs::{Codec, EnabledCodecs, REPAIRS};
use serde::Deserialize;

use super::ConfigError;

/// A TURN server that somebody else runs, with credentials that do not change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileTurnServer {
    host: String,
    port: u16,
    /// `udp`, `tcp` (also if nothing is said) or `tls`.
    protocol: String,
    username: String,
    credential: String,
    secret: String,
    secret_file: String,
}

/// One codec, as a media type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileCodec {
    mime: String,
}

/// What clients are told of TURN servers.
pub(super) fn ice_servers(servers: Vec<FileTurnServer>) -> Result<Vec<IceServer>, ConfigError> {
    servers.into_iter().map(ice_server).collect()
}

/// What tracks may be coded with. Codecs this server does not know are named in a warning: LiveKit has some more.
pub(super) fn enabled_codecs(codecs: &[FileCodec], warnings: &mut Vec<String>) -> EnabledCodecs {
    let mut known = Vec::new();
    for FileCodec { mime } in codecs {
        match Codec::of_name(mime) {
            Some(codec) => known.push(codec),
            // Every video codec has retransmissions here.
            None if mime.eq_ignore_ascii_case(REPAIRS) => {}
            None => warnings.push(format!(
                "room.enabled_codecs: {mime:?} is no codec of this server, which has {}",
                Codec::ALL.map(Codec::mime).join(", ")
            )),
        }
    }
    EnabledCodecs::new(known)
}

fn ice_server(server: FileTurnServer) -> Result<IceServer, ConfigError> {
    let (scheme, transport) = match server.protocol.as_str() {
        "tls" => ("turns", "tcp"),
        "udp" => ("turn", "udp"),
        "tcp" | "" => ("turn", "tcp"),
        other => {
            return Err(ConfigError::new(format!(
                "rtc.turn_servers: protocol {other:?} must be udp, tcp or tls"
            )));
        }
    };
    if server.host.is_empty() || server.port == 0 {
        return Err(ConfigError::new("rtc.turn_servers: each needs a host and a port"));
    }
    if !server.secret.is_empty() || !server.secret_file.is_empty() {
        return Err(ConfigError::new(
            "rtc.turn_servers: secret and secret_file are not supported yet; use username and credential",
        ));
    }
    Ok(IceServer {
        urls: vec![format!("{scheme}:{}:{}?transport={transport}", server.host, server.port)],
        username: server.username,
        credential: server.credential,
    })
}
