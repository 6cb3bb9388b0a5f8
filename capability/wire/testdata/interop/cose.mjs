// Envelopes: COSE_Sign1 as SPEC.md 4 has it, and the item signed twice.

import { createHash, createPublicKey, verify } from 'node:crypto'
import { ml_dsa87 } from '@noble/post-quantum/ml-dsa.js'
import { byteString, decode } from './cbor.mjs'
import { equal, must, refuse, within } from './refusal.mjs'

export const LABEL = { alg: 1, kid: 4, claims: 15, typ: 16, vds: 395, vdp: 396, certificate: -70002 }
export const ALG = { ed25519: -19, esp256: -9, mldsa87: -50, quote: -70001 }
export const TYP = Object.fromEntries(
  ['request', 'response', 'key', 'key-request', 'update', 'appliance', 'group'].map((kind) => [kind, `application/vnd.leasehold.${kind}+cose`]),
)

export const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

// envelope looks at a COSE_Sign1: typ first, then alg, then that no label is anywhere but where the table of SPEC.md 4 has it.
export function envelope(item, typ, algs, more = { protected: [], unprotected: [] }) {
  must(Array.isArray(item) && item.length === 4, 'an envelope has four elements')
  const [protectedHeader, unprotected, payload, signature] = item
  must(Buffer.isBuffer(protectedHeader) && protectedHeader.length <= 256, 'a protected header of at most 256 bytes')
  const header = within('the protected header', () => decode(protectedHeader))
  must(header instanceof Map && typeof header.get(LABEL.typ) === 'string', 'a header with typ')
  if (header.get(LABEL.typ) !== typ) refuse('type', `${header.get(LABEL.typ)} in the place of ${typ}`)
  must(algs.includes(header.get(LABEL.alg)), `alg ${header.get(LABEL.alg)}`)
  labels(header, [LABEL.alg, LABEL.kid, LABEL.typ, ...more.protected], 'protected')
  must(unprotected instanceof Map, 'the unprotected header is a map')
  labels(unprotected, more.unprotected, 'unprotected')
  const kid = header.get(LABEL.kid)
  must(Buffer.isBuffer(kid) && kid.length === 16, 'a kid of 16 bytes')
  must(Buffer.isBuffer(signature), 'a signature of bytes')
  return { header, unprotected, alg: header.get(LABEL.alg), kid, payload, signature, protectedHeader }
}

const labels = (header, want, where) =>
  must(header.size === want.length && want.every((label) => header.has(label)), `labels ${[...header.keys()]} in the ${where} header, want ${want}`)

// toBeSigned is the Sig_structure of RFC 9052, section 4.4.
export const toBeSigned = ({ protectedHeader }, payload) =>
  Buffer.concat([Buffer.from('846a5369676e617475726531', 'hex'), byteString(protectedHeader), byteString(Buffer.alloc(0)), byteString(payload)])

export function verifyEd25519(key, message, signature) {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') }, format: 'jwk' })
  return verify(null, message, publicKey, signature)
}

export const fingerprint = (publicKeys) => sha256('leasehold producer key v1\0', publicKeys.raw)
export const kidOf = (publicKeys) => fingerprint(publicKeys).subarray(0, 16)

// signedTwice looks at an item signed twice without judging the signatures: SPEC.md 4. judge does, with the keys of whoever must have signed.
export function signedTwice(item, typ, unprotected = []) {
  const outer = envelope(item, typ, [ALG.mldsa87], { protected: [], unprotected })
  must(Buffer.isBuffer(outer.payload) && outer.signature.length === 4627, 'a payload, and a signature of ML-DSA-87')
  const inner = envelope(within('the inner envelope', () => decode(outer.payload)), typ, [ALG.ed25519])
  must(Buffer.isBuffer(inner.payload) && inner.signature.length === 64, 'a payload, and a signature of Ed25519')
  must(equal(outer.kid, inner.kid), 'the two envelopes name two keys')
  return { kid: outer.kid, unprotected: outer.unprotected, payload: inner.payload, judge: (keys) => judge(outer, inner, keys) }
}

// Both signatures are judged, always: that one of two is good is something to be told.
function judge(outer, inner, keys) {
  const classical = verifyEd25519(keys.ed25519, toBeSigned(inner, inner.payload), inner.signature)
  const lattice = ml_dsa87.verify(outer.signature, toBeSigned(outer, outer.payload), keys.mldsa87)
  if (classical !== lattice) refuse('one-signature', classical ? 'ML-DSA-87 is bad' : 'Ed25519 is bad')
  if (!classical) refuse('signature', 'both signatures are bad')
}
