"""The server, people in rooms, and what they play, paint, hear and see, through LiveKit's Python libraries."""

import asyncio
import json
import os
import pathlib
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy
from livekit import api, rtc

KEY = "sdkkey"
SECRET = "a-secret-of-the-libraries-that-is-long-enough"

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ROOMFUL = os.environ.get("ROOMFUL_BINARY", str(TARGET / "release/roomful"))

# How long anything may take on a machine that does other things too. Waiting ends as soon as what is awaited is true.
PATIENCE = 20.0

SAMPLE_RATE = 48_000
FRAME_SAMPLES = SAMPLE_RATE // 100
WINDOW_SAMPLES = SAMPLE_RATE // 10
AMPLITUDE = 8_000.0
# Far enough apart, and no harmonics of one another, so that Opus keeps them apart. In hertz.
TONES = (440, 620, 910, 1330)
# How many times stronger than any other a tone has to be.
CLEAR = 10.0

COLUMNS, ROWS = 8, 4
BLACK, WHITE, MIDDLE = 16, 235, 126
FRAMES_PER_SECOND = 15


class Server:
    """The binary, running on ports of its own until `stop`."""

    def __init__(self, **settings):
        workers = os.cpu_count() or 1
        self.port = free_port(socket.SOCK_STREAM)
        configuration = {
            "port": self.port,
            "keys": {KEY: SECRET},
            "rtc": {"udp_port": 40_000 + random.randrange(700) * workers, "tcp_port": 0, "node_ip": "127.0.0.1"},
            **settings,
        }
        self.http, self.ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        environment = {**os.environ, "NO_COLOR": "1", "LIVEKIT_CONFIG": json.dumps(configuration)}
        self.process = subprocess.Popen([ROOMFUL], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer (exit code {self.process.poll()})")
            time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def _answers(self):
        try:
            return urllib.request.urlopen(self.http, timeout=1).status > 0
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


async def until(what, condition, instead=lambda: None):
    """Waits until `condition` gives something true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}; instead: {instead()}")
        await asyncio.sleep(0.01)


def token(room, identity, name=None, metadata=None, attributes=None, **grants):
    """A token to join `room` with."""
    rights = {"room_join": True, "room": room, "can_update_own_metadata": True, **grants}
    made = api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(api.VideoGrants(**rights))
    if name:
        made = made.with_name(name)
    if metadata:
        made = made.with_metadata(metadata)
    if attributes:
        made = made.with_attributes(attributes)
    return made.to_jwt()


class Guest:
    """Somebody in a room, who remembers everything that happened, in order."""

    def __init__(self, identity):
        self.identity = identity
        self.room = rtc.Room()
        self.events = []
        self.data = []
        self.readers = {}
        self._remember()

    @classmethod
    async def join(cls, server, room, identity, auto_subscribe=True, peer_connections=1, **wishes):
        guest = cls(identity)
        single = peer_connections == 1
        options = rtc.RoomOptions(auto_subscribe=auto_subscribe, dynacast=True, single_peer_connection=single)
        await guest.room.connect(server.ws, token(room, identity, **wishes), options)
        return guest

    @property
    def me(self):
        return self.room.local_participant

    @property
    def others(self):
        return sorted(self.room.remote_participants)

    def publication(self, identity, name):
        other = self.room.remote_participants.get(identity)
        published = other.track_publications.values() if other else ()
        return next((one for one in published if one.name == name), None)

    def told(self, event, **details):
        return [one for name, one in self.events if name == event and details.items() <= one.items()]

    async def hears(self, event, **details):
        """Waits until an event of this kind with these details has been told."""
        what = f"{self.identity} hears {event} {details}"
        return (await until(what, lambda: self.told(event, **details), lambda: self.events[-20:]))[0]

    async def receives(self, text):
        await until(f"{self.identity} receives {text}", lambda: text in [one["text"] for one in self.data], lambda: self.data)

    async def senses(self, identity, name, what):
        """Waits until the track `name` of `identity` carries `what`, and returns what reads it."""

        def reader():
            publication = self.publication(identity, name)
            return self.readers.get(publication.sid) if publication else None

        def enough():
            return reader() if reader() and reader().found.get(what, 0) >= 3 else None

        return await until(f"{self.identity} finds {what} in {name}", enough, lambda: reader() and reader().found)

    async def leave(self):
        for reader in self.readers.values():
            await reader.stop()
        await self.room.disconnect()

    def _remember(self):
        def on(event, details):
            self.room.on(event, lambda *told: self.events.append((event, details(*told))))

        def both(publication, participant):
            return {"who": participant.identity, "track": publication.name, "sid": publication.sid}

        def who(participant, *_):
            return {"who": participant.identity}

        on("participant_connected", who)
        on("participant_active", who)
        on("participant_disconnected", who)
        on("track_published", both)
        on("track_unpublished", both)
        on("track_muted", lambda participant, publication: both(publication, participant))
        on("track_unmuted", lambda participant, publication: both(publication, participant))
        on("track_subscribed", lambda _track, publication, participant: both(publication, participant))
        on("track_unsubscribed", lambda _track, publication, participant: both(publication, participant))
        on("participant_name_changed", lambda participant, _old, new: {**who(participant), "name": new})
        on("participant_metadata_changed", lambda participant, _old, new: {**who(participant), "metadata": new})
        on("participant_attributes_changed", lambda changed, participant: {**who(participant), **changed})
        on("room_metadata_changed", lambda _old, new: {"metadata": new})
        on("active_speakers_changed", lambda speakers: {"speakers": ",".join(one.identity for one in speakers)})
        on("sip_dtmf_received", lambda tone: {"digit": tone.digit})
        on("disconnected", lambda reason: {"reason": reason})
        on("reconnected", lambda: {})
        self.room.on("data_received", self._receive)
        self.room.on("track_subscribed", self._read)

    def _receive(self, packet):
        sender = packet.participant.identity if packet.participant else None
        self.data.append({"text": packet.data.decode(), "from": sender, "topic": packet.topic, "kind": packet.kind})

    def _read(self, track, publication, _participant):
        reader = ToneReader if track.kind == rtc.TrackKind.KIND_AUDIO else PictureReader
        self.readers[publication.sid] = reader(track)


class Worker:
    """Something that goes on until it is stopped."""

    def __init__(self, work):
        self._task = asyncio.ensure_future(work)

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class ToneSource(Worker):
    """Plays one tone into a track."""

    def __init__(self, frequency):
        self.source = rtc.AudioSource(SAMPLE_RATE, 1)
        self.track = rtc.LocalAudioTrack.create_audio_track(f"tone-{frequency}", self.source)
        super().__init__(self._play(frequency))

    async def publish(self, guest):
        return await guest.me.publish_track(self.track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))

    async def _play(self, frequency):
        at = 0
        while True:
            times = numpy.arange(at, at + FRAME_SAMPLES) / SAMPLE_RATE
            samples = (AMPLITUDE * numpy.sin(2 * numpy.pi * frequency * times)).astype(numpy.int16)
            # Returns when the queue has room again, which is what paces this loop.
            await self.source.capture_frame(rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE, 1, FRAME_SAMPLES))
            at += FRAME_SAMPLES


class ToneReader(Worker):
    """Listens to a track and remembers which tones were clear in it."""

    def __init__(self, track):
        self.found = {}
        self.silent = 0
        self.stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)
        super().__init__(self._listen())

    def forget(self):
        self.found, self.silent = {}, 0

    async def _listen(self):
        window = numpy.zeros(0)
        async for event in self.stream:
            window = numpy.append(window, numpy.frombuffer(event.frame.data, dtype=numpy.int16))
            if len(window) >= WINDOW_SAMPLES:
                self._judge(window[:WINDOW_SAMPLES])
                window = numpy.zeros(0)

    def _judge(self, window):
        if numpy.mean(window**2) < (AMPLITUDE / 100) ** 2 / 2:
            self.silent += 1
            return
        times = numpy.arange(len(window)) / SAMPLE_RATE
        powers = sorted((abs(numpy.sum(window * numpy.exp(-2j * numpy.pi * tone * times))) ** 2, tone) for tone in TONES)
        if powers[-1][0] > CLEAR * powers[-2][0]:
            self.found[powers[-1][1]] = self.found.get(powers[-1][1], 0) + 1


class PictureSource(Worker):
    """Paints pictures that say whose they are: rows of black and white blocks for the owner, a number, and a check of both."""

    def __init__(self, owner, width=320, height=180):
        self.owner, self.width, self.height, self.number = owner, width, height, 0
        self.source = rtc.VideoSource(width, height)
        self.track = rtc.LocalVideoTrack.create_video_track(f"picture-{owner}", self.source)
        super().__init__(self._paint())

    async def publish(self, guest, **options):
        wanted = {"source": rtc.TrackSource.SOURCE_CAMERA, "simulcast": False, **options}
        return await guest.me.publish_track(self.track, rtc.TrackPublishOptions(**wanted))

    async def _paint(self):
        rows = numpy.arange(self.height) * ROWS // self.height
        columns = numpy.arange(self.width) * COLUMNS // self.width
        grey = bytes([128]) * (self.width * self.height // 2)
        while True:
            self.number = (self.number + 1) % 65_536
            told = numpy.array([self.owner, self.number >> 8, self.number & 255, check(self.owner, self.number)])
            bits = (told[rows][:, None] >> columns[None, :]) & 1
            luma = numpy.where(bits == 1, WHITE, BLACK).astype(numpy.uint8).tobytes()
            self.source.capture_frame(rtc.VideoFrame(self.width, self.height, rtc.VideoBufferType.I420, luma + grey))
            await asyncio.sleep(1 / FRAMES_PER_SECOND)


class PictureReader(Worker):
    """Watches a track and remembers whose pictures came."""

    def __init__(self, track):
        self.found = {}
        self.unreadable = self.width = 0
        self.stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420)
        super().__init__(self._watch())

    def forget(self):
        self.found, self.unreadable = {}, 0

    async def _watch(self):
        async for event in self.stream:
            frame = event.frame
            luma = numpy.frombuffer(frame.data, dtype=numpy.uint8)[: frame.width * frame.height].reshape(frame.height, frame.width)
            rows = ((numpy.arange(ROWS) + 0.5) * frame.height / ROWS).astype(int)
            columns = ((numpy.arange(COLUMNS) + 0.5) * frame.width / COLUMNS).astype(int)
            bits = luma[rows][:, columns] > MIDDLE
            owner, high, low, told = (int(sum(1 << at for at in range(COLUMNS) if row[at])) for row in bits)
            if told == check(owner, high * 256 + low):
                self.found[owner] = self.found.get(owner, 0) + 1
                self.width = frame.width
            else:
                self.unreadable += 1


def check(owner, number):
    return (owner * 37 + (number >> 8) * 101 + (number & 255) * 59 + 0x5A) & 255
