// The words that the tables of SPEC.md are written in: types, and what absent means.
//
// A type is a function from a decoded value and a path to the value by its names; it refuses what is not of the type. map reads a table.

import { must } from './refusal.mjs'

const isUint = (v) => (typeof v === 'number' || typeof v === 'bigint') && v >= 0

export const range = (low, high) => (v, path) => {
  must((typeof v === 'number' || typeof v === 'bigint') && v >= low && v <= high, `${path}: ${low} to ${high}`)
  return v
}
export const uint = range(0, 2n ** 64n - 1n)
export const u32 = range(0, 2 ** 32 - 1)
export const u16 = range(0, 65535)
export const u8 = range(0, 255)
export const time = range(0, 2n ** 63n - 1n)
export const seconds = time
export const count = range(0, 2 ** 30)

export const bool = (v, path) => {
  must(typeof v === 'boolean', `${path}: false or true`)
  return v
}

export const bytes = (low, high = low) => {
  const type = (v, path) => {
    must(Buffer.isBuffer(v) && v.length >= low && v.length <= high, `${path}: ${low} to ${high} bytes`)
    return v
  }
  type.fixed = low === high
  return type
}
export const digest = bytes(32)
export const id = bytes(16)

// Controls, line separators, marks that turn the direction of writing, and the sign for what could not be read.
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]/u

export const text = (low, high, form) => (v, path) => {
  must(typeof v === 'string', `${path}: a text`)
  const length = Buffer.byteLength(v)
  must(length >= low && length <= high, `${path}: ${low} to ${high} bytes`)
  must(!unprintable.test(v), `${path}: a character that is not for screens`)
  must(!form || form.test(v), `${path}: not of its form`)
  return v
}
export const words = text(0, 256)
export const name = text(1, 128)

export const version = (v, path) => {
  must(Array.isArray(v) && v.length === 2, `${path}: a version`)
  return v.map((part) => u32(part, path))
}

export const array = (element, most) => (v, path) => {
  must(Array.isArray(v) && v.length <= most, `${path}: an array of at most ${most}`)
  return v.map((e, i) => element(e, `${path}[${i}]`))
}

// Fields by what absent means: may (none), need (an error), always (there even where it is zero).
export const may = (name, type) => ({ name, type })
export const need = (name, type) => ({ name, type, need: true })
export const always = (name, type) => ({ name, type, need: true, zero: true })

// map reads a table of fields by number; rules judge what is true of several fields together.
export const map = (table, ...rules) => (v, path) => {
  must(v instanceof Map, `${path}: a map`)
  for (const key of v.keys()) must(Object.hasOwn(table, key), `${path}: unknown field ${key}`)
  const read = {}
  for (const [key, field] of Object.entries(table)) {
    const inside = path ? `${path}.${field.name}` : field.name
    const value = v.get(Number(key))
    if (value === undefined) {
      must(!field.need, `${inside} is missing`)
      continue
    }
    must(field.zero || !isZero(value, field.type), `${inside} says that it is not there`)
    read[field.name] = field.type(value, inside)
  }
  for (const rule of rules) rule(read, path)
  Object.defineProperty(read, 'raw', { value: v.raw })
  return read
}

function isZero(v, type) {
  if (v === 0 || v === false || v === '') return true
  if (Buffer.isBuffer(v)) return v.length === 0 || (type.fixed && v.every((b) => b === 0))
  return (Array.isArray(v) && v.length === 0) || (v instanceof Map && v.size === 0)
}

// distinct refuses an array of which two elements say the same by key.
export const distinct = (values, key, path) => must(new Set(values.map(key)).size === values.length, `${path}: something twice`)

// ascending refuses an array of which one element is not above the one before.
export const ascending = (values, compare, path) =>
  values.forEach((v, i) => must(i === 0 || compare(values[i - 1], v) < 0, `${path}: out of order`))

export { isUint }
