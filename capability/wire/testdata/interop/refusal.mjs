// What a reader says no with: a class of SPEC.md 16, and what was wrong, for people.

export class Refusal extends Error {
  constructor(kind, why) {
    super(`${kind}: ${why}`)
    this.class = kind
  }
}

export const refuse = (kind, why) => {
  throw new Refusal(kind, why)
}

// must refuses as malformed what is not so.
export const must = (so, why) => so || refuse('malformed', why)

// within reads with a function; what ends too early inside something that is whole is malformed, not cut.
export const within = (what, read) => {
  try {
    return read()
  } catch (no) {
    if (no instanceof Refusal && no.class === 'cut') refuse('malformed', `${what} ends too early`)
    throw no
  }
}

export const equal = (a, b) => Buffer.compare(a, b) === 0
