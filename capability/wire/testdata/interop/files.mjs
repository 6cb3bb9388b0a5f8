// Files: what begins with a magic (SPEC.md 4), and the order in which each is judged (7, 8, 9).

import { createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import { decode } from './cbor.mjs'
import { ALG, LABEL, TYP, envelope, fingerprint, kidOf, sha256, signedTwice, toBeSigned } from './cose.mjs'
import * as evidence from './evidence.mjs'
import * as messages from './messages.mjs'
import { equal, must, refuse, within } from './refusal.mjs'

const MAX_FILE = 1048576
const MAX_FRAME = 16384
const MAX_SIGNED = 65536
const MAGIC = {
  request: 'd9d9f7da4c485251d2',
  response: 'd9d9f7da4c485253d2',
  'answer-file': 'd9d9f7da4c485253', // and a map of two
  trust: 'd9d9f7da4c485452',
  'key-request': 'd9d9f7da4c484b52d2',
  'certified-key': 'd9d9f7da4c484b43',
  update: 'd9d9f7da4c485550d2',
}

// content is the item behind the magic of a kind of file.
function content(bytes, kind) {
  if (bytes.length > MAX_FILE) refuse('size', `a file of ${bytes.length} bytes`)
  const magic = Buffer.from(MAGIC[kind], 'hex')
  const start = bytes.subarray(0, magic.length)
  if (!equal(start, magic.subarray(0, start.length))) refuse('kind', `not a file of kind ${kind}`)
  if (start.length < magic.length) refuse('cut', 'a magic that is cut')
  if (kind === 'answer-file' && bytes.length > magic.length && bytes[magic.length] !== 0xa2) refuse('kind', 'no answer of an appliance')
  return decode(bytes.subarray(magic.length))
}

// trust reads a trust bundle, which says whom to believe, and so proves itself by nothing.
export const trust = (bytes) => messages.trust(content(bytes, 'trust'), '')

// keyCertificate judges a key certificate against a root, step by step as SPEC.md 9.2 has it.
export function keyCertificate(bytes, root, known = []) {
  const item = signedTwice(within('a key certificate', () => decode(bytes)), TYP.key)
  if (!equal(item.kid, kidOf(root))) refuse('other-producer', 'certified by another root')
  item.judge(root)
  const certificate = messages.read(messages.keyCertificate, item.payload)
  certificate.fingerprint = fingerprint(certificate.keys)
  for (const { key } of certificate.revoked ?? []) if (equal(key, certificate.fingerprint)) refuse('revoked', 'by its own certificate')
  for (const key of known) if (equal(key, certificate.fingerprint)) refuse('revoked', 'by a certificate that was seen before')
  return certificate
}

export const isWithin = ({ from, until }, time) => (from === undefined || time >= from) && (until === undefined || time <= until)

// request judges a request file, evidence included, and gives the request, its digest, and who asks.
export function request(bytes) {
  const item = envelope(content(bytes, 'request'), TYP.request, [ALG.quote, ALG.ed25519, ALG.esp256])
  must(Buffer.isBuffer(item.payload), 'no payload')
  const ofClient = item.alg !== ALG.quote && item.signature[0] === evidence.OF_CLIENT
  must(item.alg !== ALG.esp256 || ofClient, 'ESP256 is for a client that asks an appliance')
  const message = messages.read(messages.request, item.payload)
  const digest = sha256(toBeSigned(item, item.payload))
  if (ofClient) evidence.clientForm(item.signature, item.alg === ALG.esp256 ? 'ec' : 'ed25519')
  if (ofClient) messages.toAppliance(message)
  const judge = ofClient ? evidence.client : item.alg === ALG.quote ? evidence.tpm : evidence.device
  const asker = judge(item.signature, digest)
  if (!messages.sameHost(message.hosts[0], asker)) refuse('signature', 'the first host is not the one that signed')
  if (!equal(item.kid, asker.kid)) refuse('signature', 'kid is another key’s')
  if (ofClient) must(message.hosts.slice(1).every(({ type }) => type !== messages.HOST.DEVICE_KEY), 'another device key beside the one that signed')
  return { request: message, digest, kid: item.kid, evidence: item.signature, box: asker.box, key: asker.key }
}

// answerFile reads what an appliance answers to a client in a file, and gives the encodings of its two parts: SPEC.md 8.5. Both are judged by chain.mjs.
export function answerFile(bytes) {
  const { chain, answer } = messages.answerFile(content(bytes, 'answer-file'), '')
  if (chain.raw.length > MAX_FRAME || answer.raw.length > MAX_FRAME) refuse('size', 'a part that no frame holds')
  must(chain.key, 'not activated: LH-4001')
  return { chain: chain.raw, answer: answer.raw }
}

// response judges a response file and opens it with what unwraps its content key: SPEC.md 8.4. Steps 5 and 8 are judged where machine says who reads it, and when:
// host; now; newest, the serial of the response in force; requests, the digests of its own.
export function response(bytes, { root, known, unwrap, machine }) {
  const item = signedTwice(content(bytes, 'response'), TYP.response, [LABEL.certificate])
  const sealed = messages.read(messages.sealed, item.payload)
  const certificateBytes = item.unprotected.get(LABEL.certificate)
  must(Buffer.isBuffer(certificateBytes), 'a key certificate of bytes')
  const certificate = keyCertificate(certificateBytes, root, known)
  if (!equal(item.kid, certificate.fingerprint.subarray(0, 16))) refuse('signature', 'kid is not the certified key’s')
  item.judge(certificate.keys)
  const { clear } = sealed
  if (!isWithin(certificate, clear.time)) refuse('signature', 'made outside of the time of its key')
  if (machine) isFor(clear, machine)
  const message = messages.read(messages.response, open(sealed, unwrap(sealed.wrap, clear.for)))
  const agree = (so, what) => must(so, `${what} of the content is not that of the clear part`)
  agree(messages.sameHost(messages.whomFor(message), clear.for), 'for')
  for (const field of ['serial', 'number', 'time']) agree(message[field] === clear[field], field)
  agree(equal(message.request ?? Buffer.alloc(0), clear.request ?? Buffer.alloc(0)), 'request')
  agree(message.lifetime && BigInt(message.time) + BigInt(message.lifetime) === BigInt(clear.applyBefore), 'lifetime')
  if (machine && !machine.requests.some((digest) => message.request && equal(digest, message.request))) refuse('not-ours', 'answers no request of this machine')
  return { response: message, certificate, clear, wrap: sealed.wrap }
}

// isFor judges step 5 of SPEC.md 8.4. A serial that is not new changes nothing, which the caller of this tells from a refusal.
function isFor(clear, { host, now, newest = 0 }) {
  if (!messages.sameHost(clear.for, host)) refuse('not-ours', 'for another machine')
  if (now > clear.applyBefore) refuse('late', 'too late')
  if ((clear.serial ?? 0) <= newest) refuse('late', 'not newer')
}

// open decrypts: SPEC.md 8.2.
function open({ clear, cipher }, contentKey) {
  const split = cipher.length - 16
  if (split < 0) refuse('signature', 'less than a tag')
  const gcm = createDecipheriv('aes-256-gcm', contentKey, Buffer.alloc(12)).setAuthTag(cipher.subarray(split))
  gcm.setAAD(Buffer.concat([Buffer.from('leasehold response v1\0'), clear.raw]))
  try {
    return Buffer.concat([gcm.update(cipher.subarray(0, split)), gcm.final()])
  } catch {
    return refuse('signature', 'the content was not encrypted with this key')
  }
}

// unwrapper unwraps content keys for a machine without a TPM: SPEC.md 8.3, which is HPKE (RFC 9180) with its first suite but AES-256-GCM.
export const unwrapper = (boxSeed) => (wrap, host) => {
  const id = Buffer.from(host.value, 'hex')
  must(wrap.length === 113 && wrap[0] === 0xa1, 'a wrap for a box key')
  if (!equal(wrap.subarray(1, 33), id)) refuse('signature', 'wrapped for another machine')
  return hpkeOpen(boxSeed, Buffer.concat([Buffer.from('leasehold device wrap v1\0'), id]), wrap.subarray(33, 65), wrap.subarray(65))
}

const KEM = Buffer.concat([Buffer.from('KEM'), Buffer.from([0x00, 0x20])])
const SUITE = Buffer.concat([Buffer.from('HPKE'), Buffer.from([0x00, 0x20, 0x00, 0x01, 0x00, 0x02])])
const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac('sha256', key)).digest()
const extract = (suite, salt, label, ikm) => hmac(salt.length ? salt : Buffer.alloc(32), 'HPKE-v1', suite, label, ikm)
const expand = (suite, prk, label, info, length) => // at most 32 bytes: one block of HKDF
  hmac(prk, Buffer.from([length >> 8, length & 0xff]), 'HPKE-v1', suite, label, info, Buffer.from([1])).subarray(0, length)

function hpkeOpen(seed, info, encapsulated, sealed) {
  const empty = Buffer.alloc(0)
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), seed])
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const peer = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: encapsulated.toString('base64url') }, format: 'jwk' })
  const own = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x, 'base64url')
  let dh
  try {
    dh = diffieHellman({ privateKey, publicKey: peer })
  } catch {
    return refuse('signature', 'an encapsulated key of small order')
  }
  const shared = expand(KEM, extract(KEM, empty, 'eae_prk', dh), 'shared_secret', Buffer.concat([encapsulated, own]), 32)
  const context = Buffer.concat([Buffer.from([0]), extract(SUITE, empty, 'psk_id_hash', empty), extract(SUITE, empty, 'info_hash', info)])
  const secret = extract(SUITE, shared, 'secret', empty)
  const gcm = createDecipheriv('aes-256-gcm', expand(SUITE, secret, 'key', context, 32), expand(SUITE, secret, 'base_nonce', context, 12))
  gcm.setAuthTag(sealed.subarray(32))
  try {
    return Buffer.concat([gcm.update(sealed.subarray(0, 32)), gcm.final()])
  } catch {
    return refuse('signature', 'the content key was not wrapped for this machine')
  }
}

// keyRequest judges a key request: SPEC.md 9.4.
export function keyRequest(bytes) {
  const item = signedTwice(content(bytes, 'key-request'), TYP['key-request'])
  const message = messages.read(messages.keyRequest, item.payload)
  if (!equal(item.kid, kidOf(message.keys))) refuse('signature', 'kid is not that of the key it names')
  item.judge(message.keys)
  return message
}

// update judges an update of an appliance's image: SPEC.md 9.7.
export function update(bytes, root, known) {
  if (bytes.length > MAX_SIGNED) refuse('size', `an update of ${bytes.length} bytes`)
  const item = signedTwice(content(bytes, 'update'), TYP.update)
  const message = messages.read(messages.update, item.payload)
  const certificate = keyCertificate(message.certificate, root, known)
  if (!equal(item.kid, certificate.fingerprint.subarray(0, 16))) refuse('signature', 'kid is not the certified key’s')
  item.judge(certificate.keys)
  if (!isWithin(certificate, message.time)) refuse('signature', 'signed outside of the time of its key')
  return { update: message, certificate }
}

// certifiedKey judges a certified key: SPEC.md 9.5.
export function certifiedKey(bytes, root) {
  const file = messages.certifiedKey(content(bytes, 'certified-key'), '')
  const certificate = keyCertificate(file.certificate, root)
  const digest = file.limits && sha256('leasehold signing limits v1\0', file.limits.raw)
  if (!equal(digest ?? Buffer.alloc(0), certificate.limits ?? Buffer.alloc(0))) refuse('signature', 'not the limits that the certificate names')
  return { certificate, limits: file.limits }
}
