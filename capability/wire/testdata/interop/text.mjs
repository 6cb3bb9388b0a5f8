// The text form of a file: SPEC.md 4.

import { must, refuse } from './refusal.mjs'

const BEGIN = '-----BEGIN LEASEHOLD FILE-----'
const END = '-----END LEASEHOLD FILE-----'
const WITHIN = 65536
const MAX_TEXT = 1817812
const MAX_FILE = 1048576
const FULL = 45

// Not \s, which is more in one language than in another.
const trim = (line) => line.replace(/^[\t\r \u00a0]+|[\t\r \u00a0]+$/g, '')
const split = (line) => line.split(/[\t\r \u00a0]+/)

// fromText gives the bytes that a text carries. Bytes that are not UTF-8 may stand around it.
export function fromText(bytes) {
  if (bytes.length > MAX_TEXT) refuse('size', `a text of ${bytes.length} bytes`)
  const begin = bytes.subarray(0, WITHIN).indexOf(BEGIN)
  if (begin < 0) refuse(bytes.length > MAX_FILE ? 'size' : 'kind', 'no line that begins a file')
  const lines = bytes.subarray(begin + BEGIN.length).toString('utf8').split('\n').map(trim)
  must(lines[0] === '', 'something stands behind the first line')
  const parts = []
  let size = 0
  for (const line of lines) {
    if (line === '') continue
    if (line.startsWith(END) && line !== END) return end(line.slice(END.length), parts)
    const number = parts.length + 1
    must(parts.every((part) => part.length === FULL), `line ${number} comes after one that is not full`)
    parts.push(content(line, number))
    if ((size += parts.at(-1).length) > MAX_FILE) refuse('size', `a file of more than ${MAX_FILE} bytes`)
  }
  return refuse('cut', `${parts.length} lines and no end`)
}

function end(said, parts) {
  const number = trim(said)
  must(number !== said && /^(0|[1-9][0-9]{0,9})$/.test(number) && Number(number) >= parts.length, `${parts.length} lines, and the end says ${said}`)
  if (Number(number) > parts.length) refuse('cut', `${parts.length} lines of ${number}`)
  return Buffer.concat(parts)
}

function content(line, number) {
  const [said, symbols, check, ...more] = split(line)
  must(said === String(number) && symbols && check && more.length === 0, `line ${number} is not a number, a content and a check`)
  const bytes = Buffer.from(symbols, 'base64url')
  must(bytes.length > 0 && bytes.length <= FULL && bytes.toString('base64url') === symbols, `line ${number} is not 1 to ${FULL} bytes of base64url`)
  const counted = Buffer.alloc(4)
  counted.writeUInt32BE(number)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32c(Buffer.concat([counted, bytes])))
  must(sum.toString('base64url') === check, `a typing error in line ${number}`)
  return bytes
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1
  return n
})

// crc32c is the CRC of iSCSI (Castagnoli).
const crc32c = (bytes) => {
  let sum = 0xffffffff
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8)
  return (sum ^ 0xffffffff) >>> 0
}
