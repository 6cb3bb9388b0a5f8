// Package client is the SDK: it takes counts of a feature from an appliance on the network, proves that they are the producer's, renews them by itself,
// and goes on with what it kept while the appliance cannot be reached.
//
// A program needs one Client, and a Lease for each thing it wants to be licensed for:
//
//	c, err := client.New(client.Options{Server: "license.example:7070", TrustFile: "producer.lht"})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	lease, err := c.Acquire(ctx, "render:2026.1", client.Wait(5*time.Minute))
//	if errors.Is(err, client.ErrNoSeat) {
//		return startViewerMode()
//	}
//
// Every no is a *capability.Refusal with a stable code, and one of the Err variables of this package is in it. What a client believes begins at the
// producer's root keys in the trust bundle and nowhere else: not at the network, and not at the files it kept.
//
// All programs of one machine that share a directory (Options.Dir) are one device. The wire knows only the whole set that a device shall hold; the
// directory is where the programs' shares are added up. Report and Undo are for features that are counted by use. Package capabilitytest runs an appliance inside
// the tests of a program. A machine without an appliance can have rights of its own, which came by file: OpenStandalone. Inspect needs none of this: it says what is in a request or response file.
package client
