import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MILLISECONDS = 10_000;

/**
 * Starts a sound server with one silent output for the run: a browser without any audio device keeps its audio clock
 * stopped, and then nothing can be heard. It has a socket and a state directory of its own and touches no other.
 */
export default async function startAudioSink(): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), 'roomful-audio-'));
  const socket = join(directory, 'native');
  const modules = ['module-null-sink sink_name=silent', `module-native-protocol-unix auth-anonymous=1 socket=${socket}`];
  const pulse = spawn(
    'pulseaudio',
    ['-n', '--daemonize=no', '--exit-idle-time=-1', '--use-pid-file=no', ...modules.flatMap((module) => ['-L', module])],
    {
      env: { ...process.env, HOME: directory, PULSE_RUNTIME_PATH: directory, PULSE_STATE_PATH: directory },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let said = '';
  let failure: string | undefined;
  pulse.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  pulse.on('error', (error) => (failure = `cannot start pulseaudio (${error.message}): apt-get install pulseaudio`));
  pulse.on('exit', (code) => (failure ??= `pulseaudio ended with ${code}: ${said}`));
  const deadline = Date.now() + START_MILLISECONDS;
  while (!existsSync(socket)) {
    if (failure) throw new Error(failure);
    if (Date.now() > deadline) throw new Error(`pulseaudio made no socket in ${START_MILLISECONDS} ms: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  process.env.PULSE_SERVER = `unix:${socket}`;
  return () => {
    pulse.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
}
