// Package capability is the vocabulary of Leasehold: the two messages, what they are made of, their limits, and the catalog of codes.
//
// It is words, not bytes: capability/wire encodes these types (the numbers in the cbor tags are the promise, SPEC.md explains them), capability/ledger
// and capability/entitlement decide about them, programs show them. It imports only the standard library and hostid, and reads no clock.
//
// Start with Request and Response. A request states the whole of what its sender shall hold; a response states the whole of what it has.
package capability
