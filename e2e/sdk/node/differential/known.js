/**
 * Differences that are meant: patterns of paths, and the reason, which `docs/compatibility.md` gives at greater length.
 *
 * @type {{ path: RegExp, why: string }[]}
 */
export const KNOWN = [
  { path: /turn_?password$/i, why: 'there is no TURN server here, and so no password for it' },
  { path: /tracks?(\[[^\]]*\])?(\.codecs\[0\])?\.mimeType$/, why: 'a codec is told when the track is announced' },
  { path: /codecs\[0\]\.videoLayerMode$/, why: 'says nothing of sound' },
  { path: /tracks?(\[[^\]]*\])?\.version$/, why: 'no client reads it: participants have versions' },
  { path: /\.layers\[\d\]\.ssrc$/, why: 'SSRCs are between a participant and this server' },
  { path: /(people\[ann\]|participant)\.version$/, why: 'each change is told once, so there are fewer' },
  { path: /participant\.isPublisher$/, why: 'whoever publishes nothing any more is no publisher' },
  { path: /participant_joined\]\.room\.numParticipants$/, why: 'whoever joined is counted at once' },
  { path: /roomEndReason$/, why: 'newer than LiveKit 1.13.5' },
  { path: /\[join\]\.value\.room\.numParticipants$/, why: 'whoever joins is counted at once' },
  { path: /\[join\]\.value\.participant\.state$/, why: 'joining is one step here: who is welcomed has joined' },
  { path: /^welcome\.\w+\[(update|roomUpdate)\]/, why: 'nothing to be told again: the welcome was up to date; numbers follow soon' },
  { path: /iceServers\[0\]$/, why: 'clients need no STUN server to reach this one' },
  { path: /^(api|presets)\..*\.body\.msg$/, why: 'texts are this server\'s own; codes are LiveKit\'s' },
  { path: /^api\.large metadata\.body\.meta$/, why: 'the text says it' },
  { path: /^(api\.(muting of nobody|subscribing nobody|data to nowhere|a method of nobody)\.|begun\.a dispatch there$)/, why: 'what does not exist is not_found; LiveKit says unavailable after waiting' },
  { path: /^api\.no name\./, why: 'a room needs a name' },
  { path: /^api\.an unknown kind of data\./, why: 'names that are no value of an enumeration are malformed; LiveKit passes over them' },
  { path: /^api\.to move into the same room\.body\.meta$/, why: 'the text says it' },
  { path: /^validation\.large attributes\./, why: 'a request line has at most 64 KiB; LiveKit takes 1 MiB' },
  { path: /^validation\.expired\.words$/, why: 'in the words of later versions of LiveKit' },
  { path: /^doors\.validate v1, no right to join\.status$/, why: 'two things are wrong; LiveKit says the other one first' },
  { path: /^forgeries\.no end\./, why: 'a token without an end is good for nothing here' },
  { path: /^api\.another secret\./, why: 'errors have Twirp\'s shape; LiveKit answers in plain text' },
  { path: /^api\.(ListEgress|StopEgress)\./, why: 'what is not there is unimplemented' },
  { path: /^api\.(moving|forwarding)\./, why: 'the open LiveKit moves and forwards nobody' },
  { path: /answers\[requestResponse\]\.value\.message$/, why: 'says what was wrong, where LiveKit says nothing or less' },
  { path: /^requests\.metadata\.answers/, why: 'one request is told as one update with one token; LiveKit tells three' },
  { path: /^requests\.(metadata too large|muting an unknown track)\.answers/, why: 'LiveKit answers at times after the ping that was sent later' },
  { path: /^requests\.subscribing to an unknown track\./, why: 'answered at once; LiveKit waits for the track' },
  { path: /^requests\.an offer that is none\./, why: 'refused with the reason; LiveKit says nothing' },
  { path: /^reasons\..*participantDisconnected\]/, why: 'told at once and with its reason; LiveKit tells later than the second in which the script listens' },
];
