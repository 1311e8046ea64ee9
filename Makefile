# Targets: build, test, lint, bench. `make test` is the whole gate of a change.

GO   ?= go
OUT  ?= pidleash
# The tag leaves the documentation generator of urfave/cli out: 350 KB less.
TAGS := urfave_cli_no_docs
# Where the kernel enters the binary, see internal/atstart/entry_amd64.s. Other
# architectures start a little slower and know less of how they were started.
ENTRY := $(if $(filter amd64,$(shell $(GO) env GOARCH)),-E pidleash/internal/atstart.entry)

.PHONY: build
build:
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '-s -w $(ENTRY)' -o $(OUT) .
