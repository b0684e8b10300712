import { type Browser, chromium, firefox } from '@playwright/test';

export type Engine = 'chromium' | 'firefox';
export const ENGINES: readonly Engine[] = ['chromium', 'firefox'];

const CHROMIUM = process.env.ROOMFUL_CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.ROOMFUL_FIREFOX ?? '/usr/bin/firefox-esr';

const CHROMIUM_FLAGS = [
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  // A name that is not localhost, so that a page over plain HTTP is not a secure context, as on a LAN.
  '--host-resolver-rules=MAP lan.test 127.0.0.1',
];

const FIREFOX_PREFERENCES = {
  'media.autoplay.default': 0,
  'media.navigator.permission.disabled': true,
  'media.navigator.streams.fake': true,
  // Without these two a page whose getUserMedia is replaced has no capture permission, and Firefox then offers only
  // the address of its default route, which a machine with nothing but loopback does not have.
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
  'media.peerconnection.ice.loopback': true,
  // Windows of other participants cover each other; all of them are being looked at.
  'dom.min_background_timeout_value': 4,
  'widget.windows.window_occlusion_tracking.enabled': false,
};

/** Starts a browser of Debian's. Tests run as root on build machines, where Chromium has no sandbox. */
export function launch(engine: Engine): Promise<Browser> {
  if (engine === 'chromium') return chromium.launch(chromiumOptions());
  return firefox.launch({
    channel: 'moz-firefox',
    executablePath: FIREFOX,
    firefoxUserPrefs: FIREFOX_PREFERENCES,
  });
}

/** A browser that can be killed, stopped and continued: all of its processes at once. */
export interface ApartBrowser {
  browser: Browser;
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Ends it, in whatever state it is. */
  end(): Promise<void>;
}

/** A Chromium of its own, with its processes: to be killed and stopped, as a battery and a lid do it. */
export async function launchApart(): Promise<ApartBrowser> {
  const server = await chromium.launchServer(chromiumOptions());
  const pid = server.process().pid;
  if (pid === undefined) throw new Error('Chromium was started but has no process id');
  const browser = await chromium.connect(server.wsEndpoint());
  // Playwright starts browsers as leaders of their own process group: the negative id names every process of it.
  return {
    browser,
    signal: (name) => void process.kill(-pid, name),
    end: () => server.kill(),
  };
}

/** A Chromium of its own that can neither send nor receive media by UDP. */
export function launchBehindFirewall(): Promise<Browser> {
  return chromium.launch(chromiumOptions(['--webrtc-ip-handling-policy=disable_non_proxied_udp']));
}

function chromiumOptions(further: string[] = []) {
  const args = [...CHROMIUM_FLAGS, ...further];
  return { executablePath: CHROMIUM, args, chromiumSandbox: process.getuid?.() !== 0 };
}
