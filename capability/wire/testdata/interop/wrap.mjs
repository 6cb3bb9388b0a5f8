// The wrap of a response to a machine with a TPM, opened by a key in software as the TPM would open it: SPEC.md 8.3. The key of an EK is in software in tests only.

import { createDecipheriv, createECDH, createHmac, createPrivateKey, privateDecrypt, timingSafeEqual } from 'node:crypto'
import { sha256 } from './cose.mjs'
import { EK_TEMPLATE, hostOf, nameOf, reader } from './evidence.mjs'
import { must, refuse, within } from './refusal.mjs'

const BITS_128 = Buffer.from('00000080', 'hex')
const BITS_256 = Buffer.from('00000100', 'hex')
const FIRST = Buffer.from('00000001', 'hex')
const IDENTITY = Buffer.from('IDENTITY\0')
const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac('sha256', key)).digest()
const no = (so, why) => so || refuse('signature', why)

// tpmUnwrapper unwraps content keys for the machine whose P-256 EK has this private scalar, and whose RSA EK, if it has one, this key (PKCS #8).
export const tpmUnwrapper = ({ testEK, testRSAEK, ak }) => {
  const ek = createECDH('prime256v1')
  ek.setPrivateKey(testEK)
  const point = ek.getPublicKey() // 04 || x || y
  const sized = (b) => Buffer.concat([Buffer.from([0, b.length]), b])
  const host = hostOf(nameOf(Buffer.concat([Buffer.from(EK_TEMPLATE, 'hex'), sized(point.subarray(1, 33)), sized(point.subarray(33))])))
  const name = nameOf(ak)
  return (wrap) => {
    must(wrap[0] === 0x31, 'a wrap for a TPM')
    const parts = within('a wrap', () => {
      const r = reader(wrap, 1)
      const all = { host: r.take(32), blob: r.sized(1024), secret: r.sized(1024), rsaBlob: r.sized(1024), rsaSecret: r.sized(1024) }
      r.end()
      return all
    })
    must(parts.blob.length && parts.secret.length && !parts.rsaBlob.length === !parts.rsaSecret.length, 'a credential of two parts')
    no(parts.host.equals(host), 'wrapped for another machine')
    const credential = open(curveSeed(ek, point, parts.secret), name, parts.blob)
    if (!parts.rsaBlob.length) return credential
    no(testRSAEK, 'wrapped to an RSA EK, and there is none')
    const other = open(rsaSeed(testRSAEK, parts.rsaSecret), name, parts.rsaBlob)
    return credential.map((byte, i) => byte ^ other[i])
  }
}

function curveSeed(ek, point, secret) {
  no(secret.length === 68 && secret.readUInt16BE(0) === 32 && secret.readUInt16BE(34) === 32, 'no ephemeral point')
  const x = secret.subarray(2, 34)
  try {
    const shared = ek.computeSecret(Buffer.concat([Buffer.from([4]), x, secret.subarray(36)]))
    return sha256(FIRST, shared, IDENTITY, x, point.subarray(1, 33))
  } catch {
    return refuse('signature', 'an ephemeral point on no curve')
  }
}

function rsaSeed(pkcs8, secret) {
  try {
    return privateDecrypt({ key: createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }), oaepHash: 'sha256', oaepLabel: IDENTITY }, secret)
  } catch {
    return refuse('signature', 'a seed that the RSA EK does not open')
  }
}

// open recovers a credential of 32 bytes; integrity is judged first.
function open(seed, name, blob) {
  no(seed.length === 32 && blob.length === 68 && blob.readUInt16BE(0) === 32, 'no credential of 32 bytes')
  const encrypted = blob.subarray(34)
  const integrity = hmac(hmac(seed, FIRST, Buffer.from('INTEGRITY\0'), BITS_256), encrypted, name)
  no(timingSafeEqual(integrity, blob.subarray(2, 34)), 'the credential is another key’s, or was changed')
  const key = hmac(seed, FIRST, Buffer.from('STORAGE\0'), name, BITS_128).subarray(0, 16)
  const aes = createDecipheriv('aes-128-cfb', key, Buffer.alloc(16))
  const plain = Buffer.concat([aes.update(encrypted), aes.final()])
  no(plain.readUInt16BE(0) === 32, 'no credential of 32 bytes')
  return plain.subarray(2)
}
