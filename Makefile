# Targets: build, install, uninstall, dist, test, faults, soak, fuzz, mutation, cross, lint, cover, vulnerabilities,
# check, bench. `make test` is the tests of the gate, .ci/run the whole of it, `make check` all that can be said of a
# change.

GO   ?= go
OUT  ?= pidleash
# The tag leaves the documentation generator of urfave/cli out: 350 KB less.
TAGS := urfave_cli_no_docs
# Where the kernel enters the binary, see internal/atstart/entry_amd64.s. Other
# architectures start a little slower and know less of how they were started. The
# linker lets nobody name the runtime's variables unless it is told to.
ENTRY := $(if $(filter amd64,$(shell $(GO) env GOARCH)),-E pidleash/internal/atstart.entry -checklinkname=0)
# The variable has the defaults of GODEBUG, which the Go command sets in the same way: docs/decisions/no-preemption.md.
RUNTIME := -X runtime.godebugDefault=asyncpreemptoff=1

# What -version tells. Where there is no .git, as in the Dockerfile, they are
# given: make VERSION=1.0.0 COMMIT=0123abcd.
VERSION ?= $(if $(wildcard .git),$(patsubst v%,%,$(shell git describe --tags --dirty 2>/dev/null)))
COMMIT  ?= $(if $(wildcard .git),$(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null))
STAMP := -X pidleash/internal/cli.builtVersion=$(VERSION) -X pidleash/internal/cli.builtCommit=$(COMMIT)

.PHONY: build
build:
	CGO_ENABLED=0 $(GO) build -trimpath $(BUILDFLAGS) -tags '$(TAGS)$(if $(ENTRY), entry)' -ldflags '-s -w $(ENTRY) $(RUNTIME) $(STAMP)' -o $(OUT) .

# Where make install puts things, below DESTDIR if a package is made of them. It installs what was built before, because
# root may have no Go: make && sudo make install.
PREFIX  ?= /usr/local
DESTDIR ?=
ZSHDIR  ?= share/zsh/site-functions
INSTALLED := bin/pidleash share/man/man1/pidleash.1 share/bash-completion/completions/pidleash \
	$(ZSHDIR)/_pidleash share/fish/vendor_completions.d/pidleash.fish

$(OUT):
	@$(MAKE) -s build

.PHONY: install
install: $(OUT)
	install -D -m 755 $(OUT) '$(DESTDIR)$(PREFIX)/bin/pidleash'
	install -D -m 644 man/pidleash.1 '$(DESTDIR)$(PREFIX)/share/man/man1/pidleash.1'
	install -D -m 644 completions/pidleash.bash '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/pidleash'
	install -D -m 644 completions/_pidleash '$(DESTDIR)$(PREFIX)/$(ZSHDIR)/_pidleash'
	install -D -m 644 completions/pidleash.fish '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pidleash.fish'

.PHONY: uninstall
uninstall:
	rm -f $(foreach name,$(INSTALLED),'$(DESTDIR)$(PREFIX)/$(name)')

# What is handed out, see packaging/main.go: the same bytes from the same source and the same Go. Packages are made by
# nfpm, which is run by its version, not required in go.mod. An archive of the source has no .git to ask:
# make dist VERSION=1.0.0 COMMIT=0123abcd SOURCE_DATE_EPOCH=1764115200.
DIST    ?= dist
ARCHS   ?= amd64 arm64 arm 386 riscv64 ppc64le s390x
FORMATS ?= deb rpm oci
NFPM    := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
SOURCE_DATE_EPOCH ?= $(if $(wildcard .git),$(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: dist
dist:
	GOOS= GOARCH= $(GO) run ./packaging -version '$(VERSION)' -commit '$(COMMIT)' -epoch '$(SOURCE_DATE_EPOCH)' \
		-archs '$(ARCHS)' -formats '$(FORMATS)' -nfpm $(NFPM) -out '$(DIST)'

# The unit tests run with the race detector, where there is a C compiler for it;
# the built binary has none of it anyway. T names folders, of the product or of
# integration_test: make test T=signals.
RACE := $(if $(shell command -v gcc),-race)
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEADCODE    := golang.org/x/tools/cmd/deadcode@v0.52.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: test
test:
	.ci/setup
	$(GO) run ./integration_test/bed/run -tags $(TAGS) $(RACE) $(T)

# The long forms of the tests of the gate: every case of a matrix, not a sample.
# make faults FAULTS=races runs those of one folder.
FAULTS ?= $(filter faults races soak scale packages examples,$(notdir $(wildcard integration_test/*)))

.PHONY: faults
faults:
	.ci/setup -long
	$(GO) test -timeout 0 -tags $(TAGS) -count=1 -p=1 -v $(addprefix ./integration_test/,$(FAULTS)) -args -long

# Many wrappers through many events, with what they take and what status says of them. make soak SOAK=30m is long.
SOAK ?= 3m

.PHONY: soak
soak:
	.ci/setup
	$(GO) test -timeout 0 -tags $(TAGS) -count=1 -v ./integration_test/soak -args -soak $(SOAK)

# Random inputs for every target, one after the other, FUZZTIME each. What is found is kept in testdata/fuzz beside the
# test; FUZZ names the targets by a regular expression. What is merely new is not made as short as possible: that takes
# most of the time.
FUZZTIME ?= 10m
FUZZ     ?= .

.PHONY: fuzz
fuzz:
	@set -e; for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$($(GO) test -tags $(TAGS) -list '^Fuzz' $$package | grep '^Fuzz' | grep -E '$(FUZZ)'); do \
			echo "$$package $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -parallel 1 $$package; \
		done; \
	done

# Each protection of integration_test/mutation/protections.txt is broken in a copy of the tree, and tests must notice.
# make mutation ONLY=pidfile breaks those of which the text or the file matches.
ONLY ?=

.PHONY: mutation
mutation:
	.ci/setup
	$(GO) run ./integration_test/mutation -tags $(TAGS) -only '$(ONLY)'

# Every architecture of Go on Linux builds; nothing is kept but the build cache.
# make cross GOARCHS="arm64 s390x" builds for some of them.
GOARCHS ?= $(patsubst linux/%,%,$(filter linux/%,$(shell $(GO) tool dist list)))

.PHONY: cross
cross:
	@for arch in $(GOARCHS); do \
		GOARCH=$$arch timeout 300 $(MAKE) -s build OUT=/dev/null || { echo "linux/$$arch: does not build" >&2; exit 1; }; \
	done

# The tools are run by their versions, not required in go.mod: who builds pidleash need not download them. What
# golangci-lint is asked, and why, is in .golangci.yml.
.PHONY: lint
lint: dead
	@files=$$(gofmt -l .) && [ -z "$$files" ] || { echo "gofmt -w $$files" >&2; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) run $(GOLANGCI) run ./...

# Functions that the program does not reach, which includes those that only tests call; what one architecture does not
# reach another may, so they must be dead on two. Then those of the tests that no test reaches.
.PHONY: dead
dead:
	@set -e; \
	one=$$($(GO) run -exec 'env GOARCH=amd64' $(DEADCODE) -tags '$(TAGS)' .); \
	other=$$($(GO) run -exec 'env GOARCH=arm64' $(DEADCODE) -tags '$(TAGS)' .); \
	tests=$$($(GO) run $(DEADCODE) -test -tags '$(TAGS) bench' ./...); \
	dead=$$(printf '%s\n' "$$one" "$$other" | sort | uniq -d; echo "$$tests" | grep -E '_test\.go:|^integration_test/' || true); \
	[ -z "$$dead" ] || { echo "$$dead" >&2; exit 1; }

# Known vulnerabilities in what the binary calls. The list of them is on the network. Without it nothing is known, which
# is not the same as none: with CI in the environment that fails. VULNDB is another place of the list, such as a copy of
# it where there is no network: make vulnerabilities VULNDB=file:///srv/vulndb.
VULNDB ?=

.PHONY: vulnerabilities
vulnerabilities:
	@$(GO) run $(GOVULNCHECK) -version >/dev/null # what comes next is about the list, not about the tool
	@out=$$($(GO) run $(GOVULNCHECK) $(if $(VULNDB),-db '$(VULNDB)') -tags $(TAGS) ./... 2>&1) && { echo "$$out"; exit 0; }; echo "$$out" >&2; \
	case $$out in \
	*"fetching vulnerabilities"*) echo 'NOT RUN: govulncheck cannot reach its list of vulnerabilities' >&2; [ -z "$$CI" ] ;; \
	*) exit 1 ;; \
	esac

# How much of each package the end-to-end tests reach, by a binary that counts. It fails when a
# test does. make cover COVER=exit runs one folder.
COVER ?= commands exit file forking signals restart while background sidecar units terminal transparency containers faults

.PHONY: cover
cover:
	.ci/setup
	$(GO) run ./integration_test/coverage -tags $(TAGS) $(COVER)

# All that can be said of a change: the gate, and what is too long for it or needs the network.
.PHONY: check
check:
	.ci/run
	$(MAKE) soak
	$(MAKE) cover
	$(MAKE) vulnerabilities

# pidleash beside its peers. Writes docs/benchmarks.json, and page and chart of it:
# on a quiet machine. "make bench ROUNDS=1000"; "make bench BEFORE=FILE" measures
# an earlier build, too, and writes nothing.
ROUNDS ?= 200
BEFORE ?=
.PHONY: bench
bench:
	.ci/setup
	$(GO) test -timeout 0 -tags '$(TAGS) bench' -run '^TestBench$$' -count=1 -v ./integration_test/bench -args \
		-rounds $(ROUNDS) $(if $(BEFORE),-before "$(BEFORE)",-update)
