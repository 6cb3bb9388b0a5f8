// CBOR as SPEC.md 2 wants it: one encoding for every value, and a bound for everything before memory is taken.
//
// decode gives numbers (a BigInt above 2^53), booleans, null, texts, Buffers, arrays, and Maps with integer keys. A Map and an array know the bytes they
// were read from (raw), because what was signed or hashed is hashed as received. What a tag is, decode does not know: the three at the start of a file are
// compared as bytes (files.mjs).
//
// It is written out because decoders of libraries take longer integers than needed, keys out of order, or the last of two equal keys, and those of JavaScript
// drop a U+FEFF at the start of a text.

import { must, refuse } from './refusal.mjs'

const MAX_NESTING = 10
const MAX_ARRAY = 4096
const MAX_MAP = 64
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// decode reads one item, which is all that the bytes hold.
export function decode(bytes) {
  const [value, end] = item(bytes, 0, 0)
  must(end === bytes.length, `${bytes.length - end} bytes behind the item`)
  return value
}

function item(bytes, at, depth) {
  const start = at
  if (at >= bytes.length) refuse('cut', 'an item is missing')
  const major = bytes[at] >> 5
  let argument
  ;[argument, at] = head(bytes, at)
  switch (major) {
    case 0:
      return [argument, at]
    case 1:
      return [typeof argument === 'bigint' || argument === Number.MAX_SAFE_INTEGER ? -1n - BigInt(argument) : -1 - argument, at]
    case 2:
    case 3: {
      if (argument > bytes.length - at) refuse('cut', `a string of ${argument} bytes, of which ${bytes.length - at} are there`)
      const content = Buffer.from(bytes.buffer, bytes.byteOffset + at, argument)
      return [major === 2 ? content : text(content), at + argument]
    }
    case 4: {
      must(depth < MAX_NESTING, 'nested too deep')
      must(argument <= MAX_ARRAY, `an array of ${argument} elements`)
      const array = []
      for (let i = 0; i < argument; i++) {
        let element
        ;[element, at] = item(bytes, at, depth + 1)
        array.push(element)
      }
      array.raw = bytes.subarray(start, at)
      return [array, at]
    }
    case 5: {
      must(depth < MAX_NESTING, 'nested too deep')
      must(argument <= MAX_MAP, `a map of ${argument} pairs`)
      const map = new Map()
      let before
      for (let i = 0; i < argument; i++) {
        const from = at
        let key, value
        ;[key, at] = item(bytes, at, depth + 1)
        must(typeof key === 'number', 'a key that is no integer')
        const encoded = bytes.subarray(from, at)
        must(!before || Buffer.compare(before, encoded) < 0, `key ${key} twice or out of order`)
        before = encoded
        ;[value, at] = item(bytes, at, depth + 1)
        map.set(key, value)
      }
      map.raw = bytes.subarray(start, at)
      return [map, at]
    }
    case 6:
      return refuse('malformed', 'a tag')
    default:
      must(bytes[start] >= 0xf4 && bytes[start] <= 0xf6, 'a floating-point number, undefined, or another simple value')
      return [[false, true, null][bytes[start] - 0xf4], at]
  }
}

// head reads the argument of an item: its value, its length, or how many items are in it.
function head(bytes, at) {
  const info = bytes[at++] & 0x1f
  if (info < 24) return [info, at]
  must(info < 28, 'an indefinite or reserved length')
  const size = 1 << (info - 24)
  if (bytes.length - at < size) refuse('cut', 'a number ends too early')
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + at, size)
  const number = size === 8 ? view.readBigUInt64BE() : view.readUIntBE(0, size)
  const major = bytes[at - 1] >> 5
  if (major !== 7) must(number >= [24, 0x100, 0x10000, 0x100000000][info - 24], 'a number longer than needed')
  return [number > Number.MAX_SAFE_INTEGER ? number : Number(number), at + size]
}

function text(bytes) {
  try {
    return UTF8.decode(bytes)
  } catch {
    return refuse('malformed', 'a text that is not UTF-8')
  }
}

// byteString encodes a byte string, which is all that a Sig_structure needs.
export function byteString(bytes) {
  const n = bytes.length
  const head = n < 24 ? [0x40 | n] : n < 0x100 ? [0x58, n] : n < 0x10000 ? [0x59, n >> 8, n & 0xff] : [0x5a, n >>> 24, (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff]
  return Buffer.concat([Buffer.from(head), bytes])
}
