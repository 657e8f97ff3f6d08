# Two commands are enough for a newcomer: make demo, make test. The others are what they stand on.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# grpcnotrace: a build tag of gRPC that leaves out its HTML trace pages, which nobody here serves.
BUILD := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags '-s -w -X mctl/internal/buildinfo.version=$(VERSION)'
BUF := go tool -modfile=tools/buf/go.mod buf
LINT := go tool -modfile=tools/lint/go.mod golangci-lint

.PHONY: build
build: ## the four binaries, in bin/
	@mkdir -p bin
	$(BUILD) -gcflags='mctl/...=-l' -o bin/mctl ./cmd/mctl # functions of ours are not inlined: 0.25 MB less, and nothing that mctl waits for
	$(BUILD) -o bin/controller ./cmd/controller
	GOOS=linux GOARCH=amd64 $(BUILD) -o bin/agent-linux-amd64 ./cmd/agent
	GOOS=linux GOARCH=arm64 $(BUILD) -o bin/agent-linux-arm64 ./cmd/agent
	@ln -sf agent-linux-$$(go env GOARCH) bin/agent

.PHONY: demo
demo: packages build ## a Docker host from nothing to a served page, and away again
	test/demo.sh

.PHONY: test
test: compiler build ## everything, end-to-end on real hosts included
	test/run.sh

.PHONY: unit
unit: compiler ## what needs neither root nor hosts
	go test -race ./...

.PHONY: e2e
e2e: compiler build ## end-to-end on real hosts alone
	test/run.sh e2e

.PHONY: bench
bench: packages build ## the figures of docs/benchmarks.md; BENCH="sizes commands" takes those parts alone
	test/bench.sh $(BENCH)

.PHONY: lint
lint: ## formats, rules, protos, generated code
	@test -z "$$(gofmt -l .)" || { echo "gofmt wants to change:"; gofmt -l .; exit 1; }
	$(LINT) run ./...
	GOOS=darwin GOARCH=arm64 go vet ./cmd/mctl ./cmd/controller ./internal/mctl/... ./internal/controller/api
	$(BUF) lint
	$(BUF) breaking --against proto/lock.binpb
	tools/generated.sh

.PHONY: generate
generate: ## Go code of the protos
	$(BUF) format -w
	$(BUF) generate

.PHONY: docs
docs: ## the reference of the commands, docs/commands/
	rm -f docs/commands/*.md
	go run ./cmd/mctl manual --format markdown docs/commands

.PHONY: protolock
protolock: ## accept the present protos as what must not be broken
	$(BUF) build -o proto/lock.binpb

.PHONY: packages
packages:
	@test/packages.sh

.PHONY: compiler
compiler: # and the packages
	@test/packages.sh compiler

.PHONY: help
help:
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
