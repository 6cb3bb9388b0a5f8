package terminal

// The meaning of each field, by its path in SPEC.md: for people who decide whether a file may leave their site.

func requestWords() map[string]string {
	return map[string]string{
		"version":     "of the message format",
		"hosts":       "who the machine is: the digest of its TPM, then the IDs of board, network cards, disks and dongles",
		"correlation": "drawn by chance for this request; the answer names it",
		"applied":     "serial of the last response in force",
		"desired":     "what the machine shall hold, or none for what is its own",
		"operation":   "what is to be done with the desired: request, preview, report or undo",
		"atomic":      "one refused line refuses all",
		"user":        "user name, as claimed",
		"alias":       "name of the device for people",
		"deviceType":  "kind of device",
		"dictionary":  "what the software's vendor adds",
		"borrow":      "longest time without asking again",
		"granularity": "to what the end of a lease is rounded",
		"receipt":     "an earlier answer, to renew during a hold",
		"idle":        "how long nobody has used the program",
		"undoes":      "the report that is canceled, by what was drawn for it",
		"number":      "requests this machine has written, this one included",
		"outstanding": "digests of the requests written since the last response",
		"epoch":       "value of the TPM's counter that dates the trusted storage",
		"returns":     "rights that left service here for good",
		"records":     "usage and audit records",
		"condition":   "what is wrong with the trusted storage or the binding, if anything",
		"policy":      "digest of the producer's policy in force",
		"producer":    "digest of the producer's root keys that the machine trusts",
		"bookHead":    "head of the back office's book, as its last response named it",
		"life":        "names the trusted storage, drawn at random when it was made",
		"metered":     "what is used of each metered line item",

		"alarms":  "what has looked like a copy or a change of the machine",
		"settled": "nothing is lent any more of what the producer took back, as the machine says",

		"platform.virtual":   "virtual machine monitor by its name, or bare metal",
		"platform.container": "container manager by its name, or bare of one",
		"alarms.code":        "what was noticed",
		"alarms.count":       "how often since the daemon started",
		"alarms.last":        "when last",

		"desired.feature":         "feature wanted",
		"desired.version":         "at least this version",
		"desired.count":           "the whole wanted total",
		"desired.partial":         "less will do",
		"desired.wait":            "queue for it where it is busy",
		"desired.activationId":    "activation ID wanted",
		"desired.selectors":       "which line items may serve it",
		"desired.selectors.key":   "selector",
		"desired.selectors.value": "its value",
		"dictionary.key":          "key",
		"dictionary.value":        "value",

		"head.position":  "length of the journal of the trusted storage",
		"head.hash":      "hash of its last record",
		"clock.now":      "the machine's clock",
		"clock.floor":    "the latest time it may trust",
		"records.number": "number of the record",
		"records.body":   "its content",

		"states":               "what was used in the day that runs, where the producer asks how it stands",
		"states.from":          "first second of the time",
		"states.until":         "first second that is not in it",
		"states.activationId":  "what was used; none: of features that the machine has no right to",
		"states.feature":       "of this feature",
		"states.user":          "by this user, where the producer and the site want users named",
		"states.peak":          "most counts in use at one moment",
		"states.served":        "counts that devices got and did not have before",
		"states.seconds":       "counts in use, times the seconds that they were",
		"states.denials":       "what was refused",
		"states.denials.code":  "with this code",
		"states.denials.count": "so many times",

		"metered.activationId": "what is metered",
		"metered.feature":      "of this feature",
		"metered.count":        "used of it by all devices together",

		"returns.id":           "names the return",
		"returns.activationId": "what is returned",
		"returns.copies":       "how many copies",
		"returns.epoch":        "the first epoch without these rights",
		"returns.time":         "when",
		"returns.serial":       "of the response the rights came with",
		"returns.proof":        "the TPM's word on its counter",
	}
}

func signatureWords() map[string]string {
	return map[string]string{
		"alg":           "-70001 is a quote by a key in a TPM, -19 a signature by a device key",
		"kid":           "names the attestation key",
		"signature":     "the TPM's evidence, as octets",
		"requestDigest": "names this request in responses and later requests",
		"forTrusted":    "it is addressed to the producer whose trust bundle was given",
	}
}

func machineWords() map[string]string {
	return map[string]string{
		"host":          "host ID: digest of the TPM's endorsement key",
		"ek":            "public endorsement key",
		"ak":            "public attestation key",
		"akName":        "its TPM name",
		"pcrs":          "boot state: PCR 7, 11 and 12",
		"clock":         "milliseconds the TPM has run",
		"resetCount":    "power cycles of the TPM",
		"restartCount":  "restarts within this one",
		"safe":          "the TPM's clock was never set back",
		"firmware":      "version of the TPM's firmware",
		"eventLog":      "length of the firmware's log of what it started and measured, which is in the evidence too: names and digests of firmware, boot loader and kernel, with its command line",
		"certificates":  "the TPM maker's certificates, by which the back office judges the tier",
		"intermediates": "certificates of the maker's authorities above these, which the TPM has",

		"certificates.issuer": "who says that the key is one of a TPM; not judged here",
		"certificates.key":    "kind of key",
		"certificates.from":   "valid from",
		"certificates.until":  "valid until",
		"certificates.bytes":  "the whole certificate",

		"intermediates.issuer": "who certified this authority; not judged here",
		"intermediates.key":    "kind of key",
		"intermediates.from":   "valid from",
		"intermediates.until":  "valid until",
		"intermediates.bytes":  "the whole certificate",
	}
}

func deviceWords() map[string]string {
	return map[string]string{
		"host": "host ID: digest of the device key",
		"key":  "public key that signs",
		"box":  "public key that responses are encrypted to",
	}
}

func proofWords() map[string]string {
	return map[string]string{
		"return":  "the return it proves",
		"verdict": "whether the TPM's statement covers it",
		"epoch":   "the TPM's counter, as proven",
		"why":     "why not",
	}
}

func clearWords() map[string]string {
	return map[string]string{
		"for":         "the one machine that can open it",
		"serial":      "the newest serial wins",
		"request":     "digest of the request it answers",
		"number":      "number of that request",
		"time":        "when it was made",
		"applyBefore": "refused after",
	}
}

func keyWords() map[string]string {
	return map[string]string{
		"name":        "as the producer calls it",
		"fingerprint": "digest of its two public keys",
		"from":        "certified from",
		"until":       "certified until",
	}
}

func partWords() map[string]string {
	return map[string]string{
		"certificate": "bytes of the key certificate by the producer's root",
		"wrap":        "bytes of the content key, which one TPM can read",
		"wrapHost":    "the machine that TPM is in",
		"cipher":      "bytes of the encrypted rights",
	}
}

func trustWords() map[string]string {
	return map[string]string{
		"producer":    "whose root keys these are",
		"fingerprint": "digest of the root keys; compare it with the producer's by another way",
	}
}
