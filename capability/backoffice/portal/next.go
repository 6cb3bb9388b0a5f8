package portal

import (
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// The catalog's next steps are commands, for who sits at a terminal. Here are those of the refusals that a browser meets, by what it can press. Nothing else in the portal words a next step.

// Next is the next step after a refusal, for who has a browser.
func Next(code capability.Code) string {
	if step, ok := steps()[code]; ok {
		return step
	}
	step := code.Entry().Next
	for _, command := range []string{"freehold", "leasehold", "systemctl ", "chmod ", "openssl ", "--"} {
		if strings.Contains(step, command) {
			return "ask the producer, and name the code " + code.String()
		}
	}
	return step
}

const (
	writeAnew  = "have the machine write another request, and drop it in the inbox"
	seeDevice  = "look at the machine's page, under Devices"
	seeItem    = "look at the activation ID's page, under Line items"
	askSecond  = "ask what happened; then propose it to a second person, in the inbox beside the request"
	askSellers = "ask the producer for another line item"
	atTerminal = "whoever runs the back office does that at its terminal"
)

func steps() map[capability.Code]string {
	return map[capability.Code]string{
		capability.ErrFileKind:      "choose the file that the machine wrote: its name ends in .LHQ",
		capability.ErrFileSize:      "choose the file that the machine wrote, by itself: no archive is opened",
		capability.ErrOtherProducer: "bring the request to the producer whose programs the machine trusts",
		capability.ErrResponseStale: writeAnew,
		capability.ErrKeyRevoked:    writeAnew,
		capability.ErrExpired:       "ask the producer for a renewal; then " + writeAnew,
		capability.ErrOperation:     "choose a request that the machine wrote for the back office",

		capability.ErrUnknownID:       "look for the activation ID under Line items",
		capability.ErrRollbackSuspect: seeDevice + ", and ask what happened to it",
		capability.ErrFork:            seeDevice + ", and ask which of the two is the machine",
		capability.ErrTier:            seeDevice + "; the producer sets under Settings what a machine of each kind may have",
		capability.ErrBookExpired:     "ask the producer to renew it, on its page under Line items",
		capability.ErrHostKey:         seeDevice + "; a replaced TPM is another machine: propose to give it what the old one had, in the inbox beside its request",
		capability.ErrRefused:         "settle the reason; then " + writeAnew,
		capability.ErrRepair:          askSecond,
		capability.ErrRehost:          "find the old machine under Devices; then propose to give the new one what that had, in the inbox beside the request",
		capability.ErrReplaced:        seeDevice + ", and ask why the old storage still runs",
		capability.ErrNoRehost:        seeDevice,
		capability.ErrTierLimit:       "ask for as many as the detail says, or use a machine of a better kind; the producer sets the limits under Settings",
		capability.ErrNoOffice:        atTerminal,
		capability.ErrOfficePresent:   atTerminal,
		capability.ErrBookGone:        atTerminal,
		capability.ErrNoSigningKey:    "whoever keeps the producer's root certifies a signing key: " + atTerminal,
		capability.ErrKeyRequest:      "compare the fingerprints: " + atTerminal,
		capability.ErrSigningLimit:    "wait, or have the root raise the limits of the signing key: " + atTerminal,
		capability.ErrToken:           "start the program that asks the token: " + atTerminal,
		capability.ErrKeySealed:       "have a new signing key certified: " + atTerminal,

		capability.ErrAccount:      "use an activation ID of the machine's own account; the producer arranges accounts under Accounts",
		capability.ErrLicenseModel: "ask the producer for a line item under another license model",
		capability.ErrSuspended:    "ask the producer to resume it, on its page under Line items",
		capability.ErrRetired:      "use the activation ID that took its place: its page under Line items names it",
		capability.ErrDraft:        "ask the producer to deploy it, on its page under Line items",
		capability.ErrHostType:     "use a machine with a host ID of an allowed type, or ask the producer",
		capability.ErrSpent:        "wait until the time that is named, or " + askSellers,
		capability.ErrItemState:    seeItem,
		capability.ErrNoRoom:       "give them to another machine, or take others from this one first, on its page under Devices",
		capability.ErrKeyUsed:      "load the page again, and fill the form in anew",
		capability.ErrRow:          "correct it, and import the file again; a good one to begin with is exported under Reports",

		capability.ErrReturnRefused: "return them once more on the machine; where that is refused too, ask the producer",
		capability.AskedBack:        "when what is lent of them has ended, " + writeAnew,
		capability.ErrMapped:        "ask the producer; what the machine is to have is on its page under Devices",
		capability.ErrNoMapping:     seeDevice,
		capability.ErrNoRetire:      seeItem,
		capability.ErrWrittenOff:    "bring the response to the machine; then " + writeAnew,
		capability.ErrNoWriteOff:    seeItem,

		capability.ErrUnassigned:    "assign a seat, on the activation ID's page under Line items",
		capability.ErrSeatElsewhere: "return it on that machine, and drop its request in the inbox; or withdraw the seat, on the activation ID's page under Line items",
		capability.ErrUsers:         seeItem + ", to see who; then unassign, disconnect, or return on the machine",
		capability.ErrMode:          seeItem + ": it is converted there where its kind allows that",
		capability.ErrConvert:       "ask the producer; the account's page says whether it converts",
		capability.ErrNoUser:        "look for the user under Users",
		capability.ErrService:       "put it into the pool of a floating license, on that one's page under Line items; the producer may allow it otherwise",
		capability.ErrUserCode:      "type it as on the newest slip, or have another made on the user's page under Users",

		capability.ErrNoLogin:           "look for the login under Logins",
		capability.ErrLoginCode:         "type it as it was printed, or have another made on the login's page under Logins",
		capability.ErrUserToken:         "sign in again with the user's name and password, on the machine that asks",
		capability.ErrAPIToken:          "make another token under My login, or ask who admits logins",
		capability.ErrLastAdministrator: "make another security administrator first, under Logins",

		capability.ErrOnline:            "drop the machine's request in the inbox; the producer turns answers over the network on under Settings",
		capability.ErrOperator:          "drop the machine's request in the inbox",
		capability.ErrOfficeUnreachable: "check the machine's network; files go as ever, through the inbox",
		capability.ErrOfficeCertificate: "compare the certificate's SHA-256 with the one that the producer was shown at the start of this portal",
		capability.ErrNotPolled:         "drop the machine's request in the inbox",

		capability.ErrUsage:    "go back, and correct what is named",
		capability.ErrNotFound: "look for it in the lists of this portal",
		capability.ErrForm:     "correct what is named, and send the form again",
	}
}
