// Judges what a program said, from the bytes alone: node live.mjs < JSON. Prints what it may be believed to have said, as JSON; exits 1 and says why not else.
//
// trust: a trust bundle; now: seconds since 1970. Of a connection: device: the SubjectPublicKeyInfo of the client's key; tls: the server's certificate;
// frames: what was received in answer to what was sent, in order. Of a machine without a TPM: requestFile, responseFile; box: the private box key. All in hex.

import { X509Certificate, createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import * as chains from './chain.mjs'
import * as files from './files.mjs'
import { frame } from './frames.mjs'
import * as messages from './messages.mjs'
import { Refusal, equal } from './refusal.mjs'

const hex = (s) => Buffer.from(s, 'hex')
const no = (why) => {
  throw new Refusal('signature', why)
}
const printed = (key, value) => (typeof value === 'bigint' ? Number(value) : value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value)

function connection({ device, tls, frames, now }, root) {
  const key = createHash('sha256').update(hex(device)).digest()
  const answers = []
  let link
  let newest = 0
  for (const { sent, received } of frames) {
    const asked = frame(hex(sent))
    const got = frame(hex(received))
    if (asked.kind === 'ask' && got.kind === 'chain') {
      link = chains.chain(got.body, { root })
      const { x } = new X509Certificate(hex(tls)).publicKey.export({ format: 'jwk' })
      if (!equal(Buffer.from(x, 'base64url'), link.serving)) no('the key of the connection is not the serving key')
      if (link.appliance.until !== undefined && link.appliance.until < now) no('the appliance certificate is over')
    } else if (asked.kind === 'request' && got.kind === 'answer') {
      if (!link) no('an answer before the chain')
      const { correlation, hosts } = messages.read(messages.request, asked.body)
      const answer = chains.answer(got.body, link.serving)
      chains.isFor(answer, { request: correlation, key, host: hosts[0], until: link.appliance.until, newest })
      newest = answer.response.serial ?? newest
      answers.push({ ...answer.response, host: messages.whomFor(answer.response) })
    } else {
      no(`${got.kind} in answer to ${asked.kind}`)
    }
  }
  return answers
}

function byFile({ requestFile, responseFile, box, now }, root) {
  const asked = files.request(hex(requestFile))
  const host = asked.request.hosts[0]
  return files.response(hex(responseFile), { root, unwrap: files.unwrapper(hex(box)), machine: { host, now, requests: [asked.digest] } }).response
}

try {
  const said = JSON.parse(await text(process.stdin))
  const { root } = files.trust(hex(said.trust))
  const result = { answers: said.frames ? connection(said, root) : [], file: said.responseFile ? byFile(said, root) : null }
  console.log(JSON.stringify(result, printed))
} catch (refused) {
  if (!(refused instanceof Refusal)) throw refused
  console.log(JSON.stringify({ refused: refused.message }))
  process.exitCode = 1
}
