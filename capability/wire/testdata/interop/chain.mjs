// From the producer's root to what one answer says: SPEC.md 10 and 11.

import { decode } from './cbor.mjs'
import { ALG, LABEL, TYP, envelope, sha256, signedTwice, toBeSigned, verifyEd25519 } from './cose.mjs'
import * as evidence from './evidence.mjs'
import { array, bytes, digest, map, may, need, time, uint } from './fields.mjs'
import { isWithin, keyCertificate } from './files.mjs'
import * as messages from './messages.mjs'
import { equal, must, refuse, within } from './refusal.mjs'

// chain judges steps 1 to 3 of SPEC.md 10 and gives the serving key. Steps 4 and 5 are judged where a connection and a clock are.
export function chain(encoding, { root, known }) {
  const links = messages.read(messages.chain, encoding)
  must(links.key, 'not activated: LH-4001')
  const key = keyCertificate(links.key, root, known)
  const item = signedTwice(within('an appliance certificate', () => decode(links.appliance)), TYP.appliance)
  if (!equal(item.kid, key.fingerprint.subarray(0, 16))) refuse('signature', 'the appliance is certified by another key')
  item.judge(key.keys)
  const appliance = messages.read(messages.applianceCertificate, item.payload)
  if (!isWithin(key, appliance.from ?? 0)) refuse('signature', 'certified outside of the time of the key')
  evidence.statement(links.statement, appliance.ak, links.serving)
  return { serving: links.serving, statement: links.statement, key, appliance }
}

const claims = map({ 6: may('iat', time), '-70003': may('epoch', uint), '-70004': need('size', uint) })
const proofs = map({ '-1': need('inclusion', array(bytes(1, 65536), 4096)) })

// proof judges the form of a proof and that it is by the serving key, then the form of its inclusion proof: steps 1 and 2 of SPEC.md 11.3.
function proof(encoding, serving) {
  const item = envelope(within('a proof', () => decode(encoding)), TYP.group, [ALG.ed25519], {
    protected: [LABEL.claims, LABEL.vds],
    unprotected: [LABEL.vdp],
  })
  must(item.header.get(LABEL.vds) === 1, 'another verifiable data structure')
  must(item.payload === null && item.signature.length === 64, 'a detached payload, and a signature of Ed25519')
  const said = claims(item.header.get(LABEL.claims), 'claims')
  const { inclusion } = proofs(item.unprotected.get(LABEL.vdp), 'vdp')
  must(inclusion.length === 1, 'one inclusion proof')
  if (!equal(item.kid, sha256(serving).subarray(0, 16))) refuse('signature', 'kid is another serving key’s')
  const parts = within('the inclusion proof', () => decode(inclusion[0]))
  must(Array.isArray(parts) && parts.length === 3, 'size, leaf and path')
  const [size, leaf] = parts.slice(0, 2).map((n) => BigInt(uint(n, 'inclusion')))
  must(size === BigInt(said.size), 'the inclusion proof and the claims differ in size')
  const path = array(digest, 32)(parts[2], 'path')
  return { item, claims: said, size, leaf, path }
}

// rootOf folds a path: steps 3 to 5 of SPEC.md 11.3, which are RFC 9162, section 2.1.3.2.
function rootOf(response, { size, leaf, path }) {
  if (leaf >= size) refuse('signature', 'a leaf that the tree does not have')
  let fn = leaf
  let sn = size - 1n
  let r = sha256(Buffer.from([0]), response)
  for (const p of path) {
    if (sn === 0n) refuse('signature', 'a path that is too long')
    if (fn & 1n || fn === sn) {
      r = sha256(Buffer.from([1]), p, r)
      if (!(fn & 1n)) {
        while (fn !== 0n && !(fn & 1n)) {
          fn >>= 1n
          sn >>= 1n
        }
      }
    } else {
      r = sha256(Buffer.from([1]), r, p)
    }
    fn >>= 1n
    sn >>= 1n
  }
  if (sn !== 0n) refuse('signature', 'a path that is too short')
  return r
}

// answer judges an answer by the serving key of a chain: SPEC.md 11.3.
export const answer = (encoding, serving) => judged(messages.read(messages.answer, encoding), serving)

function judged({ response, proof: encoding }, serving) {
  const p = proof(encoding, serving)
  const root = rootOf(response, p)
  if (!verifyEd25519(serving, toBeSigned(p.item, root), p.item.signature)) refuse('signature', 'of the group')
  return { response: messages.read(messages.response, response), claims: p.claims, leaf: p.leaf }
}

// isFor judges what only the asker knows: the end of SPEC.md 11.3.
export function isFor({ response }, { request, key, host, until, newest = 0 }) {
  if (!response.correlation || !equal(response.correlation, request)) refuse('not-ours', 'answers another request')
  if (!response.key || !equal(response.key, key)) refuse('not-ours', 'for another device key')
  if (!messages.sameHost(messages.whomFor(response), host)) refuse('not-ours', 'for another host')
  if (response.serial !== undefined && response.serial < newest) refuse('late', 'older than what is kept')
  if (until !== undefined && response.time > until) refuse('late', 'after the end of the appliance certificate')
}

// receipt judges a receipt by the AK that stands in the appliance certificate: SPEC.md 11.4.
export function receipt(encoding, ak) {
  const kept = messages.read(messages.receipt, encoding)
  evidence.statement(kept.statement, ak, kept.serving)
  return { ...judged(kept.answer, kept.serving), statement: kept.statement }
}
