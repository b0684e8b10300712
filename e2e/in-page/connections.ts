/** Every peer connection the page made, so that a test can ask what was negotiated and what arrived. */
const connections: RTCPeerConnection[] = [];

/** What the page's peer connections say about one stream. */
export interface Stream {
  /** As the browser calls it in its statistics. */
  id: string;
  direction: 'inbound' | 'outbound';
  kind: string;
  /** The codec in use, not the one asked for: `video/VP8`. */
  codec: string;
  packets: number;
  bytes: number;
  layer: string;
  height: number;
  /** Frames decoded or encoded, and how many of them were keyframes. */
  frames: number;
  keyFrames: number;
  /** Keyframes asked for: by this page of the sender, or of this page. */
  keyFramesAsked: number;
}

/** Notes every peer connection made from now on. */
export function watchConnections(): void {
  const Native = window.RTCPeerConnection as typeof RTCPeerConnection | undefined;
  if (!Native) return;
  window.RTCPeerConnection = class Watched extends Native {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      connections.push(this);
    }
  };
}

/** The RTP streams of every connection that is still open. */
export async function streams(): Promise<Stream[]> {
  const open = connections.filter((connection) => connection.connectionState !== 'closed');
  const reports = await Promise.all(open.map((connection) => connection.getStats()));
  return reports.flatMap(streamsOf);
}

/** The streams in which frames came along within so many milliseconds; `frames` counts these. */
export async function moving(milliseconds: number): Promise<Stream[]> {
  const before = await streams();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const after = await streams();
  return after.flatMap((stream) => {
    const frames = stream.frames - (before.find(({ id }) => id === stream.id)?.frames ?? 0);
    return frames > 0 ? [{ ...stream, frames }] : [];
  });
}

/** How the open connections' media travels: candidate types and protocols of the pairs in use. */
export async function paths(): Promise<string[]> {
  const pairs = await pairsInUse();
  return pairs.map(({ local }) => `${String(local?.candidateType)}/${String(local?.protocol)}`);
}

/** The server's ports at the other end of the pairs in use. */
export async function serverPorts(): Promise<number[]> {
  const pairs = await pairsInUse();
  return pairs.map(({ remote }) => Number(remote?.port));
}

type Entry = Record<string, unknown>;

async function pairsInUse(): Promise<{ local?: Entry; remote?: Entry }[]> {
  const open = connections.filter((connection) => connection.connectionState !== 'closed');
  const reports = await Promise.all(open.map((connection) => connection.getStats()));
  return reports.flatMap((report) => {
    const entries = [...report.values()] as Entry[];
    // Several may be nominated. Chromium says with the transport which is in use, Firefox with the pair.
    const chosen = entries.map((entry) => entry.selectedCandidatePairId);
    const inUse = (entry: Entry) => chosen.includes(entry.id) || entry.selected === true;
    const pairs = entries.filter((entry) => entry.type === 'candidate-pair' && inUse(entry));
    const candidate = (id: unknown) => report.get(String(id)) as Entry | undefined;
    return pairs.map((pair) => ({ local: candidate(pair.localCandidateId), remote: candidate(pair.remoteCandidateId) }));
  });
}

function streamsOf(report: RTCStatsReport): Stream[] {
  const entries = [...report.values()] as Record<string, unknown>[];
  return entries
    .filter((entry) => entry.type === 'inbound-rtp' || entry.type === 'outbound-rtp')
    .map((entry) => {
      const inbound = entry.type === 'inbound-rtp';
      const codec = report.get(String(entry.codecId)) as { mimeType?: string } | undefined;
      return {
        id: String(entry.id),
        direction: inbound ? 'inbound' : 'outbound',
        kind: String(entry.kind),
        codec: codec?.mimeType ?? 'none yet',
        packets: Number(inbound ? entry.packetsReceived : entry.packetsSent) || 0,
        bytes: Number(inbound ? entry.bytesReceived : entry.bytesSent) || 0,
        layer: typeof entry.rid === 'string' ? entry.rid : '',
        height: Number(entry.frameHeight) || 0,
        frames: Number(inbound ? entry.framesDecoded : entry.framesEncoded) || 0,
        keyFrames: Number(inbound ? entry.keyFramesDecoded : entry.keyFramesEncoded) || 0,
        keyFramesAsked: (Number(entry.pliCount) || 0) + (Number(entry.firCount) || 0),
      };
    });
}
