// Runs every vector of a directory: node vectors.mjs DIRECTORY; with "-" those that come in, a line of JSON each. Prints a line of JSON for each, and exits 1
// where one is not as it should be.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { decode } from './cbor.mjs'
import { sha256 } from './cose.mjs'
import * as chains from './chain.mjs'
import * as evidence from './evidence.mjs'
import * as files from './files.mjs'
import { KINDS, frame } from './frames.mjs'
import * as messages from './messages.mjs'
import { Refusal, must } from './refusal.mjs'
import { fromText } from './text.mjs'
import { tpmUnwrapper } from './wrap.mjs'

// What a vector says a reader of its kind has.
export const having = (keys = {}) => {
  const have = Object.fromEntries(Object.entries(keys).map(([name, value]) => [name, Buffer.from(value, 'hex')]))
  if (have.trust) have.root = files.trust(have.trust).root
  return { ...have, known: have.revoked ? [have.revoked] : [] }
}

// A reader for each kind: what it gives is compared with the vector's input, and digest with its digest.
export const readers = {
  request: (bytes) => {
    must(bytes.length <= 16384, 'larger than a frame')
    return { is: messages.read(messages.request, bytes) }
  },
  return: (bytes, { device, ak }) => {
    const is = messages.read(messages.returned, bytes)
    const digest = sha256('leasehold return v1\0', withoutProof(is.raw))
    if (ak) evidence.counted(is.proof, ak, digest)
    if (device) evidence.deviceProof(is.proof, device, digest)
    return { is, digest }
  },
  usage: (bytes) => ({ is: messages.read(messages.usage, bytes) }),
  'request-file': (bytes) => {
    const { request, kid, evidence, digest } = files.request(bytes)
    return { is: { request, kid, evidence }, digest }
  },
  'response-file': (bytes, { root, known, contentKey, ...machine }) => {
    const unwrap = machine.testEK ? tpmUnwrapper(machine) : machine.box ? files.unwrapper(machine.box) : () => contentKey
    const { response, certificate, wrap } = files.response(bytes, { root, known, unwrap, machine: receiver(machine) })
    return { is: { response, wrap, keyCertificate: withoutKeys(certificate) } }
  },
  trust: (bytes) => ({ is: files.trust(bytes) }),
  'key-request': (bytes) => ({ is: { keyRequest: withoutKeys(files.keyRequest(bytes)) } }),
  update: (bytes, { root, known }) => {
    const { certificate, update } = files.update(bytes, root, known)
    const { certificate: _, ...said } = update
    return { is: { keyCertificate: withoutKeys(certificate), update: said } }
  },
  'certified-key': (bytes, { root }) => {
    const { certificate, limits } = files.certifiedKey(bytes, root)
    return { is: { keyCertificate: withoutKeys(certificate), limits } }
  },
  chain: (bytes, { root, known }) => {
    const { key, appliance, serving, statement } = chains.chain(bytes, { root, known })
    return { is: { keyCertificate: withoutKeys(key), applianceCertificate: appliance, serving, statement } }
  },
  answer: (bytes, { serving, ...asker }) => {
    const read = chains.answer(bytes, serving)
    if (asker.request) chains.isFor(read, whoAsked(asker))
    return { is: ofGroup(read) }
  },
  'answer-file': (bytes, { root, known }) => {
    const parts = files.answerFile(bytes)
    const { key, appliance, serving, statement } = chains.chain(parts.chain, { root, known })
    const chain = { keyCertificate: withoutKeys(key), applianceCertificate: appliance, serving, statement }
    return { is: { chain, answer: ofGroup(chains.answer(parts.answer, serving)) } }
  },
  receipt: (bytes, { ak }) => {
    const read = chains.receipt(bytes, ak)
    return { is: { answer: ofGroup(read), statement: read.statement } }
  },
  item: (bytes) => ({ is: decode(bytes) }), // any item of SPEC.md 2; no vector is one
  frame: (bytes) => {
    const { kind, body } = frame(bytes)
    return { is: { kind: KINDS.indexOf(kind), body } }
  },
  text: (bytes) => {
    const file = fromText(bytes)
    return { is: { file }, digest: sha256(file) }
  },
  'activation-id': (bytes) => ({ is: messages.activationId(bytes.toString()) }),
}

// What a reader knows who asked, and a machine that a file came to.
const long = (bytes) => bytes && bytes.readBigUInt64BE()
const whoAsked = ({ request, device, serial, until }) => {
  const { correlation, hosts } = messages.read(messages.request, request)
  return { request: correlation, key: device, host: hosts[0], newest: long(serial), until: long(until) }
}
const receiver = ({ host, now, request }) => {
  if (!now) return undefined
  return { host: messages.read(messages.hostId, host), now: long(now), requests: [request] }
}

// The input of a certificate names neither the keys, which follow from a seed, nor what follows from them.
const withoutKeys = ({ keys, fingerprint, limits, ...rest }) => rest

// The input of an answer has every response of the group, of which ours is the one at leaf, and says whom it is for where the bytes leave that to the key.
const ofGroup = ({ response, claims, leaf }) => ({ response: { ...response, for: messages.whomFor(response) }, leaf: Number(leaf), iat: claims.iat, epoch: claims.epoch })
const inputOfGroup = ({ responses, leaf = 0, iat, epoch }) => ({ response: responses[leaf], leaf, iat, epoch })

// withoutProof takes field 7 off an encoded return: it is the last, so it is cut off and the map has a pair less.
function withoutProof(raw) {
  const proof = messages.read(messages.returned, raw).proof
  if (!proof) return raw
  const cut = Buffer.from(raw.subarray(0, raw.length - proof.length - (proof.length < 24 ? 2 : proof.length < 256 ? 3 : 4)))
  cut[0]--
  return cut
}

// plain writes what was read as a vector's input does: byte strings in hex, fields in the order of their names, and no zeros, of which a version may be one.
const plain = (v) =>
  Buffer.isBuffer(v) ? v.toString('hex')
  : Array.isArray(v) ? v.map(plain)
  : typeof v === 'bigint' ? Number(v)
  : v && typeof v === 'object' ? Object.fromEntries(Object.keys(v).sort().filter((k) => !isNone(v[k])).map((k) => [k, plain(v[k])]))
  : v
const isNone = (v) => v === undefined || v === 0 || (Array.isArray(v) && v.length === 2 && v[0] === 0 && v[1] === 0)

const sameAsInput = (kind, is, input) => {
  if (kind === 'answer') input = inputOfGroup(input)
  if (kind === 'receipt' || kind === 'answer-file') input = { ...input, answer: inputOfGroup(input.answer) }
  return JSON.stringify(plain(is)) === JSON.stringify(plain(input))
}

// run reads one vector and says what came of it.
export function run(vector) {
  const bytes = Buffer.concat([Buffer.from(vector.hex, 'hex'), Buffer.alloc(vector.pad ?? 0)])
  const line = { name: vector.name, kind: vector.kind, expect: vector.expect }
  try {
    const { is, digest } = readers[vector.kind](bytes, having(vector.keys))
    line.got = 'ok'
    if (vector.digest && digest.toString('hex') !== vector.digest) line.why = `digest ${digest.toString('hex')}`
    if (vector.input !== undefined && !sameAsInput(vector.kind, is, vector.input)) line.why = `read ${JSON.stringify(plain(is))}`
  } catch (no) {
    if (!(no instanceof Refusal)) throw no
    line.got = no.class
    line.refusal = no.message
  }
  line.as = line.got === line.expect && !line.why
  return line
}

export const load = (directory) =>
  directory === '-'
    ? readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line))
    : readdirSync(directory)
        .filter((file) => file.endsWith('.json'))
        .map((file) => JSON.parse(readFileSync(join(directory, file), 'utf8')))

if (import.meta.filename === process.argv[1]) {
  const lines = load(process.argv[2]).map(run)
  for (const line of lines) console.log(JSON.stringify(line))
  process.exitCode = lines.length && lines.every((line) => line.as) ? 0 : 1
}
