//! Janus' VideoRoom plugin over its HTTP API, as its browser demo uses it: a viewer is in the room under
//! one handle, where it learns who publishes, and receives all of them over a second one.

mod http;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Content, JoinRecord, Plan, Prepared, Track, Visit};
use crate::engine::{Command, Handle};
use crate::ice::Credentials;
use crate::media::source::Shape;
use crate::participant::Newcomer;
use crate::sdp::{Remote, Section, VideoCodec, host_candidate, write_answer, write_offer};
use crate::udp;
use http::Connection;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The plugin's error for a room that is there already.
const ROOM_EXISTS: i64 = 427;

/// A Janus.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Host and port of its HTTP API.
    pub(crate) authority: String,
    /// Where the API is, usually `/janus`.
    pub(crate) path: String,
}

/// One participant's session: requests over one connection, events over another.
struct Session<'a> {
    plan: &'a Plan,
    engine: &'a Handle,
    requests: Connection,
    events: Connection,
    path: String,
    transactions: u64,
    /// The media socket as the server sees it.
    own: SocketAddr,
    credentials: Credentials,
    /// What it would publish.
    sections: Vec<Section>,
    codec: VideoCodec,
}

/// A plugin handle of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HandleId(u64);

/// Joins and stays until told to stop. What happened is in the record.
pub(crate) async fn participate(
    server: &Server,
    visit: Visit<'_>,
    admitted: impl FnOnce(&JoinRecord),
) -> anyhow::Result<()> {
    let Visit { plan, engine, stop, record } = visit;
    record.started = Instant::now();
    let mut session = Session::open(server, plan, engine).await?;
    record.opened = Some(record.started.elapsed());
    let handle = session.attach().await?;
    let publishers = session.join(handle).await?;
    record.admitted = Some(record.started.elapsed());
    admitted(record);
    if plan.view.subscribes() && !publishers.is_empty() {
        session.subscribe(&publishers).await?;
    } else {
        // Who neither sends nor finds anything to receive would have no media path to be idle on.
        session.publish(handle).await?;
    }
    session.stay(stop).await
}

impl<'a> Session<'a> {
    async fn open(
        server: &Server,
        plan: &'a Plan,
        engine: &'a Handle,
    ) -> anyhow::Result<Session<'a>> {
        let mut requests = Connection::open(&server.authority).await?;
        let events = Connection::open(&server.authority).await?;
        let socket = udp::open().context("a UDP socket")?;
        let own = SocketAddr::new(requests.local_ip()?, socket.local_addr()?.port());
        let credentials = Credentials::random();
        let Prepared { mut sections, sources, codec } = plan.prepare();
        if sections.is_empty() {
            // Announced, and never sent.
            sections = vec![muted(plan)];
        }
        engine.send(Command::Add(Box::new(Newcomer {
            id: plan.id,
            group: plan.group,
            credentials: credentials.clone(),
            socket,
            sources,
        })))?;
        let create = json!({ "janus": "create", "transaction": "0" });
        let created = requests.post(&server.path, &create).await?;
        let id = created["data"]["id"].as_u64().context("Janus made no session")?;
        let path = format!("{}/{id}", server.path);
        let transactions = 0;
        Ok(Self {
            plan,
            engine,
            requests,
            events,
            path,
            transactions,
            own,
            credentials,
            sections,
            codec,
        })
    }

    async fn attach(&mut self) -> anyhow::Result<HandleId> {
        let attach = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        let attached = self.request(&self.path.clone(), attach).await?;
        let id = attached["data"]["id"].as_u64();
        id.map(HandleId).with_context(|| format!("Janus attached no VideoRoom: {attached}"))
    }

    /// Enters the room; returns who publishes there. Whoever brings tracks makes the room first.
    async fn join(&mut self, handle: HandleId) -> anyhow::Result<Vec<u64>> {
        if !self.plan.tracks.is_empty() {
            self.create_room(handle).await?;
        }
        let join = json!({
            "request": "join", "ptype": "publisher", "room": self.room(),
            "id": u64::from(self.plan.id.0) + 1,
        });
        let joined = match self.ask(handle, join.clone(), None).await {
            Ok(joined) => joined,
            // Nobody publishes here: an idle room.
            Err(_) => {
                self.create_room(handle).await?;
                self.ask(handle, join, None).await?
            }
        };
        let publishers = joined["plugindata"]["data"]["publishers"].as_array();
        let ids = publishers.into_iter().flatten().filter_map(|publisher| publisher["id"].as_u64());
        Ok(ids.collect())
    }

    async fn create_room(&mut self, handle: HandleId) -> anyhow::Result<()> {
        let codec = self.codec.name().to_lowercase();
        let create = json!({
            "request": "create", "room": self.room(), "publishers": 100_000, "permanent": false,
            "videocodec": codec, "audiocodec": "opus", "bitrate": 0, "fir_freq": 0,
            "notify_joining": false, "transport_wide_cc_ext": true,
        });
        match self.ask(handle, create, None).await {
            Err(error) if error.downcast_ref::<Refused>().is_none_or(|it| it.0 != ROOM_EXISTS) => {
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn publish(&mut self, handle: HandleId) -> anyhow::Result<()> {
        let fingerprint = self.engine.fingerprint();
        let sdp = write_offer(&self.credentials, fingerprint, &self.sections, self.codec, 1);
        let jsep = json!({ "type": "offer", "sdp": sdp });
        let published = self.ask(handle, json!({ "request": "publish" }), Some(jsep)).await?;
        let sdp =
            published["jsep"]["sdp"].as_str().context("Janus answered without a description")?;
        self.describe(Remote::parse_answer(sdp)?)?;
        let candidate = host_candidate(self.own);
        let trickle = json!({
            "janus": "trickle",
            "candidates": [
                { "sdpMid": "0", "sdpMLineIndex": 0, "candidate": candidate },
                { "completed": true },
            ],
        });
        self.request(&self.handle_path(handle), trickle).await.map(|_| ())
    }

    async fn subscribe(&mut self, publishers: &[u64]) -> anyhow::Result<()> {
        let handle = self.attach().await?;
        let streams: Vec<Value> = publishers.iter().map(|feed| json!({ "feed": feed })).collect();
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": self.room(), "streams": streams,
        });
        let attached = self.ask(handle, join, None).await?;
        let offer = attached["jsep"]["sdp"].as_str().context("Janus offered nothing")?.to_owned();
        let remote = Remote::parse_offer(&offer)?;
        let fingerprint = self.engine.fingerprint();
        let sdp = write_answer(&offer, &self.credentials, fingerprint, self.own);
        self.describe(remote)?;
        let jsep = json!({ "type": "answer", "sdp": sdp });
        self.ask(handle, json!({ "request": "start" }), Some(jsep)).await.map(|_| ())
    }

    fn describe(&self, remote: Remote) -> anyhow::Result<()> {
        self.engine.send(Command::Describe(self.plan.id, Box::new(remote)))
    }

    /// Listens for events, which keeps the session alive.
    async fn stay(&mut self, stop: oneshot::Receiver<()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                event = self.event() => {
                    if event?["janus"] == "hangup" {
                        bail!("Janus hung up");
                    }
                }
                _ = &mut stop => return self.leave().await,
            }
        }
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        // First, or the server's own goodbye would be taken for a failure.
        self.engine.send(Command::Remove(self.plan.id))?;
        let path = self.path.clone();
        // The server may be gone already.
        let _gone = self.request(&path, json!({ "janus": "destroy" })).await;
        Ok(())
    }

    /// A message to the plugin and its answer, which may come as an event.
    async fn ask(
        &mut self,
        handle: HandleId,
        body: Value,
        jsep: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut message = json!({ "janus": "message", "body": body });
        if let (Some(jsep), Some(fields)) = (jsep, message.as_object_mut()) {
            fields.insert("jsep".into(), jsep);
        }
        let mut answer = self.request(&self.handle_path(handle), message).await?;
        let transaction = self.transactions.to_string();
        while answer["janus"] == "ack" || answer["transaction"] != transaction.as_str() {
            answer = timeout(PATIENCE, self.event())
                .await
                .map_err(|_| anyhow!("Janus did not answer {body}"))??;
        }
        let data = &answer["plugindata"]["data"];
        match data["error_code"].as_i64() {
            Some(code) => {
                let reason = data["error"].as_str().unwrap_or_default().to_owned();
                Err(anyhow::Error::new(Refused(code)).context(reason))
            }
            None => Ok(answer),
        }
    }

    async fn request(&mut self, path: &str, mut message: Value) -> anyhow::Result<Value> {
        self.transactions += 1;
        if let Some(fields) = message.as_object_mut() {
            fields.insert("transaction".into(), self.transactions.to_string().into());
        }
        let answer = timeout(PATIENCE, self.requests.post(path, &message))
            .await
            .map_err(|_| anyhow!("Janus did not answer"))??;
        if answer["janus"] == "error" {
            bail!("Janus refused: {}", answer["error"]["reason"].as_str().unwrap_or_default());
        }
        Ok(answer)
    }

    async fn event(&mut self) -> anyhow::Result<Value> {
        self.events.get(&format!("{}?maxev=1", self.path)).await
    }

    fn handle_path(&self, handle: HandleId) -> String {
        format!("{}/{}", self.path, handle.0)
    }

    /// The plugin's rooms have numbers.
    fn room(&self) -> u32 {
        crc32fast::hash(self.plan.room.as_bytes()).max(1)
    }
}

/// The plugin's error code.
#[derive(Debug, thiserror::Error)]
#[error("VideoRoom error {0}")]
struct Refused(i64);

/// A microphone that is announced and never sends.
fn muted(plan: &Plan) -> Section {
    let track = Track { content: Content::Microphone { level: 127 }, shape: Shape::OPUS };
    Section::Send(track.prepare(&plan.cid(0), 0).0)
}
