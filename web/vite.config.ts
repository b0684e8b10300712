import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a running Roomful server: its default address. */
const SERVER = 'http://127.0.0.1:7880';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // The server compresses and fingerprints every file itself; inlined data: URLs would need a looser CSP.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    // livekit-client is one chunk of about 500 kB that loads after the lobby has painted.
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: {
      '/rtc': { target: SERVER, ws: true },
      '/api': { target: SERVER },
      '/healthcheck': { target: SERVER },
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
