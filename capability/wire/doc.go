// Package wire is bytes: the deterministic encoding, the signed envelopes, the files and the frames of Leasehold.
//
// SPEC.md and capability.cddl beside it are normative; testdata/vectors holds inputs, bytes and what must become of them, for programs in any language.
// Everything here is pure: it signs with what it is given and reads no clock.
//
// Most programs use capability/client. Start here with Codec, then Request files (SignRequest, OpenRequest), Response files (SealResponse, ReadResponse),
// and the proofs of answers (Grow, Answer.Verify).
package wire
