# The two commands of a newcomer are `make demo` and `make test`; each sets up what it needs.

export CGO_ENABLED = 0
# What a use of a key leaves on stack and heap is erased (package runtime/secret). storage/README.md says what that costs.
export GOEXPERIMENT = runtimesecret
# The programs speak the language of the terminal, and the tests read English.
export LC_ALL = C.UTF-8
GO       ?= go
FUZZTIME ?= 30s
PACKAGES  = swtpm swtpm-tools mtools dosfstools systemd dbus-daemon jq openssl gcc libc6-dev softhsm2 valgrind chromium fonts-dejavu-core slapd
NODE      = cmd/internal/browser capability/wire/testdata/interop
BENCHMARKS = $(sort $(dir $(shell grep -rl --include='*_test.go' '^func Benchmark' .)))
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.8.0

.PHONY: all deps build token lib pc oci man deb image e2e-core e2e e2e-full demo test suites race simulation mutants soak bench flood fuzz lint clean

all: build

# Installs the Debian packages that are missing, as root or through sudo, and says which; and fetches the modules that only a server for comparison needs.
deps:
	@$(GO) -C cmd/freehold-token mod download
	@$(GO) -C cmd/internal/bench/baseline mod download || echo "the modules of cmd/internal/bench/baseline cannot be fetched; make bench needs them"
	@missing=""; for p in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q '^install ok installed$$' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		sudo=""; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
		$$sudo apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -q -y --no-install-recommends $$missing >/dev/null; \
	fi
	@command -v npm >/dev/null || { echo "npm is missing: the tests need Node.js 20.19 or newer with npm"; exit 1; }
	@for d in $(NODE); do ( cd $$d && { cmp -s package-lock.json node_modules/.installed || { npm ci --silent && cp package-lock.json node_modules/.installed; }; } ) || exit 1; done

build:
	$(GO) build -trimpath -o bin/ ./cmd/leaseholdd ./cmd/leasehold ./cmd/freehold

# The one program that links a driver of somebody else's, and so C code: a module of its own, beside the static programs, for those who keep half a key in a token.
token:
	@mkdir -p bin
	CGO_ENABLED=1 $(GO) build -C cmd/freehold-token -trimpath -o $(CURDIR)/bin/ .

# The SDK for programs in C and what can call C, and its header. Names are looked up as in the static programs; only what the header declares is shown.
LIB ?= bin
lib:
	@mkdir -p $(LIB)
	CGO_ENABLED=1 $(GO) build -buildmode=c-shared -trimpath -tags netgo,osusergo -ldflags '-extldflags "-Wl,-soname,libleasehold.so -Wl,-z,nodelete -Wl,--version-script=$(CURDIR)/cmd/libleasehold/exports.map"' \
		-o $(LIB)/libleasehold.so ./cmd/libleasehold
	@rm $(LIB)/libleasehold.h && cp cmd/libleasehold/leasehold.h $(LIB)/

# The command line for the machines of administrators, and for those of users.
pc:
	for p in linux windows darwin; do for a in amd64 arm64; do \
		GOOS=$$p GOARCH=$$a $(GO) build -trimpath -o bin/pc/leasehold-$$p-$$a$$(test $$p = windows && echo .exe) ./cmd/leasehold || exit 1; done; done

# The command line in an image for container engines, which needs none to be made: bin/leasehold-oci.tar, the same bytes from the same program.
oci: build
	$(GO) run ./cmd/internal/oci -program bin/leasehold -o bin/leasehold-oci.tar

man: build
	mkdir -p bin/man bin/catalog && for p in leaseholdd leasehold freehold; do bin/$$p man bin/man || exit 1; done; bin/leaseholdd catalog bin/catalog

# The Debian package of daemon and command line, for hosts that a customer brings: dist/leasehold_VERSION_ARCH.deb.
deb:
	@$(MAKE) --no-print-directory -C image deb

# The appliance's image, as root; what it is made of and what it needs is in image/Makefile.
image:
	@$(MAKE) --no-print-directory -C image image

# The image, booted in virtual machines, with sticks, power cuts and disks that were changed: image/Makefile. The core is what must pass before a change lands.
e2e-core e2e e2e-full: image
	@$(MAKE) --no-print-directory -C image $@

# The whole loop with real programs and software TPMs, a line for each step.
demo: deps build
	$(GO) run ./cmd/internal/demo -bin bin

test: deps
	$(GO) vet ./...
	$(GO) vet -tags image,vm,vmfull ./image/...
	CGO_ENABLED=1 $(GO) vet -C cmd/freehold-token .
	CGO_ENABLED=1 $(GO) vet ./cmd/libleasehold
	CGO_ENABLED=1 $(GO) test -C cmd/freehold-token -count=1 .
	$(GO) test -count=1 -timeout 30m ./... # never from the cache: some tests run programs that it does not know of

# What others publish to test readers, from a directory that has it: capability/wire/testdata/suites/README.md.
suites:
	PUBLIC_SUITES=$(abspath $(DIR)) $(GO) test -count=1 -v -run PublicSuites ./capability/wire ./tpm/attest

# The same tests with the race detector, which needs a C compiler.
race: deps
	CGO_ENABLED=1 $(GO) test -race ./...

# 1,000,000 steps of random lives of the ledger, every invariant checked after each.
simulation:
	SIM_LIVES=12500 $(GO) test -count=1 -run Simul -timeout 60m ./capability/ledger

# Bugs planted in the whole tree, one at a time: the tests must find every one.
mutants: deps
	$(GO) run ./cmd/internal/mutants

# The long tests at their nightly sizes, RELEASE=1: a release's; BUDGET=30m: as much of each as fits. The report is bin/soak.json.
soak: deps
	$(GO) run ./cmd/internal/soak $(if $(BUDGET),-budget $(BUDGET))

# What everything costs, and each goal of speed: met, not met, not measured. BENCH_SHORT=1: a minute or two instead of a quarter of an hour. The benchmarks of
# the packages are in bin/bench.txt for benchstat, the whole report is bin/bench.json.
bench: deps
	@mkdir -p bin
	$(GO) build -C cmd/internal/bench/baseline -trimpath -o $(CURDIR)/bin/bench-baseline .
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m -short $(if $(BENCH_SHORT),-benchtime 20ms,-benchtime 100ms -count 5) $(BENCHMARKS) > bin/bench.txt || { cat bin/bench.txt; exit 1; }
	$(if $(BENCH_SHORT),,for b in 'Serve|Grant 20000x' 'Restore|Snapshot|Collect 1x'; do \
		$(GO) test -run '^$$' -bench "^Benchmark($${b% *})$$/^1000000" -benchmem -timeout 60m -benchtime $${b#* } ./capability/ledger >> bin/bench.txt || { cat bin/bench.txt; exit 1; }; done; \
		$(GO) test -run '^$$' -bench '^BenchmarkOpen$$/^1000000' -timeout 60m -benchtime 3x ./capability/backoffice >> bin/bench.txt || { cat bin/bench.txt; exit 1; })
	$(GO) run ./cmd/internal/bench -micro bin/bench.txt $(if $(BENCH_SHORT),-short)

# Honest clients beside floods of every kind, half an hour and more; FLOOD_SHORT=1: a share of it in about a minute. The report is bin/flood.json.
flood: deps
	$(GO) run ./cmd/internal/flood $(if $(FLOOD_SHORT),-short)

# Every fuzz target for FUZZTIME each.
fuzz: deps
	@grep -rlE --include='*_test.go' '^func Fuzz' . | while read f; do \
		for t in $$(grep -oE '^func Fuzz[A-Za-z0-9_]*' $$f | cut -d' ' -f2); do \
			echo "$$(dirname $$f) $$t"; $(GO) test $$(dirname $$f) -run '^$$' -fuzz "^$$t$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; done

# govulncheck says so and passes when its database cannot be reached.
lint:
	@out=$$(gofmt -l . ); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	CGO_ENABLED=1 $(GO) vet -C cmd/freehold-token .
	CGO_ENABLED=1 $(GO) vet ./cmd/libleasehold
	for os in windows darwin; do GOOS=$$os $(GO) vet ./capability/client && GOOS=$$os $(GO) build -o /dev/null ./cmd/leasehold || exit 1; done # the SDK is for the machines of users, the command line for those of administrators
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1); code=$$?; echo "$$out" | tail -n 5; \
	if [ $$code -ne 0 ] && echo "$$out" | grep -qiE 'dial|lookup|connect|fetching vulnerabilities|timeout'; then echo "govulncheck: its database cannot be reached from here"; else exit $$code; fi

clean:
	rm -rf bin dist
