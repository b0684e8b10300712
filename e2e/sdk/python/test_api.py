"""What server applications ask and are told."""

import http.server
import socket
import threading
import unittest

from livekit import api, rtc
from stage import KEY, SECRET, TONES, Guest, Server, ToneSource, free_port, until

server = None
hook = free_port(socket.SOCK_STREAM)


def setUpModule():
    global server
    server = Server(webhook={"api_key": KEY, "urls": [f"http://127.0.0.1:{hook}/hook"]}, room={"enable_remote_unmute": True})


def tearDownModule():
    server.stop()


class Application(http.server.BaseHTTPRequestHandler):
    """Receives webhooks and verifies them."""

    told = []
    refused = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))
        try:
            self.told.append(receiver.receive(body, self.headers["authorization"]))
        except Exception as error:
            self.refused.append(repr(error))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Api(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.api = api.LiveKitAPI(server.http, KEY, SECRET)
        self.room = self.id()
        self.guests = []

    async def asyncTearDown(self):
        for guest in self.guests:
            await guest.leave()
        await self.api.aclose()

    async def join(self, identity):
        self.guests.append(await Guest.join(server, self.room, identity))
        return self.guests[-1]

    async def test_rooms_are_made_listed_described_anew_and_deleted(self):
        made = await self.api.room.create_room(api.CreateRoomRequest(name=self.room, empty_timeout=111, max_participants=7, metadata="first"))
        self.assertEqual((made.name, made.empty_timeout, made.max_participants, made.metadata), (self.room, 111, 7, "first"))
        listed = await self.api.room.list_rooms(api.ListRoomsRequest(names=[self.room]))
        self.assertEqual([one.sid for one in listed.rooms], [made.sid])
        anew = await self.api.room.update_room_metadata(api.UpdateRoomMetadataRequest(room=self.room, metadata="second"))
        self.assertEqual(anew.metadata, "second")
        await self.api.room.delete_room(api.DeleteRoomRequest(room=self.room))
        self.assertEqual(len((await self.api.room.list_rooms(api.ListRoomsRequest(names=[self.room]))).rooms), 0)

    async def test_participants_are_told_muted_described_anew_and_removed(self):
        ann, ben = await self.join("ann"), await self.join("ben")
        tone = ToneSource(TONES[0])
        published = await tone.publish(ann)
        reader = await ben.senses("ann", "tone-440", TONES[0])
        ident = {"room": self.room, "identity": "ann"}
        mute = await self.api.room.mute_published_track(api.MuteRoomTrackRequest(**ident, track_sid=published.sid, muted=True))
        self.assertTrue(mute.track.muted)
        await until("silence", lambda: reader.silent >= 3)
        await self.api.room.mute_published_track(api.MuteRoomTrackRequest(**ident, track_sid=published.sid, muted=False))
        told = await self.api.room.get_participant(api.RoomParticipantIdentity(**ident))
        self.assertEqual((told.sid, [one.sid for one in told.tracks]), (ann.me.sid, [published.sid]))
        listed = await self.api.room.list_participants(api.ListParticipantsRequest(room=self.room))
        self.assertEqual(sorted(one.identity for one in listed.participants), ["ann", "ben"])
        await self.api.room.update_participant(api.UpdateParticipantRequest(**ident, name="Anna", attributes={"a": "1"}))
        await ben.hears("participant_name_changed", who="ann", name="Anna")
        await ben.hears("participant_attributes_changed", who="ann", a="1")
        await tone.stop()
        await self.api.room.remove_participant(api.RoomParticipantIdentity(**ident))
        await ann.hears("disconnected", reason=rtc.DisconnectReason.PARTICIPANT_REMOVED)

    async def test_data_is_sent_to_whom_it_names(self):
        ann, ben = await self.join("ann"), await self.join("ben")

        async def arrives():
            await self.api.room.send_data(api.SendDataRequest(room=self.room, data=b"all", kind=0))
            return "all" in str(ann.data) and "all" in str(ben.data)

        await until("both are reached", arrives)
        await self.api.room.send_data(api.SendDataRequest(room=self.room, data=b"ben", kind=0, destination_identities=["ben"]))
        await self.api.room.send_data(api.SendDataRequest(room=self.room, data=b"end", kind=0))
        await ann.receives("end")
        await ben.receives("ben")
        self.assertNotIn("ben", [one["text"] for one in ann.data])

    async def test_errors_have_codes_that_applications_know(self):
        with self.assertRaises(api.TwirpError) as refused:
            await self.api.room.get_participant(api.RoomParticipantIdentity(room=self.room, identity="nobody"))
        self.assertEqual((refused.exception.code, refused.exception.status), (api.TwirpErrorCode.NOT_FOUND, 404))
        with self.assertRaises(api.TwirpError) as refused:
            await self.api.egress.list_egress(api.ListEgressRequest())
        self.assertEqual((refused.exception.code, refused.exception.status), (api.TwirpErrorCode.UNIMPLEMENTED, 501))
        stranger = api.LiveKitAPI(server.http, KEY, "another secret that is long enough")
        with self.assertRaises(api.TwirpError) as refused:
            await stranger.room.list_rooms(api.ListRoomsRequest())
        self.assertEqual((refused.exception.code, refused.exception.status), (api.TwirpErrorCode.UNAUTHENTICATED, 401))
        await stranger.aclose()

    async def test_an_application_is_told_what_happens_signed_and_in_order(self):
        application = http.server.HTTPServer(("127.0.0.1", hook), Application)
        threading.Thread(target=application.serve_forever, daemon=True).start()
        ann = await self.join("ann")
        await ann.leave()
        here = lambda: [one.event for one in Application.told if one.room.name == self.room]  # noqa: E731
        await until("ann has left", lambda: "participant_left" in here(), here)
        await self.api.room.delete_room(api.DeleteRoomRequest(room=self.room))
        await until("the room has ended", lambda: "room_finished" in here(), here)
        application.shutdown()
        application.server_close()
        self.assertEqual(Application.refused, [])
        self.assertEqual(here(), ["room_started", "participant_joined", "participant_left", "room_finished"])


if __name__ == "__main__":
    unittest.main()
