"""People in rooms: what they hear, see, say and are told."""

import asyncio
import unittest

from livekit import api, rtc
from stage import SECRET, KEY, TONES, Guest, PictureSource, Server, ToneSource, until

server = None


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.stop()


class RoomTest(unittest.IsolatedAsyncioTestCase):
    """Whoever joins leaves after the test, and what plays stops."""

    peer_connections = 1

    async def asyncSetUp(self):
        self.room = self.id()
        self.sources = []
        self.guests = []

    async def asyncTearDown(self):
        for source in self.sources:
            await source.stop()
        for guest in self.guests:
            await guest.leave()

    async def join(self, identity, **wishes):
        guest = await Guest.join(server, self.room, identity, peer_connections=self.peer_connections, **wishes)
        self.guests.append(guest)
        return guest

    async def together(self, *identities):
        guests = [await self.join(identity) for identity in identities]
        for guest in guests:
            await until("all are there", lambda: len(guest.others) == len(guests) - 1, lambda: guest.others)
        return guests

    def keep(self, source):
        self.sources.append(source)
        return source


class Media(RoomTest):
    async def test_everyone_hears_and_sees_exactly_the_others(self):
        guests = await self.together("ann", "ben")
        for at, guest in enumerate(guests):
            await self.keep(ToneSource(TONES[at])).publish(guest)
            await self.keep(PictureSource(at + 1)).publish(guest)
        for at, guest in enumerate(guests):
            other = 1 - at
            tone = await guest.senses(guests[other].identity, f"tone-{TONES[other]}", TONES[other])
            picture = await guest.senses(guests[other].identity, f"picture-{other + 1}", other + 1)
            self.assertEqual(list(tone.found), [TONES[other]])
            self.assertEqual(list(picture.found), [other + 1])
            self.assertEqual(len(guest.readers), 2, "nobody receives their own")

    async def test_what_its_owner_mutes_is_silent_until_it_is_unmuted(self):
        ann, ben = await self.together("ann", "ben")
        tone = self.keep(ToneSource(TONES[0]))
        await tone.publish(ann)
        reader = await ben.senses("ann", "tone-440", TONES[0])
        tone.track.mute()
        await ben.hears("track_muted", who="ann", track="tone-440")
        await until("silence", lambda: reader.silent >= 3)
        reader.forget()
        tone.track.unmute()
        await ben.hears("track_unmuted", who="ann", track="tone-440")
        await ben.senses("ann", "tone-440", TONES[0])

    async def test_who_may_receive_a_track_is_its_owners_to_say(self):
        ann, ben, cleo = await self.together("ann", "ben", "cleo")
        only_ben = rtc.ParticipantTrackPermission(participant_identity="ben", allow_all=True)
        ann.me.set_track_subscription_permissions(allow_all_participants=False, participant_permissions=[only_ben])
        await self.keep(ToneSource(TONES[0])).publish(ann)
        await ben.senses("ann", "tone-440", TONES[0])
        await cleo.hears("track_published", who="ann")
        self.assertEqual(cleo.told("track_subscribed"), [])
        ann.me.set_track_subscription_permissions(allow_all_participants=True)
        await cleo.senses("ann", "tone-440", TONES[0])

    async def test_a_smaller_picture_comes_where_it_is_asked_for(self):
        ann, ben = await self.together("ann", "ben")
        await self.keep(PictureSource(4, 1280, 720)).publish(ann, simulcast=True)
        reader = await ben.senses("ann", "picture-4", 4)
        await until("the largest layer", lambda: reader.width == 1280, lambda: reader.width)
        ben.publication("ann", "picture-4").set_video_quality(rtc.VideoQuality.VIDEO_QUALITY_LOW)
        await until("the smallest layer", lambda: reader.width == 320, lambda: reader.width)

    async def test_subscriptions_are_made_and_ended_by_whoever_receives(self):
        ann = await self.join("ann")
        ben = await self.join("ben", auto_subscribe=False)
        await self.keep(ToneSource(TONES[2])).publish(ann)
        await ben.hears("track_published", who="ann")
        self.assertEqual(ben.readers, {})
        ben.publication("ann", "tone-910").set_subscribed(True)
        await ben.senses("ann", "tone-910", TONES[2])
        ben.publication("ann", "tone-910").set_subscribed(False)
        await ben.hears("track_unsubscribed", who="ann")

    async def test_what_is_unpublished_ends_for_the_others(self):
        ann, ben = await self.together("ann", "ben")
        published = await self.keep(ToneSource(TONES[3])).publish(ann)
        await ben.senses("ann", "tone-1330", TONES[3])
        await ann.me.unpublish_track(published.sid)
        await ben.hears("track_unpublished", who="ann", sid=published.sid)

    async def test_whoever_makes_sound_is_told_to_be_speaking(self):
        ann, ben = await self.together("ann", "ben")
        await self.keep(ToneSource(TONES[0])).publish(ann)
        await ben.hears("active_speakers_changed", speakers="ann")


class People(RoomTest):
    async def test_the_others_are_known_as_they_are(self):
        ann = await self.join("ann", name="Ann A.", metadata="tea", attributes={"role": "host"}, can_publish_data=False)
        ben = await self.join("ben")
        seen = ben.room.remote_participants["ann"]
        self.assertEqual((seen.name, seen.metadata, seen.attributes), ("Ann A.", "tea", {"role": "host"}))
        self.assertEqual((seen.sid, ben.room.name), (ann.me.sid, self.room))
        self.assertFalse(ann.me.permissions.can_publish_data)
        self.assertTrue(ann.me.permissions.can_publish)
        await ann.hears("participant_active", who="ben")
        self.assertIsNotNone(seen.joined_at)

    async def test_name_metadata_and_attributes_change_for_everyone(self):
        ann, ben = await self.together("ann", "ben")
        await ann.me.set_name("Anna")
        await ann.me.set_metadata("reads")
        await ann.me.set_attributes({"fresh": "1"})
        for guest in (ann, ben):
            await guest.hears("participant_name_changed", who="ann", name="Anna")
            await guest.hears("participant_metadata_changed", who="ann", metadata="reads")
            await guest.hears("participant_attributes_changed", who="ann", fresh="1")

    async def test_a_second_one_of_the_same_identity_takes_the_place_of_the_first(self):
        first = await self.join("ann")
        await self.join("ann")
        await first.hears("disconnected", reason=rtc.DisconnectReason.DUPLICATE_IDENTITY)

    async def test_a_token_that_is_not_valid_opens_no_room(self):
        for secret, grants in ((SECRET, {}), ("another secret that is long enough", {"room_join": True, "room": self.room})):
            jwt = api.AccessToken(KEY, secret).with_identity("x").with_grants(api.VideoGrants(**grants)).to_jwt()
            with self.assertRaises(rtc.ConnectError):
                await rtc.Room().connect(server.ws, jwt)

    async def test_a_broken_connection_is_resumed(self):
        ann, ben = await self.together("ann", "ben")
        sid = ann.me.sid
        await ann.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await ann.hears("reconnected")
        self.assertEqual(ann.me.sid, sid)
        await ann.me.publish_data("still here")
        await ben.receives("still here")


class Data(RoomTest):
    async def test_messages_reach_whom_they_are_for_in_order(self):
        ann, ben, cleo = await self.together("ann", "ben", "cleo")
        await ann.me.publish_data("for cleo", destination_identities=["cleo"], topic="talk")
        for at in range(50):
            await ann.me.publish_data(str(at))
        await ben.receives("49")
        await cleo.receives("49")
        everyone = [str(at) for at in range(50)]
        self.assertEqual([one["text"] for one in ben.data], everyone)
        self.assertEqual([one["text"] for one in cleo.data], ["for cleo", *everyone])
        self.assertEqual((cleo.data[0]["from"], cleo.data[0]["topic"]), ("ann", "talk"))

    async def test_a_procedure_of_another_gives_its_result_or_its_error(self):
        ann, ben = await self.together("ann", "ben")

        async def double(call):
            return f"{call.caller_identity}: {int(call.payload) * 2}"

        async def fail(_call):
            raise rtc.RpcError(4242, "out of tea", "kettle")

        ben.me.register_rpc_method("double", double)
        ben.me.register_rpc_method("fail", fail)
        result = await ann.me.perform_rpc(destination_identity="ben", method="double", payload="21")
        self.assertEqual(result, "ann: 42")
        with self.assertRaises(rtc.RpcError) as failed:
            await ann.me.perform_rpc(destination_identity="ben", method="fail", payload="")
        self.assertEqual((failed.exception.code, failed.exception.message, failed.exception.data), (4242, "out of tea", "kettle"))
        with self.assertRaises(rtc.RpcError) as failed:
            await ann.me.perform_rpc(destination_identity="ben", method="unknown", payload="")
        self.assertEqual(failed.exception.code, rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD)

    async def test_long_texts_and_bytes_arrive_whole(self):
        ann, ben = await self.together("ann", "ben")
        received = asyncio.Queue()

        def text(reader, identity):
            async def read():
                await received.put((identity, await reader.read_all()))

            asyncio.ensure_future(read())

        def bits(reader, identity):
            async def read():
                await received.put((identity, b"".join([part async for part in reader])))

            asyncio.ensure_future(read())

        ben.room.register_text_stream_handler("story", text)
        ben.room.register_byte_stream_handler("file", bits)
        story = "Größe ☕ " * 10_000
        await ann.me.send_text(story, topic="story")
        self.assertEqual(await asyncio.wait_for(received.get(), 20), ("ann", story))
        writer = await ann.me.stream_bytes("a.bin", topic="file")
        await writer.write(bytes(range(256)) * 500)
        await writer.aclose()
        self.assertEqual(await asyncio.wait_for(received.get(), 20), ("ann", bytes(range(256)) * 500))

    async def test_tones_of_a_telephone_pass(self):
        ann, ben = await self.together("ann", "ben")
        await ann.me.publish_dtmf(code=5, digit="5")
        await ben.hears("sip_dtmf_received", digit="5")


if __name__ == "__main__":
    unittest.main()


def frame(number):
    """Larger than one packet, and no two alike."""
    return bytes((number + at * 7) % 251 for at in range(40_000))


class DataTracks(RoomTest):
    async def test_frames_arrive_whole_at_whoever_subscribes(self):
        ann, ben = await self.together("ann", "ben")
        known, ended = [], []
        ben.room.on("data_track_published", known.append)
        ben.room.on("data_track_unpublished", ended.append)
        track = await ann.me.publish_data_track(name="wheels")
        await until("ben knows the track", lambda: known)
        self.assertEqual((known[0].info.name, known[0].info.sid), ("wheels", track.info.sid))
        self.assertEqual(known[0].publisher_identity, "ann")
        stream, frames = known[0].subscribe(), []

        async def read():
            async for received in stream:
                frames.append(received)

        reading, sent = asyncio.ensure_future(read()), 0
        # Lossy, and a subscription takes a moment: what is sent until then is for nobody.
        while len(frames) < 10 and sent < 400:
            track.try_push(rtc.DataTrackFrame(payload=frame(sent), user_timestamp=sent))
            sent += 1
            await asyncio.sleep(0.05)
        self.assertGreaterEqual(len(frames), 10)
        for received in frames:
            self.assertEqual(received.payload, frame(received.user_timestamp))
        await track.unpublish()
        await until("ben knows of its end", lambda: ended)
        self.assertEqual(ended, [track.info.sid])
        await asyncio.wait_for(reading, 10)

    async def test_a_name_is_for_one_track_and_who_may_not_send_data_has_none(self):
        ann, ben = await self.join("ann"), await self.join("ben", can_publish_data=False)
        # Whoever lets go of a track ends it.
        track = await ann.me.publish_data_track(name="wheels")
        for guest in (ann, ben):
            with self.assertRaises(rtc.participant.PublishDataTrackError):
                await guest.me.publish_data_track(name="wheels")
        self.assertTrue(track.is_published())


class OverTwo:
    """The same with one peer connection for sending and one for receiving, as older clients have them."""

    peer_connections = 2


class MediaOverTwo(OverTwo, Media):
    async def test_there_are_two_peer_connections(self):
        ann, _ = await self.together("ann", "ben")
        await ann.me.publish_track(self.keep(ToneSource(TONES[0])).track)
        stats = await ann.room.get_rtc_stats()
        for of_one in (stats.publisher_stats, stats.subscriber_stats):
            self.assertTrue([one for one in of_one if one.HasField("transport")])


class PeopleOverTwo(OverTwo, People):
    pass


class DataOverTwo(OverTwo, Data):
    pass


class DataTracksOverTwo(OverTwo, DataTracks):
    pass
