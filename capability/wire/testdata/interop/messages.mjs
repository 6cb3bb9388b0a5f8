// The messages and what is in them: the tables of SPEC.md 5, 6, 8.1, 9 and 10 as data, by number and name.

import { decode } from './cbor.mjs'
import {
  always, array, ascending, bool, bytes, count, digest, distinct, id, map, may, name, need, range, seconds, text, time, u16, u32, uint, version, words,
} from './fields.mjs'
import { equal, must, within } from './refusal.mjs'

const EVIDENCE = 16384
const USED = range(0, 2n ** 62n)
const FIFTY_YEARS = range(0, 1581120000)

const compareNumbers = (a, b) => (a < b ? -1 : a > b ? 1 : 0)
const hex = (b) => b.toString('hex')

// SPEC.md 15: 20 symbols, of which the last two make c(1) and c(2) zero in GF(32).
const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
export function activationId(v, path = 'activation ID') {
  text(1, 256)(v, path)
  must(/^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){3}$/.test(v), `${path}: not of the form of an activation ID`)
  let p = 0
  let q = 0
  for (const symbol of v.replaceAll('-', '')) {
    const value = SYMBOLS.indexOf(symbol)
    p ^= value
    q <<= 1 // Horner's rule at x = 2, modulo x^5 + x^2 + 1
    if (q & 0x20) q ^= 0x25
    q ^= value
  }
  must(p === 0 && q === 0, `${path}: its check symbols are wrong`)
  return v
}

export const HOST = { TPM_EK: 1, TPM_AK: 2, FLEXID9: 8, FLEXID10: 9, DEVICE_KEY: 17 }
export const hostId = map({ 1: need('type', range(1, 17)), 2: need('value', text(1, 128, /^[ -~]+$/)) })
export const sameHost = (a, b) => a.type === b.type && a.value === b.value

const pair = map({ 1: need('key', name), 2: may('value', words) })
const head = map({ 1: may('position', uint), 2: may('hash', digest) })
const clock = map({ 1: may('now', time), 2: may('floor', time) })

const desired = map(
  {
    1: may('feature', name),
    2: always('version', version),
    3: may('count', count),
    4: may('partial', bool),
    5: may('activationId', activationId),
    6: may('selectors', array(pair, 64)),
    7: may('wait', bool),
  },
  (d, path) => must((d.feature === undefined) !== (d.activationId === undefined), `${path}: a feature or an activation ID`),
)

export const returned = map({
  1: need('id', id),
  2: need('activationId', activationId),
  3: need('copies', count),
  4: may('epoch', uint),
  5: may('time', time),
  6: may('serial', uint),
  7: may('proof', bytes(1, EVIDENCE)),
})

const record = map({ 1: need('number', uint), 2: may('body', bytes(1, 2 ** 20)) })
const denied = map({ 1: need('code', u16), 2: need('count', USED) })

export const usage = map(
  {
    1: need('from', time),
    2: need('until', time),
    3: may('activationId', activationId),
    4: may('feature', name),
    5: may('user', words),
    6: may('peak', USED),
    7: may('served', USED),
    8: may('seconds', USED),
    9: may('denials', array(denied, 32)),
  },
  (u) => {
    must(u.from < u.until, 'a period that ends before it begins')
    must((u.activationId === undefined) === (u.feature === undefined), 'an activation ID and a feature, or neither')
    must(u.feature !== undefined || (u.user ?? u.peak ?? u.served ?? u.seconds) === undefined, 'use of no feature')
    must(u.user === undefined || u.denials === undefined, 'denials of one user')
    must((u.served ?? u.seconds ?? u.denials) !== undefined, 'nothing was used or refused')
    ascending(u.denials ?? [], (a, b) => compareNumbers(a.code, b.code), 'denials')
  },
)

const meter = map({ 1: need('activationId', activationId), 2: need('feature', name), 3: need('count', count) })
const system = text(1, 32, /^[a-z0-9-]+$/)
const platform = map({ 1: may('virtual', system), 2: may('container', system) })
const alarm = map({ 1: need('code', u16), 2: need('count', u32), 3: need('last', time) })

export const OPERATION = { request: 0, preview: 1, report: 2, undo: 3 }
export const request = map(
  {
    1: need('version', range(1, 1)),
    2: need('hosts', array(hostId, 16)),
    3: need('correlation', id),
    4: may('applied', uint),
    5: may('desired', array(desired, 256)),
    6: may('operation', range(0, 3)),
    7: may('atomic', bool),
    8: may('user', words),
    9: may('alias', words),
    10: may('deviceType', words),
    11: may('dictionary', array(pair, 64)),
    12: may('borrow', seconds),
    13: may('granularity', range(1, 3)),
    14: may('receipt', bytes(1, EVIDENCE)),
    15: may('idle', seconds),
    16: may('undoes', id),
    20: may('number', uint),
    21: may('outstanding', array(digest, 1024)),
    22: may('epoch', uint),
    23: may('head', head),
    24: may('returns', array(returned, 256)),
    25: may('records', array(record, 4096)),
    26: may('clock', clock),
    27: may('condition', u16),
    28: may('policy', digest),
    29: may('producer', digest),
    30: may('bookHead', digest),
    31: may('life', id),
    32: may('metered', array(meter, 4096)),
    33: may('platform', platform),
    34: may('alarms', array(alarm, 16)),
    36: may('settled', bool),
    37: may('states', array(usage, 1024)),
  },
  (r) => {
    distinct(r.hosts, (h) => `${h.value}/${h.type}`, 'hosts')
    const undo = r.operation === OPERATION.undo
    must(undo === (r.undoes !== undefined), 'an undo names a report, and nothing else does')
    must(!undo || (r.desired === undefined && !equal(r.undoes, r.correlation)), 'an undo asks for nothing, and is not the report')
    ;(r.records ?? []).forEach((e, i, all) => must(i === 0 || BigInt(e.number) === BigInt(all[i - 1].number) + 1n, 'records: a gap'))
    distinct(r.metered ?? [], (m) => `${m.activationId} ${m.feature}`, 'metered')
    const states = r.states ?? []
    distinct(states, (u) => `${u.activationId} ${u.feature} ${u.user}`, 'states')
    must(states.every((u) => u.from === states[0].from), 'states: of periods that do not begin together')
    ascending(r.alarms ?? [], (a, b) => compareNumbers(a.code, b.code), 'alarms')
  },
)

const right = map({
  1: need('feature', name),
  2: always('version', version),
  3: may('count', u32),
  4: may('expiry', time),
  5: may('final', time),
  6: may('vendorString', words),
})

const holder = map({ 1: may('name', words), 2: may('count', u32), 3: may('expiry', time) })
const denial = map({
  1: may('code', u16),
  2: may('subject', words),
  3: may('asked', u32),
  4: may('available', u32),
  5: may('total', u32),
  6: may('used', u32),
  7: may('until', time),
  8: always('highest', version),
  9: may('detail', text(1, 1024)),
  10: may('holders', array(holder, 64)),
  11: may('position', u32),
})
const line = map({ 1: may('status', range(0, 2)), 2: may('count', u32), 3: may('denial', denial) }, (l, path) => {
  const says = ({ highest, ...rest }) => highest[0] > 0 || highest[1] > 0 || Object.keys(rest).length > 0
  must(!l.denial || says(l.denial), `${path}.denial says that it is not there`)
})

const dongle = (v, path) => {
  const read = hostId(v, path)
  must(read.type === HOST.FLEXID9 || read.type === HOST.FLEXID10, `${path}: no dongle`)
  return read
}
const policy = map({
  1: may('lease', range(60, 3600)),
  2: may('renewPercent', range(0, 90)),
  3: may('holders', range(0, 2)),
  4: may('tolerance', seconds),
  5: may('responseLife', seconds),
  6: may('granularity', range(0, 3)),
  7: may('borrowMaximum', seconds),
  8: may('duplicates', bool),
  9: may('binding', range(0, 3)),
  10: may('grace', range(-1, 31622400)),
  11: may('dongle', dongle),
  35: may('detail', bool),
  36: may('states', bool),
})

const lineItem = map(
  {
    1: need('activationId', activationId),
    2: need('feature', name),
    3: always('version', version),
    4: may('count', count),
    5: need('copies', count),
    6: may('uncounted', bool),
    7: may('start', time),
    8: may('expiry', time),
    9: may('product', words),
    10: always('productVersion', version),
    11: may('entitlementId', words),
    12: may('vendorString', words),
    13: may('issuer', words),
    14: may('issued', time),
    15: may('notice', words),
    16: may('serialNumber', words),
    17: may('overdraft', count),
    18: may('metered', bool),
    19: may('reusable', bool),
    20: may('undoInterval', FIFTY_YEARS),
    21: may('grace', bool),
    22: may('borrow', FIFTY_YEARS),
    23: may('selectors', array(pair, 64)),
    24: may('usedBefore', count),
    25: may('user', words),
  },
  (i, path) => {
    must((i.count ?? 0) % i.copies === 0, `${path}: a count that is no multiple of its copies`)
    must(!i.usedBefore || i.metered, `${path}: used before, of what is not metered`)
    must(!i.start || !i.expiry || i.start < i.expiry, `${path}: expires before it starts`)
  },
)

const state = (v, path) => {
  bytes(161)(v, path)
  must(v[0] === 0x41, `${path}: not a signed state`)
  return v
}
const boot = map({ 1: may('key', bytes(1, 2 ** 20)), 2: may('ref', bytes(1, 32)), 3: may('states', array(state, 4096)) })

export const STATUS = { ok: 0, partly: 1, unchanged: 2, preview: 3, returned: 4, denied: 5 }
export const response = map(
  {
    1: need('version', range(1, 1)),
    2: may('status', range(0, 5)),
    3: may('for', hostId),
    4: may('serial', uint),
    5: may('correlation', id),
    6: need('time', time),
    7: may('lifetime', seconds),
    8: may('rights', array(right, 4096)),
    9: may('items', array(lineItem, 4096)),
    10: may('lines', array(line, 256)),
    11: may('denials', array(denial, 256)),
    12: may('policy', policy),
    13: may('salt', id),
    14: may('hold', time),
    15: may('key', digest),
    20: may('request', digest),
    21: may('number', uint),
    22: may('acknowledged', array(id, 256)),
    23: may('records', uint),
    24: may('revoked', array(digest, 1024)),
    25: may('boot', boot),
    26: may('certificate', bytes(1, 65536)),
    27: may('returnAsked', bool),
    28: may('bookHead', digest),
    29: may('epoch', uint),
    30: may('life', id),
  },
  (r) => {
    const device = r.key && { type: HOST.DEVICE_KEY, value: hex(r.key).toUpperCase() }
    must(r.for || device, 'for nobody')
    must(!r.for || !device || !sameHost(r.for, device), 'whom it is for is said twice')
    distinct(r.items ?? [], (i) => `${i.activationId} ${i.feature}`, 'items')
  },
)

// whomFor is the host a response is for, where it is left out too.
export const whomFor = (r) => r.for ?? { type: HOST.DEVICE_KEY, value: hex(r.key).toUpperCase() }

export const clear = map({
  1: need('for', hostId),
  2: may('serial', uint),
  3: may('request', digest),
  4: may('number', uint),
  5: need('time', time),
  6: need('applyBefore', time),
})
export const sealed = map({ 1: need('clear', clear), 2: need('wrap', bytes(1, 1024)), 3: need('cipher', bytes(1, 2 ** 20)) })

const publicKeys = map({ 1: need('ed25519', bytes(32)), 2: need('mldsa87', bytes(2592)) })
export const trust = map({ 1: may('producer', words), 2: need('root', publicKeys) })
const revokedKey = map({ 1: need('key', digest), 2: may('since', time) })
export const keyCertificate = map(
  {
    1: need('keys', publicKeys),
    2: may('name', words),
    3: may('from', time),
    4: may('until', time),
    5: may('number', uint),
    6: may('revoked', array(revokedKey, 32)),
    7: may('limits', digest),
  },
  (c) => distinct(c.revoked ?? [], (r) => hex(r.key), 'revoked'),
)
// toAppliance judges the fields of a request to an appliance in a file: SPEC.md 7.5.
const FOR_BACK_OFFICE = ['outstanding', 'returns', 'records', 'states', 'metered', 'platform', 'alarms', 'settled', 'life']
export function toAppliance(r) {
  must(r.number !== undefined && r.producer !== undefined, 'a number and a producer')
  must(r.number < 2 ** 62, 'a number with room above it')
  must(r.operation === undefined && r.atomic && r.receipt === undefined, 'a request for leases, all or nothing, without a receipt')
  must(r.desired && r.desired.every((d) => d.feature !== undefined && !d.wait), 'lines of features that wait for nothing')
  for (const name of FOR_BACK_OFFICE) must(r[name] === undefined, `${name} is for a back office`)
}

export const applianceCertificate = map({
  1: need('host', hostId),
  2: need('ak', bytes(1, 512)),
  3: may('serial', uint),
  4: may('from', time),
  5: may('until', time),
})
export const keyRequest = map(
  { 1: need('keys', publicKeys), 2: need('name', text(1, 64)), 3: need('from', time), 4: may('until', time), 5: may('root', digest) },
  (r) => must(r.until === undefined || r.until >= r.from, 'until before from'),
)
const productLimit = map({ 1: need('product', name), 2: may('copies', u32), 3: may('day', u32) })
const limits = map({ 1: may('hour', u32), 2: may('day', u32), 3: may('products', array(productLimit, 64)) }, (l) =>
  ascending(l.products ?? [], (a, b) => Buffer.compare(Buffer.from(a.product), Buffer.from(b.product)), 'products'),
)
const part = map({ 1: need('size', range(1, 268435456)), 2: need('sha256', digest) })
export const update = map({
  1: need('version', text(1, 23, /^(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){1,3}$/)),
  2: need('security', range(1, 4095)),
  3: need('time', time),
  4: need('rootHash', digest),
  5: need('root', part),
  6: need('verity', part),
  7: need('kernel', part),
  8: need('certificate', bytes(1, 65536)),
  9: may('boot', boot),
})
export const certifiedKey = map({ 1: need('certificate', bytes(1, 65536)), 2: may('limits', limits) })

export const chain = map(
  { 1: may('key', bytes(1, 65536)), 2: may('appliance', bytes(1, 65536)), 3: need('serving', bytes(32)), 4: may('statement', bytes(1, EVIDENCE)) },
  (c) => must(!c.key === !c.appliance, 'both certificates or none'),
)
export const answer = map({ 1: need('response', bytes(1, 65536)), 2: need('proof', bytes(1, 65536)) })
export const answerFile = map({ 1: need('chain', chain), 2: need('answer', answer) })
export const receipt = map({ 1: need('answer', answer), 2: need('serving', bytes(32)), 3: may('statement', bytes(1, EVIDENCE)) })

// read decodes a message of one table; what ends too early is malformed, for it is inside something whole.
export const read = (table, encoding) => within('a message', () => table(decode(encoding), ''))
