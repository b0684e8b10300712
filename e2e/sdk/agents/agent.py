"""A voice agent as people write them with LiveKit's framework: it says back whatever it hears."""

import asyncio

from livekit import rtc
from livekit.agents import AgentServer, JobContext, JobExecutorType, cli

SAMPLE_RATE = 48_000

# What else runs on this machine is not this agent's load: a busy machine would make it refuse every job.
agent = AgentServer(job_executor_type=JobExecutorType.THREAD, num_idle_processes=0, host="127.0.0.1", port=0, load_fnc=lambda *_: 0.1)


@agent.rtc_session(agent_name="parrot")
async def parrot(job: JobContext):
    voice = rtc.AudioSource(SAMPLE_RATE, 1)

    async def say_back(track):
        async for event in rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1):
            await voice.capture_frame(event.frame)

    talks = set()

    def listen(track, _publication, _participant):
        talks.add(asyncio.ensure_future(say_back(track)))

    job.room.on("track_subscribed", listen)
    await job.connect()
    track = rtc.LocalAudioTrack.create_audio_track("voice", voice)
    await job.room.local_participant.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
    await job.room.local_participant.set_attributes({"asked": job.job.metadata})


if __name__ == "__main__":
    cli.run_app(agent)
