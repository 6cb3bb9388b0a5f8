package capability

// The codes. 1xxx life of the appliance, 20xx files, 21xx requests, 22xx and 23xx responses, 3xxx capability requests, 4xxx health and trusted storage, 5xxx back office, 6xxx programs.
const (
	Started       Code = 1001
	Stopped       Code = 1002
	ClockJudged   Code = 1003
	Recognized    Code = 1004
	ChangePlanned Code = 1005
	PowerAsked    Code = 1006
	ImageProved   Code = 1007
	NetworkSet    Code = 1008
	RequestMade   Code = 2101
	ReturnMade    Code = 2102
	StickIgnored  Code = 2103
	FileAnswered  Code = 2104
	Applied       Code = 2201
	AlreadyHere   Code = 2202
	OlderResponse Code = 2203

	ErrFileKind       Code = 2001
	ErrFileCut        Code = 2002
	ErrFileSize       Code = 2003
	ErrFileForm       Code = 2004
	ErrFileNone       Code = 2005
	ErrFileRead       Code = 2006
	ErrStickOff       Code = 2007
	ErrStickPulled    Code = 2008
	ErrMediumFull     Code = 2009
	ErrMediumLocked   Code = 2010
	ErrStickSystem    Code = 2011
	ErrStickStopped   Code = 2012
	ErrSignature      Code = 2301
	ErrOneSignature   Code = 2302
	ErrOtherProducer  Code = 2303
	ErrNotOurs        Code = 2305
	ErrResponseStale  Code = 2306
	ErrNotOpened      Code = 2307
	ErrResponseForm   Code = 2308
	ErrReplayedSerial Code = 2309
	ErrResponseEpoch  Code = 2310
	ErrKeyRevoked     Code = 2311
	ErrResponseState  Code = 2312
	// 2401 to 2419: updates of the image.
	UpdateInstalled   Code = 2401
	UpdateHere        Code = 2402
	ErrUpdateSecurity Code = 2403
	ErrUpdateFile     Code = 2404
	ErrUpdateState    Code = 2405
	ErrUpdateRoom     Code = 2406
	ErrUpdateInstall  Code = 2407
	ErrNoImage        Code = 2408
	ErrUpdateTrial    Code = 2409
	ErrUpdateFailed   Code = 2410
	ErrUpdateMany     Code = 2411

	ErrProto             Code = 3001
	ErrCorrelationReused Code = 3002
	ErrDeviceKey         Code = 3003
	ErrOperation         Code = 3004
	ErrUndo              Code = 3005
	ErrRequestPassed     Code = 3006
	ErrOtherAppliance    Code = 3007
	ErrNotEntitled       Code = 3101
	ErrVersion           Code = 3102
	ErrExpired           Code = 3103
	ErrNoSeat            Code = 3104
	ErrNotStarted        Code = 3105
	ErrOverage           Code = 3106
	ErrReceipt           Code = 3107
	ErrRule              Code = 3108
	ErrLimit             Code = 3109
	ErrIdle              Code = 3110
	ErrUnheard           Code = 3111
	ErrAssigned          Code = 3112
	ErrClientKey         Code = 3113
	ErrInUse             Code = 3201
	ErrNothingToReturn   Code = 3202
	ErrNoSuchLease       Code = 3203
	ErrReturnWaits       Code = 3204
	ErrModel             Code = 3401
	ErrModelInForce      Code = 3402
	ErrReserved          Code = 3403
	ErrDuplicates        Code = 3404
	ErrLocked            Code = 3405
	ErrSetElsewhere      Code = 3406
	DuplicatesOff        Code = 3407
	BorrowShortened      Code = 3408
	ErrMeanwhile         Code = 3409
	ErrRation            Code = 3410
	ErrServerUnproven    Code = 3301
	ErrServerUnreachable Code = 3302
	ErrClientStore       Code = 3303
	ErrPlain             Code = 3311
	ErrTLSVersion        Code = 3312
	ErrALPN              Code = 3313
	ErrHandshake         Code = 3314
	ErrCrowded           Code = 3315
	// 3320 to 3329: the certificate for browsers.
	ErrCertificateForm  Code = 3321
	ErrCertificateKey   Code = 3322
	ErrCertificateName  Code = 3323
	ErrCertificateDates Code = 3324
	ErrCertificateChain Code = 3325
	ErrCertificateLost  Code = 3326
	ErrCertificateEnds  Code = 3327
	// 3330 to 3339: the file of a client's public key.
	ErrKeyPEM     Code = 3331
	ErrKeyPrivate Code = 3332
	ErrKeySize    Code = 3333
	ErrKeyKind    Code = 3334
	ErrKeyForm    Code = 3335

	ErrNotProvisioned Code = 4001
	ErrHold           Code = 4002
	ErrRollback       Code = 4003
	ErrCorrupt        Code = 4004
	ErrSealed         Code = 4005
	ErrBinding        Code = 4006
	ErrClock          Code = 4007
	ErrStorageLocked  Code = 4008
	ErrStorageFull    Code = 4009
	ErrDisturbed      Code = 4010
	ErrStorage        Code = 4011
	ErrTime           Code = 4012
	ErrStorageGone    Code = 4013
	ErrRecoveryTaken  Code = 4014
	ErrImageOlder     Code = 4031
	ErrRecovery       Code = 4015
	ErrNoArchive      Code = 4016
	ErrAuditForm      Code = 4017
	ErrRestore        Code = 4018
	ErrPlanned        Code = 4019
	RecoveryOpen      Code = 4030
	// 4020 to 4029: the state directory before anything in it is read.
	ErrStorageOwner    Code = 4020
	ErrStorageMode     Code = 4021
	ErrStorageReadOnly Code = 4022
	ErrFileSystem      Code = 4023
	ErrForeignFile     Code = 4024
	ErrNoDisk          Code = 4025
	ErrTPMAbsent       Code = 4101
	ErrTPMLockout      Code = 4102
	ErrTPMCleared      Code = 4103
	ErrCounter         Code = 4104
	ErrTPMPassword     Code = 4105
	ErrTPMAccess       Code = 4106
	ErrOtherStore      Code = 4107
	ErrNoTPM           Code = 4108
	ErrOldTPM          Code = 4109
	ErrNoNetwork       Code = 4110
	// 4301 to 4309, and 4311 to 4314: the appliance's logins.
	ErrSignInFirst     Code = 4301
	ErrApplianceSignIn Code = 4302
	ErrApplianceRole   Code = 4303
	ErrApplianceLogin  Code = 4304
	ErrApplianceLast   Code = 4305
	ErrFirstLogin      Code = 4306
	ErrLoginTaken      Code = 4307
	ErrApplianceToken  Code = 4308
	ErrTries           Code = 4309

	ErrApplianceCertificate Code = 4310
	ErrDirectory            Code = 4311
	ErrDirectoryOff         Code = 4312
	ErrDirectoryRole        Code = 4313
	ErrDirectoryLogin       Code = 4314

	ErrRequestSignature Code = 5001
	ErrUnknownID        Code = 5002
	ErrTooFew           Code = 5003
	ErrHeldElsewhere    Code = 5004
	ErrReturnProof      Code = 5005
	ErrRollbackSuspect  Code = 5006
	ErrFork             Code = 5007
	ErrTier             Code = 5008
	ErrBookExpired      Code = 5009
	ErrPassphrase       Code = 5010
	ErrOlderRequest     Code = 5011
	ErrHostKey          Code = 5012
	ErrNoOffice         Code = 5013
	ErrOfficePresent    Code = 5014
	ErrOfficeBusy       Code = 5015
	ErrBookDamaged      Code = 5016
	ErrBookFull         Code = 5017
	ErrBookWrite        Code = 5018
	ErrBookGone         Code = 5019
	ErrRefused          Code = 5020

	ErrRepair   Code = 5030
	ErrReplaced Code = 5031
	ErrRehost   Code = 5032
	ErrNoRehost Code = 5033
	ErrRehosted Code = 5034

	ErrTierLimit Code = 5035

	ErrAccount      Code = 5040
	ErrLicenseModel Code = 5041
	ErrSuspended    Code = 5042
	ErrRetired      Code = 5043
	ErrDraft        Code = 5044
	ErrVirtual      Code = 5045
	ErrHostType     Code = 5046
	ErrSpent        Code = 5047
	ErrItemState    Code = 5048
	ErrNoRoom       Code = 5049
	ErrKeyUsed      Code = 5070
	ErrRow          Code = 5071

	ErrReturnRefused Code = 5072

	AskedBack     Code = 5060
	ErrMapped     Code = 5061
	ErrNoMapping  Code = 5062
	ErrNoRetire   Code = 5064
	ErrWrittenOff Code = 5065
	ErrNoWriteOff Code = 5066
	// 5080 to 5089: the producer's keys.
	ErrNoSigningKey Code = 5080
	ErrKeyRequest   Code = 5081
	ErrSigningLimit Code = 5082
	ErrToken        Code = 5083
	ErrKeySealed    Code = 5084

	ErrUnassigned       Code = 5090
	ErrSeatElsewhere    Code = 5091
	ErrUsers            Code = 5092
	ErrMode             Code = 5093
	ErrConvert          Code = 5094
	ErrNoUser           Code = 5095
	ErrService          Code = 5096
	ErrUserCode         Code = 5097
	ErrSessionElsewhere Code = 5098
	ErrSessionEnded     Code = 5099

	// 5100 to 5109: the portal's logins.
	ErrNoLogin           Code = 5100
	ErrLoginCode         Code = 5101
	ErrLastAdministrator Code = 5102
	ErrSignIn            Code = 5103
	ErrPermission        Code = 5104
	ErrSecondPerson      Code = 5105
	ErrAPIToken          Code = 5106
	ErrProposalOver      Code = 5109

	ErrOnline            Code = 5110
	ErrOperator          Code = 5111
	ErrThrottled         Code = 5112
	ErrOfficeUnreachable Code = 5113
	ErrOfficeCertificate Code = 5114
	ErrNotPolled         Code = 5115
	ErrUserToken         Code = 5116

	ErrUsage     Code = 6001
	ErrNoDaemon  Code = 6002
	ErrForbidden Code = 6003
	ErrNotFound  Code = 6004
	ErrInternal  Code = 6005
	ErrTrust     Code = 6006
	ErrBusy      Code = 6007
	ErrScenario  Code = 6008
	ErrImport    Code = 6009
	ErrForm      Code = 6010
	ErrWaited    Code = 6011
	ErrConfig    Code = 6012
)

// Catalog is every code with its words, in order.
func Catalog() []Entry {
	return []Entry{
		{Started, "STARTED", "started", "the appliance started and says who it is", "nothing to do", ExitOK},
		{Stopped, "STOPPED", "stopped", "the appliance stopped cleanly; it will serve at once when it starts again", "nothing to do", ExitOK},
		{ClockJudged, "CLOCK_JUDGED", "the clock was judged anew", "the system clock was set, lost its time or came back, or somebody said what time it is", "leasehold time", ExitOK},
		{Recognized, "RECOGNIZED", "something of the machine has changed", "its TPM is the one that the rights belong to, and its board, network cards, disks or dongles are not the ones that were bound with it", "nothing to do; the next request names what is there now: leasehold request -o DIR", ExitOK},
		{ChangePlanned, "CHANGE_PLANNED", "a change of the machine is planned", "an administrator said so: for a day nothing is held against the machine but another TPM", "make the change, then: leasehold request -o DIR, and bring back the response", ExitOK},
		{PowerAsked, "POWER_ASKED", "a restart or power off was asked for", "somebody did so at the machine, and said why", "nothing to do", ExitOK},
		{ImageProved, "IMAGE_PROVED", "the image has proved itself", "it started well, and from now on no image with a lower security version runs on this machine or is taken by it", "nothing to do", ExitOK},
		{NetworkSet, "NETWORK_SET", "a network card was set up", "somebody did so at the machine", "nothing to do", ExitOK},

		{ErrFileKind, "E_FILE_KIND", "not a file of ours", "the file does not begin as a Leasehold request or response does", "leasehold inspect FILE", ExitFile},
		{ErrFileCut, "E_FILE_CUT", "the file is cut short", "the file ends before its content does; the stick may have been pulled too early", "copy the file again from where it was made", ExitFile},
		{ErrFileSize, "E_FILE_SIZE", "the file is too large", "no request or response is larger than 1 MiB", "leasehold inspect FILE", ExitFile},
		{ErrFileForm, "E_FILE_FORM", "the file is damaged", "the content breaks a rule of the format, so nothing in it can be believed", "copy the file again from where it was made", ExitFile},
		{ErrFileNone, "E_FILE_NONE", "no response found", "the place that was named holds no response for this appliance", "put the response file there, or name it: leasehold import FILE", ExitNotFound},
		{ErrFileRead, "E_FILE_READ", "the file cannot be read or written", "the operating system refused it", "check the path, the stick and its write protection", ExitError},
		{ErrStickOff, "E_STICK_OFF", "no stick is read now", "the setting media-mode is off, or it is confirm and nobody has confirmed in the last five minutes; nothing on the stick was touched", "leasehold media allow, and plug the stick in again; or for good: leasehold policies set media-mode auto", ExitPolicy},
		{ErrStickPulled, "E_STICK_PULLED", "the stick was pulled out too early", "it was gone before everything was read and written; nothing is lost", "plug it in again, and leave it there until the screen says that it may be removed", ExitTemporary},
		{ErrMediumFull, "E_MEDIUM_FULL", "the medium is full", "there is no room for the file", "delete what is not needed, or take another stick; nothing is lost", ExitError},
		{ErrMediumLocked, "E_MEDIUM_LOCKED", "the medium is write-protected", "it can be read and not written; a stick whose file system is damaged is so too", "switch the write protection off, or take another stick; nothing is lost", ExitError},
		{ErrStickSystem, "E_STICK_SYSTEM", "the stick cannot be mounted", "its file system is damaged, or it is neither FAT nor exFAT, which are the two that are read here", "format it as FAT32 or exFAT on any PC, make a folder LEASEHOLD on it, and plug it in again", ExitError},
		{ErrStickStopped, "E_STICK_STOPPED", "the stick was not served to its end", "it took longer than a stick may take, or this machine was told to stop; what was applied until then stays, and nothing is lost", "wait until the machine runs and answers, and plug it in again", ExitTemporary},

		{RequestMade, "REQUEST_MADE", "request written", "the request file and its description in words are complete and on the medium", "take the file to the back office", ExitOK},
		{ReturnMade, "RETURN_MADE", "rights returned", "the rights are out of service for good and the request with the proof can be written any number of times", "leasehold request -o DIR", ExitOK},
		{StickIgnored, "STICK_IGNORED", "the stick is not for us", "it has no folder LEASEHOLD, so nothing else on it was looked at, and nothing written", "make a folder LEASEHOLD on it on any PC, and plug it in again", ExitOK},
		{FileAnswered, "FILE_ANSWERED", "request file of a PC answered", "what it asks for is booked, or given back, and the answer file says so; the same request gets the same answer", "take the answer to the PC, and there: leasehold import FILE", ExitOK},
		{Applied, "APPLIED", "response applied", "the rights of the response are in force", "nothing to do", ExitOK},
		{AlreadyHere, "ALREADY_APPLIED", "already applied", "this very response is the one in force", "nothing to do", ExitOK},
		{OlderResponse, "OLDER_RESPONSE", "a newer response is in force", "the serial of this response is below the one in force, so it was ignored", "nothing to do; for changes write a new request: leasehold request -o DIR", ExitOK},

		{ErrSignature, "E_SIGNATURE", "the signature is bad", "the bytes are not the ones that were signed", "copy the file again from where it was made", ExitFile},
		{ErrOneSignature, "E_ONE_SIGNATURE", "only one of the two signatures is good", "both the Ed25519 and the ML-DSA-87 signature must verify, and one does not", "ask the producer for a new response and report this file", ExitFile},
		{ErrOtherProducer, "E_OTHER_PRODUCER", "signed by another producer", "the signing key is not certified by the producer root that this program trusts", "leasehold inspect FILE; one state directory serves one producer", ExitFile},
		{ErrNotOurs, "E_NOT_OURS", "the response is for another machine", "the response names another host and is encrypted to its TPM", "take the file to the machine it names", ExitOtherHost},
		{ErrResponseStale, "E_RESPONSE_STALE", "the response is too old", "its apply-before date has passed", "write a new request: leasehold request -o DIR", ExitFile},
		{ErrNotOpened, "E_NOT_OPENED", "the response does not open on this TPM", "it names this machine, but its content was encrypted to other keys or was altered", "write a new request: leasehold request -o DIR", ExitOtherHost},
		{ErrResponseForm, "E_RESPONSE_FORM", "the response contradicts itself", "its clear part and its content do not say the same", "ask the producer for a new response and report this file", ExitFile},
		{ErrReplayedSerial, "E_SERIAL_REUSED", "two responses with one serial", "a different response with this serial is in force", "ask the producer for a new response and report this file", ExitFile},
		{ErrResponseEpoch, "E_RESPONSE_EPOCH", "the response is from an earlier life of this machine", "the TPM's counter has moved since its request was written: the trusted storage was lost, wiped or replaced, and old responses do not bring rights back", "write a new request: leasehold request -o DIR", ExitFile},
		{ErrKeyRevoked, "E_KEY_REVOKED", "signed by a revoked key", "the producer's root has revoked the key that signed this, so nothing more is taken from it, whatever date it bears", "write a new request: leasehold request -o DIR; the producer answers it with another key", ExitFile},
		{ErrResponseState, "E_RESPONSE_STATE", "the response is for an image that does not run here any more", "no boot state that it signs is the one that this machine is in, so trusted storage would not open after the next restart", "write a new request: leasehold request -o DIR", ExitFile},

		{UpdateInstalled, "UPDATE_INSTALLED", "the update is installed", "every file of it is what the producer signed, and it lies beside the image that runs; nothing of what serves was changed", "restart the machine when it suits: the text console, F10; should the new image not start, the machine goes back to this one by itself", ExitOK},
		{UpdateHere, "UPDATE_HERE", "the update is not newer than what runs", "this release runs already, or a later one, so the update was left alone", "nothing to do", ExitOK},
		{ErrUpdateSecurity, "E_UPDATE_SECURITY", "the update is older than this machine allows", "an image that keeps out what this one lets in has run here, and its security version is higher", "ask the producer for the newest update", ExitPolicy},
		{ErrUpdateFile, "E_UPDATE_FILE", "a file of the update is not the one that was signed", "it is missing, cut short or changed, or was while it was copied; nothing of it was used", "copy the whole folder LEASEHOLD/UPDATE onto the stick again, and plug it in", ExitFile},
		{ErrUpdateState, "E_UPDATE_STATE", "the update was not signed ahead for this machine", "trusted storage would not open after it: the producer did not know this machine's firmware when the update was signed", "leasehold request -o DIR, and ask the producer for an update that is signed for it: freehold update --for REQUEST", ExitPolicy},
		{ErrUpdateRoom, "E_UPDATE_ROOM", "there is no room for the update", "the machine's own disk has no room for a copy of its files", "make room on the file system of /var, then plug the stick in again", ExitError},
		{ErrUpdateInstall, "E_UPDATE_INSTALL", "the update could not be installed", "its files are good, and the slot for them could not be written; what runs is untouched", "plug the stick in again; if it happens again, look at the machine's disk", ExitError},
		{ErrNoImage, "E_NO_IMAGE", "no update of an image is taken here", "this machine does not run an image of the producer, so its packages are updated as the rest of it is", "the package manager of this machine", ExitPolicy},
		{ErrUpdateTrial, "E_UPDATE_TRIAL", "the image that runs has not proved itself yet", "an update takes the place of the image before it, which is the one that the machine could go back to", "wait until the appliance has started well, then plug the stick in again", ExitPolicy},
		{ErrUpdateFailed, "E_UPDATE_FAILED", "the update did not start well here, and was left", "in three starts its license server did not answer, so the machine went back to the image before it; the same release is not installed again", "ask the producer for the next release; the same image under a higher number is one", ExitPolicy},
		{ErrUpdateMany, "E_UPDATE_MANY", "the update is for too many machines", "a boot state is signed for each firmware, and what is signed has 64 KiB", "sign it for some of them at a time: freehold update IMAGE -o DIR --only --for REQUEST", ExitUsage},

		{ErrProto, "E_PROTO", "malformed message", "a field is not as the specification says", "compare with SPEC.md, field by field", ExitError},
		{ErrCorrelationReused, "E_CORRELATION_REUSED", "correlation ID used twice", "another request used this correlation ID before", "draw a new correlation ID for each request", ExitError},
		{ErrDeviceKey, "E_DEVICE_KEY", "another key holds this device's leases", "leases belong to the key that asked first, and this request came with another one for the same host ID", "use the key of that device, or wait until its leases end", ExitPolicy},
		{ErrOperation, "E_OPERATION", "operation not available", "nothing on this appliance answers to this operation", "leasehold features", ExitError},
		{ErrUndo, "E_UNDO", "no report to undo", "no report with this correlation ID can be canceled: it was canceled before, or its undo interval is over", "leasehold devices, to see what is counted", ExitNotFound},
		{ErrRequestPassed, "E_REQUEST_PASSED", "the request file was overtaken", "this PC wrote a later request, which was answered, or another answer went to it since; the files of a PC count in the order of their numbers, each once", "nothing to do; for changes write a new request on the PC: leasehold request --borrow TIME --feature NAME -o DIR", ExitFile},
		{ErrOtherAppliance, "E_OTHER_APPLIANCE", "another appliance answered", "what is given back was lent by another appliance, and only that one can take it back", "take the request file to the appliance that lent the seat", ExitOtherHost},
		{ErrNotEntitled, "E_NOT_ENTITLED", "not licensed here", "no line item on this appliance has the feature", "leasehold features", ExitNotEntitled},
		{ErrVersion, "E_VERSION", "only older versions are licensed", "a version can be used up to the licensed one, and every line item of the feature is below the version asked for", "leasehold features", ExitNotEntitled},
		{ErrExpired, "E_EXPIRED", "expired", "every line item of the feature has passed its expiry", "ask the producer for a renewal, then: leasehold request -o DIR", ExitExpired},
		{ErrNoSeat, "E_NO_SEAT", "no seat free", "all counts of the feature are in use", "leasehold devices, to see who holds them", ExitNoSeat},
		{ErrNotStarted, "E_NOT_STARTED", "not started yet", "the start date of every fitting line item is still to come", "leasehold features", ExitNotEntitled},
		{ErrOverage, "E_OVERAGE", "more in use than licensed", "the count was reduced below what is served; nothing new is served until leases have ended", "leasehold devices, to see who holds them", ExitNoSeat},
		{ErrReceipt, "E_RECEIPT", "the receipt does not count", "the kept response was not signed by this appliance for this device, has expired, or its counts no longer fit", "wait for the end of the hold", ExitHeld},
		{ErrRule, "E_RULE", "refused by a rule of the model", "the model of the license administrator denies this device or user", "ask the license administrator; leasehold model show", ExitPolicy},
		{ErrLimit, "E_LIMIT", "limit reached", "the model of the license administrator limits how much one device or user may hold", "give back what is not needed, or ask the license administrator", ExitPolicy},
		{ErrIdle, "E_IDLE", "idle for too long", "nobody has used the program for longer than the license administrator allows, so its lease runs out", "use the program, and it asks again", ExitPolicy},
		{ErrUnheard, "E_UNHEARD", "too much is kept for this device", "what a device may still believe in stays booked until it says which answer it has applied, and no device has more than 1024 leases together", "name the last answer in applied; or give back what is not needed, and ask again", ExitPolicy},
		{ErrAssigned, "E_ASSIGNED", "assigned to another user", "the seats here are assigned to users by name, and none of them to the one who asks", "start the program as the user it is assigned to, or ask the producer for a seat", ExitNotEntitled},
		{ErrClientKey, "E_CLIENT_KEY", "this client's key is not registered", "the license administrator has set that the appliance serves registered keys alone, and the key of this device is none of them; what it holds runs out", "leasehold keys export -o FILE on the device, and have the license administrator upload that", ExitPolicy},
		{ErrInUse, "E_IN_USE", "counts are in use", "only what nobody holds can be returned", "leasehold return ID --drain 8h, then return when nothing is in the way; or return less", ExitPolicy},
		{ErrNothingToReturn, "E_NOTHING_TO_RETURN", "nothing to return", "this appliance holds nothing, or less than named, of this activation ID", "leasehold features", ExitNotFound},
		{ErrNoSuchLease, "E_NO_SUCH_LEASE", "no such lease", "this device holds nothing of that feature", "leasehold devices", ExitNotFound},
		{ErrReturnWaits, "E_RETURN_WAITS", "a return of this ID is waiting already", "copies of this activation ID left service here before, and the back office has not credited them yet; a command that was interrupted may have returned them", "leasehold status; to return more copies beside those: leasehold return ID --count N --again", ExitPolicy},
		{ErrModel, "E_MODEL", "the model cannot be used", "the text breaks a rule of the model language at the place named; the model in force stays", "leasehold model check FILE", ExitUsage},
		{ErrModelInForce, "E_MODEL_IN_FORCE", "a model is in force", "counts are either in pools or reserved, never both", "leasehold model delete", ExitPolicy},
		{ErrReserved, "E_RESERVED", "reservations are in force", "counts are either in pools or reserved, never both", "leasehold reservations delete, or keep them as a model: leasehold reservations export --model", ExitPolicy},
		{ErrDuplicates, "E_DUPLICATES", "duplicate clients are allowed", "where each key of a host ID has its own leases, nothing can be reserved for the host ID", "ask the producer to turn duplicate clients off", ExitPolicy},
		{ErrLocked, "E_LOCKED", "the setting belongs to the producer", "it comes with the producer's responses, and nobody here may change it", "leasehold policies", ExitPolicy},
		{ErrSetElsewhere, "E_SET_ELSEWHERE", "the setting is not changed here", "its value is part of this release, or of how the operating system runs the daemon", "leasehold policies; for what systemd decides: systemctl edit leaseholdd", ExitPolicy},
		{DuplicatesOff, "DUPLICATES_OFF", "duplicate clients stay off", "the producer allows them, but a reserved count belongs to one device; they are on as soon as no reservation exists", "leasehold policies; leasehold reservations delete", ExitOK},
		{BorrowShortened, "BORROW_SHORTENED", "a shorter lease than asked for", "a lease that outlasts a hold costs the TPM a write, and clients have used up what it is given of them for now; the lease is renewed as any other, in full as soon as there is one", "nothing to do; for many clients a plain lease or a longer borrow costs less", ExitOK},
		{ErrMeanwhile, "E_MEANWHILE", "somebody else has changed it meanwhile", "it is not any more what you saw when you began, and saving would undo the other change", "compare what it is now with what you typed, and save again", ExitTemporary},
		{ErrRation, "E_RATION", "done too often for the TPM", "what takes something away from client keys is anchored in the TPM, whose memory wears out by being written: so often at once, and then twice a day", "wait until the time that is named", ExitTemporary},
		{ErrServerUnproven, "E_SERVER_UNPROVEN", "the server proved nothing", "its chain does not lead to the producer root this program trusts, or an answer was not signed by it", "check the address, and that --trust names the producer's bundle", ExitFile},
		{ErrServerUnreachable, "E_SERVER_UNREACHABLE", "the license server cannot be reached", "no connection, or it was cut; leases that are held run on to their end", "check the address and the network, then try again", ExitTemporary},
		{ErrClientStore, "E_CLIENT_STORE", "this device cannot keep its leases", "the directory for leases cannot be read or written: it is full, read-only or another account's; programs that run keep what they have until it ends", "make room, or name a directory that this account may write: --dir DIR", ExitError},
		{ErrPlain, "E_PLAIN", "no TLS on the connection", "the first bytes are no TLS handshake: the port speaks TLS 1.3 only, and another program answers or asks here", "check the address and the port; the appliance's own is 7070", ExitFile},
		{ErrTLSVersion, "E_TLS_VERSION", "a TLS older than 1.3", "one side offers only versions of TLS before 1.3, and the other takes none of them", "update the program, or whatever stands between it and the appliance", ExitFile},
		{ErrALPN, "E_ALPN", "another protocol on the port", "the protocols asked for in the TLS handshake are not those spoken here", "check the address and the port, and what stands between: programs of a producer ask for leasehold/1, browsers for h2 or http/1.1", ExitFile},
		{ErrHandshake, "E_HANDSHAKE", "handshake not finished", "the connection ended, took longer than 5 s or showed no usable device key before it was secured; or newer ones needed its place", "check the network; if it goes on, what connects from the address named is no client", ExitTemporary},
		{ErrCrowded, "E_CROWDED", "no place for the connection", "as many connections are open as the appliance takes, and those of devices that hold leases come first", "try again; leasehold devices", ExitTemporary},
		{ErrCertificateForm, "E_CERTIFICATE_FORM", "no certificate for this server", "the file has no certificate that a server can show, or more than that", "ask the site's authority for the certificate of a server, with those above it, in PEM: leasehold certificate request -o DIR", ExitFile},
		{ErrCertificateKey, "E_CERTIFICATE_KEY", "the certificate is for another key", "no key that this machine drew for a certificate is the one in it; each request has a key of its own, and a newer request takes the place of an older one", "have the last request signed: leasehold certificate request -o DIR", ExitFile},
		{ErrCertificateName, "E_CERTIFICATE_NAME", "the certificate is for another name", "no name in it is one that this machine goes by, or that was asked for", "ask for the name that browsers use: leasehold certificate request --name NAME -o DIR", ExitFile},
		{ErrCertificateDates, "E_CERTIFICATE_DATES", "the certificate is not good today", "by the trusted time it is expired or not good yet, or one above it is", "compare with: leasehold time; then ask the site's authority for one that is good", ExitExpired},
		{ErrCertificateChain, "E_CERTIFICATE_CHAIN", "the certificates do not belong together", "each one in the file must have signed the one below it, from the server's up", "ask the site's authority for the whole chain, and nothing else in the file", ExitFile},
		{ErrCertificateLost, "E_CERTIFICATE_LOST", "the site's certificate cannot be shown any more", "its key does not open on this TPM, or its file is damaged, so browsers are shown the appliance's own", "leasehold certificate request -o DIR, and have that signed", ExitError},
		{ErrCertificateEnds, "E_CERTIFICATE_ENDS", "the site's certificate ends", "browsers refuse or warn from its last day on, and nobody has brought the next one", "leasehold certificate request -o DIR, and have that signed", ExitExpired},
		{ErrKeyPEM, "E_KEY_PEM", "the key is in PEM", "the file of a client's public key is taken in DER, byte for byte, and this one is text", "openssl pkey -pubin -in FILE -outform DER -out KEY.DER, and upload that", ExitFile},
		{ErrKeyPrivate, "E_KEY_PRIVATE", "the file holds a private key", "who has a private key is that client, so it belongs nowhere but on the machine it was drawn on; nothing of the file was kept", "make another key on the client, since this one has traveled, and upload its public half", ExitFile},
		{ErrKeySize, "E_KEY_SIZE", "a key of another size", "an RSA key has 2048 bits, and an elliptic curve key is on P-256 or is Ed25519", "make a key of one of these: openssl genpkey -algorithm ed25519", ExitFile},
		{ErrKeyKind, "E_KEY_KIND", "no public key of a kind that clients have", "a client's key is RSA with 2048 bits, Ed25519 or P-256, and the file has the public half of it and nothing beside", "leasehold keys export -o FILE on the client, or openssl pkey -in PRIVATE -pubout -outform DER -out FILE", ExitFile},
		{ErrKeyForm, "E_KEY_FORM", "no public key in this file", "a public key is the DER of a SubjectPublicKeyInfo, or of an RSAPublicKey, from its first byte to its last", "leasehold keys export -o FILE on the client, or openssl pkey -in PRIVATE -pubout -outform DER -out FILE", ExitFile},

		{ErrNotProvisioned, "E_NOT_PROVISIONED", "not activated", "this appliance has not had its first response, so it holds no rights", "leasehold request -o DIR, and bring back the response", ExitNotEntitled},
		{ErrHold, "E_HOLD", "hold after a power loss or a repair", "until the hold ends leases that nobody here knows of could still run, of an older copy of the storage or of the one before a repair; so only leases with a receipt are renewed", "wait; the hold ends by itself", ExitHeld},
		{ErrRollback, "E_ROLLBACK", "trusted storage was rolled back", "the disk is older than the TPM's counter says: a copy or a backup was restored", "put the newest disk back, or have it repaired: leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrCorrupt, "E_CORRUPT", "trusted storage is damaged", "bytes on the disk are not the ones that were written", "put an undamaged copy of the newest disk back, or have it repaired: leasehold request -o DIR, and bring back the response", ExitError},
		{ErrSealed, "E_SEALED", "trusted storage does not unseal on this machine", "the boot state is not one the producer signed; firmware or image may have been updated", "start what ran before, or have it repaired: leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrBinding, "E_BINDING", "the binding is broken", "this is not the machine the rights were given to, or what the producer asks of it beside its TPM is missing; while a grace runs for that, all that is held goes on, and from its end on nothing does", "put back what is missing: leasehold hostid; or leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrClock, "E_CLOCK", "clock held", "the system clock is more than a day behind the time that can be trusted, or ahead of it, so rights with a start or an expiry cannot be judged", "leasehold time, to see both; set the system clock, or say what time it is: leasehold time set TIME; where the clock is ahead and right: leasehold time set now", ExitHeld},
		{ErrStorageLocked, "E_STORAGE_LOCKED", "another daemon uses this state directory", "a second leaseholdd was started on the same directory, and it left", "systemctl status leaseholdd", ExitError},
		{ErrStorageFull, "E_STORAGE_FULL", "the disk is full", "a change could not be written; nothing that was acknowledged is lost", "make room on the file system of the state directory, then start again", ExitError},
		{ErrDisturbed, "E_DISTURBED", "the TPM was used or reset by someone else", "the running digest or the reset counts are not as this daemon left them, so it stopped", "systemctl restart leaseholdd; if it happens again, look for another user of the TPM", ExitError},
		{ErrStorage, "E_STORAGE", "trusted storage does not take writes", "the disk reported an error, so the daemon stopped before it told anyone", "check the disk, then start again", ExitError},
		{ErrTime, "E_TIME", "the time cannot be set back", "trusted time never goes below the latest moment it has reached, or an expired right would serve again", "set the system clock to the true time, then see both: leasehold time", ExitUsage},
		{ErrStorageGone, "E_STORAGE_GONE", "trusted storage is gone", "this TPM has counted for a trusted storage before, and there is none on the disk", "put the disk back, or have it repaired: leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrImageOlder, "E_IMAGE_OLDER", "the image that runs is older than this machine allows", "an image with a higher security version has run here, and what it keeps out could come in through this one: trusted storage stays closed", "restart the machine: the newer image starts; if it is gone, ask the producer how the newest image comes onto the machine's disk: neither an update nor a repair is taken by this one", ExitHeld},
		{ErrRecoveryTaken, "E_RECOVERY_TAKEN", "the recovery key was shown already", "it is shown once, so that whoever has it is known", "ask who has it, or make another: leasehold recovery show --new", ExitPolicy},
		{ErrRecovery, "E_RECOVERY_KEY", "the recovery key does not open this archive", "a symbol is wrong, or the archive is of another machine, or was made under another key of this one", "read it again from the paper; leasehold recovery says its number", ExitPolicy},
		{ErrNoArchive, "E_NO_ARCHIVE", "no archive here", "there is no archive, or it is not this appliance's to open", "with the recovery key: leasehold recover STATE/archive -o DIR, where STATE is the state directory, or a backup", ExitNotFound},
		{ErrRestore, "E_RESTORE", "the backup does not open on this machine", "it was made on another machine, or before this TPM was cleared", "leasehold recover BACKUP -o DIR, with the recovery key, then leasehold configuration import DIR/configuration.json", ExitOtherHost},
		{ErrAuditForm, "E_AUDIT_FORM", "the audit trail does not hold", "an entry is missing, changed or out of order, or it contradicts what was said of it elsewhere", "keep the file as evidence, and export it again: leasehold audit export -o FILE", ExitFile},
		{ErrPlanned, "E_PLANNED", "no change can be planned now", "one change is planned for each response in force, and before anything is missing: what was changed without a plan is in its grace", "leasehold request -o DIR, and bring back the response", ExitPolicy},
		{ErrStorageOwner, "E_STORAGE_OWNER", "the state directory belongs to another account", "it, or a file in it, was made by another account than the one that runs leaseholdd, for instance when it was started by hand", "chown -R leasehold: DIRECTORY, then start it by its unit: systemctl start leaseholdd", ExitError},
		{ErrStorageMode, "E_STORAGE_MODE", "the state directory is open to other accounts", "the group or everyone may read or change it, or a file in it", "chmod -R go= DIRECTORY, then start again", ExitError},
		{ErrStorageReadOnly, "E_STORAGE_READ_ONLY", "the state directory cannot be written", "its file system is mounted read-only, often after an error of the disk, or its mode keeps its own account out", "check the disk, mount it for writing, chmod -R u+rwX DIRECTORY, then start again", ExitError},
		{ErrFileSystem, "E_FILE_SYSTEM", "the file system is not made for trusted storage", "it may lose what it said was on the disk, or its files are gone with the power; then rights have to be asked for anew", "put the state directory on ext4, XFS or btrfs on a disk of this machine: --state DIRECTORY", ExitError},
		{ErrForeignFile, "E_FOREIGN_FILE", "a file that is not ours is in the state directory", "somebody put it there; it was neither read nor changed", "look at it, and move it away", ExitError},
		{ErrNoDisk, "E_NO_DISK", "the disk of trusted storage cannot be used", "the partition that has what this machine keeps is missing or damaged, so it has started without; what could be mended was, and nothing is made in its place", "switch the machine off and on; if this is shown again, put the image on another disk, and have it repaired: leasehold request -o DIR, and bring back the response", ExitError},
		{RecoveryOpen, "RECOVERY_OPEN", "nobody has the recovery key", "it is shown once, and without it neither configuration nor audit trail can be read when the TPM no longer opens the trusted storage", "leasehold recovery show", ExitOK},
		{ErrTPMAbsent, "E_TPM_ABSENT", "the TPM does not answer", "there is no TPM at the address, or it stopped answering", "check --tpm and the firmware settings", ExitTemporary},
		{ErrTPMLockout, "E_TPM_LOCKOUT", "the TPM is locked out", "too many wrong tries by some program made the TPM refuse; nothing of ours counts as one", "wait for the lockout to end, or clear it with the TPM's own tools", ExitTemporary},
		{ErrTPMCleared, "E_TPM_CLEARED", "the TPM was cleared or replaced", "what was sealed does not open any more on this TPM", "put the TPM back that belongs to this disk, or have it repaired: leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrCounter, "E_COUNTER", "the epoch counter is gone", "someone deleted the counter or wrote it anew in this TPM, so the age of the storage cannot be told", "have it repaired: leasehold request -o DIR, and bring back the response", ExitHeld},
		{ErrTPMPassword, "E_TPM_PASSWORD", "a hierarchy of the TPM has a password", "the owner or the endorsement hierarchy was given a password, by the management of this machine for instance, and trusted storage needs both without one", "take it off with the TPM's own tools: tpm2_changeauth -c owner -p PASSWORD, and tpm2_changeauth -c endorsement -p PASSWORD, then start again", ExitError},
		{ErrTPMAccess, "E_TPM_ACCESS", "the TPM may not be used by this account", "the account that runs leaseholdd is neither the owner of the TPM's device nor in its group", "ls -l /dev/tpmrm0; give it to the group tss: a udev rule KERNEL==tpmrm[0-9]*, GROUP=tss, MODE=0660, and usermod -aG tss leasehold, then start again", ExitError},
		{ErrOtherStore, "E_OTHER_STORE", "the TPM counts for another store", "a TPM counts for one store of rights, and this machine has another one, or an appliance: rights that are repaired here end it for good", "use that one; if it is gone: leasehold request --store STORE --replace-store -o DIR, and have it repaired", ExitHeld},
		{ErrNoTPM, "E_NO_TPM", "this machine has no TPM", "an appliance keeps its rights by a TPM 2.0; without one nothing tells an older copy of its disk from the newest, so it serves none, whatever the policy allows", "switch the TPM on in the firmware settings (fTPM, PTT), or give the virtual machine one; rights of one machine need none where the producer allows that: leasehold request --store DIR --id ID -o DIR", ExitTemporary},
		{ErrOldTPM, "E_OLD_TPM", "the TPM is a TPM 1.2", "an appliance keeps its rights by a TPM 2.0; an older one can do nothing of what that needs", "switch the TPM to 2.0 in the firmware settings (many can be both, or have a fTPM or PTT beside it), or use a machine with a TPM 2.0", ExitTemporary},
		{ErrNoNetwork, "E_NO_NETWORK", "this machine has no network card", "the system knows none, so no program can ask for a license; request and response files go as ever", "put a network card in, or give the virtual machine one; then: leasehold console network", ExitTemporary},

		{ErrSignInFirst, "E_SIGN_IN_FIRST", "sign in first", "from another machine the appliance answers those it knows, by a login or a token", "sign in, or use a token: leasehold --server HOST --token-file FILE", ExitPolicy},
		{ErrApplianceSignIn, "E_APPLIANCE_SIGN_IN", "not signed in on the appliance", "the name or the password is not right, or the login is disabled", "try again; a security administrator or root gives a forgotten password anew: leasehold users change NAME --password-file FILE", ExitPolicy},
		{ErrApplianceRole, "E_APPLIANCE_ROLE", "your roles do not allow this on the appliance", "what a login or its token may do on the appliance follows from its roles", "ask somebody with the role named, or a security administrator for it: leasehold users change NAME --role ROLE", ExitPolicy},
		{ErrApplianceLogin, "E_APPLIANCE_LOGIN", "no such login on this appliance", "nobody of that name may sign in here", "leasehold users", ExitNotFound},
		{ErrApplianceLast, "E_APPLIANCE_LAST", "nobody could admit logins to the appliance any more", "of the logins that are enabled one at least has to be a security administrator", "make another one first: leasehold users add NAME --role \"security administrator\"", ExitPolicy},
		{ErrFirstLogin, "E_FIRST_LOGIN", "the first-login code does not fit", "the code counts while there is no login, until it was used or the appliance was started anew", "as root on the appliance: leasehold first-login", ExitPolicy},
		{ErrLoginTaken, "E_LOGIN_TAKEN", "there is a login of that name", "names of logins are told apart without regard to case", "take another name, or change that login: leasehold users change NAME", ExitError},
		{ErrApplianceToken, "E_APPLIANCE_TOKEN", "the token opens nothing on the appliance", "it is none of this appliance, it is over or was ended, or its login has changed or is disabled", "sign in again, or make another one: leasehold users token NAME --name WHAT", ExitPolicy},
		{ErrApplianceCertificate, "E_APPLIANCE_CERTIFICATE", "the appliance shows another certificate", "the certificate is not the one of the fingerprint that was given, or no authority known here stands for it", "compare it with what is said on the appliance: leasehold fingerprint; then name that: --fingerprint SHA-256, or the authority: --authority FILE", ExitFile},
		{ErrTries, "E_TRIES", "too many tries failed", "after five tries of a name, or from an address, each next one waits longer than the one before", "try again later", ExitTemporary},
		{ErrDirectory, "E_DIRECTORY", "the directory cannot be asked who you are", "it does not answer, shows another certificate, points elsewhere, or the program that asks it does not run; logins of the appliance itself go on", "sign in with a login of the appliance, or try again later; as root there: journalctl -u leasehold-directory, or systemctl enable --now leasehold-directory", ExitTemporary},
		{ErrDirectoryOff, "E_DIRECTORY_OFF", "no directory is asked here", "no address of a directory is set, or none that is asked in this way, or the appliance has no login of its own yet", "sign in with a login of the appliance; a security administrator sets a directory: leasehold policies set directory-url ldaps://HOST", ExitPolicy},
		{ErrDirectoryRole, "E_DIRECTORY_ROLE", "the directory knows you, and you have no role here", "none of your groups in the directory has a role on the appliance", "ask a security administrator to give one of your groups a role, or a login of your own", ExitPolicy},
		{ErrDirectoryLogin, "E_DIRECTORY_LOGIN", "this is not for who signed in through the directory", "passwords of the directory are changed there, and tokens are of logins that the appliance itself keeps", "change the password in the directory; for a token: leasehold users add NAME, and leasehold users token NAME", ExitPolicy},

		{ErrRequestSignature, "E_REQUEST_SIGNATURE", "the request is not proven", "its evidence does not show that a key in the named TPM signed these bytes", "write the request again on the appliance", ExitFile},
		{ErrUnknownID, "E_UNKNOWN_ID", "no such activation ID", "the book has no activation ID like this", "freehold show", ExitNotEntitled},
		{ErrTooFew, "E_TOO_FEW", "not enough left", "fewer copies are left of the activation ID than were asked for", "ask for less, or return copies from another machine", ExitNoSeat},
		{ErrHeldElsewhere, "E_HELD_ELSEWHERE", "held by another machine", "the copies are on another machine and have not been returned with proof", "return them there first", ExitNoSeat},
		{ErrReturnProof, "E_RETURN_PROOF", "the return is not proven", "the TPM's statement about its counter does not cover this return", "write the request again on the appliance", ExitFile},
		{ErrRollbackSuspect, "E_ROLLBACK_SUSPECT", "rollback suspected", "the request's epoch is not above the last one seen, and a return says otherwise", "freehold show; ask what happened to the machine", ExitPolicy},
		{ErrFork, "E_FORK", "two histories of one machine", "two different requests carry one number and neither knows the other: the machine or its storage was copied", "freehold show; ask the customer which one is the machine", ExitPolicy},
		{ErrTier, "E_TIER", "not allowed on this kind of machine", "the evidence puts the machine in a tier for which the producer does not allow these rights", "freehold show", ExitPolicy},
		{ErrBookExpired, "E_BOOK_EXPIRED", "the entitlement has expired", "the line item has passed its expiry", "freehold entitle, for a new one", ExitExpired},
		{ErrPassphrase, "E_PASSPHRASE", "the producer's keys do not open", "the passphrase is wrong or the key file is damaged", "check the passphrase file or credential", ExitError},
		{ErrOlderRequest, "E_OLDER_REQUEST", "a newer request was answered", "this machine wrote a newer request, and its answer is in the outbox", "use the response to the newer request", ExitOK},
		{ErrHostKey, "E_HOST_KEY", "another key for a known machine", "the host is on record with another attestation key", "freehold show; a replaced TPM is another machine: freehold respond FILE -o DIR --rehost HOST --repair REASON --approved-by NAME", ExitPolicy},
		{ErrNoOffice, "E_NO_OFFICE", "no back office here", "the directory holds no back office: another one is meant, or it was never set up", "name it with --dir DIR, or set one up: freehold init --help", ExitNotFound},
		{ErrOfficePresent, "E_OFFICE_PRESENT", "a back office is here already", "setting up again would replace the producer's keys, which every appliance and program trusts", "freehold show, or name another directory with --dir DIR", ExitUsage},
		{ErrOfficeBusy, "E_OFFICE_BUSY", "another freehold uses this back office", "one program at a time writes the book", "try again when the other one has ended", ExitTemporary},
		{ErrBookDamaged, "E_BOOK_DAMAGED", "the back office's files are damaged", "bytes in its directory are not the ones that were written", "put the newest undamaged copy of the directory back", ExitError},
		{ErrBookFull, "E_BOOK_FULL", "the back office's disk is full", "the change could not be written, and nothing of it was given out", "make room, then run the same command again", ExitError},
		{ErrBookWrite, "E_BOOK_WRITE", "the back office's disk does not take writes", "the operating system reported an error, and nothing of the change was given out", "check the disk, then run the same command again", ExitError},
		{ErrBookGone, "E_BOOK_GONE", "the back office's keys are here, and its book is not", "the directory book is not mounted, or it was not brought back with the rest", "mount it, or bring book/ back from the newest copy; only where freehold init was cut off and nothing was ever given out: remove keys/ and trust.lht", ExitError},
		{ErrRefused, "E_REFUSED", "the producer refused this request", "an operator of the producer looked at it and said no, for the reason given; what the machine has stays as it is on record, and what it gave back is credited", "speak with the producer about the reason, then write a new request: leasehold request -o DIR", ExitPolicy},

		{ErrRepair, "E_REPAIR", "repair needed", "the machine is on record with rights, and this request is of a trusted storage that was made anew: what the machine had may still be in use from a copy", "ask the customer what happened, then: freehold respond FILE -o DIR --repair REASON", ExitPolicy},
		{ErrRehost, "E_REHOST", "no such machine on record, and this one says that it lost rights", "its TPM was replaced, or another back office answered it before; a new TPM is a new machine, and what the old one had is still on record with that", "find the old machine with freehold show, then: freehold respond FILE -o DIR --rehost HOST --repair REASON --approved-by NAME; if there was none: freehold respond FILE -o DIR --repair REASON", ExitPolicy},
		{ErrReplaced, "E_REPLACED", "from a trusted storage that was replaced", "a repair put another trusted storage in the place of the one that wrote this request: it should not be in use any more", "freehold show; ask the customer why it still runs", ExitPolicy},

		{ErrNoRehost, "E_NO_REHOST", "these rights cannot be re-hosted", "a re-host gives everything that one machine on record has to the machine of a request, on the word of two persons", "freehold show HOST", ExitPolicy},
		{ErrRehosted, "E_REHOSTED", "this machine's rights went to another one", "the producer was told that the machine is gone, and re-hosted what it had", "import the response, and ask the producer", ExitPolicy},

		{ErrTierLimit, "E_TIER_LIMIT", "more than this kind of machine may have", "the evidence puts the machine in a tier for which the producer allows fewer copies than were asked for", "ask for as many as the detail says, or use a machine of a better tier; the producer sees and sets the limits: freehold show, freehold entitle --tier-limit", ExitPolicy},
		{ErrNoSigningKey, "E_NO_SIGNING_KEY", "no signing key is certified for this moment", "the root certified none of the keys here yet, or their time is over, or they are revoked, or the token that holds the key was not named", "freehold key list; for a certificate: freehold key request -o FILE", ExitPolicy},
		{ErrKeyRequest, "E_KEY_REQUEST", "the certificate or its request does not fit", "it is for another root or another key, is older than what is here, or breaks a rule that its detail names", "compare the fingerprints: freehold key list, freehold trust", ExitFile},
		{ErrSigningLimit, "E_SIGNING_LIMIT", "more than the signing key may sign", "the root set limits of product, count and rate for this key, and this response would go beyond one", "freehold key limits; wait, or take a request for higher limits to the root: freehold key request", ExitPolicy},
		{ErrToken, "E_TOKEN", "the token does not sign", "the program that holds the token for freehold does not answer, or signs with another key", "start freehold-token, then: freehold --token SOCKET key list", ExitTemporary},
		{ErrKeySealed, "E_KEY_SEALED", "the signing key does not open on this machine", "it is sealed to the TPM of another machine, or the TPM was cleared or does not answer", "bring the machine back, or have a new key certified: freehold key request --name NAME -o FILE", ExitPolicy},

		{ErrAccount, "E_ACCOUNT", "not for this customer's machines", "a machine belongs to the account of its first activation ID, and gets none of an account that is neither the same nor above nor below", "ask for an activation ID of the machine's own account; the producer sees it with freehold show HOST, and arranges accounts with freehold account set", ExitNotEntitled},
		{ErrLicenseModel, "E_LICENSE_MODEL", "its license model gives nothing new", "the producer has ended the license model of the line item; what machines have of it stays", "ask the producer for a line item under another model: freehold model list", ExitPolicy},
		{ErrSuspended, "E_SUSPENDED", "suspended", "the producer has suspended the line item: nothing new of it is given, and what machines have runs on until it ends", "ask the producer; freehold item resume ACTIVATION-ID", ExitPolicy},
		{ErrRetired, "E_RETIRED", "no longer in use", "the line item was asked back, given back, archived or merged into another one", "use the activation ID that took its place; the producer sees it with freehold show ACTIVATION-ID", ExitNotEntitled},
		{ErrDraft, "E_DRAFT", "not deployed yet", "the line item is a draft: the producer has not put it into use", "ask the producer; freehold item deploy ACTIVATION-ID", ExitNotEntitled},
		{ErrVirtual, "E_VIRTUAL", "not allowed on a virtual machine", "the license model is for machines that are not virtual", "use a machine that is not virtual, or ask the producer for another license model", ExitPolicy},
		{ErrHostType, "E_HOST_TYPE", "not allowed for this type of host ID", "the producer excludes the type of host ID that the machine is known by, or the license model is for other types", "use a machine with a host ID of an allowed type, or ask the producer; freehold model list", ExitPolicy},
		{ErrSpent, "E_SPENT", "done as often as it may be", "the license model says how often that may be done with one line item", "wait until the time that is named, or ask the producer for another line item; freehold show ACTIVATION-ID", ExitPolicy},
		{ErrItemState, "E_ITEM_STATE", "the line item is not in a state for that", "what was asked for does not follow on what was done with the line item before", "freehold show ACTIVATION-ID", ExitPolicy},
		{ErrNoRoom, "E_NO_ROOM", "no room in one response", "all rights of a machine come in one response, which has room for 4,096 features of line items and for so many bytes, and with these it would have more", "give them to another machine, or take others from this one first: freehold device show DEVICE", ExitPolicy},
		{ErrKeyUsed, "E_KEY_USED", "the key was used for another command", "a command under a key is done once, and this one asks for something else than the one that was done under it", "give this command a key of its own: --key TEXT; what was done: freehold show", ExitUsage},
		{ErrRow, "E_ROW", "a row cannot be imported", "what is at the place named is not what belongs there, or contradicts the book or another row; nothing was imported", "correct it, and import the file again; a good one to begin with: freehold export", ExitUsage},
		{ErrReturnRefused, "E_RETURN_REFUSED", "a return is refused for good", "the back office never credits it, so this machine sends it no more; the rights are here again as far as the response lists them", "return them once more: leasehold return ID; where that is refused too, ask the producer", ExitPolicy},
		{AskedBack, "ASKED_BACK", "the producer took rights back", "they are left out here, and stay counted as this machine's until its next request shows that they are gone and what it lent of them has ended", "when what is lent has ended: leasehold request -o DIR", ExitOK},
		{ErrMapped, "E_MAPPED", "the producer has said how many of them this machine has", "as long as it has not got them, or not given them up, its own wishes do not count", "ask the producer; there: freehold device show DEVICE", ExitPolicy},
		{ErrNoMapping, "E_NO_MAPPING", "this cannot be mapped", "the machine has, or is to have, as many already, or the rights cannot be moved so", "freehold device show DEVICE", ExitPolicy},
		{ErrNoRetire, "E_NO_RETIRE", "this activation ID cannot be taken back so", "only what is used concurrently comes back through the back office alone, and what takes its place has to wait until it is proved to be gone", "freehold show ACTIVATION-ID", ExitPolicy},
		{ErrWrittenOff, "E_WRITTEN_OFF", "rights of this machine were written off", "the producer was told that the machine proves nothing any more, and credited what it had without proof", "import the response, and write a request that shows that they are gone: leasehold request -o DIR", ExitPolicy},
		{ErrNoWriteOff, "E_NO_WRITE_OFF", "this cannot be written off", "a write-off credits without proof what one machine has of one activation ID, on the word of two persons, and only so often", "freehold show ACTIVATION-ID", ExitPolicy},

		{ErrUnassigned, "E_UNASSIGNED", "no seat is assigned", "a license for users runs only for whom its license administrator assigned it to", "ask the license administrator for a seat: freehold seat assign ID USER, or freehold seat pool ID --add USER", ExitNotEntitled},
		{ErrSeatElsewhere, "E_SEAT_ELSEWHERE", "the seat is taken", "an offline seat is one user's on one machine until that machine has given it back with proof", "return it on that machine and bring its request here: leasehold return ID; or ask it back: freehold seat withdraw ID USER", ExitPolicy},
		{ErrUsers, "E_USERS", "still in use", "somebody has a seat of it, is in its pool or runs a session of it, or a machine has copies", "freehold seat ID, to see who; then unassign, disconnect, or return on the machine", ExitPolicy},
		{ErrMode, "E_MODE", "not used in this way", "a license is used online, through sessions, or offline, through machines, and its kind says how its seats are given out", "freehold show ID; freehold convert ID --to online, or --to offline", ExitPolicy},
		{ErrConvert, "E_CONVERT", "this account does not convert licenses", "the producer keeps the licenses of this account online", "ask the producer; freehold account", ExitPolicy},
		{ErrNoUser, "E_NO_USER", "no such user here", "the account has no user of that name, or the user is disabled or has nothing of what was named", "freehold user", ExitNotFound},
		{ErrService, "E_SERVICE", "not for a service account", "seats of users are for people; programs and builds use floating seats", "put it into the pool of a floating license: freehold seat pool ID --add USER; the producer may allow it otherwise", ExitPolicy},
		{ErrUserCode, "E_USER_CODE", "the code of the slip does not fit", "each code is worth something once, for 30 days, and only the newest slip of a user counts", "type it as on the newest slip, or make another: freehold user code NAME", ExitPolicy},
		{ErrSessionElsewhere, "E_SESSION_ELSEWHERE", "your seat is in use on another machine", "as many sessions run as this user has seats; each ends when its program stops, or some time after its connection is lost", "stop the program there, wait until then, or take the seat over with a proof of who you are", ExitNoSeat},
		{ErrSessionEnded, "E_SESSION_ENDED", "the session has ended", "it was released, disconnected or taken over, or it was not renewed in time", "start the program again: it takes a seat if one is free", ExitPolicy},

		{ErrNoLogin, "E_NO_LOGIN", "no such login", "nobody of that name may sign in at the portal", "freehold login", ExitNotFound},
		{ErrLoginCode, "E_LOGIN_CODE", "the one-time code does not fit", "each code is worth something once, for 30 days, and only the newest one of a login counts", "type it as it was printed, or have another made: freehold login code NAME", ExitPolicy},
		{ErrLastAdministrator, "E_LAST_ADMINISTRATOR", "nobody could admit logins any more", "this login is the last of the producer's staff that signs in by itself and is a security administrator", "make another one first: freehold login add NAME --role \"security administrator\"", ExitPolicy},
		{ErrSignIn, "E_SIGN_IN", "not signed in", "the name, the password, the passkey or the answer of the identity provider is not right, or too many tries failed", "try again; after five tries each waits longer than the one before", ExitPolicy},
		{ErrPermission, "E_PERMISSION", "your roles do not allow this", "what a login may do follows from its roles and its account", "ask a security administrator of the producer", ExitPolicy},
		{ErrSecondPerson, "E_SECOND_PERSON", "a second person has to approve", "what frees rights without a proof is done by two: one proposes, another approves", "have somebody else approve it", ExitPolicy},
		{ErrAPIToken, "E_API_TOKEN", "the token opens nothing", "it is none of this back office, it is over, it was revoked, or its login is disabled", "make another one: freehold login token NAME, or in the portal under My login", ExitPolicy},
		{ErrProposalOver, "E_PROPOSAL_OVER", "the proposal is over", "it was approved, turned down or taken back, or nobody approved it in 30 days, and nothing more comes of it", "nothing to do; what was turned down, or came too late, can be proposed anew", ExitPolicy},

		{ErrOnline, "E_ONLINE", "nothing is answered over the network here", "the producer answers request files that are brought to it, and has not turned the other way on", "take the request as a file: leasehold request -o DIR; the producer turns it on with: freehold policy set --online known", ExitPolicy},
		{ErrOperator, "E_OPERATOR", "an operator of the producer decides this", "a repair, a re-host, and where the producer says so the first request of a machine, are not answered over the network", "take the request as a file: leasehold request -o DIR, and bring back the response", ExitPolicy},
		{ErrThrottled, "E_THROTTLED", "too many requests from this address", "the back office takes so many from one address, and then so many more in a minute", "try again in a minute", ExitTemporary},
		{ErrOfficeUnreachable, "E_OFFICE_UNREACHABLE", "the back office cannot be reached", "no connection, it was cut, or what answered is no back office; the appliance serves on with what it has, and files go as ever", "check the address and the network; leasehold status says when the next try is, leasehold refresh makes one now", ExitTemporary},
		{ErrOfficeCertificate, "E_OFFICE_CERTIFICATE", "the back office shows another certificate", "the certificate is not the one whose SHA-256 was set, or no authority known here stands for it", "compare it with what freehold serve prints at the producer, then: leasehold policies set backoffice-certificate SHA-256", ExitFile},
		{ErrNotPolled, "E_NOT_POLLED", "no back office is asked by itself", "no address of a back office is set, or the program that asks it does not run", "leasehold policies set backoffice-url https://HOST:PORT, and: systemctl enable --now leasehold-poll", ExitPolicy},
		{ErrUserToken, "E_USER_TOKEN", "sign in again", "the token that says who the user is counts for some hours, on the device that it was made for, until the user has another password or is disabled", "sign in with the user's name and password: leasehold login --server https://HOST:PORT --user NAME", ExitPolicy},

		{ErrUsage, "E_USAGE", "wrong usage", "the command line is not one this program knows", "the command with --help", ExitUsage},
		{ErrNoDaemon, "E_NO_DAEMON", "leaseholdd does not answer", "nothing listens on the socket: the daemon is stopped, or another path was given", "systemctl start leaseholdd", ExitNoDaemon},
		{ErrForbidden, "E_FORBIDDEN", "not allowed", "this account may not do that on the appliance", "use root, or an account in the group leasehold", ExitPolicy},
		{ErrNotFound, "E_NOT_FOUND", "no such thing", "nothing here has that name", "list what there is: leasehold status on an appliance, freehold show at the back office", ExitNotFound},
		{ErrInternal, "E_INTERNAL", "something is broken", "the program met a state it cannot explain, and stopped before guessing", "keep the journal, and report it", ExitError},
		{ErrTrust, "E_TRUST", "the trust bundle cannot be used", "the file with the producer's root keys is absent or damaged", "name the bundle the producer gave you: --trust FILE", ExitUsage},
		{ErrBusy, "E_BUSY", "busy", "the appliance is stopping, or has as many connections as it takes", "try again", ExitTemporary},
		{ErrScenario, "E_SCENARIO", "the scenario is malformed", "what is at the place named is not what a scenario has there, so nothing of it was played", "correct the place named; what a scenario has: leasehold simulate --help", ExitUsage},
		{ErrImport, "E_IMPORT", "the list of reservations is malformed", "what is at the place named is not what a list of reservations has there, so nothing was imported", "correct the place named; a good file to begin with: leasehold reservations export", ExitUsage},
		{ErrForm, "E_FORM", "a value cannot be used", "what was given is not what is wanted at the place named, and nothing was changed", "correct it; what is wanted: the command with --help", ExitUsage},
		{ErrWaited, "E_WAITED", "it has not come in time", "the time given with --timeout is over, and what was waited for is not there; nothing was stopped by that", "leasehold status, to see why; then wait again: leasehold wait --help", ExitTemporary},
		{ErrConfig, "E_CONFIG", "the configuration cannot be used", "what is at the place named is not what a configuration file has there; leaseholdd does not start with half of what was meant", "correct the place named, then: leasehold config check", ExitUsage},
	}
}
