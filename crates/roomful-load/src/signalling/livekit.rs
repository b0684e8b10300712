//! LiveKit's signalling, as `livekit-client` speaks it over one peer connection (`/rtc/v1`): the client
//! alone makes offers, the first one travels inside the join request.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(crate) use super::token::ApiKey;
use super::{Content, JoinRecord, Plan, Prepared, RIDS, Track, View, Visit};
use crate::engine::{Command, Handle};
use crate::ice::Credentials;
use crate::participant::{Newcomer, ParticipantId};
use crate::sdp::{Kind, Remote, Section, VideoCodec, candidate, write_offer};
use crate::udp;

/// Longest wait for the server to answer a join.
const PATIENCE: Duration = Duration::from_secs(20);

/// Receiving sections of each kind in the first offer, as `livekit-client` makes them. More would be
/// answered inactive, fewer would take another offer in every small room.
pub(crate) const BROWSER_SECTIONS: u32 = 3;

/// Pause between pings until the server says which it wants.
const PING: Duration = Duration::from_secs(5);

/// Bytes each WebSocket buffers for reading and writing. The library's 128 KiB would be half a gigabyte
/// for 3,000 participants.
const SOCKET_BUFFER: usize = 4096;

/// The first byte of a `SignalResponse` that tells of participants: field 5, length-delimited.
const UPDATE: u8 = 5 << 3 | 2;

/// A server of LiveKit's protocol.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Host and port of its HTTP.
    pub(crate) authority: String,
    pub(crate) key: ApiKey,
    /// Receiving sections of each kind in the first offer.
    pub(crate) sections: u32,
    /// Send media here instead of where the server says.
    pub(crate) via: Option<std::net::SocketAddr>,
}

/// A participant's connection.
struct Connection<'a> {
    plan: &'a Plan,
    server: &'a Server,
    engine: &'a Handle,
    socket: WebSocketStream<TcpStream>,
    credentials: Credentials,
    sections: Vec<Section>,
    codec: VideoCodec,
    /// Offers made so far.
    offers: u32,
    is_negotiating: bool,
    needs_offer: bool,
    /// Tracks whose size was wished for already.
    arranged: HashSet<String>,
}

/// Joins and stays until told to stop. What happened is in the record.
pub(crate) async fn participate(
    server: &Server,
    visit: Visit<'_>,
    admitted: impl FnOnce(&JoinRecord),
) -> anyhow::Result<()> {
    let Visit { plan, engine, stop, record } = visit;
    let mut connection = Connection::open(server, plan, engine, record).await?;
    let pause = timeout(PATIENCE, connection.wait_for_admission()).await;
    let pause = pause.map_err(|_| anyhow!("the server did not answer the join"))??;
    record.admitted = Some(record.started.elapsed());
    admitted(record);
    connection.stay(pause, stop).await
}

impl<'a> Connection<'a> {
    async fn open(
        server: &'a Server,
        plan: &'a Plan,
        engine: &'a Handle,
        record: &mut JoinRecord,
    ) -> anyhow::Result<Self> {
        let credentials = Credentials::random();
        let Prepared { mut sections, sources, codec } = plan.prepare();
        let requests = plan.tracks.iter().enumerate();
        let requests = requests.map(|(mid, track)| announcement(track, &plan.cid(mid))).collect();
        if plan.view.subscribes() {
            if server.sections == 0 && sections.is_empty() {
                sections.push(Section::Inactive);
            }
            add_receiving(&mut sections, server.sections, server.sections);
        }
        engine.send(Command::Add(Box::new(Newcomer {
            id: plan.id,
            group: plan.group,
            credentials: credentials.clone(),
            socket: udp::open().context("a UDP socket")?,
            sources,
        })))?;
        let fingerprint = engine.fingerprint();
        let sdp = write_offer(&credentials, fingerprint, &sections, codec, 1);
        let offer = (!sections.is_empty()).then(|| description(sdp, 1));
        let is_negotiating = offer.is_some();
        let path = path(server, plan, offer, requests);
        record.started = Instant::now();
        let socket = timeout(PATIENCE, connect(server, &path))
            .await
            .map_err(|_| anyhow!("the server did not open the WebSocket"))??;
        record.opened = Some(record.started.elapsed());
        Ok(Self {
            plan,
            server,
            engine,
            socket,
            credentials,
            sections,
            codec,
            offers: u32::from(is_negotiating),
            is_negotiating,
            needs_offer: false,
            arranged: HashSet::new(),
        })
    }

    /// Until the join response; returns the pause between pings.
    async fn wait_for_admission(&mut self) -> anyhow::Result<Duration> {
        loop {
            let message = self.next().await?;
            if let Response::Join(join) = &message {
                self.arrange(&join.other_participants).await?;
                let seconds = u64::try_from(join.ping_interval).unwrap_or(0);
                return Ok(if seconds > 0 { Duration::from_secs(seconds) } else { PING });
            }
            self.handle(message).await?;
        }
    }

    async fn stay(&mut self, pause: Duration, stop: oneshot::Receiver<()>) -> anyhow::Result<()> {
        let mut pings = interval(pause);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.tick().await;
        tokio::pin!(stop);
        loop {
            tokio::select! {
                message = self.next() => {
                    let message = message?;
                    self.handle(message).await?;
                }
                _ = pings.tick() => self.ping().await?,
                // Told to, or whoever tells is gone.
                _ = &mut stop => return self.leave().await,
            }
        }
    }

    async fn handle(&mut self, message: Response) -> anyhow::Result<()> {
        match message {
            Response::Answer(answer) => self.handle_answer(&answer.sdp).await,
            Response::Trickle(trickle) => self.handle_trickle(&trickle.candidate_init),
            Response::Update(update) => self.arrange(&update.participants).await,
            Response::MediaSectionsRequirement(needed) => {
                add_receiving(&mut self.sections, needed.num_audios, needed.num_videos);
                self.needs_offer = true;
                self.offer_if_needed().await
            }
            Response::Leave(leave) => {
                let reason = leave.reason().as_str_name();
                bail!("the server asked the participant to leave: {reason}")
            }
            _ => Ok(()),
        }
    }

    /// Says which of these participants' pictures it wants how large, where its view has an opinion.
    async fn arrange(&mut self, others: &[proto::ParticipantInfo]) -> anyhow::Result<()> {
        let View::Spotlight(spotlight) = self.plan.view else { return Ok(()) };
        let large = identity(spotlight);
        let own = identity(self.plan.id);
        let mut thumbnails = Vec::new();
        for other in others.iter().filter(|other| other.identity != own) {
            let pictures = other
                .tracks
                .iter()
                .filter(|track| track.r#type() == proto::TrackType::Video)
                .map(|track| track.sid.clone())
                .filter(|sid| !self.arranged.contains(sid));
            let pictures: Vec<String> = pictures.collect();
            self.arranged.extend(pictures.iter().cloned());
            if other.identity == large && !pictures.is_empty() {
                self.send(wish(pictures, proto::VideoQuality::High, (1280, 720))).await?;
            } else {
                thumbnails.extend(pictures);
            }
        }
        if thumbnails.is_empty() {
            return Ok(());
        }
        self.send(wish(thumbnails, proto::VideoQuality::Low, (320, 180))).await
    }

    async fn handle_answer(&mut self, sdp: &str) -> anyhow::Result<()> {
        let mut remote = Remote::parse_answer(sdp)?;
        self.check_sending(&remote)?;
        if let Some(via) = self.server.via {
            remote.candidates = vec![via];
        }
        self.engine.send(Command::Describe(self.plan.id, Box::new(remote)))?;
        self.is_negotiating = false;
        self.offer_if_needed().await
    }

    fn handle_trickle(&self, candidate_init: &str) -> anyhow::Result<()> {
        let init: serde_json::Value =
            serde_json::from_str(candidate_init).context("a candidate that is no JSON")?;
        let found = init["candidate"].as_str().and_then(candidate);
        match (found, self.server.via) {
            (Some((_, address)), None) => {
                self.engine.send(Command::Candidate(self.plan.id, address))
            }
            _ => Ok(()),
        }
    }

    /// Everything to be published must have been taken, or the run measures less than it says.
    fn check_sending(&self, remote: &Remote) -> anyhow::Result<()> {
        for (section, answered) in self.sections.iter().zip(&remote.sections) {
            let wanted = match section {
                Section::Receive(_) | Section::Inactive => continue,
                Section::Send(track) if track.kind == Kind::Audio => crate::sdp::OPUS,
                Section::Send(_) => self.codec.payload_type(),
            };
            if answered.is_rejected || !answered.payload_types.contains(&wanted) {
                bail!("the server refused a track: payload type {wanted} is not in its answer");
            }
        }
        Ok(())
    }

    async fn offer_if_needed(&mut self) -> anyhow::Result<()> {
        if self.is_negotiating || !std::mem::take(&mut self.needs_offer) {
            return Ok(());
        }
        self.is_negotiating = true;
        self.offers += 1;
        let fingerprint = self.engine.fingerprint();
        let sdp =
            write_offer(&self.credentials, fingerprint, &self.sections, self.codec, self.offers);
        self.send(Request::Offer(description(sdp, self.offers))).await
    }

    async fn ping(&mut self) -> anyhow::Result<()> {
        let ping = proto::Ping { timestamp: 1, rtt: 0 };
        self.send(Request::PingReq(ping)).await
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        let leave = proto::LeaveRequest {
            reason: proto::DisconnectReason::ClientInitiated.into(),
            ..Default::default()
        };
        // First, or the server's own goodbye would be taken for a failure.
        self.engine.send(Command::Remove(self.plan.id))?;
        // The server may be gone already.
        let _gone = self.send(Request::Leave(leave)).await;
        let _gone = timeout(Duration::from_secs(1), self.socket.close(None)).await;
        Ok(())
    }

    async fn send(&mut self, request: Request) -> anyhow::Result<()> {
        let request = proto::SignalRequest { message: Some(request) };
        let frame = Message::Binary(request.encode_to_vec().into());
        self.socket.send(frame).await.context("the WebSocket broke")
    }

    /// Whether a message tells of participants to one who chooses nothing by it: in a room of thousands, to read who
    /// came is most of what the generator has to do.
    fn is_indifferent_to(&self, message: &[u8]) -> bool {
        let chooses = matches!(self.plan.view, View::Spotlight(_));
        !chooses && message.first() == Some(&UPDATE)
    }

    /// The next message of a kind known here.
    async fn next(&mut self) -> anyhow::Result<Response> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    if self.is_indifferent_to(&bytes) {
                        continue;
                    }
                    let response = proto::SignalResponse::decode(bytes);
                    if let Some(message) = response.context("a message that is none")?.message {
                        return Ok(message);
                    }
                }
                Some(Ok(Message::Close(reason))) => {
                    let reason = reason.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    bail!("the server closed the WebSocket: {reason}");
                }
                // Pongs are sent by the library with the next write; pings are frequent enough.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the WebSocket broke"),
                None => bail!("the server closed the WebSocket"),
            }
        }
    }
}

fn add_receiving(sections: &mut Vec<Section>, audio: u32, video: u32) {
    sections.extend((0..audio).map(|_| Section::Receive(Kind::Audio)));
    sections.extend((0..video).map(|_| Section::Receive(Kind::Video)));
}

async fn connect(server: &Server, path: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let authority = &server.authority;
    let stream = TcpStream::connect(authority)
        .await
        .with_context(|| format!("cannot connect to {authority}"))?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20);
    let url = format!("ws://{authority}{path}");
    let opened = client_async_with_config(url, stream, Some(config)).await;
    let (socket, _) = opened.context("the server refused the WebSocket")?;
    Ok(socket)
}

fn path(
    server: &Server,
    plan: &Plan,
    publisher_offer: Option<proto::SessionDescription>,
    add_track_requests: Vec<proto::AddTrackRequest>,
) -> String {
    let identity = identity(plan.id);
    let request = proto::JoinRequest {
        client_info: Some(proto::ClientInfo {
            sdk: proto::client_info::Sdk::Js.into(),
            version: "2.23.0".into(),
            protocol: 16,
            os: "linux".into(),
            ..Default::default()
        }),
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: plan.view.subscribes(),
            ..Default::default()
        }),
        add_track_requests,
        publisher_offer,
        ..Default::default()
    };
    let wrapped = proto::WrappedJoinRequest {
        compression: proto::wrapped_join_request::Compression::None.into(),
        join_request: request.encode_to_vec(),
    };
    let token = server.key.sign(&plan.room, &identity);
    let request = URL_SAFE.encode(wrapped.encode_to_vec());
    format!("/rtc/v1?access_token={token}&join_request={request}")
}

/// What a participant is called in its room.
fn identity(id: ParticipantId) -> String {
    format!("load-{}", id.0)
}

fn wish(track_sids: Vec<String>, quality: proto::VideoQuality, size: (u32, u32)) -> Request {
    let (width, height) = size;
    let quality = quality.into();
    Request::TrackSetting(proto::UpdateTrackSettings {
        track_sids,
        quality,
        width,
        height,
        ..Default::default()
    })
}

fn description(sdp: String, id: u32) -> proto::SessionDescription {
    proto::SessionDescription { r#type: "offer".into(), sdp, id, ..Default::default() }
}

fn announcement(track: &Track, cid: &str) -> proto::AddTrackRequest {
    let common = proto::AddTrackRequest { cid: cid.into(), ..Default::default() };
    let Content::Camera { codec, simulcast } = track.content else {
        return proto::AddTrackRequest {
            r#type: proto::TrackType::Audio.into(),
            source: proto::TrackSource::Microphone.into(),
            ..common
        };
    };
    let qualities =
        [proto::VideoQuality::Low, proto::VideoQuality::Medium, proto::VideoQuality::High];
    let layers: Vec<_> = qualities
        .into_iter()
        .zip(RIDS)
        .enumerate()
        .skip(if simulcast { 0 } else { 2 })
        .map(|(index, (quality, rid))| {
            let shape = track.shape.reduced(2 - index as u32);
            proto::VideoLayer {
                quality: quality.into(),
                rid: rid.into(),
                width: 1280 >> (2 - index),
                height: 720 >> (2 - index),
                bitrate: shape.bits_per_second(),
                ..Default::default()
            }
        })
        .collect();
    proto::AddTrackRequest {
        r#type: proto::TrackType::Video.into(),
        source: proto::TrackSource::Camera.into(),
        width: 1280,
        height: 720,
        simulcast_codecs: vec![proto::SimulcastCodec {
            codec: codec.name().to_lowercase(),
            cid: cid.into(),
            layers: layers.clone(),
            ..Default::default()
        }],
        layers,
        ..common
    }
}
