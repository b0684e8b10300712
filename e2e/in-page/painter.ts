import { COLUMNS, DARK, encode, HEIGHT_SHARE, LIGHT, ROWS } from './strip';

/** Size and rate of a painted camera: enough to see, little enough for four browsers on two cores. */
export const WIDTH = 640;
export const HEIGHT = 360;
const FRAMES_PER_SECOND = 15;

let canvas: HTMLCanvasElement | undefined;

/** A camera that paints: a small scene in the painter's own hue, and the strip below it. */
export function paintedCamera(painter: number): MediaStreamTrack {
  canvas ??= startPainting(painter);
  // No rate is given to captureStream: Firefox then drops frames; drawing at the wanted rate does not.
  const track = canvas.captureStream().getVideoTracks()[0];
  if (!track) throw new Error('this browser captures no track from a canvas');
  return track;
}

/** One canvas for the life of the page: however often the camera is turned on, there is one brush at work. */
function startPainting(painter: number): HTMLCanvasElement {
  const easel = document.createElement('canvas');
  easel.width = WIDTH;
  easel.height = HEIGHT;
  const context = easel.getContext('2d', { alpha: false });
  if (!context) throw new Error('this browser has no 2d canvas to paint on');
  paint(context, painter, Date.now());
  setInterval(() => paint(context, painter, Date.now()), 1000 / FRAMES_PER_SECOND);
  return easel;
}

function paint(context: CanvasRenderingContext2D, painter: number, now: number): void {
  const hue = (painter * 67 + 150) % 360;
  paintScene(context, hue, now / 1000 + painter * 7);
  paintStrip(context, painter, hue, now);
}

function paintScene(context: CanvasRenderingContext2D, hue: number, seconds: number): void {
  const foot = HEIGHT * (1 - HEIGHT_SHARE);
  const wall = context.createLinearGradient(0, 0, WIDTH, foot);
  wall.addColorStop(0, `hsl(${hue} 45% 78%)`);
  wall.addColorStop(1, `hsl(${(hue + 40) % 360} 40% 52%)`);
  context.fillStyle = wall;
  context.fillRect(0, 0, WIDTH, foot);
  paintWindow(context, hue, seconds);
  paintFigure(context, hue, seconds, foot);
}

function paintWindow(context: CanvasRenderingContext2D, hue: number, seconds: number): void {
  context.fillStyle = `hsl(${(hue + 200) % 360} 70% 86%)`;
  disc(context, 500, 90, 46);
  context.fillStyle = `hsl(${(hue + 70) % 360} 60% 70%)`;
  for (let cloud = 0; cloud < 3; cloud += 1) {
    disc(context, ((seconds * 14 + cloud * 260) % 760) - 60, 50 + cloud * 34, 22 + cloud * 5);
  }
}

function paintFigure(context: CanvasRenderingContext2D, hue: number, seconds: number, foot: number): void {
  const sway = Math.sin(seconds * 1.3) * 10;
  const nod = Math.sin(seconds * 2.1) * 4;
  context.fillStyle = `hsl(${(hue + 180) % 360} 42% 38%)`;
  context.beginPath();
  context.ellipse(320 + sway / 2, foot + 26, 150, 120, 0, Math.PI, 0);
  context.fill();
  context.fillStyle = `hsl(${24 + (hue % 12)} 48% ${52 + (hue % 30)}%)`;
  disc(context, 320 + sway, 138 + nod, 68);
  context.fillStyle = `hsl(${(hue + 220) % 360} 35% 22%)`;
  context.beginPath();
  context.arc(320 + sway, 130 + nod, 72, Math.PI * 1.02, Math.PI * 1.98);
  context.fill();
  const open = seconds % 4 > 0.2 ? 7 : 1.5;
  for (const side of [-24, 24]) {
    context.beginPath();
    context.ellipse(320 + sway + side, 148 + nod, 6, open, 0, 0, Math.PI * 2);
    context.fill();
  }
  context.lineWidth = 5;
  context.lineCap = 'round';
  context.strokeStyle = context.fillStyle;
  context.beginPath();
  context.arc(320 + sway, 160 + nod, 20, Math.PI * 0.2, Math.PI * 0.8);
  context.stroke();
}

function paintStrip(context: CanvasRenderingContext2D, painter: number, hue: number, now: number): void {
  const width = WIDTH / COLUMNS;
  const height = (HEIGHT * HEIGHT_SHARE) / ROWS;
  const top = HEIGHT * (1 - HEIGHT_SHARE);
  encode({ painter, clock: now & 0xffff }).forEach((bit, at) => {
    context.fillStyle = shade(hue, bit ? LIGHT : DARK);
    context.fillRect((at % COLUMNS) * width, top + Math.floor(at / COLUMNS) * height, width, height);
  });
}

/** A tint of the hue with the given brightness: the strip reads by brightness and looks like part of the picture. */
function shade(hue: number, brightness: number): string {
  const tint = (offset: number) => Math.round(brightness + 18 * Math.cos(((hue + offset) * Math.PI) / 180));
  return `rgb(${tint(0)} ${tint(240)} ${tint(120)})`;
}

function disc(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  context.beginPath();
  context.arc(x, y, radius, 0, Math.PI * 2);
  context.fill();
}
