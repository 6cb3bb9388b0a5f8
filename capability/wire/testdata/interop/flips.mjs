// Flips one bit of every byte of good vectors, each of which must then be refused: node flips.mjs DIRECTORY STEP NAME.... Looks at every STEP-th byte; which
// bit it is goes round. Prints a line of JSON for each vector, and exits 1 where a flip was taken, or broke the reader instead of being refused.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Refusal } from './refusal.mjs'
import { having, readers } from './vectors.mjs'

const [directory, step, ...names] = process.argv.slice(2)
for (const name of names) {
  const vector = JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8'))
  const have = having(vector.keys)
  const good = Buffer.from(vector.hex, 'hex')
  readers[vector.kind](good, have)
  const line = { name, flips: 0, refused: 0, classes: {}, taken: [] }
  for (let at = 0; at < good.length; at += Number(step)) {
    const flipped = Buffer.from(good)
    flipped[at] ^= 1 << at % 8
    line.flips++
    try {
      readers[vector.kind](flipped, have)
      line.taken.push(at)
    } catch (no) {
      if (!(no instanceof Refusal)) throw no
      line.refused++
      line.classes[no.class] = (line.classes[no.class] ?? 0) + 1
    }
  }
  console.log(JSON.stringify(line))
  if (line.taken.length || !line.flips) process.exitCode = 1
}
