.DEFAULT_GOAL := help

# Debian packages that a test needs beyond Go, make, gcc, git and docker.
DEPS := postgresql-doc-15 python3.11-doc wget
# And what test-tools compares with besides: 450 MB once installed.
TOOLS := python3-gmpy2 python3-scipy python3-pil mate-backgrounds

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TAGS := e2e,powercut
IMAGE ?= faena
CA_BUNDLE ?= /etc/ssl/certs/ca-certificates.crt
MIN_COVER := 85

# The linter is built once for each pinned version and Go version, and kept.
LINTER := bin/.tools/golangci-lint-$(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" {print $$2}' tools/go.mod)-$(shell go env GOVERSION)

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

# timetzdata: schedules name time zones, and neither a bare host nor the image has them.
.PHONY: build
build: ## Build the static binary bin/faena
	CGO_ENABLED=0 go build -trimpath -tags=timetzdata -ldflags='-s -w -X main.version=$(VERSION)' -o bin/faena ./cmd/faena

.PHONY: test
test: deps lint ## All set-up, lint, tests, end to end
	go test -shuffle=on ./...
	$(if $(wildcard internal/e2e),$(MAKE) test-e2e)

.PHONY: test-race
test-race: ## The tests under the race detector
	CGO_ENABLED=1 go test -race -shuffle=on -timeout=30m ./...

.PHONY: test-e2e
test-e2e: build ## Real processes, real time, kill -9
	go test -v -count=1 -p=1 -timeout=7m -tags=e2e ./internal/e2e/...

.PHONY: test-powercut
test-powercut: build ## Power cuts on a file system of its own (root)
	go test -v -count=1 -p=1 -timeout=9m -tags=powercut ./internal/e2e/...

.PHONY: test-tools
test-tools: build ## Compare factorials, crawls and filters with other programs, which it installs (root)
	$(call install,$(DEPS) $(TOOLS))
	go test -v -count=1 -p=1 -timeout=9m -tags=e2e -run='OtherTools|CrawlOfDocumentation' ./tasks/... ./internal/e2e

.PHONY: cover
cover: ## Coverage of the root and the engine; fails under 85 %
	go test -coverpkg=.,./engine/... -coverprofile=coverage.out ./...
	@go tool cover -func=coverage.out | awk -v min=$(MIN_COVER) \
		'$$1 == "total:" {got = $$NF + 0; seen = 1} \
		END {if (!seen) {print "no coverage total"; exit 1} \
		printf "coverage %.1f %%, at least %d %% wanted\n", got, min; exit got < min}'

.PHONY: fuzz
fuzz: ## Ten seconds on each fuzz target
	@for p in $$(grep -rl '^func Fuzz' --include='*_test.go' --exclude-dir=bench . | xargs -r -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -d' ' -f2); do \
			echo "$$p $$f"; go test -run='^$$' -fuzz="^$$f$$" -fuzztime=10s $$p || exit 1; done; done

$(LINTER): tools/go.mod tools/go.sum
	@echo "building $(notdir $@) (once; about two minutes on two cores)"
	@CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

.PHONY: lint
lint: $(LINTER) ## Vet, modernisers, golangci-lint, in both modules with code
	go vet -tags=$(TAGS) ./...
	go fix -tags=$(TAGS) -diff ./...
	$(LINTER) config verify
	$(LINTER) run ./...
	go vet -C bench ./...
	go fix -C bench -diff ./...
	cd bench && ../$(LINTER) run ./...

.PHONY: fmt
fmt: $(LINTER) ## Format and modernise in place
	go fix -tags=$(TAGS) ./...
	$(LINTER) fmt ./...
	go fix -C bench ./...
	cd bench && ../$(LINTER) fmt ./...

.PHONY: bench
bench: ## Benchmarks, in their own module (BENCH_DIR=... says which disk)
	cd bench && FAENA_BENCH_DIR=$(abspath $(BENCH_DIR)) go test -run='^$$' -bench=. -count=6 ./...

.PHONY: tidy
tidy: ## Tidy all three modules
	go mod tidy
	go mod tidy -C bench
	go mod tidy -C tools

# install installs those of the packages that are missing.
define install
	@missing=; for p in $(1); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then echo "deps: nothing to install"; \
	elif [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "deps: not root on Debian, so not installed:$$missing (tests that need them say that they are skipped)"; \
	else echo "installing$$missing"; \
		apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; fi
endef

.PHONY: deps
deps: ## Install the Debian packages that make test needs, if any is missing
	$(call install,$(DEPS))

# The context is staged, so that nothing of the tree but the binary can get in.
.PHONY: image
image: build ## Build the container image around bin/faena
	@test -s $(CA_BUNDLE) || { echo "no CA roots at $(CA_BUNDLE): install ca-certificates or set CA_BUNDLE"; exit 1; }
	@stage=$$(mktemp -d) && trap 'rm -rf "$$stage"' EXIT && \
	install -d -m 755 "$$stage/rootfs" "$$stage/rootfs/etc/ssl/certs" "$$stage/data" && \
	install -d -m 1777 "$$stage/rootfs/tmp" && \
	install -m 755 bin/faena "$$stage/rootfs/faena" && \
	install -m 644 $(CA_BUNDLE) "$$stage/rootfs/etc/ssl/certs/ca-certificates.crt" && \
	docker build --label org.opencontainers.image.version=$(VERSION) \
		-t $(IMAGE):$(VERSION) -t $(IMAGE):latest -f Dockerfile "$$stage"
