"""Agents made with LiveKit's framework: they register, get jobs, and are in rooms with people."""

import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

from livekit import api, rtc  # noqa: E402
from livekit.protocol.agent import JobStatus  # noqa: E402
from stage import KEY, SECRET, TONES, Guest, Server, ToneSource, token, until  # noqa: E402

server = None
agency = None


def setUpModule():
    global server, agency
    server = Server()
    agency = Agency()


def tearDownModule():
    agency.stop()
    server.stop()


class Agency:
    """`agent.py`, running as in production until `stop`."""

    def __init__(self):
        environment = {**os.environ, "LIVEKIT_URL": server.ws, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        command = [sys.executable, str(HERE / "agent.py"), "start"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = []
        # Whoever asks for an agent before there is one gets none.
        while "registered worker" not in (said[-1] if said else ""):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the agent ended: {said[-20:]}")
            said.append(line.decode())
        # Nobody reads on: what it says from now on must not fill the pipe.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.drain.wait()
        self.process.stdout.close()


class Agents(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.api = api.LiveKitAPI(server.http, KEY, SECRET)
        self.room = self.id()
        self.sources, self.guests = [], []

    async def asyncTearDown(self):
        for source in self.sources:
            await source.stop()
        for guest in self.guests:
            await guest.leave()
        await self.api.aclose()

    async def test_an_agent_comes_hears_and_says_back_what_it_hears(self):
        ann, ben = await self.join("ann"), await self.join("ben")
        self.sources.append(ToneSource(TONES[2]))
        await self.sources[0].publish(ann)
        asked = api.CreateAgentDispatchRequest(agent_name="parrot", room=self.room, metadata="be nice")
        dispatch = await self.api.agent_dispatch.create_dispatch(asked)
        parrot = await self.agent(ann)
        self.assertEqual(parrot.kind, rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)
        for guest in (ann, ben):
            await guest.senses(parrot.identity, "voice", TONES[2])
        await until("the agent knows what was asked", lambda: parrot.attributes.get("asked") == "be nice", lambda: parrot.attributes)
        listed = await self.api.agent_dispatch.get_dispatch(dispatch.id, self.room)
        (job,) = listed.state.jobs
        self.assertEqual((job.state.status, job.state.participant_identity), (JobStatus.JS_RUNNING, parrot.identity))
        await self.api.agent_dispatch.delete_dispatch(dispatch.id, self.room)
        await ann.hears("participant_disconnected", who=parrot.identity)

    async def test_an_agent_named_in_a_token_comes_with_whoever_brings_it(self):
        configuration = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="parrot", metadata="from a token")])
        grants = api.VideoGrants(room_join=True, room=self.room)
        made = api.AccessToken(KEY, SECRET).with_identity("ann").with_grants(grants).with_room_config(configuration)
        ann = Guest("ann")
        self.guests.append(ann)
        await ann.room.connect(server.ws, made.to_jwt())
        parrot = await self.agent(ann)
        await until("the agent knows what was asked", lambda: parrot.attributes.get("asked") == "from a token", lambda: parrot.attributes)
        await self.api.room.delete_room(api.DeleteRoomRequest(room=self.room))
        await ann.hears("disconnected", reason=rtc.DisconnectReason.ROOM_DELETED)

    async def join(self, identity):
        guest = Guest(identity)
        self.guests.append(guest)
        await guest.room.connect(server.ws, token(self.room, identity))
        return guest

    async def agent(self, guest):
        """The agent, when `guest` knows of one."""

        def found():
            people = guest.room.remote_participants.values()
            return next((one for one in people if one.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT), None)

        return await until("an agent comes", found, lambda: guest.others)
