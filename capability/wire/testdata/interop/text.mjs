// The text form of a file, and the texts of codes that show one: SPEC.md 4.

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

// fromText gives the bytes that a text carries, in either way. Bytes that are not UTF-8 may stand around it.
export function fromText(bytes) {
  if (bytes.length > MAX_TEXT) refuse('size', `a text of ${bytes.length} bytes`)
  const begin = bytes.subarray(0, WITHIN).indexOf(BEGIN)
  if (begin < 0) return fromCodes(bytes)
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
  must(number !== said && /^(0|[1-9][0-9]{0,9})$/.test(number) && Number(number) >= parts.length && Number(number) <= MAX_FILE, `${parts.length} lines, and the end says ${said}`)
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

const isCode = (line) => trim(line).startsWith('LH1/')

function fromCodes(bytes) {
  if (!bytes.subarray(0, WITHIN).toString('utf8').split('\n').some(isCode)) refuse(bytes.length > MAX_FILE ? 'size' : 'kind', 'nothing begins a file, and there is no code')
  const codes = new Map()
  let all
  for (const line of bytes.toString('utf8').split('\n').filter(isCode)) {
    const [, number, of, symbols] = trim(line).match(/^LH1\/([1-9][0-9]{0,9})OF([1-9][0-9]{0,9})\/(.*)$/) ?? refuse('malformed', `${line} says neither which code it is nor of how many`)
    all ??= of
    const spaced = symbols.replaceAll('\u00a0', ' ')
    must(of === all && Number(number) <= Number(of) && Number(of) <= MAX_FILE && (codes.get(number) ?? spaced) === spaced, `code ${number} of ${of} is of another file`)
    codes.set(number, spaced)
  }
  const parts = []
  let size = 0
  for (let number = 1; number <= Number(all); number++) {
    const symbols = codes.get(String(number)) ?? refuse('cut', `code ${number} of ${all} is missing`)
    const full = codes.get('1').length
    must(symbols.length === full ? number === Number(all) || full % 3 === 0 : number === Number(all) && symbols.length < full, `code ${number} has ${symbols.length} symbols, the first ${full}`)
    parts.push(base45(symbols))
    if ((size += parts.at(-1).length) > MAX_FILE) refuse('size', `a file of more than ${MAX_FILE} bytes`)
  }
  return Buffer.concat(parts)
}

// base45 is RFC 9285.
function base45(symbols) {
  const values = [...symbols].map((symbol) => '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:'.indexOf(symbol))
  must(values.length > 0 && values.length % 3 !== 1 && !values.includes(-1), 'not base 45')
  const bytes = []
  for (let i = 0; i < values.length; i += 3) {
    const [a, b, c] = values.slice(i, i + 3)
    const n = a + 45 * b + 2025 * (c ?? 0)
    must(n < (c === undefined ? 1 << 8 : 1 << 16), 'symbols of base 45 that stand for more than their bytes')
    bytes.push(...(c === undefined ? [n] : [n >> 8, n & 0xff]))
  }
  return Buffer.from(bytes)
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
