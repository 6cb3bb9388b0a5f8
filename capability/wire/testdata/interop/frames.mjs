// Frames: a length, then [kind, body]. SPEC.md 12.2.

import { decode } from './cbor.mjs'
import { must, refuse, within } from './refusal.mjs'

export const KINDS = ['request', 'answer', 'ask', 'chain', 'refused']
const MAX_FRAME = 16384

// frame reads one frame, behind which nothing follows; the body stays an encoding, but for an ask, which has none.
export function frame(bytes) {
  if (bytes.length < 4) refuse('cut', 'a length that is cut')
  const length = bytes.readUInt32BE()
  must(length > 0, 'a frame of nothing')
  if (length > MAX_FRAME) refuse('size', `a frame of ${length} bytes`)
  if (bytes.length - 4 < length) refuse('cut', 'a frame that is cut')
  const message = within('a frame', () => decode(bytes.subarray(4)))
  must(Array.isArray(message) && message.length === 2, 'a kind and a body')
  const kind = KINDS[message[0]]
  must(kind, `kind ${message[0]}`)
  must(kind !== 'ask' || (message[1] instanceof Map && message[1].size === 0), 'an ask is an empty map')
  return { kind, body: bytes.subarray(6) } // the array and the kind are a byte each
}
