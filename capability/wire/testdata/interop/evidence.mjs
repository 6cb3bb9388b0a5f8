// Evidence: what stands in the place of a signature where a TPM's key signs, which signs only what its TPM made (SPEC.md 7.2), or a device key (7.4).

import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { sha256, verifyEd25519 } from './cose.mjs'
import { Refusal, equal, must, refuse, within } from './refusal.mjs'

const WHOLE = 16384
const WITH_LOG = 81920
export const EK_TEMPLATE = '0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100003' + '0010'
const AK_TEMPLATE = '0023000b00050472000000100018000b00030010'

// parse reads the parts of evidence of a TPM; step 1 of SPEC.md 7.2.
export function parse(bytes) {
  const format = bytes[0]
  must(format >= 0x11 && format <= 0x13, 'a format of evidence that is not known')
  must(bytes.length <= (format === 0x11 ? WHOLE : WITH_LOG), 'evidence that is too long')
  return within('evidence', () => {
    const r = reader(bytes, 1)
    const parts = { ek: r.sized(512), ak: r.sized(512), quoted: r.sized(512), signature: r.sized(128), pcrs: r.sized(96), log: Buffer.alloc(0), intermediates: [] }
    parts.certificates = r.several(0, 2, 4096)
    if (format === 0x13) {
      parts.intermediates = r.several(1, 6, 6144)
      must(parts.intermediates.reduce((sum, c) => sum + c.length, 0) <= 6144, 'intermediates that are too long')
    }
    if (format !== 0x11) parts.log = r.sized(65535)
    must(format !== 0x12 || parts.log.length > 0, 'an event log of no bytes')
    must(parts.pcrs.length === 0 || parts.pcrs.length === 96, 'PCRs of 96 bytes')
    r.end()
    return parts
  })
}

// reader takes big-endian numbers and sized bytes one after the other.
export function reader(bytes, at = 0) {
  const take = (n) => {
    if (bytes.length - at < n) refuse('cut', 'bytes are missing')
    return bytes.subarray(at, (at += n))
  }
  const uint = (n) => take(n).readUIntBE(0, n)
  const sized = (most) => {
    const n = uint(2)
    must(n <= most, `${n} bytes, at most ${most}`)
    return take(n)
  }
  return {
    take,
    uint,
    sized,
    several: (least, most, size) => {
      const n = uint(1)
      must(n >= least && n <= most, `${n} certificates`)
      return Array.from({ length: n }, () => sized(size))
    },
    end: () => must(at === bytes.length, 'bytes are left over'),
  }
}

// nameOf is the Name of a TPMT_PUBLIC, hostOf the host ID of an EK with that Name, as bytes.
export const nameOf = (bytes) => Buffer.concat([Buffer.from('000b', 'hex'), sha256(bytes)])
export const hostOf = (name) => sha256('leasehold tpm host v1\0', name)

// publicKey reads a TPMT_PUBLIC that differs from a template in its point only.
function publicKey(bytes, template, what) {
  const start = Buffer.from(template, 'hex')
  must(bytes.length === start.length + 68 && equal(bytes.subarray(0, start.length), start), `${what} is not of its template`)
  const r = reader(bytes, start.length)
  const x = r.sized(32)
  const y = r.sized(32)
  must(x.length === 32 && y.length === 32, `${what}: coordinates of 32 bytes`)
  let key
  try {
    key = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }, format: 'jwk' })
  } catch {
    refuse('malformed', `${what}: not on the curve`)
  }
  return { key, name: nameOf(bytes) }
}

// attest reads a TPMS_ATTEST of a quote.
function attest(bytes) {
  return within('what the TPM says', () => {
    const r = reader(bytes)
    const a = { magic: r.uint(4), type: r.uint(2), signer: r.sized(68), extra: r.sized(64) }
    if (a.magic !== 0xff544347 || a.type !== 0x8018) refuse('signature', 'not a quote of a TPM')
    r.take(16)
    must(r.uint(1) <= 1, 'a clock that is neither safe nor not')
    r.take(8)
    a.banks = Array.from({ length: Math.min(r.uint(4), 16) }, () => [r.uint(2), r.take(r.uint(1)).toString('hex')])
    a.pcrDigest = r.sized(64)
    r.end()
    return a
  })
}

// signature reads a TPMT_SIGNATURE as r || s of 32 bytes each.
function signature(bytes) {
  return within('the signature of the TPM', () => {
    const r = reader(bytes)
    if (r.uint(2) !== 0x0018 || r.uint(2) !== 0x000b) refuse('signature', 'not ECDSA with SHA-256')
    const pair = [r.sized(128), r.sized(128)]
    r.end()
    if (pair.some((n) => n.length > 32)) refuse('signature', 'r or s of more than 32 bytes')
    return Buffer.concat(pair.map((n) => Buffer.concat([Buffer.alloc(32 - n.length), n])))
  })
}

// quote judges that the TPM which has ak quoted extra, in words "leasehold ... v1\0" and what they are about; steps 2 to 6.
function quote(parts, ak, extra) {
  const sig = signature(parts.signature)
  const a = attest(parts.quoted)
  const signer = Buffer.concat([Buffer.from('000b', 'hex'), sha256(Buffer.from('4000000b', 'hex'), ak.name)])
  const no = (so, why) => so || refuse('signature', why)
  no(equal(a.signer, signer), 'the quote is another key’s')
  no(equal(a.extra, extra), 'the quote is about something else')
  no(a.banks.length === 1 && a.banks[0][0] === 0x000b && a.banks[0][1] === '801800', 'a quote of other PCRs')
  no(parts.pcrs.length === 0 || equal(a.pcrDigest, sha256(parts.pcrs)), 'the PCRs are not those that were quoted')
  no(verify('sha256', parts.quoted, { key: ak.key, dsaEncoding: 'ieee-p1363' }, sig), 'the signature of the quote')
}

// statement judges what an AK says of a serving key; step 3 of SPEC.md 10. ak is the TPMT_PUBLIC that answers for the machine. Whatever is wrong with a statement,
// the key is not stated: signature.
export function statement(bytes, akPublic, serving) {
  try {
    const ak = publicKey(akPublic, AK_TEMPLATE, 'the AK')
    const parts = parse(bytes ?? Buffer.alloc(0))
    if (parts.ak.length && !equal(parts.ak, akPublic)) refuse('signature', 'the statement is another AK’s')
    quote(parts, ak, sha256('leasehold session v1\0', serving))
  } catch (no) {
    if (!(no instanceof Refusal)) throw no
    refuse('signature', `the statement: ${no.message}`)
  }
}

// tpm judges the evidence of a request file and gives the host ID and the kid that follow from it; SPEC.md 7.2.
export function tpm(bytes, requestDigest) {
  const parts = parse(bytes)
  const ek = publicKey(parts.ek, EK_TEMPLATE, 'the EK')
  const ak = publicKey(parts.ak, AK_TEMPLATE, 'the AK')
  must(parts.pcrs.length === 96, 'PCRs of 96 bytes')
  quote(parts, ak, sha256('leasehold request v1\0', requestDigest))
  certificates(parts.certificates, ek.key)
  return { type: 1, value: hostOf(ek.name).toString('hex').toUpperCase(), kid: sha256(parts.ak).subarray(0, 16) }
}

// counted judges the proof of a return by a TPM and gives the epoch that its counter has come to; SPEC.md 7.3.
const EPOCH_INDEX = '01804c48'
export function counted(proof, akPublic, returnDigest) {
  must(proof && proof[0] === 0x21 && proof.length <= 1024, 'the proof of a TPM')
  const ak = publicKey(akPublic, AK_TEMPLATE, 'the AK')
  const no = (so, why) => so || refuse('signature', why)
  return within('the proof', () => {
    const r = reader(proof, 1)
    const [index, certified, tpmt] = [r.take(4), r.sized(512), r.sized(128)]
    r.end()
    const sig = signature(tpmt)
    const c = reader(certified)
    const said = { magic: c.uint(4), type: c.uint(2), signer: c.sized(68), extra: c.sized(64) }
    no(said.magic === 0xff544347 && said.type === 0x8014, 'not a statement about a counter')
    c.take(16)
    must(c.uint(1) <= 1, 'a clock that is neither safe nor not')
    c.take(8)
    const [name, offset, contents] = [c.sized(68), c.uint(2), c.sized(8)]
    c.end()
    const sha = (...parts) => Buffer.concat([Buffer.from('000b', 'hex'), sha256(...parts)])
    no(index.toString('hex') === EPOCH_INDEX && equal(name, sha(Buffer.from(`${EPOCH_INDEX}000b2202001400000008`, 'hex'))), 'about another counter')
    no(equal(said.signer, sha(Buffer.from('4000000b', 'hex'), ak.name)), 'another key’s')
    no(equal(said.extra, sha256('leasehold return v1\0', returnDigest)), 'about another return')
    no(offset === 0 && contents.length === 8, 'a part of a counter')
    no(verify('sha256', certified, { key: ak.key, dsaEncoding: 'ieee-p1363' }, sig), 'the signature of the proof')
    return contents.readBigUInt64BE()
  })
}

// certificates judges that each is for this EK or for an RSA EK, one of a kind; who made them is not judged here.
function certificates(all, ek) {
  const kinds = new Set()
  for (const der of all) {
    let key
    try {
      key = new X509Certificate(der).publicKey
    } catch {
      refuse('signature', 'an EK certificate that is none')
    }
    if (key.asymmetricKeyType === 'ec') {
      if (!key.equals(ek)) refuse('signature', 'an EK certificate of another key')
    } else {
      const { modulusLength, publicExponent } = key.asymmetricKeyDetails
      if (key.asymmetricKeyType !== 'rsa' || modulusLength !== 2048 || publicExponent !== 65537n) refuse('signature', 'an EK certificate of another kind')
    }
    if (kinds.has(key.asymmetricKeyType)) refuse('signature', 'two EK certificates of a kind')
    kinds.add(key.asymmetricKeyType)
  }
}

const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')

// device judges the evidence of a machine without a TPM; SPEC.md 7.4.
export function device(bytes, requestDigest) {
  must(bytes.length === 129 && bytes[0] === 0x81, 'evidence of a device key')
  const [key, box, signed] = [bytes.subarray(1, 33), bytes.subarray(33, 65), bytes.subarray(65)]
  const spki = sha256(ED25519_SPKI, key)
  if (!verifyEd25519(key, Buffer.concat([Buffer.from('leasehold device request v1\0'), box, requestDigest]), signed)) refuse('signature', 'of the device key')
  return { type: 17, value: spki.toString('hex').toUpperCase(), kid: spki.subarray(0, 16), box }
}

// deviceProof judges the proof of a return by a device key; the end of SPEC.md 7.4.
export function deviceProof(proof, key, returnDigest) {
  must(proof?.length === 65 && proof[0] === 0x91, 'the proof of a device key')
  if (!verifyEd25519(key, Buffer.concat([Buffer.from('leasehold device return v1\0'), returnDigest]), proof.subarray(1))) refuse('signature', 'of the return')
}
