import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** Ports the server may take: one for TCP, and the first of a run of free ones for its media workers. */
export async function freePorts(mediaPorts: number): Promise<{ http: number; media: number }> {
  const http = await freeTcp();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const media = 20_000 + Math.floor(Math.random() * 12_000);
    const wanted = Array.from({ length: mediaPorts }, (_, at) => media + at);
    if ((await Promise.all(wanted.map(udpIsFree))).every(Boolean)) return { http, media };
  }
  throw new Error(`no ${mediaPorts} neighbouring UDP ports are free between 20000 and 32000`);
}

function freeTcp(): Promise<number> {
  return new Promise((resolve, reject) => {
    const listener = createServer();
    listener.on('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      listener.close(() => resolve(port));
    });
  });
}

function udpIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.on('error', () => resolve(false));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });
}
